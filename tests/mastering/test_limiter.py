"""The limiter lowers what is above the ceiling, and nothing else."""

from __future__ import annotations

import math

from moh.mastering.limiter import REACH, as_samples, limit

RATE = 8000


def test_sound_below_the_ceiling_is_not_changed() -> None:
    sound = [900 * math.sin(0.3 * i) for i in range(RATE)]
    before = list(sound)
    limit(sound, RATE, 1000.0)
    assert sound == before


def test_a_peak_is_lowered_by_a_smooth_dip() -> None:
    sound = [500.0 * math.sin(0.3 * i) for i in range(4000)]
    sound[2000:2100] = [1500.0 * math.sin(0.3 * i) for i in range(2000, 2100)]
    before = list(sound)
    limit(sound, RATE, 1000.0)
    assert max(map(abs, sound)) <= 1000.0
    assert sound[: 2000 - REACH] == before[: 2000 - REACH] and sound[2100 + REACH :] == before[2100 + REACH :]
    gains = [after / value for after, value in zip(sound, before) if abs(value) > 50]
    assert max(abs(after - value) for value, after in zip(gains, gains[1:])) < 0.05


def test_a_peak_between_two_samples_is_found() -> None:
    """A quarter of the sample rate, sampled at 45 degrees: each sample is 3 dB below the peak of the tone."""
    sound = [1000 * math.sin(math.pi / 2 * i + math.pi / 4) for i in range(800)]
    assert max(sound) < 708
    limit(sound, RATE, 800.0)
    assert max(sound[2 * REACH : -2 * REACH]) <= 801 / math.sqrt(2)


def test_a_peak_between_two_samples_beside_a_higher_one_is_found() -> None:
    """Between the fourth and fifth of these samples the sound is at -18840."""
    middle = [5553, 8705, -4126, 11940, -11829, -8744, 10018, -7825, 11660, 4434, -12446, 4568]
    sound = [*[0.0] * 300, *map(float, middle), *[0.0] * 300]
    limit(sound, RATE, 16000.0)
    assert abs(sound[304]) < 11000


def test_the_ends_are_left_as_they_are() -> None:
    sound = [2000.0, *[0.0] * 500, -2000.0]
    limit(sound, RATE, 1000.0)
    assert (sound[0], sound[-1]) == (2000.0, -2000.0)


def test_what_does_not_fit_in_16_bits_is_clipped() -> None:
    assert list(as_samples([0.6, -1.4, 32767.4])) == [1, -1, 32767]
    assert list(as_samples([40000.0, -40000.0, 0.6])) == [32767, -32768, 1]
