"""The leveller: which passages are lifted, how much and how fast, and the file of its gains."""

from __future__ import annotations

import math
from array import array
from pathlib import Path

import pytest

from moh.mastering.curve import STEP
from moh.mastering.leveller import FALL, GRID, RISE, lifts, write_envelope
from moh.mastering.loop import LEAD, RATE, Loop

LOUD, QUIET = [-20.0], [-55.0]


@pytest.mark.parametrize(
    "curve",
    [
        LOUD * 600,
        [-20.0, -28.0] * 300,
        (LOUD * 40 + [-28.0] * 80) * 5,
        (LOUD * 20 + QUIET * 45) * 9,
        LOUD * 300 + [-26.0, -32.0] + [-67.0] * 300 + [-32.0, -26.0],
        LOUD * 300 + [-math.inf] * 300,
        LOUD * 15 + QUIET * 15,
        [-math.inf] * 300,
    ],
    ids=["steady", "lively", "8 LU", "pauses of 4.5 s", "noise 47 LU below", "silence", "short", "nothing"],
)
def test_no_gain(curve: list[float]) -> None:
    assert lifts(curve, 0.0) == []


@pytest.mark.parametrize(
    "curve", [LOUD * 300 + QUIET * 300, QUIET * 300 + LOUD * 300, QUIET * 150 + LOUD * 300 + QUIET * 150]
)
def test_a_half_35_lu_below_comes_within_12(curve: list[float]) -> None:
    gains = lifts(curve, 0.0)
    assert all(gain == 0 for gain, value in zip(gains, curve) if value == LOUD[0]), "a loud passage has no gain"
    assert max(gains) == pytest.approx(23.4, abs=0.1)
    assert sum(gain > 23 for gain in gains) > 0.75 * 300, "most of the half has it"


def test_gain_moves_slowly_and_meets_itself_at_the_seam() -> None:
    gains = lifts(QUIET * 150 + LOUD * 300 + QUIET * 150, 0.0)
    assert gains[0] == gains[-1] > 20, "the quiet end goes on in the quiet beginning"
    gains = lifts(LOUD * 300 + QUIET * 300, 0.0)
    steps = [after - before for before, after in zip(gains, gains[1:] + gains[:1])]
    assert max(steps) == pytest.approx(RISE * STEP)
    assert min(steps) == pytest.approx(-FALL * STEP)
    assert gains[-1] <= FALL * STEP, "the gain is gone when the loud beginning comes"


def test_dips_and_accents_in_a_quiet_passage_do_not_pump() -> None:
    gains = lifts(LOUD * 300 + (QUIET * 20 + [-75.0] * 20) * 15, 0.0)
    assert min(gains[350:550]) == max(gains[350:550]) > 20


def test_the_deeper_the_passage_the_more_gain_but_none_for_noise() -> None:
    most = {deep: max(lifts(LOUD * 300 + [-20.0 - deep] * 300, 0.0) or [0]) for deep in (8, 12, 20, 36, 40, 42, 44, 46)}
    assert most[8] == most[46] == 0
    assert most[12] < most[20] < most[36] > most[40] > most[42] > most[44] > 0
    assert most[40] < 16, "the hiss of a pause stays 24 LU below the music"
    assert max(most.values()) < 26


def test_what_the_owners_file_has_below_the_meter_is_not_lifted() -> None:
    quiet_file = LOUD * 300 + QUIET * 300
    assert lifts(quiet_file, 14.0)
    assert lifts(quiet_file, 16.0) == [], "in the file the quiet half is at -71 LUFS"


def test_the_envelope_follows_the_gains_around_the_seam(tmp_path: Path) -> None:
    seconds, lead = 60.04, LEAD / RATE
    gains = lifts(LOUD * 300 + QUIET * 300, 0.0)
    write_envelope(tmp_path / "envelope", gains, Loop(LEAD, round(seconds * RATE), 1, "", 0))
    factors = array("f", (tmp_path / "envelope").read_bytes())
    decibels = [20 * math.log10(factor) for factor in factors]
    assert len(factors) / GRID >= seconds + 2 * lead
    assert max(abs(a - b) for a, b in zip(decibels, decibels[1:])) <= FALL / GRID + 0.01
    for second in (31.0, 33.0, 45.0, 59.0):
        assert decibels[round((lead + second) * GRID)] == pytest.approx(gains[round((second + STEP) / STEP)], abs=0.7)
    before_the_seam, after_it = decibels[: 2 * GRID], decibels[round(seconds * GRID) : round(seconds * GRID) + 2 * GRID]
    assert before_the_seam == pytest.approx(after_it, abs=FALL / GRID)
