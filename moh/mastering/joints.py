"""Joints: where one piece ends and the next begins.

A piece that ends hard is faded out within milliseconds, and at the middle of that fade the next one sets in: neither a
gap nor a click, and the level stays. A piece that has faded out sounds on faintly under the beginning of the next. The
next piece keeps its attack: it has its full level from its first audible sample on.

The end of the last piece meets the beginning of the first in the same way, at the loop point.

Times are in ticks of 1/8000 s (``lowering``). All places are found in the file of 8000 Hz, which holds what a
telephone passes, and hold for the other files.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Optional

from .limiter import REACH, TAPS, limit
from .loop import FADED, SILENCE
from .lowering import TICKS

FADE = TICKS * 24 // 1000
"""Ticks in which a hard end fades out: 24 ms. The next piece sets in at the middle of it."""
TAIL = TICKS * 2
"""Ticks at most for which a faded end sounds on under the next piece: 2 s."""
MARGIN = TICKS * 5 // 1000
"""Ticks that are kept before the first audible sample of a piece and after its last: 5 ms."""
RISE = TICKS * 2 // 1000
"""Ticks in which a piece fades in, 2 ms, since it may begin in the middle of a wave."""
NEAR = TICKS
"""Ticks at an end in which its silence is looked for, 1 s. An end that is quiet for longer is a quiet passage."""
BLOCK = TICKS * 5 // 1000
"""Ticks of a block, 5 ms. The ends are found to a block."""
BLOCKS = 4
"""Blocks whose level decides what is silence, 20 ms, as in ``loop``."""
LAST = TICKS * 60 // 1000
"""Ticks whose level tells whether a piece has faded out: 60 ms."""
SPREAD = TICKS // 10
"""Ticks between the blocks of which a piece's level is computed: 0.1 s."""
PAD = REACH + TAPS
"""Ticks around a joint that the limiter may change, or needs to see."""
PACKETS = TICKS * 120 // 1000
"""The loop is a whole number of packets of 20, 40 and 60 ms: of 120 ms."""

Reader = Callable[[int, int], "array[int]"]
"""A function that gives a piece's samples between two ticks."""


@dataclass(frozen=True)
class Ends:
    """Where the sound of a piece begins and ends. ``last`` is the tick after it."""

    length: int
    first: int
    last: int
    faded: bool

    @property
    def begin(self) -> int:
        """The tick of the piece that is its first in the arrangement."""
        return max(0, self.first - MARGIN)


@dataclass(frozen=True)
class Joint:
    """How a piece goes over into the next. The ticks are those of the former piece.

    It fades out from ``fade`` to ``end``. The next one begins at ``start``. The limiter may change ``pad``
    ticks more on either side.
    """

    fade: int
    start: int
    end: int
    pad: int

    def earlier(self, ticks: int) -> Joint:
        """The same joint, ``ticks`` earlier in the former piece."""
        return replace(self, fade=self.fade - ticks, start=self.start - ticks, end=self.end - ticks)


def find_ends(read: Reader, length: int, tail: int = 0) -> Ends:
    """Find the ends of a piece of ``length`` ticks in its samples at 8000 Hz.

    ``tail`` has the ticks at its end that are the rest of a fade, if that is known.
    """
    spread = [_energy(read(at, min(length, at + BLOCK))) for at in range(0, length, SPREAD)]
    level = math.sqrt(sum(spread) / max(1, len(spread)) / BLOCK)
    silence = SILENCE * level
    near = min(NEAR, length)
    head, end = read(0, near), read(length - near, length)
    end.reverse()
    first = _first_sound(head, silence) or 0
    last = length - (tail or _first_sound(end, silence) or 0)
    if first >= last:
        first, last = 0, length
    if tail:
        return Ends(length, first, last, True)
    sound = read(max(first, last - LAST), last)
    return Ends(length, first, last, math.sqrt(_energy(sound) / max(1, len(sound))) <= FADED * silence)


def _energy(samples: Sequence[int]) -> int:
    return sum(value * value for value in samples)


def _first_sound(samples: Sequence[int], silence: float) -> Optional[int]:
    """The first sample of the block that makes 20 ms louder than ``silence``; ``None`` where there is none."""
    energies = [_energy(samples[at : at + BLOCK]) for at in range(0, len(samples), BLOCK)]
    least = BLOCKS * BLOCK * silence**2
    for number in range(len(energies)):
        if sum(energies[max(0, number + 1 - BLOCKS) : number + 1]) >= least:
            return number * BLOCK
    return None


def joint_of(former: Ends, following: Ends) -> Joint:
    """How the piece ``former`` goes over into ``following``."""
    room = min(former.last - former.begin, following.last - following.begin) // 4
    lead = following.first - following.begin
    end = min(former.length, former.last + (TAIL if former.faded else MARGIN))
    half = min(FADE // 2, room)
    sets_in = former.last if end - former.last >= half else end - half
    start = max(sets_in - lead, former.begin + 1)
    end = min(end, start + max(1, room))
    fade = max(former.begin, min(start, end - min(FADE, room)))
    return Joint(fade, start, end, min(PAD, room // 2, fade - former.begin))


def whole_packets(joint: Joint, former: Ends, length: int) -> Joint:
    """The joint at the loop point, moved so that a loop of ``length`` ticks has whole packets, if it is long."""
    rest = length % PACKETS
    short = length < 10 * PACKETS or joint.fade - rest < (former.begin + former.last) // 2
    return joint.earlier(length % 2 if short else rest)


class Row:
    """The pieces one after another, ``repeats`` times, in a circle."""

    def __init__(self, ends: Sequence[Ends], repeats: int = 1) -> None:
        following = [*ends[1:], ends[0]]
        once = [joint_of(former, after) for former, after in zip(ends, following)]
        self.ends = list(ends) * repeats
        self.joints = once * repeats
        """The joint behind each piece."""
        parts = [joint.start - each.begin for joint, each in zip(self.joints, self.ends)]
        self.begins = [0, *accumulate(parts[:-1])]
        """Where each piece begins."""
        self.once = sum(parts[: len(ends)])
        """The length of the pieces, if they are not the last before the loop point."""
        self._last = self.joints[-1]
        self.joints[-1] = self._closing(repeats)
        self.length = self.length_of(repeats)

    def _closing(self, repeats: int) -> Joint:
        return whole_packets(self._last, self.ends[-1], self.once * repeats)

    def length_of(self, repeats: int) -> int:
        """The length of the loop with so many repeats."""
        return self.once * repeats - (self._last.start - self._closing(repeats).start)


def sound_of(ending: Sequence[int], beginning: Sequence[int], joint: Joint, rate: int, ceiling: float) -> list[float]:
    """The sound around the joint.

    ``ending`` has the former piece from ``pad`` ticks before ``fade`` up to ``end``. ``beginning`` has the next piece
    up to ``pad`` ticks after ``end``. In the outer part of both, only the limiter may change the sound.
    """
    each = rate // TICKS
    count = (joint.end - joint.fade) * each
    start = len(ending) - (joint.end - joint.start) * each
    down = [math.cos(math.pi / 2 * (i + 0.5) / count) for i in range(count)]
    sound = [*map(float, ending[:-count]), *(value * gain for value, gain in zip(ending[-count:], down))]
    sound += [0.0] * (start + len(beginning) - len(sound))
    rise = min(RISE * each, len(beginning))
    for i, value in enumerate(beginning):
        gain = 0.5 - 0.5 * math.cos(math.pi * (i + 0.5) / rise) if i < rise else 1.0
        sound[start + i] += value * gain
    limit(sound, rate, ceiling)
    return sound
