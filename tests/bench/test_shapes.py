"""The parts of ``bench.attack.shapes`` that use no socket."""

from __future__ import annotations

from bench.attack.shapes import CALLERS, KINDS, Load, table
from moh.sdp.description import parse_sdp
from moh.sdp.offer_answer import choose


def shapes(kind: str) -> set[tuple[object, int, int]]:
    """Return what the server reads in the offers of the callers of ``kind``: codec, packet length and payload type."""
    choices = [choose(parse_sdp(KINDS[kind](number).encode())) for number in range(CALLERS)]
    return {(choice.codec, choice.payload_type, choice.ptime) for choice in choices}


def test_equal_callers_ask_for_one_shape_and_no_two_of_the_others_for_the_same() -> None:
    assert len(shapes("equal")) == 1
    assert len(shapes("unlike")) == CALLERS


def test_the_table_has_the_median_of_the_rounds_and_ratios_of_the_same_run() -> None:
    rounds = [Load(4.0, 20.0, 20.0, each, 0.0, 0.5, 600) for each in (20.0, 22.0, 30.0)]
    lines = table({("before", "unlike"): rounds, ("now", "unlike"): []}).splitlines()
    assert len(lines) == 3, "a row only where something was measured"
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == [
        "before", "unlike", "600", "4.0", "20.0", "20.00", "22.00", "x 1.10 (1.00-1.50)", "0.000", "0.500",
    ]  # fmt: skip
