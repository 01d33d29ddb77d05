"""A limiter for sums of mastered sounds: it lowers a few milliseconds around each peak that is too high.

It looks ahead, so the gain is a smooth dip, and no sample is clipped.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

REACH = 8000 * 8 // 1000
"""Ticks of 1/8000 s before and after a peak in which the sound is lowered: 8 ms, too short to be heard as a change."""
NEAR = 0.6
"""Samples above this share of the ceiling may have a peak above the ceiling beside them, between two samples."""
TAPS = 8
"""Samples on each side from which the sound between two samples is computed."""


def _kernels() -> list[tuple[float, ...]]:
    """For a quarter, half and three quarters of the way from one sample to the next: the weights of those around."""
    found = []
    for quarter in (1, 2, 3):
        weights = []
        for tap in range(1 - TAPS, TAPS + 1):
            at = tap - quarter / 4
            weights.append(math.sin(math.pi * at) / (math.pi * at) * math.cos(math.pi * at / 2 / (TAPS + 1)) ** 2)
        found.append(tuple(weight / sum(weights) for weight in weights))
    return found


KERNELS = _kernels()


def limit(sound: list[float], rate: int, ceiling: float) -> None:
    """Lower the sound around each peak above ``ceiling``, also around those between two samples.

    A peak so near to an end that the limiter would reach beyond it stays as it is.
    """
    reach = REACH * rate // 8000
    near = NEAR * ceiling
    shape = [0.5 + 0.5 * math.cos(math.pi * i / reach) for i in range(reach + 1)]
    gains: dict[int, float] = {}
    for i, value in enumerate(sound):
        if -near < value < near or not reach <= i < len(sound) - reach - 1:
            continue
        before, after = sound[i - 1], sound[i + 1]
        if before <= value >= after if value > 0 else before >= value <= after:
            peak = _peak_after(sound, i)
            if peak > ceiling:
                loss = 1 - ceiling / peak
                for j in range(i - reach, i + reach + 1):
                    gains[j] = min(gains.get(j, 1.0), 1 - loss * shape[abs(j - i)])
    for j, gain in gains.items():
        sound[j] *= gain


def _peak_after(sound: Sequence[float], i: int) -> float:
    """The highest of sample ``i`` and of the sound around it, without its sign."""
    peak = abs(sound[i])
    for first in (i - TAPS, i + 1 - TAPS):
        around = sound[max(0, first) : first + 2 * TAPS]
        if first < 0 or len(around) < 2 * TAPS:
            continue
        for kernel in KERNELS:
            peak = max(peak, abs(sum(map(float.__mul__, map(float, around), kernel))))
    return peak


def as_samples(sound: Sequence[float]) -> array[int]:
    """The sound in 16 bits. Only what the limiter left at an end may need to be clipped."""
    try:
        return array("h", map(round, sound))
    except OverflowError:
        return array("h", [max(-32768, min(32767, round(value))) for value in sound])
