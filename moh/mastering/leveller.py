"""The leveller lifts long quiet passages, slowly, so that a caller does not take the line for dead.

The gain is computed from the loudness curve of the whole loop. So it never exceeds what a passage needs, it is gone
before a loud passage begins, and at the end of the loop it meets the gain of the beginning. Music without long quiet
passages gets no gain at all.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Optional

from .curve import FAINTEST, STEP, integrated
from .loop import LEAD, RATE, Loop

KNEE = 9.0
"""A passage is quiet if it is more than this many LU below the whole."""
RATIO = 10.0
"""A passage that was 10 LU below the knee is 1 LU below it afterwards."""
NOISE = 45.0
"""How many LU below the whole music a passage is taken for the noise of a pause, and not lifted."""
TAPER = 3.0
"""The gain in dB for each LU that a passage is above noise: the lift ends gradually, and not at one loudness."""
PATIENCE = 5.0
"""Seconds that a quiet passage lasts at least: shorter ones, such as pauses and dying notes, are the music's own."""
RISE = 6.0
"""dB a second by which the gain grows at most."""
FALL = 200.0
"""dB a second by which the gain falls at most. It falls in the last tenth of a second before a loud passage, where the
loud passage masks it; a slow fall would leave a hole there."""
GRID = 200
"""Values of the envelope a second."""
EARLIEST = -0.15
"""Where the gain for the first value of a curve comes, in seconds from the beginning of the loop. The middle of that
value is at -0.1 s. The rest is half a step: a loud passage may begin anywhere within a step."""
AT_SEAM = (-0.03, -0.01)
"""Where the gains for the first two values come. The beginning of the loop is known exactly, so the gain of a quiet end
can last until shortly before it. Earlier, it would leave a hole of a tenth of a second there."""


def lifts(curve: Sequence[float], gain: float, closed: bool = True) -> list[float]:
    """The gain in dB at each value of a loop's curve; empty if no passage is lifted.

    The loop is ``gain`` dB louder than the owner's file. What is not ``closed`` has loud music before and after it.
    """
    half = round(PATIENCE / STEP / 2)
    if len(curve) <= 2 * half:
        return []
    whole = integrated(curve)
    # loud moments less than PATIENCE apart are one passage, and no gain lasts less than that
    loud, none = (None, None) if closed else (math.inf, -math.inf)
    passages = _around(_around(curve, half, max, loud), half, min, loud)
    # a value is the first to be loud when its end meets a loud passage, whose beginning is one value later
    passages = [min(pair) for pair in zip(passages, passages[-1 if closed else 0 :][:1] + passages[:-1])]
    needed = [_lift(whole - passage, passage - gain) for passage in passages]
    gains = _around(_around(needed, half, min, loud), half, max, none)
    for step, direction in ((RISE, 1), (FALL, -1)):
        gains = limited(gains[::direction], step * STEP, closed)[::direction]
    return gains if max(gains) > 0 else []


def _lift(below: float, loudness: float) -> float:
    """The gain in dB for a passage ``below`` LU under the whole, whose ``loudness`` in the owner's file is in LUFS."""
    room = min(NOISE - below, loudness - FAINTEST)
    return max(0.0, min((below - KNEE) * (1 - 1 / RATIO), TAPER * room))


def _around(
    values: Sequence[float], half: int, choose: Callable[[Iterable[float]], float], outside: Optional[float]
) -> list[float]:
    """For each value the least or the greatest of those up to ``half`` places around it.

    The values lie in a circle, unless there is a value ``outside`` of both ends.
    """
    before, after = (values[-half:], values[:half]) if outside is None else ([outside] * half,) * 2
    circle = [*before, *values, *after]
    return [choose(circle[i : i + 2 * half + 1]) for i in range(len(values))]


def limited(values: Sequence[float], step: float, closed: bool) -> list[float]:
    """Lower values until none is more than ``step`` above the one before it, in a circle if it is ``closed``."""
    lowered = list(values)
    for i in range(2 * len(lowered)) if closed else range(1, len(lowered)):
        i %= len(lowered)
        lowered[i] = min(lowered[i], lowered[i - 1] + step)
    return lowered


def write_envelope(path: Path, gains: Sequence[float], loop: Loop) -> None:
    """Write the gains as factors, ``GRID`` a second, from ``LEAD`` samples before the loop to ``LEAD`` after it."""
    length, lead = loop.length / RATE, LEAD / RATE
    places = [*AT_SEAM, *(EARLIEST + STEP * i for i in range(2, len(gains))), length + AT_SEAM[0]]
    last = EARLIEST + STEP * (len(gains) - 1)
    factors = array("f")
    for k in range(int(GRID * (length + 2 * lead)) + 2):
        at = k / GRID - lead
        # a piece that is no loop keeps the gain of its ends before it and in its tail
        at = (at - places[0]) % length + places[0] if loop.closed else min(max(at, places[0]), last)
        i = 0 if at < places[1] else min(len(gains) - 1, int((at - EARLIEST) / STEP + 1e-9))
        share = (at - places[i]) / (places[i + 1] - places[i])
        following = (i + 1) % len(gains) if loop.closed else min(i + 1, len(gains) - 1)
        decibels = gains[i] * (1 - share) + gains[following] * share
        factors.append(10 ** (decibels / 20))
    if sys.byteorder == "big":
        factors.byteswap()
    path.write_bytes(factors.tobytes())
