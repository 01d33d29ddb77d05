"""The reloader with a stand-in for the conversion. The reloader has its thread; there is no ffmpeg and no socket."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Optional

import pytest

from moh.common.config import Settings
from moh.common.errors import SettingsError
from moh.mastering.file_watch import FileState, FileWatch
from moh.mastering.first_music import FirstMusic
from moh.mastering.prepare import Music, state_of
from moh.mastering.reloader import Reloader, ReloadResult, StandIn
from tests.support.running import wait_for


class Conversion:
    """A stand-in for ``prepare``. It counts its calls, and fails if the text in the file says so."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, settings: Settings, progress: object) -> Music:
        self.calls += 1
        text = Path(settings.music).read_text()
        if text == "broken":
            raise SettingsError("Music is broken")
        if text == "a bug":
            raise ZeroDivisionError(text)
        return Music({}, float(len(text)), Path(settings.music), took=1.0)


def impatient() -> FileWatch:
    """Return a watch for which two polls suffice."""
    return FileWatch(quiet=0.02, quiet_incomplete=0.02, quiet_at_start=0.0)


def no_stand_in(settings: Settings, progress: object) -> None:
    """A stand-in for ``first_music``: the built-in piece is the music."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "music.mp3"
    path.write_text("one")
    return path


@pytest.fixture
def conversion() -> Conversion:
    return Conversion()


@pytest.fixture
def reloader(file: Path, conversion: Conversion) -> Iterator[Reloader]:
    reloader = Reloader(Settings.from_environment({"MOH_MUSIC": str(file)}), conversion, no_stand_in, 0.02, impatient())
    yield reloader
    reloader.close()
    assert "music" not in [thread.name for thread in threading.enumerate()]


def next_result(reloader: Reloader) -> ReloadResult:
    """Wait for a result and return it. There must be no second result."""
    results: list[ReloadResult] = []

    def arrived() -> bool:
        results.extend(reloader.drain())
        return bool(results)

    wait_for(arrived, "a result")
    assert len(results) == 1
    return results[0]


def test_the_first_music_is_prepared_without_a_request(reloader: Reloader) -> None:
    reloader.await_first(10.0)
    (first,) = reloader.drain()
    assert isinstance(first, Music) and first.seconds == 3.0


def test_a_changed_file_is_prepared_and_an_unchanged_one_is_not(
    reloader: Reloader, file: Path, conversion: Conversion
) -> None:
    next_result(reloader)
    file.write_text("another")
    second = next_result(reloader)
    assert isinstance(second, Music) and second.seconds == 7.0
    assert conversion.calls == 2
    os.utime(file, ns=(1, 1))
    assert isinstance(next_result(reloader), Music)
    assert conversion.calls == 3


def test_a_broken_file_is_reported_once_and_a_good_one_is_prepared_after_it(reloader: Reloader, file: Path) -> None:
    next_result(reloader)
    file.write_text("broken")
    assert str(next_result(reloader)) == "Music is broken"
    file.write_text("good")
    assert isinstance(next_result(reloader), Music)


def test_a_bug_in_the_conversion_is_logged_with_its_traceback_and_reported_to_the_owner(
    reloader: Reloader, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    next_result(reloader)
    file.write_text("a bug")
    assert "ZeroDivisionError" in str(next_result(reloader))
    assert "unexpected error in the preparation of the music" in caplog.text
    assert "Traceback" in caplog.text
    assert reloader.faults.count == 1
    file.write_text("good")
    assert isinstance(next_result(reloader), Music)


def test_a_bug_in_the_polling_is_logged_and_the_next_change_is_still_seen(
    reloader: Reloader, file: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    next_result(reloader)
    with monkeypatch.context() as broken:
        broken.setattr("moh.mastering.reloader.poll_file", lambda settings: settings.no_such_setting)
        wait_for(lambda: reloader.faults.count, "the fault")
    assert "AttributeError" in caplog.text
    assert caplog.text.count("Traceback") == 1, "once in ten seconds"
    file.write_text("good")
    assert isinstance(next_result(reloader), Music)


def test_a_request_prepares_a_file_though_it_still_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGHUP: the owner says that it is whole."""
    numbers = itertools.count()
    changing = lambda settings: (FileState(Path("music.mp3"), (next(numbers),)), 0.0)  # noqa: E731
    monkeypatch.setattr("moh.mastering.reloader.poll_file", changing)
    convert = lambda settings, progress: Music({}, 1.0, Path("music.mp3"), took=1.0)  # noqa: E731
    reloader = Reloader(Settings(), convert, no_stand_in, poll_every=0.001)
    try:
        reloader.check_now()
        assert isinstance(next_result(reloader), Music)
        reloader.check_now()
        assert isinstance(next_result(reloader), Music)
    finally:
        reloader.close()


