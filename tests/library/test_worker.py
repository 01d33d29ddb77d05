"""One step: what becomes of its errors, with stand-ins for the conversion. Nothing is converted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from moh.common.config import Settings
from moh.common.errors import SettingsError
from moh.library.librarian import Failure
from moh.library.messages import Made
from moh.library.title import Arrange, Convert
from moh.library.worker import perform
from moh.mastering.form import Form
from moh.mastering.prepare import Music

MUSIC = Music({8000: Path("/cache/x/8000.wav")}, 1.0, Path("/music/jazz.mp3"))
STEP = Convert("jazz", "jazz.mp3", Form.LOOP)
Conversion = Callable[[Path, Settings, Form, Callable[[float], None]], Music]


def result(
    monkeypatch: pytest.MonkeyPatch, conversion: Conversion, step: Convert = STEP, full: str = ""
) -> tuple[object, list[str]]:
    """Perform a step by ``conversion``. Return the result and what was called meanwhile."""
    called: list[str] = []
    monkeypatch.setattr("moh.library.worker.prepare_file", conversion)
    monkeypatch.setattr("moh.library.worker._is_there", lambda path: path.name != "gone.mp3")
    found = perform(
        step, Path("/music"), Settings(), lambda: called.append("began"), lambda: full, lambda: called.append("tick")
    )
    return found, called


def converting(source: Path, settings: Settings, form: Form, progress: Callable[[float], None]) -> Music:
    assert source == Path("/music/jazz.mp3")
    for share in (0.0, 0.0, 0.2, 0.9):
        progress(share)
    return MUSIC


def test_a_conversion_says_once_that_it_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    assert result(monkeypatch, converting) == (MUSIC, ["tick", "tick", "tick", "began", "tick"])


def test_what_the_cache_has_was_never_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(source: Path, settings: Settings, form: Form, progress: Callable[[float], None]) -> Music:
        progress(0.0)
        return MUSIC

    assert result(monkeypatch, find, STEP._replace(may_convert=False)) == (MUSIC, ["tick"])


def test_a_conversion_that_may_not_be_is_given_up_as_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    found, called = result(monkeypatch, converting, STEP._replace(may_convert=False))
    assert found == Failure("full", "") and "began" not in called


def test_a_conversion_is_given_up_when_the_disk_is_nearly_full(monkeypatch: pytest.MonkeyPatch) -> None:
    assert result(monkeypatch, converting, full="the disk is full")[0] == Failure("full", "the disk is full")


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("Cannot play '/music/jazz.mp3': it is a text; expected music", ("refused", "it is a text; expected music")),
        ('Cannot play "/music/it\'s.mp3": it is empty', ("refused", "it is empty")),
        ("ffmpeg does not run: expected it on the PATH", ("refused", "ffmpeg does not run: expected it on the PATH")),
        (
            "Cannot write the converted music: 9 MB are needed, 1 MB are free",
            ("full", "the disk of the cache is full: 9 MB are needed, 1 MB are free"),
        ),
    ],
)
def test_an_error_becomes_a_reason(monkeypatch: pytest.MonkeyPatch, text: str, failure: tuple[str, str]) -> None:
    def refuse(source: Path, settings: Settings, form: Form, progress: Callable[[float], None]) -> Music:
        raise SettingsError(text)

    assert result(monkeypatch, refuse)[0] == Failure(*failure)


def test_a_file_that_has_gone_is_no_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def vanish(source: Path, settings: Settings, form: Form, progress: Callable[[float], None]) -> Music:
        raise SettingsError("Cannot write the converted music: [Errno 2] No such file or directory: 'gone.mp3'")

    found, _ = result(monkeypatch, vanish, STEP._replace(path="gone.mp3"))
    assert found == Failure("refused", "it is not there any more")


def test_an_arrangement_gets_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    def arrange(folder: Path, parts: tuple[Music, ...], spoken: object, settings: Settings, progress: object) -> Made:
        seen.extend([folder, parts, spoken])
        return MUSIC

    monkeypatch.setattr("moh.library.worker.arrange", arrange)
    nothing = lambda: None  # noqa: E731
    step = Arrange("folk", "folk", (MUSIC,), None)
    found = perform(step, Path("/music"), Settings(), nothing, lambda: "", nothing)
    assert found == MUSIC and seen == [Path("/music/folk"), (MUSIC,), None]
