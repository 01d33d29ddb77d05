"""Tests of sound as octets: silence, cross-fades, and splices that cannot be heard."""

from __future__ import annotations

import math
from array import array

import pytest

from moh.radio.samples import (
    RATES,
    ROOM_FOR_SPLICE,
    Sound,
    cross_fade,
    faded,
    frames_of,
    is_silent,
    lengthened,
    samples,
    shortened,
)


def tone(frames: int, frequency: float = 437.0, level: float = 8000.0) -> dict[int, bytes]:
    return {
        rate: array(
            "h",
            (int(level * math.sin(2 * math.pi * frequency * i / rate)) for i in range(frames * rate // 8000)),
        ).tobytes()
        for rate in RATES
    }


def steepest(octets: bytes) -> int:
    found = samples(octets)
    return max(abs(b - a) for a, b in zip(found, found[1:]))


def test_silence_is_what_stays_below_60_dbfs() -> None:
    assert is_silent(b"")
    assert is_silent(array("h", [0, 32, -32]).tobytes())
    assert not is_silent(array("h", [0, 33]).tobytes())
    assert not is_silent(array("h", [-33, 0]).tobytes())


def test_a_cross_fade_begins_with_the_old_sound_and_ends_with_the_new_one() -> None:
    mixed = samples(cross_fade(array("h", [1000] * 100).tobytes(), array("h", [-500] * 100).tobytes()))
    assert (mixed[0], mixed[-1]) == (996, -492)
    assert len(mixed) == 100


def test_a_cross_fade_of_loud_sounds_stays_within_16_bits() -> None:
    loud = array("h", [32767] * 50).tobytes()
    assert max(samples(cross_fade(loud, loud))) == 32767
    quiet = array("h", [-32768] * 50).tobytes()
    assert min(samples(cross_fade(quiet, quiet))) == -32768


def test_each_rate_is_faded() -> None:
    mixed = faded(tone(100), tone(100, 900.0))
    assert {rate: len(octets) for rate, octets in mixed.items()} == {8000: 200, 16000: 400}


@pytest.mark.parametrize("frequency", [310.0, 437.0, 1000.0, 2931.0])
def test_a_splice_changes_the_length_by_5_to_20_ms_without_a_step(frequency: float) -> None:
    sound = tone(1600, frequency)
    for changed, sign in ((shortened(sound), -1), (lengthened(sound), 1)):
        change = sign * (frames_of(changed) - 1600)
        assert 40 <= change <= 160
        assert len(changed[16000]) == 2 * len(changed[8000])
        for rate in RATES:
            assert steepest(changed[rate]) <= 1.1 * steepest(sound[rate])
            assert changed[rate][-200:] == sound[rate][-200:]


@pytest.mark.parametrize("splice", [shortened, lengthened])
def test_a_sound_too_short_for_a_splice_stays_as_it_is(splice: object) -> None:
    assert callable(splice)
    short: Sound = tone(ROOM_FOR_SPLICE - 1)
    assert splice(short) == short
