"""The loop point: where the music begins and ends, and the crossfade from its end into its beginning.

The file that is changed here holds bare mono samples of 16 bits. Only the parts near the loop point are read and
written.
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
"""The sample rate of the file in Hz."""
FRAME = RATE // 50
"""Samples of a packet of 20 ms."""
LEAD = 2 * RATE
"""Samples of silence before the music in the file. Later the end of the loop is copied there, to settle filters."""
WRAP = RATE // 2
"""Samples of the music's beginning that follow its end in the file: they show whether the music loops as it is."""
CROSSFADE = FRAME * 3
"""Samples of a crossfade, 60 ms: long enough to hide a click, too short to be heard as a stutter."""
RINGING = RATE // 100
"""Samples before the copied beginning in which the resampler may leave a trace of it, even if the music is silent."""
SHORTEST = 4 * RATE
"""Samples that filters and meters need. A shorter loop is repeated in the file until it has this length."""
ORDER = 24
"""The order of the linear prediction that finds clicks: the number of samples from which the next is predicted."""


@dataclass(frozen=True)
class Loop:
    """The finished file: ``LEAD`` samples, then ``times`` times the loop of ``length`` samples, then ``LEAD`` samples.

    The whole file is one continuous sound. The loop begins ``start`` samples into the file. ``seam`` says how the ends
    were joined, ``trimmed`` how many samples of silence were cut from both ends.
    """

    start: int
    length: int
    times: int
    seam: str
    trimmed: int


class Samples:
    """Random access to the samples of the file."""

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
        """Overwrite the samples from ``begin`` on."""
        samples = array("h", [max(-32768, min(32767, round(value))) for value in values])
        if sys.byteorder == "big":
            samples.byteswap()
        self._file.seek(2 * begin)
        self._file.write(samples.tobytes())
        self._file.flush()

    def truncate(self, end: int) -> None:
        """Cut the file off at sample ``end``."""
        self._file.truncate(2 * end)


