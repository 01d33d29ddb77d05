"""The gain of an announcement: phrases of one loudness, and pauses that are not lifted."""

from __future__ import annotations

from array import array
from pathlib import Path

import pytest

from moh.mastering.leveller import GRID
from moh.mastering.loop import LEAD, RATE, Loop
from moh.mastering.speech import FALL, MOST, PAUSE, RISE, curve_gains, levels, speech_gains, write_gains

NOISE = [-45.0]


def spoken(seconds: float, decibels: float) -> list[float]:
    """Levels of a phrase: each syllable has 0.2 s, and half of them are 6 dB softer."""
    return [decibels - 6.0 * (i * 5 // GRID % 2) for i in range(round(seconds * GRID))]


def middle(gains: list[float]) -> float:
    return gains[len(gains) // 2]


def test_a_soft_phrase_is_lifted_and_a_loud_one_lowered() -> None:
    phrases = [*spoken(5, 4.0), *(NOISE * GRID), *spoken(5, -6.0)]
    gains = speech_gains(phrases)
    loud, soft = gains[: 5 * GRID], gains[6 * GRID :]
    assert middle(loud) == pytest.approx(-1.5, abs=1.0)
    assert middle(soft) == pytest.approx(MOST, abs=1.0)
    assert max(map(abs, gains)) <= MOST + PAUSE


def test_a_pause_is_lowered_whatever_the_phrases_around_it_need() -> None:
    for decibels in (-8.0, 0.0, 4.0):
        gains = speech_gains([*spoken(2, decibels), *(NOISE * 2 * GRID), *spoken(2, decibels)])
        assert gains[3 * GRID] <= -PAUSE
        assert min(gains) >= -PAUSE - MOST


def test_the_gain_is_there_when_a_word_begins_and_leaves_slowly() -> None:
    gains = speech_gains([*spoken(2, 0.0), *(NOISE * 2 * GRID), *spoken(2, 0.0)])
    assert gains[4 * GRID] == pytest.approx(gains[5 * GRID], abs=0.5), "the word's first value has its gain"
    steps = [b - a for a, b in zip(gains, gains[1:])]
    assert max(steps) * GRID <= RISE + 1e-6 and -min(steps) * GRID <= FALL + 1e-6


def test_pauses_between_words_have_the_gain_of_the_words() -> None:
    """A gap of 0.1 s belongs to the word before it."""
    gains = speech_gains([*spoken(2, 0.0), *(NOISE * (GRID // 10)), *spoken(2, 0.0)])
    assert min(gains[GRID:-GRID]) > -2.0


@pytest.mark.parametrize("noise", [-120.0, -60.0, -35.0, -20.0])
def test_noise_is_told_from_speech_at_each_level(noise: float) -> None:
    gains = speech_gains([*spoken(3, 0.0), *([noise] * 2 * GRID), *spoken(3, 0.0)])
    assert gains[4 * GRID] == pytest.approx(-PAUSE, abs=2.0)
    assert middle(gains[: 3 * GRID]) > -3.0


@pytest.mark.parametrize("values", [[0.0], [-120.0], [0.0] * 20, [-120.0] * 20])
def test_the_shortest_announcements_have_a_gain(values: list[float]) -> None:
    gains = speech_gains(values)
    assert len(gains) == len(values)
    assert all(-PAUSE - MOST <= gain <= MOST for gain in gains)


def test_the_level_is_that_of_50_ms(tmp_path: Path) -> None:
    half = RATE // 2
    samples = array("h", [*([0] * LEAD), *([1000, -1000] * (half // 2)), *([0] * half)])
    (tmp_path / "heard").write_bytes(samples.tobytes())
    found = levels(tmp_path / "heard", Loop(LEAD, RATE, 1, "", 0, closed=False), 1000.0)
    assert len(found) == GRID
    assert found[GRID // 4] == pytest.approx(0.0, abs=0.01)
    assert found[GRID // 2] == pytest.approx(-3.0, abs=0.5)
    assert found[-1] == -120.0


def test_the_envelope_goes_from_before_the_speech_to_after_it(tmp_path: Path) -> None:
    write_gains(tmp_path / "envelope", [0.0, -20.0], Loop(LEAD, 160, 1, "", 0, closed=False))
    factors = array("f", (tmp_path / "envelope").read_bytes())
    lead = GRID * LEAD // RATE
    assert factors[: lead + 1].tolist() == [1.0] * (lead + 1)
    assert factors[lead + 1 :].tolist() == pytest.approx([0.1] * (lead + 3))


def test_the_gain_of_a_value_of_the_curve_is_that_of_its_sound() -> None:
    gains = [0.0] * GRID + [-10.0] * GRID
    found = curve_gains(gains, 21)
    assert found[:10] == [0.0] * 10
    assert found[10] == pytest.approx(-2.5)
    assert found[13:20] == [-10.0] * 7
