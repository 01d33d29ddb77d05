"""The watch over the owner's file, with a conversion that is played: threads, but no ffmpeg and no socket."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from moh.common.config import Settings
from moh.common.errors import SettingsError
from moh.mastering.prepare import Music
from moh.mastering.reloader import Reloader, ReloadResult
from tests.support.running import wait_for


class Conversion:
    """Stands for ``prepare``: tells how often it was asked, fails where the file says so."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, settings: Settings, watch: object) -> Music:
        self.asked += 1
        text = Path(settings.music).read_text()
        if text == "broken":
            raise SettingsError("Music is broken")
        if text == "a fault of ours":
            raise ZeroDivisionError(text)
        return Music({}, float(len(text)), Path(settings.music))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "music.mp3"
    path.write_text("one")
    return path


@pytest.fixture
def conversion() -> Conversion:
    return Conversion()


@pytest.fixture
def watch(file: Path, conversion: Conversion) -> Iterator[Reloader]:
    watch = Reloader(Settings.from_environment({"MOH_MUSIC": str(file)}), conversion, poll=0.02)
    yield watch
    watch.close()
    assert "music" not in [thread.name for thread in threading.enumerate()]


def next_news(watch: Reloader) -> ReloadResult:
    got: list[ReloadResult] = []

    def come() -> bool:
        got.extend(watch.drain())
        return bool(got)

    wait_for(come, "news")
    assert len(got) == 1
    return got[0]


def test_the_first_music_comes_by_itself(watch: Reloader) -> None:
    first = next_news(watch)
    assert isinstance(first, Music) and first.seconds == 3.0


def test_a_changed_file_is_prepared_and_an_unchanged_one_is_not(
    watch: Reloader, file: Path, conversion: Conversion
) -> None:
    next_news(watch)
    file.write_text("another")
    second = next_news(watch)
    assert isinstance(second, Music) and second.seconds == 7.0
    assert conversion.asked == 2
    os.utime(file, ns=(1, 1))
    assert isinstance(next_news(watch), Music)
    assert conversion.asked == 3


def test_a_broken_file_is_told_once_and_a_good_one_comes_after_it(watch: Reloader, file: Path) -> None:
    next_news(watch)
    file.write_text("broken")
    assert str(next_news(watch)) == "Music is broken"
    file.write_text("a fault of ours")
    assert "ZeroDivisionError" in str(next_news(watch))
    file.write_text("good")
    assert isinstance(next_news(watch), Music)


def test_a_file_that_is_gone_is_no_new_music(watch: Reloader, file: Path, conversion: Conversion) -> None:
    next_news(watch)
    file.unlink()
    file.with_name("new").write_text("back again")
    file.with_name("new").rename(file)
    assert isinstance(next_news(watch), Music)
    assert conversion.asked == 2


def test_it_may_be_asked_to_look_again(watch: Reloader, conversion: Conversion) -> None:
    next_news(watch)
    watch.check_now()
    assert isinstance(next_news(watch), Music)
    assert conversion.asked == 2
