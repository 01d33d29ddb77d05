"""The music under an announcement: depth, ramps, peaks, and the samples at the edges."""

from __future__ import annotations

import math
from array import array
from itertools import chain

import pytest

from moh.mastering.lowering import BLOCK, DEPTH, DOWN, HOLD, TICKS, UP, Lowering, gain_at, window

SPOKEN = TICKS * 3 // 2
RATES = (8000, 16000)


def spoken_over(music: array[int], voice: array[int], rate: int, block: int = BLOCK) -> array[int]:
    """The whole window, mixed in blocks."""
    each = rate // TICKS
    lowering = Lowering(voice, rate, 16000.0)
    whole = window(len(voice) // each)
    assert len(music) == whole * each
    parts = (
        lowering.over(lambda a, b: music[a * each : b * each], at, min(whole, at + block))
        for at in range(0, whole, block)
    )
    return array("h", chain.from_iterable(parts))


def constant(value: int, ticks: int, rate: int) -> array[int]:
    return array("h", [value]) * (ticks * rate // TICKS)


def test_the_gain_goes_down_before_the_voice_and_returns_after_it() -> None:
    in_decibels = [20 * math.log10(gain_at(tick, SPOKEN)) for tick in range(window(SPOKEN) + 1)]
    assert in_decibels[0] == 0.0 and in_decibels[-1] == 0.0
    assert {round(value, 9) for value in in_decibels[DOWN : DOWN + SPOKEN + HOLD]} == {-DEPTH}
    down, up = in_decibels[:DOWN], in_decibels[-UP:]
    assert down == sorted(down, reverse=True) and up == sorted(up)


def test_the_ramps_are_slow_enough_to_be_no_pumping() -> None:
    assert 0.3 <= DOWN / TICKS <= 0.6
    assert 0.8 <= UP / TICKS <= 1.5
    in_decibels = [20 * math.log10(gain_at(tick, SPOKEN)) for tick in range(window(SPOKEN))]
    steepest = max(abs(after - before) for before, after in zip(in_decibels, in_decibels[1:])) * TICKS
    assert steepest < 60  # dB a second


@pytest.mark.parametrize("rate", RATES)
def test_the_gain_does_not_follow_the_syllables(rate: int) -> None:
    """With a voice and without one, the music under it is the same."""
    music = constant(8000, window(SPOKEN), rate)
    silent = spoken_over(music, constant(0, SPOKEN, rate), rate)
    syllables = array("h", [3000 * (i // 800 % 2) for i in range(SPOKEN * rate // TICKS)])
    spoken = spoken_over(music, syllables, rate)
    at = DOWN * rate // TICKS
    assert spoken[:at] == silent[:at]
    assert set(silent[at : at + 1600]) == {round(8000 * 10 ** (-DEPTH / 20))}
    assert set(spoken[at + 1000 : at + 1500]) == {3000 + silent[at]}
    assert spoken[-UP * rate // TICKS :] == silent[-UP * rate // TICKS :]


@pytest.mark.parametrize("rate", RATES)
def test_the_music_returns_exactly(rate: int) -> None:
    music = constant(8000, window(SPOKEN), rate)
    mixed = spoken_over(music, constant(0, SPOKEN, rate), rate)
    assert mixed[0] == 8000 and mixed[-1] == 8000


@pytest.mark.parametrize("rate", RATES)
def test_peaks_of_music_and_voice_stay_below_the_ceiling(rate: int) -> None:
    count = window(SPOKEN) * rate // TICKS
    music = array("h", [round(15000 * math.sin(2 * math.pi * 440 * i / rate)) for i in range(count)])
    voice = array("h", [round(15900 * math.sin(2 * math.pi * 300 * i / rate)) for i in range(SPOKEN * rate // TICKS)])
    mixed = spoken_over(music, voice, rate)
    assert 15900 < max(map(abs, mixed)) <= 16000


def test_blocks_meet_without_a_trace() -> None:
    count = window(SPOKEN)
    music = array("h", [round(15000 * math.sin(0.35 * i)) for i in range(count)])
    voice = array("h", [round(15900 * math.sin(0.24 * i)) for i in range(SPOKEN)])
    assert spoken_over(music, voice, 8000, 777) == spoken_over(music, voice, 8000, count)


def test_the_voice_begins_and_ends_without_a_click() -> None:
    mixed = spoken_over(constant(0, window(SPOKEN), 8000), constant(10000, SPOKEN, 8000), 8000)
    assert max(abs(after - before) for before, after in zip(mixed, mixed[1:])) <= 10000 / 40


def test_an_announcement_of_a_few_samples_is_possible() -> None:
    assert len(spoken_over(constant(5, window(3), 8000), constant(9, 3, 8000), 8000)) == window(3)
