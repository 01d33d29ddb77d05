"""Tests of what a decoder has delivered: the sample rates in step, and no long silence."""

from __future__ import annotations

import pytest

from moh.radio.live_buffer import PAUSE, ROOM, LiveBuffer

SOUND, SILENCE = b"\x00\x10", b"\x00\x00"


def feed(buffer: LiveBuffer, sample: bytes, frames: int) -> None:
    buffer.feed(8000, sample * frames)
    buffer.feed(16000, sample * 2 * frames)


def test_a_frame_can_be_read_when_both_rates_have_it() -> None:
    buffer = LiveBuffer(0.0)
    buffer.feed(8000, SOUND * 1600)
    assert buffer.frames == 0
    buffer.feed(16000, SOUND * 2 * 400)
    assert buffer.frames == 320, "two whole blocks of 160"
    sound = buffer.read(1000)
    assert sound == {8000: SOUND * 320, 16000: SOUND * 640}
    assert (buffer.frames, buffer.heard) == (0, 320)


def test_a_pause_within_music_stays() -> None:
    buffer = LiveBuffer(0.0)
    feed(buffer, SOUND, 1600)
    feed(buffer, SILENCE, PAUSE)
    feed(buffer, SOUND, 1600)
    assert buffer.frames == 3200 + PAUSE
    assert not buffer.is_away


def test_a_longer_silence_is_cut() -> None:
    buffer = LiveBuffer(0.0)
    feed(buffer, SOUND, 1600)
    for _ in range(20):
        feed(buffer, SILENCE, 800)
    assert buffer.is_away
    feed(buffer, SOUND, 1600)
    assert not buffer.is_away
    assert buffer.frames == 3200 + PAUSE
    sound = buffer.read(10000)
    assert sound[8000] == SOUND * 1600 + SILENCE * PAUSE + SOUND * 1600
    assert sound[16000] == SOUND * 3200 + SILENCE * 2 * PAUSE + SOUND * 3200


def test_a_silence_at_the_beginning_vanishes() -> None:
    buffer = LiveBuffer(0.0)
    feed(buffer, SILENCE, 8000)
    feed(buffer, SOUND, 160)
    assert buffer.read(10000)[8000] == SOUND * 160


@pytest.mark.parametrize("silent", [0, 1600, PAUSE, PAUSE + 160, 5 * PAUSE])
def test_a_silence_at_the_end_vanishes(silent: int) -> None:
    buffer = LiveBuffer(0.0)
    feed(buffer, SOUND, 800)
    feed(buffer, SILENCE, silent)
    buffer.finish()
    buffer.finish()
    assert buffer.finished
    assert buffer.read(10000) == {8000: SOUND * 800, 16000: SOUND * 1600}


def test_a_buffer_is_full_after_20_seconds_of_either_rate() -> None:
    buffer = LiveBuffer(0.0)
    feed(buffer, SOUND, ROOM - 160)
    assert not buffer.is_full
    feed(buffer, SOUND, 160)
    assert buffer.is_full
    one_sided = LiveBuffer(0.0)
    one_sided.feed(16000, SOUND * (2 * ROOM + 2))
    assert one_sided.is_full
