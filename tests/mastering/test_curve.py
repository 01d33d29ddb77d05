"""Loudness curves: loudness, range, what can be heard, and silences with their places."""

from __future__ import annotations

import math

import pytest

from moh.mastering.curve import average, heard_seconds, integrated, loudness_range, silences

SILENT = [-math.inf]


def test_loudness_is_that_of_the_loud_passages() -> None:
    assert integrated([-20.0] * 100) == pytest.approx(-20)
    assert integrated([-20.0] * 100 + [-55.0] * 100) == pytest.approx(-20)
    assert average([-20.0] * 100 + [-55.0] * 100) == pytest.approx(-23, abs=0.1)


@pytest.mark.parametrize("curve", [[], SILENT * 100, [-75.0] * 100])
def test_what_is_below_the_meter_has_no_loudness(curve: list[float]) -> None:
    assert integrated(curve) == -math.inf
    assert loudness_range(curve) == 0
    assert heard_seconds(curve) == 0


def test_loudness_range_is_from_quiet_to_loud_passages() -> None:
    assert loudness_range([-20.0] * 300) == pytest.approx(0)
    assert loudness_range([-20.0] * 300 + [-32.0] * 300) == pytest.approx(12, abs=0.1)
    assert loudness_range([-20.0] * 300 + [-55.0] * 300) < 1, "EBU R128 leaves out what is 20 LU below the rest"


@pytest.mark.parametrize(
    ("curve", "seconds"),
    [([-20.0] * 50 + [-45.0] * 50, 10.0), ([-20.0] * 50 + [-55.0] * 50, 5.0), ([-60.0] * 50 + [-71.0] * 50, 5.0)],
    ids=["25 LU below", "35 LU below", "below the meter"],
)
def test_sound_far_below_the_rest_is_not_heard(curve: list[float], seconds: float) -> None:
    assert heard_seconds(curve) == pytest.approx(seconds)


def test_silences_have_their_places() -> None:
    # 10 s of music, silence from 10.0 to 16.0 s, music to 20 s, 4 s of silence, music to 30 s, silence to 37 s
    music, inside = [-20.0], 3  # a value is silent if its 0.4 s are
    curve = music * (100 + inside) + SILENT * (60 - inside) + music * (40 + inside) + SILENT * (40 - inside)
    curve += music * (60 + inside) + SILENT * (70 - inside)
    assert [edge for place in silences(curve, 5.0) for edge in place] == pytest.approx([10.0, 16.0, 30.0, 37.0])
    assert [edge for place in silences(curve, 6.5) for edge in place] == pytest.approx([30.0, 37.0])
    assert silences(music * 100, 0.1) == []
