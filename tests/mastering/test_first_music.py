"""End to end, by real ffmpeg: what callers hear first after the start, from the cache or in place of the music."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from moh.mastering import first_music, prepare
from moh.mastering.cache import digest_of
from moh.mastering.prepare import BUILTIN, state_of
from moh.mastering.refusals import facts_of
from tests.mastering.tracks import make, prepared, settings
from tests.support.running import wait_for


def test_music_that_was_converted_before_is_there_at_once(tmp_path: Path) -> None:
    tone = make(tmp_path / "tone.wav")
    expected = prepared(tone)
    first = first_music.first_music(settings(tone, tmp_path / "cache"))
    assert first is not None and first.state == state_of(tone.stat())
    assert first.music == replace(expected, took=0.0)


def test_the_built_in_piece_is_not_looked_up_as_the_owners_music(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "DEFAULT_SOURCES", ())
    assert first_music.first_music(settings(cache=tmp_path / "cache")) is None


def test_music_that_is_not_converted_has_a_stand_in(tmp_path: Path) -> None:
    first = first_music.first_music(settings(make(tmp_path / "tone.wav"), tmp_path / "cache"))
    assert first is not None and (first.music.source, first.state) == (BUILTIN, None)


@pytest.mark.parametrize("place", ["while it is read", "when it is opened"])
def test_the_stand_in_does_not_wait_for_a_file_that_is_read_slowly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    """As from a network share that is slow or hangs. The music is in the cache, which takes its whole file to know."""
    tone = make(tmp_path / "tone.wav")
    prepared(tone)
    released, ended = threading.Event(), threading.Event()

    def slow_digest(source: Path, tick: Callable[[], None] = lambda: None) -> str:
        if source == BUILTIN:
            return digest_of(source, tick)
        try:
            assert released.wait(30)
            tick()
            return digest_of(source, tick)
        finally:
            ended.set()

    def slow_facts(source: Path) -> os.stat_result:
        assert source == BUILTIN or released.wait(30)
        return facts_of(source)

    monkeypatch.setattr(first_music, "DIGEST_TIMEOUT", 0.05)
    if place == "while it is read":
        monkeypatch.setattr(first_music, "digest_of", slow_digest)
    else:
        monkeypatch.setattr(first_music, "facts_of", slow_facts)
    try:
        first = first_music.first_music(settings(tone, tmp_path / "cache"))
        assert not released.is_set()
        assert first is not None and (first.music.source, first.state) == (BUILTIN, None)
        assert "the music is read slowly, or not at all" in caplog.text
    finally:
        released.set()
    wait_for(lambda: "digest" not in [thread.name for thread in threading.enumerate()], "the end of the thread")
    assert ended.is_set() == (place == "while it is read")


def test_a_stop_cancels_the_stand_in_while_the_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(first_music, "digest_of", lambda source, tick: released.wait(30))

    def cancel(share: float) -> None:
        raise ZeroDivisionError

    try:
        with pytest.raises(ZeroDivisionError):
            first_music.first_music(settings(make(tmp_path / "tone.wav"), tmp_path / "cache"), cancel)
    finally:
        released.set()