def close_loop(path: Path, threshold: float) -> Loop:
    """Make the music in the file a loop without gap or click. Samples below ``threshold`` are silence.

    The file holds ``LEAD`` samples of silence, the music, and the first ``WRAP`` samples of the music again (all of
    them if the music is shorter). If no sample reaches the threshold, the loop has length 0.
    """
    with path.open("r+b", buffering=0) as file:
        sound = Samples(file)
        found = len(sound) - LEAD
        end = LEAD + (found // 2 if found < 2 * WRAP else found - WRAP)
        begin, past = _bounds(sound, LEAD, end - RINGING, threshold)
        if begin < past > end - 2 * RINGING:
            past = end  # the music is loud to its end: the last loud sample is no mere ringing of the resampler
        if begin >= past:
            return Loop(LEAD, 0, 0, "", end - LEAD)
        trimmed = (begin - LEAD) + (end - past)
        if trimmed <= FRAME // 4 and (length := _natural_length(sound, end)):
            # the resampler's transition into the beginning is in the copy only
            fade = min(WRAP, length) // 2
            _crossfade(
                sound, LEAD + length, LEAD, fade, [1 - i / fade for i in range(fade)], [i / fade for i in range(fade)]
            )
            begin, seam, trimmed = LEAD, "as it was", 0
        else:
            begin, past = max(LEAD, begin - FRAME // 4), min(end, past + FRAME // 4)
            length, seam = _join(sound, begin, past, threshold)
        times = max(1, math.ceil(SHORTEST / max(1, length)))
        _repeat(sound, begin, length, times)
    return Loop(begin, length, times, seam, trimmed)


def _chunks(begin: int, end: int) -> Iterator[tuple[int, int]]:
    for at in range(begin, end, FRAME):
        yield at, min(end, at + FRAME)


def _bounds(sound: Samples, begin: int, end: int, threshold: float) -> tuple[int, int]:
    """The numbers of the first sample that reaches the threshold, and of the sample after the last that does."""
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


# -- music that loops as it is -------------------------------------------------------------------------------------


def _natural_length(sound: Samples, end: int) -> int:
    """The length of the music if its beginning continues its end without a click; 0 if there is a click."""
    copied = min(WRAP, end - LEAD)
    if copied < RATE // 5:
        return 0
    around = sound.read(end - RATE // 10, end + RATE // 10)
    if clicks(around, len(around) // 2):
        return 0
    # find where exactly the beginning comes again: the resampler may have moved it by a sample or two
    low, high = RATE // 20, min(RATE // 4, copied - 4)
    model = sound.read(LEAD + low, LEAD + high)
    places = {
        shift: sum((a - b) ** 2 for a, b in zip(model, sound.read(end + low + shift, end + high + shift)))
        for shift in range(-2, 3)
    }
    length = end - LEAD + min(places, key=places.__getitem__)
    return length - length % 2  # whole samples at half the rate


def clicks(samples: Sequence[int], at: int) -> bool:
    """Whether there is a click at sample ``at``: linear prediction fails there far worse than anywhere near."""
    weights = _prediction(samples)
    errors = [
        abs(samples[i] - sum(w * samples[i - 1 - j] for j, w in enumerate(weights))) for i in range(ORDER, len(samples))
    ]
    near = range(at - ORDER - 4, at + 4)
    there = max(errors[i] for i in near)
    elsewhere = max(value for i, value in enumerate(errors) if i not in near)
    return there > max(2.0 * elsewhere, 0.04 * _peak(samples), 3.0)


def _prediction(samples: Sequence[int]) -> list[float]:
    """The coefficients that predict a sample from the samples before it (Levinson's recursion)."""
    count = len(samples)
    shaped = [value * math.sin(math.pi * (i + 0.5) / count) ** 2 for i, value in enumerate(samples)]
    correlation = [sum(a * b for a, b in zip(shaped, shaped[lag:])) for lag in range(ORDER + 1)]
    error = correlation[0] * 1.000001 + 1e-9
    weights: list[float] = []
    for lag in range(ORDER):
        reflection = (correlation[lag + 1] - sum(w * correlation[lag - j] for j, w in enumerate(weights))) / error
        weights = [w - reflection * v for w, v in zip(weights, reversed(weights))] + [reflection]
        error *= 1 - reflection * reflection
        if error <= 0:
            break
    return weights


# -- music that does not loop as it is -----------------------------------------------------------------------------


def _join(sound: Samples, begin: int, past: int, threshold: float) -> tuple[int, str]:
    """Crossfade the end of the music into its beginning. Return the length of the loop and a text for ``Loop.seam``."""
    fade = min(CROSSFADE, (past - begin) // 4)
    length = past - begin - fade
    length -= length % (FRAME if length >= 10 * FRAME else 2)
    angles = [math.pi / 2 * (i + 0.5) / fade for i in range(fade)]
    up, seam = [math.sin(angle) for angle in angles], f"cross-faded over {1000 * fade // RATE} ms"
    if _peak(sound.read(past - fade, past)) < 5 * threshold:
        # the end has faded out already: the beginning keeps its attack
        rise = FRAME // 4
        up, seam = [min(1.0, (i + 0.5) / rise) for i in range(fade)], "faded"
    _crossfade(sound, begin + length, begin, fade, [math.cos(angle) for angle in angles], up)
    return length, seam


def _crossfade(sound: Samples, old: int, new: int, count: int, down: Sequence[float], up: Sequence[float]) -> None:
    """Fade ``count`` samples from ``new`` on in, and add to them the samples from ``old`` on, faded out."""
    before, after = sound.read(old, old + count), sound.read(new, new + count)
    sound.write(new, [a * u + b * d for a, b, u, d in zip(after, before, up, down)])


def _repeat(sound: Samples, begin: int, length: int, times: int) -> None:
    """Write the loop ``times`` times, between ``LEAD`` samples of its end and ``LEAD`` samples of its beginning."""
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
