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


def curve_of(levels: list[float], late: int = 0) -> list[float]:
    """The curve that a meter finds in a loop with these levels of 0.1 s each, ``late`` hundredths of a second later."""
    powers = [10 ** (level / 10) for level in levels for _ in range(10)]
    powers = powers[-late:] + powers[:-late] if late else powers
    ends = range(10, len(powers) + 10, 10)
    windows = [(powers[max(0, end - 40) : end] + (powers[end - 40 :] if end < 40 else [])) for end in ends]
    return [10 * math.log10(sum(window) / 40) if sum(window) else -math.inf for window in windows]


def envelope(gains: list[float], seconds: float, folder: Path) -> list[float]:
    """The file of the gains, read as decibels, ``GRID`` a second, from the beginning of the loop on."""
    write_envelope(folder / "envelope", gains, Loop(LEAD, round(seconds * RATE), 1, "", 0))
    factors = array("f", (folder / "envelope").read_bytes())
    assert len(factors) / GRID >= seconds + 2 * LEAD / RATE
    return [20 * math.log10(factor) for factor in factors][LEAD * GRID // RATE :]


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
    assert lifts(curve_of(curve), 0.0) == []


HALVES = {
    "loud, quiet": LOUD * 300 + QUIET * 300,
    "quiet, loud": QUIET * 300 + LOUD * 300,
    "quiet, loud, quiet": QUIET * 150 + LOUD * 300 + QUIET * 150,
}


@pytest.mark.parametrize("late", range(10))
@pytest.mark.parametrize("order", HALVES)
def test_a_half_35_lu_below_comes_within_12(tmp_path: Path, order: str, late: int) -> None:
    levels = HALVES[order]
    gains = lifts(curve_of(levels, late), 0.0)
    assert max(gains) == pytest.approx(23.4, abs=0.1)
    places = [(place / GRID - late / 100) % 60.0 for place in range(60 * GRID)]
    at = list(zip(places, envelope(gains, 60.0, tmp_path)))
    assert all(decibels < 0.3 for place, decibels in at if levels[int(place / STEP)] == LOUD[0])
    assert sum(decibels > 23 for _, decibels in at) > 0.8 * 30 * GRID, "most of the half has it"


def test_gain_rises_slowly_and_meets_itself_at_the_seam() -> None:
    gains = lifts(curve_of(HALVES["quiet, loud, quiet"]), 0.0)
    assert gains[0] == gains[-1] > 20, "the quiet end goes on in the quiet beginning"
    gains = lifts(curve_of(HALVES["loud, quiet"]), 0.0)
    steps = [after - before for before, after in zip(gains, gains[1:] + gains[:1])]
    assert max(steps) == pytest.approx(RISE * STEP)
    assert min(steps) >= -FALL * STEP


def test_short_dips_and_accents_in_a_quiet_passage_do_not_change_its_gain() -> None:
    gains = lifts(curve_of(LOUD * 300 + (QUIET * 20 + [-75.0] * 20) * 15), 0.0)
    assert min(gains[350:550]) == max(gains[350:550]) > 20


def test_the_deeper_the_passage_the_more_gain_but_none_for_noise() -> None:
    most = {}
    for deep in (8, 12, 20, 36, 40, 42, 44, 46):
        most[deep] = max(lifts(curve_of(LOUD * 300 + [-20.0 - deep] * 300), 0.0) or [0])
    assert most[8] == most[46] == 0
    assert most[12] < most[20] < most[36] > most[40] > most[42] > most[44] > 0
    assert most[40] < 16, "the hiss of a pause stays 24 LU below the music"
    assert max(most.values()) < 26


def test_what_the_owners_file_has_below_the_meter_is_not_lifted() -> None:
    quiet_file = curve_of(HALVES["loud, quiet"])
    assert lifts(quiet_file, 14.0)
    assert lifts(quiet_file, 16.0) == [], "in the file the quiet half is at -71 LUFS"


def test_the_envelope_follows_the_gains_around_the_seam(tmp_path: Path) -> None:
    seconds = 60.04  # the loop need not be of whole steps
    gains = lifts(curve_of(HALVES["quiet, loud, quiet"]), 0.0)
    decibels = envelope(gains, seconds, tmp_path)
    for second in (1.0, 18.0, 25.0, 47.0, 59.0):
        assert decibels[round(second * GRID)] == pytest.approx(gains[round((second + 0.15) / STEP)], abs=RISE * STEP)
    at_seam = decibels[round((seconds - 1) * GRID) : round((seconds + 1) * GRID)]
    assert max(at_seam) - min(at_seam) < 0.1


def test_a_quiet_end_keeps_its_gain_until_the_loud_beginning(tmp_path: Path) -> None:
    decibels = envelope(lifts(curve_of(HALVES["loud, quiet"]), 0.0), 60.0, tmp_path)
    assert decibels[60 * GRID - round(0.035 * GRID)] > 20
    assert decibels[60 * GRID - round(0.005 * GRID)] == pytest.approx(0, abs=0.1)


# -- a piece that is no loop ---------------------------------------------------------------------------------------


def test_a_quiet_beginning_of_a_piece_has_its_gain_at_once() -> None:
    """In a loop the gain grows after the loud end; a piece does not follow its own end."""
    before = [-61.0, -58.0, -56.2]  # values that reach into the silence before the piece
    assert lifts(before + QUIET * 150 + LOUD * 450, 0.0)[0] < 1
    assert lifts(before + QUIET * 150 + LOUD * 450, 0.0, closed=False)[0] > 20
    ending = lifts(LOUD * 450 + QUIET * 150, 0.0, closed=False)
    assert ending[0] == 0.0 and ending[-1] > 20


def test_a_quiet_end_and_a_quiet_beginning_of_3_s_are_no_passage_of_a_piece() -> None:
    curve = curve_of(QUIET * 30 + LOUD * 300 + QUIET * 30)
    assert max(lifts(curve, 0.0)) > 20
    assert lifts(curve, 0.0, closed=False) == []


def test_the_envelope_keeps_the_gain_of_the_ends_of_a_piece(tmp_path: Path) -> None:
    """Before the piece, where the filters settle, and in its tail, for which there are no gains."""
    gains = [20.0] * 100 + [10.0] * 100
    piece = Loop(LEAD, 22 * RATE, 1, "", 0, closed=False, tail=2 * RATE)
    write_envelope(tmp_path / "envelope", gains, piece)
    factors = array("f", (tmp_path / "envelope").read_bytes())
    assert len(factors) / GRID >= 22 + 2 * LEAD / RATE
    decibels = [20 * math.log10(factor) for factor in factors]
    lead = LEAD * GRID // RATE
    assert decibels[: lead + 9 * GRID] == pytest.approx([20.0] * (lead + 9 * GRID), abs=0.01)
    assert decibels[lead + 10 * GRID :] == pytest.approx([10.0] * (len(decibels) - lead - 10 * GRID), abs=0.01)
