"""The seam of the loop: where the music begins and ends, and how its end goes over into its beginning.

Reads and writes the small parts that matter of a file of bare samples, 16 bits, mono; the rest stays untouched.
"""

from __future__ import annotations

import math
import os
import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

RATE = 16000
"""Samples a second of the file."""
FRAME = RATE // 50
"""20 ms, a packet."""
LEAD = 2 * RATE
"""Samples of nothing before the music in the file, and room for the music's end; what filters need to settle in."""
WRAP = RATE // 2
"""Samples of the music's beginning that follow its end in the file, so that a perfect seam can be seen and kept."""
CROSSFADE = FRAME * 3
"""60 ms: enough against a click, little enough not to be heard as a stumble."""
RINGING = RATE // 100
"""Samples before the copy of the beginning in which the resampler may ring, be there silence."""
SHORTEST = 4 * RATE
"""A shorter loop is written several times over, since neither filters nor meters make anything of less."""
ORDER = 24
"""Samples of the past that the next one is foretold from, where a click is looked for."""


@dataclass(frozen=True)
class Loop:
    """The file made ready: ``LEAD`` samples, the loop of ``length`` samples ``times`` over, ``LEAD`` more.

    All of it is one unbroken sound; the loop begins ``start`` samples into the file. ``seam`` says what was done,
    ``trimmed`` how many samples were cut from both ends.
    """

    start: int
    length: int
    times: int
    seam: str
    trimmed: int


