"""The loop point of music, made of samples by the tests. No ffmpeg."""

from __future__ import annotations

import math
import sys
from array import array
from pathlib import Path
from typing import Optional

import pytest

from moh.mastering.loop import GAP, LEAD, RATE, SHORTEST, TAIL, WRAP, Loop, clicks, close_loop

MUSIC = 8000 / math.sqrt(2)
"""The level of the music of these tests: that of ``tone``."""


def tone(count: int, hertz: float = 500.0, decibels: float = 0.0) -> array[int]:
    factor = 8000 * 10 ** (decibels / 20)
    return array("h", [round(factor * math.sin(2 * math.pi * hertz * i / RATE)) for i in range(count)])


def silence(count: int) -> array[int]:
    return array("h", bytes(2 * count))


def fade(count: int, begin: float, end: float) -> array[int]:
    """A tone whose level changes from ``begin`` to ``end``, in dB below the music's."""
    levels = (begin + (end - begin) * i / count for i in range(count))
    return array("h", [round(value * 10 ** (level / 20)) for value, level in zip(tone(count), levels)])


def closed(folder: Path, music: array[int], heard: Optional[array[int]] = None) -> Loop:
    """Make a loop of the music. ``heard`` is what a telephone passes of it: all, if it is not given."""
    write(folder / "heard.s16", music if heard is None else heard)
    return close_loop(write(folder / "mono.s16", music), folder / "heard.s16", MUSIC)


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
    loop = closed(tmp_path, music)
    assert (loop.length, loop.seam, loop.trimmed) == (RATE, "as it was", 0)
    assert max(abs(a - b) for a, b in zip(read(tmp_path / "mono.s16", loop), music)) <= 1


