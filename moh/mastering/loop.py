"""The loop point: where the music begins and ends, and the crossfade from its end into its beginning.

The file that is changed here holds bare mono samples of 16 bits. Only the parts near the loop point are read and
written. A second file of the same form holds what a telephone passes of the same sound. The beginning and the end are
looked for in that one: hum, rumble and whistles are no sound there.
"""

from __future__ import annotations

import math
import os
import sys
from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import mul
from pathlib import Path
from typing import BinaryIO, Optional

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
TAIL = RATE // 2
"""Samples at most of a faded end, 0.5 s, that sound on under the beginning, so that nothing audible breaks off."""
GAP = RATE * 30 // 1000
"""Most samples of silence, 30 ms, at both ends together. With more, the music is cut and does not loop as it is."""
BLOCK = RATE // 200
"""Samples of a block, 5 ms. The ends are found to a block."""
WINDOW = 4
"""Blocks whose average level decides what is silence: 20 ms. The ear takes no shorter dip for a pause, and six periods
of the deepest tone that a telephone passes fit in it, so a steady tone has a steady level."""
SILENCE = 10 ** (-22 / 20)
"""The level of silence at the ends, as a factor of the music's level: 22 dB below it.

Music of -24 LUFS then is silent below -46 dBFS. The noise of a room hides on a telephone what is below -50 dBFS; 4 dB
are for the compressor, which is still turned down when a loud passage has just ended, and for the crossfade. A note
that dies away at 20 dB a second is cut 0.2 s earlier for those 4 dB, and sounds on under the beginning.
"""
LASTING = 200
"""Sound between two silences counts if it has the energy of this many blocks (1 s) at the level of silence. A click has
less, such as dust on a record or a recorder's stop key. The last beat of a drum has more."""
PASSAGE = 5 * RATE
"""Samples that a quiet passage has at least, 5 s. A passage at an end of the music is not cut: the caller hears it,
since the whole passage can be made louder."""
FAINT = 10 ** (-40 / 20)
"""The level below which there is no passage, as a factor of the music's level: tapes and records have noise there."""
FADE = 10 ** (-5 / 20)
"""A quiet passage whose outer half is this much less loud than its inner half (5 dB) is the rest of a fade-out."""
WITHIN = 10 ** (-2 / 20)
"""A quiet passage at an end is cut where its level stays 2 dB below its average: what stays below is a fade, and the
loud beginning would mask it. The value is a factor of that average."""
BRIEF = 10
"""Blocks (50 ms) that take the place of ``LASTING`` there."""
FADED = 2
"""The music has faded out if its last sound is at most this many times (6 dB) above the level of silence."""
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

    A piece that is no loop has silence in place of those ``LEAD`` samples. It is not ``closed``, and the last ``tail``
    of its samples are too soft to be heard.
    """

    start: int
    length: int
    times: int
    seam: str
    trimmed: int
    closed: bool = True
    tail: int = 0


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


def close_loop(path: Path, heard: Path, level: float) -> Loop:
    """Make the music in the file ``path`` a loop without gap or click.

    The file holds ``LEAD`` samples of silence, the music, and the first ``WRAP`` samples of the music again (all of
    them if the music is shorter). The file ``heard`` holds the part of the same sound that a telephone passes, and
    ``level`` is the level of that part (root mean square). If there is no sound in it, the loop has length 0.
    """
    with path.open("r+b", buffering=0) as file, heard.open("rb", buffering=0) as file_heard:
        sound, audible = Samples(file), Samples(file_heard)
        found = len(sound) - LEAD
        end = LEAD + (found // 2 if found < 2 * WRAP else found - WRAP)
        begin, past = find_ends(audible, LEAD, end - RINGING, level)
        if begin < past > end - 2 * RINGING:
            past = end  # the music is loud to its end: the last loud sample is no mere ringing of the resampler
        if begin >= past:
            return Loop(LEAD, 0, 0, "", end - LEAD)
        trimmed = (begin - LEAD) + (end - past)
        silence = SILENCE * level
        if _may_loop_as_it_is(audible, begin, past, end, silence) and (length := _natural_length(sound, end)):
            # the resampler's transition into the beginning is in the copy only
            fade = min(WRAP, length) // 2
            crossfade(
                sound, LEAD + length, LEAD, fade, [1 - i / fade for i in range(fade)], [i / fade for i in range(fade)]
            )
            begin, seam, trimmed = LEAD, "as it was", 0
        else:
            begin, past = max(LEAD, begin - FRAME // 4), min(end, past + FRAME // 4)
            if level_of(audible.read(max(begin, past - CROSSFADE), past)) <= FADED * silence:
                length, seam = _overlap(sound, begin, past, end - RINGING)
            else:
                length, seam = _join(sound, begin, past)
        times = max(1, math.ceil(SHORTEST / max(1, length)))
        _repeat(sound, begin, length, times)
    return Loop(begin, length, times, seam, trimmed)


# -- where the sound begins and ends -------------------------------------------------------------------------------


def find_ends(sound: Samples, begin: int, end: int, level: float) -> tuple[int, int]:
    """The number of the first sample of the sound, and of the sample after its last. Both are ``end`` in silence."""
    first = _edge(sound, begin, end, 1, level)
    last = None if first is None else _edge(sound, first, end, -1, level)
    return (end, end) if first is None or last is None else (first, last)


def _edge(sound: Samples, begin: int, end: int, step: int, level: float) -> Optional[int]:
    """The place between two samples where the sound begins (``step`` 1) or ends (``step`` -1)."""
    edge = search(sound, begin, end, step, SILENCE * level)
    outer = search(sound, begin, end, step, FAINT * level)
    if edge is None or outer is None or abs(edge - outer) < PASSAGE:
        return edge
    middle = (edge + outer) // 2
    loud, quiet = (math.sqrt(_power(sound, *sorted((middle, other)))) for other in (edge, outer))
    if quiet < FADE * loud:
        return edge
    return search(sound, begin, end, step, max(FAINT * level, WITHIN * min(loud, quiet)), BRIEF)


def search(sound: Samples, begin: int, end: int, step: int, silence: float, lasting: int = LASTING) -> Optional[int]:
    """The first sample of the sound (``step`` 1), or the sample after its last (-1).

    Sound is louder than ``silence`` and has at least the energy of ``lasting`` blocks at that level.
    """
    blocks = range(begin, end, BLOCK) if step > 0 else range(end - BLOCK, begin - BLOCK, -BLOCK)
    number = _first_sound(
        (energy_of(sound.read(max(begin, at), min(end, at + BLOCK))) for at in blocks), silence, lasting
    )
    if number is None:
        return None
    # this block made the window loud enough: the sound begins or ends in it, if it does so at once
    return blocks[number] if step > 0 else blocks[number] + BLOCK


def _first_sound(energies: Iterable[int], silence: float, lasting: int) -> Optional[int]:
    """The number of the block that completes the first window of a sound; ``None`` if there is no sound."""
    least = BLOCK * silence**2
    window: deque[int] = deque(maxlen=WINDOW)
    start, gathered = None, 0
    for number, energy in enumerate(energies):
        window.append(energy)
        if sum(window) < WINDOW * least:
            start = None
            continue
        if start is None:
            start, gathered = number, sum(window) - energy
        gathered += energy
        if gathered >= lasting * least:
            return start
    return None


def energy_of(samples: Sequence[int]) -> int:
    """The sum of the squares."""
    return sum(map(mul, samples, samples))


def _power(sound: Samples, begin: int, end: int) -> float:
    parts = (sound.read(at, min(end, at + BLOCK)) for at in range(begin, end, BLOCK))
    return sum(map(energy_of, parts)) / (end - begin)


def level_of(samples: Sequence[int]) -> float:
    """The root mean square."""
    return math.sqrt(energy_of(samples) / max(1, len(samples)))


def _peak(samples: Sequence[int]) -> int:
    return max(map(abs, samples), default=0)


# -- music that loops as it is -------------------------------------------------------------------------------------


def _may_loop_as_it_is(heard: Samples, begin: int, past: int, end: int, silence: float) -> bool:
    """Whether the silence at both ends is short, and is not the still deeper silence that an encoder has added."""
    if (begin - LEAD) + (end - past) > GAP:
        return False
    before, after = heard.read(LEAD, begin), heard.read(past, max(past, end - RINGING))
    after.reverse()
    added = sum(next((i for i, v in enumerate(part) if abs(v) >= silence / 4), len(part)) for part in (before, after))
    return added <= FRAME // 4


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


def _join(sound: Samples, begin: int, past: int) -> tuple[int, str]:
    """Crossfade the end of the music into its beginning. Return the length of the loop and a text for ``Loop.seam``."""
    fade = min(CROSSFADE, (past - begin) // 4)
    length = _whole_packets(past - begin - fade)
    angles = [math.pi / 2 * (i + 0.5) / fade for i in range(fade)]
    crossfade(
        sound, begin + length, begin, fade, [math.cos(angle) for angle in angles], [math.sin(angle) for angle in angles]
    )
    return length, f"cross-faded over {1000 * fade // RATE} ms"


def _overlap(sound: Samples, begin: int, past: int, end: int) -> tuple[int, str]:
    """Let the rest of a faded end, up to ``end``, die away under the beginning, which keeps its attack.

    Return the length of the loop and a text for ``Loop.seam``.
    """
    length = _whole_packets(min(past, max(end - CROSSFADE, begin + (past - begin) * 3 // 4)) - begin)
    count, rise = min(TAIL, end - begin - length, length // 2), FRAME // 4
    down = [math.cos(math.pi / 2 * (i + 0.5) / count) for i in range(count)]
    crossfade(sound, begin + length, begin, count, down, [min(1.0, (i + 0.5) / rise) for i in range(count)])
    return length, "faded"


def _whole_packets(length: int) -> int:
    """The length, cut to whole packets. A very short loop is cut to whole samples at half the rate."""
    return length - length % (FRAME if length >= 10 * FRAME else 2)


def crossfade(sound: Samples, old: int, new: int, count: int, down: Sequence[float], up: Sequence[float]) -> None:
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