def test_a_file_that_is_written_to_at_the_start_is_waited_for_and_the_log_says_so_once(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    numbers = itertools.count()
    changing = lambda settings: (FileState(file, (next(numbers),)), 0.0)  # noqa: E731
    monkeypatch.setattr("moh.mastering.reloader.poll_file", changing)
    monkeypatch.setattr("moh.mastering.reloader.PATIENCE", 0.02)
    caplog.set_level("INFO", "moh")
    reloader = Reloader(Settings(), Conversion(), no_stand_in, poll_every=0.001)
    try:
        wait_for(lambda: next(numbers) > 100, "a hundred polls")
        assert reloader.drain() == []
        assert caplog.text.count(f"waiting for the music: {file} has changed in the last seconds") == 1
    finally:
        reloader.close()


def test_music_that_is_played_already_is_no_new_music(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The file was touched, or the owner asked for it: the cache has its content, which is that of the music."""
    caplog.set_level("INFO", "moh")
    took = iter([1.0, 0.0, 0.0, 1.0])
    paths = iter(map(Path, ["/dev/null", "/dev/null", "/dev/zero", "/dev/zero"]))  # they are there
    convert = lambda settings, progress: Music({8000: next(paths)}, 48.0, file, took=next(took))  # noqa: E731
    reloader = Reloader(Settings.from_environment({"MOH_MUSIC": str(file)}), convert, no_stand_in, watch=impatient())
    try:
        assert isinstance(next_result(reloader), Music)
        reloader.check_now()
        wait_for(lambda: "the music is unchanged: music.mp3 (48 s)" in caplog.text, "the line")
        assert reloader.drain() == []
        assert "restart the container" not in caplog.text
        reloader.check_now()
        assert isinstance(next_result(reloader), Music), "the former music of another file, from the cache"
        reloader.check_now()
        assert isinstance(next_result(reloader), Music), "the entry of the cache was spoilt and is made anew"
    finally:
        reloader.close()


def test_a_bound_file_that_was_replaced_outside_of_the_container_is_named(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The container keeps the file that was bound, which has lost its last name. Here an open file stands for that."""
    caplog.set_level("INFO", "moh")
    took = iter([1.0, 0.0])
    with file.open() as bound:
        path = Path(f"/proc/self/fd/{bound.fileno()}")
        convert = lambda settings, progress: Music({}, 48.0, path, took=next(took))  # noqa: E731
        reloader = Reloader(
            Settings.from_environment({"MOH_MUSIC": str(path)}), convert, no_stand_in, watch=impatient()
        )
        try:
            assert isinstance(next_result(reloader), Music)
            file.unlink()
            reloader.check_now()
            wait_for(
                lambda: "was replaced or removed; restart the container to play what is there now" in caplog.text, "it"
            )
        finally:
            reloader.close()


def test_a_file_that_is_removed_and_comes_back_is_prepared_once(
    reloader: Reloader, file: Path, conversion: Conversion
) -> None:
    next_result(reloader)
    file.unlink()
    file.with_name("new").write_text("back again")
    file.with_name("new").rename(file)
    assert isinstance(next_result(reloader), Music)
    assert conversion.calls == 2


def test_a_request_prepares_an_unchanged_file_anew(reloader: Reloader, conversion: Conversion) -> None:
    next_result(reloader)
    reloader.check_now()
    assert isinstance(next_result(reloader), Music)
    assert conversion.calls == 2


def test_the_end_cancels_a_running_conversion(file: Path) -> None:
    running = threading.Event()
    cancelled = threading.Event()

    def endless(settings: Settings, progress: object) -> Music:
        running.set()
        try:
            while True:
                progress(0.5)  # type: ignore[operator]
        finally:
            cancelled.set()

    reloader = Reloader(Settings.from_environment({"MOH_MUSIC": str(file)}), endless, no_stand_in, watch=impatient())
    assert running.wait(10)
    reloader.await_first(0.001)  # this wait has an end
    reloader.close()
    assert cancelled.is_set()
    assert reloader.drain() == []


# -- the stand-in of the start -------------------------------------------------------------------------------------


def start(file: Path, conversion: Conversion, first_music: object) -> Reloader:
    settings = Settings.from_environment({"MOH_MUSIC": str(file)})
    return Reloader(settings, conversion, first_music, 0.02, impatient())  # type: ignore[arg-type]


def results_of(reloader: Reloader, count: int) -> list[ReloadResult]:
    results: list[ReloadResult] = []

    def arrived() -> bool:
        results.extend(reloader.drain())
        return len(results) >= count

    wait_for(arrived, f"{count} results")
    return results


PIECE = Music({}, 48.0, Path("builtin.mp3"))


def test_the_stand_in_comes_before_the_music_of_the_start(file: Path, conversion: Conversion) -> None:
    reloader = start(file, conversion, lambda settings, progress: FirstMusic(PIECE))
    first, second = results_of(reloader, 2)
    reloader.close()
    assert first == StandIn(PIECE)
    assert isinstance(second, Music) and second.source == file


@pytest.mark.parametrize("content", ["one", "another"])
def test_music_of_the_cache_is_prepared_when_it_changes(file: Path, conversion: Conversion, content: str) -> None:
    def ask(settings: Settings, progress: object) -> FirstMusic:
        state = state_of(file.stat())
        if content != file.read_text():
            file.write_text(content)  # it changes while the cache is asked
        return FirstMusic(PIECE, state)

    reloader = start(file, conversion, ask)
    results = results_of(reloader, 1)
    file.write_text("another")
    assert (results + results_of(reloader, 2 - len(results)))[:2] == [PIECE, Music({}, 7.0, file, took=1.0)]
    reloader.close()


def test_a_bug_in_the_stand_in_leaves_the_music(
    file: Path, conversion: Conversion, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(settings: Settings, progress: object) -> Music:
        raise ZeroDivisionError("a bug")

    reloader = start(file, conversion, broken)
    assert isinstance(next_result(reloader), Music)
    reloader.close()
    assert "Traceback" in caplog.text


def test_a_stop_cancels_the_stand_in(file: Path, conversion: Conversion) -> None:
    began = threading.Event()

    def slow(settings: Settings, progress: Callable[[float], None]) -> Music:
        began.set()
        while True:
            progress(0.1)

    reloader = start(file, conversion, slow)
    assert began.wait(10)
    reloader.close()
    assert "music" not in [thread.name for thread in threading.enumerate()]
    assert conversion.calls == 0


def test_a_file_that_was_refused_is_read_again_when_its_mode_has_changed(file: Path, conversion: Conversion) -> None:
    """``chmod a+r`` changes neither the size nor the time of the content."""
    file.write_text("broken")
    reloader = start(file, conversion, no_stand_in)
    assert isinstance(next_result(reloader), SettingsError)
    file.chmod(0o604)
    assert isinstance(next_result(reloader), SettingsError)
    assert conversion.calls == 2
    reloader.close()


@pytest.mark.parametrize("content", [None, "broken"])
def test_a_cure_is_seen_without_a_request(file: Path, conversion: Conversion, content: Optional[str]) -> None:
    file.unlink()
    if content:
        file.write_text(content)
    reloader = Reloader(
        Settings.from_environment({"MOH_MUSIC": str(file)}),
        lambda settings, progress: conversion(settings, progress) if file.exists() else refuse(),
        no_stand_in,
        0.02,
        impatient(),
    )
    assert isinstance(next_result(reloader), SettingsError)
    file.write_text("good")
    assert isinstance(next_result(reloader), Music)
    reloader.close()


@pytest.mark.parametrize("plays", [False, True])
def test_a_file_is_tried_again_when_the_cause_of_its_failure_may_be_gone(
    file: Path, caplog: pytest.LogCaptureFixture, plays: bool
) -> None:
    """The disk was full, and is not any more. The file has not changed. Equal errors have one result and one line."""
    caplog.set_level("INFO", "moh")
    errors: list[Exception] = [
        SettingsError("Music cannot be kept: 3 MB are free; expected room to write"),
        SettingsError("Music cannot be kept: 4 MB are free; expected room to write"),
        SettingsError("Music cannot be kept: [Errno 28] '/cache/unfinished-a1b2'"),
        SettingsError("Music cannot be kept: [Errno 28] '/cache/unfinished-c3d4'"),
        ZeroDivisionError("a bug"),
        ZeroDivisionError("a bug"),
    ]
    left = list(errors)
    new = Music({8000: Path("/dev/null")}, 3.0, file, took=1.0)
    former = [Music({8000: Path("/dev/zero")}, 3.0, file, took=1.0)] * plays

    def convert(settings: Settings, progress: Callable[[float], None]) -> Music:
        progress(0.5)
        if former:
            return former.pop()
        if left:
            raise left.pop(0)
        return new

    watch = FileWatch(quiet=0.02, quiet_incomplete=0.02, quiet_at_start=0.0, retry_every=0.02, retry_share=0.0)
    reloader = Reloader(Settings.from_environment({"MOH_MUSIC": str(file)}), convert, no_stand_in, 0.01, watch)
    if plays:
        assert isinstance(next_result(reloader), Music)
        file.write_text("another")
    results = results_of(reloader, 4)
    reloader.close()
    assert [str(result) for result in results[:3]] == [
        str(errors[0]), str(errors[2]), "Music cannot be prepared: ZeroDivisionError('a bug')"
    ]  # fmt: skip
    assert results[3:] == [new]
    assert caplog.text.count("Traceback") == 1


def test_a_request_reports_an_equal_failure_again(file: Path, conversion: Conversion) -> None:
    file.write_text("broken")
    reloader = start(file, conversion, no_stand_in)
    assert isinstance(next_result(reloader), SettingsError)
    reloader.check_now()
    assert isinstance(next_result(reloader), SettingsError)
    reloader.close()


def refuse() -> Music:
    raise SettingsError("Music is not there")
