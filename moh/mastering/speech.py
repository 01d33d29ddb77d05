"""An announcement is mastered as speech: each phrase as loud as the others, and the noise in pauses is not lifted.

The gain is computed from the whole announcement before it is applied, as the leveller's is: so it is there when a word
begins, and a pause is lowered by more than the compressor lifts it. Pure functions, but for the file that is read and
the one that is written.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

from .filter_graphs import Compressor
from .leveller import GRID, limited
from .loop import BLOCK, LEAD, RATE, Loop, Samples, energy_of

LONGEST_SPEECH = 600.0
"""Seconds that an announcement has at most, 10 min."""
RATIO = 2.5
"""The compressor's ratio for speech: an announcement is heard over music, so its soft syllables have to be near the
loud ones."""
BELOW = 2.0
"""LU under the wanted loudness at which the compressor begins; its detector reads 6 dB more than a loudness meter."""
MAKEUP = 3.0
"""dB that the compressor takes of speech on average, as a first guess: the meter says how much it was."""
SYLLABLE = GRID // 20
"""Values, 50 ms, of which the level is taken at once: a syllable is longer, and so is a period of the deepest voice."""
PHRASE = 2 * GRID
"""Values, 2 s, of which the level is that of a phrase."""
EVEN = 0.7
"""The share of a phrase's distance from the whole that is evened out."""
MOST = 6.0
"""dB by which a phrase is lifted or lowered at most."""
PAUSE = 12.0
"""dB by which a pause is lowered. The gain behind the compressor lifts it by 4 to 8 dB."""
DEEPEST, HIGHEST = -30.0, -12.0
"""dB from the level of speech between which the limit to a pause lies."""
ABOVE_NOISE = 6.0
"""dB from the noise of the pauses to that limit."""
NOISE_SHARE = 0.1
"""The share of the softest values that are taken for noise."""
ONSET, REST = GRID * 4 // 100, GRID * 12 // 100
"""Values before and after a sound that belong to it, 40 and 120 ms: soft consonants, and the room's answer."""
RISE, FALL = 500.0, 80.0
"""dB a second by which the gain rises in front of a word, and falls after it, at most."""
SILENT = -120.0
"""dB for a value without any sound."""


def compressor(wanted: float) -> Compressor:
    """The compressor for speech that is to have the loudness ``wanted`` in LUFS."""
    return Compressor(wanted - BELOW, 5, 120, 4)


def levels(heard: Path, loop: Loop, level: float) -> list[float]:
    """The level of the speech in dB, 0 for ``level``, for each block of the announcement: ``GRID`` values a second."""
    with heard.open("rb", buffering=0) as file:
        sound = Samples(file)
        powers = [
            energy_of(sound.read(at, min(at + BLOCK, loop.start + loop.length))) / (BLOCK * level**2)
            for at in range(loop.start, loop.start + loop.length, BLOCK)
        ]
    return [_decibels(power) for power in _means(powers, SYLLABLE // 2)]


def speech_gains(values: Sequence[float]) -> list[float]:
    """The gain in dB for each of the ``levels``."""
    spoken = _spoken(values)
    powers = [10 ** (value / 10) if is_spoken else 0.0 for value, is_spoken in zip(values, spoken)]
    shares = _means([float(is_spoken) for is_spoken in spoken], PHRASE // 2)
    phrases = [power / share if share else 0.0 for power, share in zip(_means(powers, PHRASE // 2), shares)]
    even = [max(-MOST, min(MOST, -EVEN * _decibels(phrase))) if phrase else 0.0 for phrase in phrases]
    gains = [gain if is_spoken else min(gain, 0.0) - PAUSE for gain, is_spoken in zip(_smooth(even), spoken)]
    for step, direction in ((RISE, 1), (FALL, -1)):
        gains = limited(gains[::direction], step / GRID, False)[::direction]
    return gains


def _spoken(values: Sequence[float]) -> list[bool]:
    """Where speech is, and not a pause."""
    noise = sorted(values)[int(NOISE_SHARE * len(values))] if values else SILENT
    limit = max(DEEPEST, min(HIGHEST, noise + ABOVE_NOISE))
    counts = [0, *accumulate(int(value > limit) for value in values)]
    count = len(values)
    return [counts[min(count, i + ONSET + 1)] > counts[max(0, i - REST)] for i in range(count)]


def _means(values: Sequence[float], half: int) -> list[float]:
    """For each value the mean of those up to ``half`` places around it."""
    sums = [0.0, *accumulate(values)]
    count = len(values)
    spans = ((max(0, i - half), min(count, i + half + 1)) for i in range(count))
    return [max(0.0, sums[last] - sums[first]) / (last - first) for first, last in spans]


def _smooth(gains: Sequence[float]) -> list[float]:
    """The gains, each the mean of half a second."""
    return [mean - MOST for mean in _means([gain + MOST for gain in gains], GRID // 4)]


def _decibels(power: float) -> float:
    return max(SILENT, 10 * math.log10(power)) if power > 0 else SILENT


def write_gains(path: Path, gains: Sequence[float], loop: Loop) -> None:
    """Write the gains as factors, as ``write_envelope`` does: from ``LEAD`` samples before the speech to after it."""
    lead = LEAD * GRID // RATE
    factors = array("f", _factors([gains[0]] * lead, gains, [gains[-1]] * (lead + 2)))
    if sys.byteorder == "big":
        factors.byteswap()
    path.write_bytes(factors.tobytes())


def _factors(*parts: Sequence[float]) -> Iterator[float]:
    for part in parts:
        for gain in part:
            yield 10 ** (gain / 20)


def curve_gains(gains: Sequence[float], count: int) -> list[float]:
    """The gain at each of the ``count`` values of the loudness curve, of which each is that of the last 0.4 s."""
    per_step, window = GRID // 10, GRID * 4 // 10
    found = []
    for i in range(count):
        part = gains[max(0, (i + 1) * per_step - window) : (i + 1) * per_step]
        found.append(sum(part) / len(part) if part else 0.0)
    return found