def test_music_that_does_not_loop_is_crossfaded(tmp_path: Path) -> None:
    loop = closed(tmp_path, tone(RATE + 7))
    assert loop.seam == "cross-faded over 60 ms"
    assert RATE * 9 // 10 < loop.length < RATE
    assert loop.length % (RATE // 50) == 0, "whole packets"
    looped = read(tmp_path / "mono.s16", loop)
    assert not clicks(looped[-1600:] + looped[:1600], 1600)


def test_a_short_loop_is_repeated_until_filters_have_enough(tmp_path: Path) -> None:
    loop = closed(tmp_path, tone(RATE))
    assert loop.length * loop.times >= SHORTEST
    whole = array("h", (tmp_path / "mono.s16").read_bytes())
    assert whole[loop.start : loop.start + loop.length] == whole[loop.start + loop.length :][: loop.length]


# -- the ends of the sound -------------------------------------------------------------------------------------------


def test_silence_at_both_ends_is_cut(tmp_path: Path) -> None:
    loop = closed(tmp_path, silence(2 * RATE) + tone(RATE) + silence(2 * RATE))
    assert RATE * 9 // 10 < loop.length < RATE * 11 // 10
    assert abs(loop.trimmed - 4 * RATE) < RATE // 50


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("after", [0, 3])
def test_what_no_telephone_passes_is_silence(tmp_path: Path, before: int, after: int) -> None:
    """A hum of 50 Hz before or after the music is in the file, but not in what is heard."""
    music = tone(before * RATE, 50) + tone(2 * RATE) + tone(after * RATE, 50)
    heard = silence(before * RATE) + tone(2 * RATE) + silence(after * RATE)
    loop = closed(tmp_path, music, heard)
    assert abs(loop.trimmed - (before + after) * RATE) <= RATE // 50
    assert loop.length == pytest.approx(2 * RATE, abs=RATE // 10)


def test_a_file_of_silence_has_no_loop(tmp_path: Path) -> None:
    assert closed(tmp_path, silence(RATE)).length == 0
    assert closed(tmp_path, tone(RATE, 50), silence(RATE)).length == 0


@pytest.mark.parametrize("decibels", [-10, -20])
def test_a_click_in_the_silence_is_cut_with_it(tmp_path: Path, decibels: float) -> None:
    """Dust on a record, or the key that stopped the recorder: 2 ms."""
    click = silence(RATE) + tone(RATE // 500, 1500, decibels) + silence(RATE)
    loop = closed(tmp_path, click + tone(2 * RATE) + click)
    assert loop.length == pytest.approx(2 * RATE, abs=RATE // 10)


def test_the_last_beat_after_a_rest_is_music(tmp_path: Path) -> None:
    beat = silence(RATE) + tone(RATE // 20)  # 50 ms, as loud as the music
    loop = closed(tmp_path, tone(2 * RATE) + beat + silence(RATE))
    assert loop.length == pytest.approx(3.05 * RATE, abs=RATE // 10)


def test_what_is_left_of_a_fade_sounds_on_under_the_beginning(tmp_path: Path) -> None:
    """The fade falls by 20 dB a second. It is cut 22 dB below the music, and its next 0.5 s are not lost."""
    music = tone(2 * RATE) + fade(4 * RATE, 0, -80)
    loop = closed(tmp_path, music)
    assert loop.seam == "faded"
    assert loop.length / RATE == pytest.approx(3.1, abs=0.03)
    looped = read(tmp_path / "mono.s16", loop)
    rest = [looped[i] - music[i] for i in range(RATE // 50, TAIL)]
    assert 300 < max(map(abs, rest[: RATE // 20])) < 700
    assert max(map(abs, rest[-RATE // 50 :])) < 30
    assert max(map(abs, looped[: RATE // 50])) > 6000, "the beginning has its attack"


def test_a_soft_attack_does_not_shorten_music_that_loops_as_it_is(tmp_path: Path) -> None:
    """The first note grows from 26 dB below the music in 50 ms, of which 8 ms count as silence."""
    music = fade(RATE // 20, -26, 0) + tone(RATE) + fade(RATE // 20, 0, -26)
    loop = closed(tmp_path, music)
    assert (loop.seam, loop.length) == ("as it was", len(music))


def test_the_silence_that_an_encoder_adds_is_cut_however_short_it_is(tmp_path: Path) -> None:
    added = silence(GAP * 3 // 4)
    loop = closed(tmp_path, tone(RATE) + added)
    assert loop.seam != "as it was"
    assert loop.length <= RATE


# -- quiet passages --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decibels", [-30, -35])
def test_a_quiet_passage_at_an_end_is_no_silence(tmp_path: Path, decibels: float) -> None:
    """The mastering lifts it later."""
    quiet = tone(6 * RATE, decibels=decibels)
    for music in (tone(6 * RATE) + quiet, quiet + tone(6 * RATE), quiet + tone(6 * RATE) + quiet):
        loop = closed(tmp_path, music + silence(RATE))
        assert loop.length == pytest.approx(len(music), abs=RATE // 10)


def test_a_quiet_passage_may_be_of_short_notes(tmp_path: Path) -> None:
    notes = sum((tone(RATE // 10, decibels=-30) + silence(RATE * 4 // 10) for _ in range(12)), array("h"))
    loop = closed(tmp_path, tone(6 * RATE) + notes)
    assert loop.length / RATE == pytest.approx(11.6, abs=0.1)


def test_noise_behind_the_music_is_no_quiet_passage(tmp_path: Path) -> None:
    loop = closed(tmp_path, tone(2 * RATE) + tone(10 * RATE, decibels=-46))
    assert loop.length == pytest.approx(2 * RATE, abs=RATE // 10)


def test_a_slow_fade_is_no_quiet_passage(tmp_path: Path) -> None:
    """It falls by 3 dB a second: for 6 s it is between the level of silence and that of noise."""
    loop = closed(tmp_path, tone(2 * RATE) + fade(20 * RATE, 0, -60))
    assert loop.length / RATE == pytest.approx(9.33, abs=0.2)


def test_the_end_of_a_quiet_passage_may_fade_too(tmp_path: Path) -> None:
    """It falls by 15 dB a second. Where it is 2 dB below the passage, it is cut."""
    passage = tone(6 * RATE, decibels=-28)
    loop = closed(tmp_path, tone(6 * RATE) + passage + fade(4 * RATE, -28, -88))
    assert loop.length / RATE == pytest.approx(12.2, abs=0.1)
