"""The loop point of music, made of samples by the tests. No ffmpeg."""

from __future__ import annotations

import math
import sys
from array import array
from pathlib import Path

from moh.mastering.loop import LEAD, RATE, SHORTEST, WRAP, Loop, clicks, close_loop


def tone(count: int, hertz: float = 500.0) -> array[int]:
    return array("h", [round(8000 * math.sin(2 * math.pi * hertz * i / RATE)) for i in range(count)])


def write(path: Path, music: array[int]) -> Path:
    """Write a file like the downmix: silence, the music, and the beginning of the music again."""
    samples = array("h", bytes(2 * LEAD)) + music + music[:WRAP]
    if sys.byteorder == "big":
        samples.byteswap()
    path.write_bytes(samples.tobytes())
    return path


def read(path: Path, loop: Loop) -> array[int]:
    samples = array("h", path.read_bytes())
    if sys.byteorder == "big":
        samples.byteswap()
    assert len(samples) == loop.start + loop.length * loop.times + LEAD
    return samples[loop.start : loop.start + loop.length]


def test_a_click_is_distinguished_from_a_sound_that_goes_on() -> None:
    sound = tone(3200)
    assert not clicks(sound, 1600)
    assert clicks(sound[:1600] + sound[1590:3190], 1600)


def test_music_that_loops_as_it_is_stays_as_it_is(tmp_path: Path) -> None:
    music = tone(RATE)  # 500 whole periods
    path = write(tmp_path / "mono.s16", music)
    loop = close_loop(path, 100)
    assert (loop.length, loop.seam, loop.trimmed) == (RATE, "as it was", 0)
    assert max(abs(a - b) for a, b in zip(read(path, loop), music)) <= 1


def test_music_that_does_not_loop_is_crossfaded(tmp_path: Path) -> None:
    path = write(tmp_path / "mono.s16", tone(RATE + 7))
    loop = close_loop(path, 100)
    assert loop.seam == "cross-faded over 60 ms"
    assert RATE * 9 // 10 < loop.length < RATE
    assert loop.length % (RATE // 50) == 0, "whole packets"
    looped = read(path, loop)
    assert not clicks(looped[-1600:] + looped[:1600], 1600)


def test_a_short_loop_is_repeated_until_filters_have_enough(tmp_path: Path) -> None:
    path = write(tmp_path / "mono.s16", tone(RATE))
    loop = close_loop(path, 100)
    assert loop.length * loop.times >= SHORTEST
    whole = array("h", path.read_bytes())
    assert whole[loop.start : loop.start + loop.length] == whole[loop.start + loop.length :][: loop.length]


def test_silence_at_both_ends_is_cut(tmp_path: Path) -> None:
    silence = array("h", bytes(2 * RATE))
    loop = close_loop(write(tmp_path / "mono.s16", silence + tone(RATE) + silence), 100)
    assert RATE * 9 // 10 < loop.length < RATE * 11 // 10
    assert abs(loop.trimmed - 2 * RATE) < RATE // 50


def test_a_file_of_silence_has_no_loop(tmp_path: Path) -> None:
    (tmp_path / "silent").write_bytes(bytes(2 * (LEAD + RATE + WRAP)))
    assert close_loop(tmp_path / "silent", 10).length == 0