class Samples:
    """The file as a list of samples."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __len__(self) -> int:
        return os.fstat(self._file.fileno()).st_size // 2

    def read(self, begin: int, end: int) -> array[int]:
        """The samples from ``begin`` up to ``end``."""
        self._file.seek(2 * begin)
        samples = array("h", self._file.read(2 * (end - begin)))
        if sys.byteorder == "big":
            samples.byteswap()
        return samples

    def write(self, begin: int, values: Sequence[float]) -> None:
        """Put samples in place of those from ``begin`` on."""
        samples = array("h", [max(-32768, min(32767, round(value))) for value in values])
        if sys.byteorder == "big":
            samples.byteswap()
        self._file.seek(2 * begin)
        self._file.write(samples.tobytes())
        self._file.flush()

    def truncate(self, end: int) -> None:
        """Forget what comes from ``end`` on."""
        self._file.truncate(2 * end)


def close_loop(path: Path, threshold: float) -> Loop:
    """Make the music in the file a loop without gap or click. ``threshold`` is the level under which is silence.

    The file holds ``LEAD`` samples of nothing, the music, and its first ``WRAP`` samples again, or all where it is
    shorter than that. An empty ``Loop`` comes back where nothing of it is loud enough.
    """
    with path.open("r+b", buffering=0) as file:
        sound = Samples(file)
        found = len(sound) - LEAD
        end = LEAD + (found // 2 if found < 2 * WRAP else found - WRAP)
        begin, past = _bounds(sound, LEAD, end - RINGING, threshold)
        if begin < past > end - 2 * RINGING:
            past = end  # loud to the end; else that was but the resampler, ringing before the beginning's copy
        if begin >= past:
            return Loop(LEAD, 0, 0, "", end - LEAD)
        trimmed = (begin - LEAD) + (end - past)
        if trimmed <= FRAME // 4 and (length := _seamless(sound, end)):
            # the end of the resampler's way into the beginning is in the copy only
            fade = min(WRAP, length) // 2
            _blend(
                sound, LEAD + length, LEAD, fade, [1 - i / fade for i in range(fade)], [i / fade for i in range(fade)]
            )
            begin, seam, trimmed = LEAD, "as it was", 0
        else:
            begin, past = max(LEAD, begin - FRAME // 4), min(end, past + FRAME // 4)
            length, seam = _join(sound, begin, past, threshold)
        times = max(1, math.ceil(SHORTEST / max(1, length)))
        _unroll(sound, begin, length, times)
    return Loop(begin, length, times, seam, trimmed)


def _chunks(begin: int, end: int) -> Iterator[tuple[int, int]]:
    for at in range(begin, end, FRAME):
        yield at, min(end, at + FRAME)


def _bounds(sound: Samples, begin: int, end: int, threshold: float) -> tuple[int, int]:
    """The first sample that is loud enough, and the one after the last."""
    first = end
    for low, high in _chunks(begin, end):
        part = sound.read(low, high)
        if max(part) >= threshold or min(part) <= -threshold:
            first = low + next(i for i, value in enumerate(part) if abs(value) >= threshold)
            break
    last = first
    for low in range(end - FRAME, first - FRAME, -FRAME):
        part = sound.read(max(first, low), low + FRAME)
        if max(part) >= threshold or min(part) <= -threshold:
            last = max(first, low) + max(i for i, value in enumerate(part) if abs(value) >= threshold) + 1
            break
    return first, last


def _peak(samples: Sequence[int]) -> int:
    return max(map(abs, samples), default=0)


# -- a seam that is perfect already --------------------------------------------------------------------------------


def _seamless(sound: Samples, end: int) -> int:
    """The length of a loop whose end goes over into its beginning by itself; 0 where it does not."""
    copied = min(WRAP, end - LEAD)
    if copied < RATE // 5:
        return 0
    around = sound.read(end - RATE // 10, end + RATE // 10)
    if clicks(around, len(around) // 2):
        return 0
    # where the beginning comes again, to the sample: the resampler may have rounded its place
    low, high = RATE // 20, min(RATE // 4, copied - 4)
    model = sound.read(LEAD + low, LEAD + high)
    places = {
        shift: sum((a - b) ** 2 for a, b in zip(model, sound.read(end + low + shift, end + high + shift)))
        for shift in range(-2, 3)
    }
    length = end - LEAD + min(places, key=places.__getitem__)
    return length - length % 2  # whole samples at half the rate


def clicks(samples: Sequence[int], at: int) -> bool:
    """Whether the sound jumps at ``at``: there it is foretold far worse from its past than anywhere around."""
    weights = _foretelling(samples)
    missed = [
        abs(samples[i] - sum(w * samples[i - 1 - j] for j, w in enumerate(weights))) for i in range(ORDER, len(samples))
    ]
    near = range(at - ORDER - 4, at + 4)
    there = max(missed[i] for i in near)
    elsewhere = max(value for i, value in enumerate(missed) if i not in near)
    return there > max(2.0 * elsewhere, 0.04 * _peak(samples), 3.0)


def _foretelling(samples: Sequence[int]) -> list[float]:
    """How the next sample follows from those before it (linear prediction, by Levinson's recursion)."""
    count = len(samples)
    shaped = [value * math.sin(math.pi * (i + 0.5) / count) ** 2 for i, value in enumerate(samples)]
    likeness = [sum(a * b for a, b in zip(shaped, shaped[lag:])) for lag in range(ORDER + 1)]
    error = likeness[0] * 1.000001 + 1e-9
    weights: list[float] = []
    for lag in range(ORDER):
        reflection = (likeness[lag + 1] - sum(w * likeness[lag - j] for j, w in enumerate(weights))) / error
        weights = [w - reflection * v for w, v in zip(weights, reversed(weights))] + [reflection]
        error *= 1 - reflection * reflection
        if error <= 0:
            break
    return weights


# -- a seam that is not --------------------------------------------------------------------------------------------


def _join(sound: Samples, begin: int, past: int, threshold: float) -> tuple[int, str]:
    """Let the end go over into the beginning; the length of the loop, and what was done."""
    fade = min(CROSSFADE, (past - begin) // 4)
    length = past - begin - fade
    length -= length % (FRAME if length >= 10 * FRAME else 2)
    angles = [math.pi / 2 * (i + 0.5) / fade for i in range(fade)]
    up, seam = [math.sin(angle) for angle in angles], f"cross-faded over {1000 * fade // RATE} ms"
    if _peak(sound.read(past - fade, past)) < 5 * threshold:
        # an end that has died away already: the beginning keeps its attack
        rise = FRAME // 4
        up, seam = [min(1.0, (i + 0.5) / rise) for i in range(fade)], "faded"
    _blend(sound, begin + length, begin, fade, [math.cos(angle) for angle in angles], up)
    return length, seam


def _blend(sound: Samples, old: int, new: int, count: int, down: Sequence[float], up: Sequence[float]) -> None:
    """Let what follows ``old`` die away into what follows ``new``, in place of the latter."""
    before, after = sound.read(old, old + count), sound.read(new, new + count)
    sound.write(new, [a * u + b * d for a, b, u, d in zip(after, before, up, down)])


def _unroll(sound: Samples, begin: int, length: int, times: int) -> None:
    """Let the loop be ``times`` over, with what came before it and what comes after."""
    around = -(-LEAD // length)
    once = sound.read(begin, begin + length) if times > 1 else None
    if once is not None:
        sound.write(begin - LEAD, (once * around)[-LEAD:])
        sound.truncate(begin + length)
        sound.write(begin + length, (once * (times - 1 + around))[: (times - 1) * length + LEAD])
    else:
        sound.write(begin - LEAD, sound.read(begin + length - LEAD, begin + length))
        sound.truncate(begin + length)
        sound.write(begin + length, sound.read(begin, begin + LEAD))
