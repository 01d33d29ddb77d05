"""A piece of several in a row: where its sound begins and ends. Nothing is joined here.

The files are those of the module ``loop``, but silence follows the music in them in place of its beginning.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from .loop import CROSSFADE, FADED, FAINT, FRAME, LEAD, RATE, SILENCE, WRAP, Loop, Samples, find_ends, level_of, search

TAIL = 2 * RATE
"""Samples at most of a faded end, 2 s, that are too soft to be heard: they die away under the next beginning."""
ONSET = FRAME // 4
"""Samples before the sound, 5 ms, so that its attack stays whole."""
BREATH = RATE * 15 // 100
"""Samples before the first loud sound of speech, 0.15 s: a soft consonant may be there, such as an s."""
LAST_SOUND = RATE // 4
"""Samples after its last loud sound, 0.25 s."""


def cut_piece(path: Path, heard: Path, level: float) -> Loop:
    """Cut the silence at both ends off the music in the file ``path``.

    ``heard`` is the part that a telephone passes, and ``level`` is the level of that part (root mean square). If there
    is no sound in it, the piece has length 0. What is left of a fade is kept as the tail, and fades to nothing there.
    The tail of music that ends at once is short: what follows may be heard beyond the telephone's band, as a deep note.
    """
    with path.open("r+b", buffering=0) as file, heard.open("rb", buffering=0) as file_heard:
        sound, audible = Samples(file), Samples(file_heard)
        end = len(sound) - WRAP
        first, past = find_ends(audible, LEAD, end, level)
        if first >= past:
            return _nothing(end)
        begin, last = max(LEAD, first - ONSET), min(end, past + CROSSFADE)
        if level_of(audible.read(max(first, past - CROSSFADE), past)) <= FADED * SILENCE * level:
            outer = search(audible, past, end, -1, FAINT * level)
            last = min(end, max(last, min(past if outer is None else outer, past + TAIL)))
            past = min(past, last - CROSSFADE)
        tail = min(last - past, (last - begin) // 4)
        return _cut(sound, begin, last, end, min(ONSET, begin - LEAD), tail, tail)


def cut_speech(path: Path, heard: Path, level: float) -> Loop:
    """Cut the silence at both ends off the speech in the file ``path``, as ``cut_piece`` does.

    Soft consonants at its ends are kept. What lies in front of and behind them fades in and out. A quiet passage at an
    end is noise in speech, however long it is.
    """
    with path.open("r+b", buffering=0) as file, heard.open("rb", buffering=0) as file_heard:
        sound, audible = Samples(file), Samples(file_heard)
        end = len(sound) - WRAP
        first = search(audible, LEAD, end, 1, SILENCE * level)
        past = None if first is None else search(audible, first, end, -1, SILENCE * level)
        if first is None or past is None or first >= past:
            return _nothing(end)
        begin, last = max(LEAD, first - BREATH), min(end, past + LAST_SOUND)
        return _cut(sound, begin, last, end, min(BREATH // 4, begin - LEAD), min(LAST_SOUND // 2, last - past), 0)


def _nothing(end: int) -> Loop:
    return Loop(LEAD, 0, 0, "", end - LEAD, closed=False)


def _cut(sound: Samples, begin: int, last: int, end: int, rise: int, fade: int, tail: int) -> Loop:
    """Leave the samples from ``begin`` to ``last``, the first ``rise`` faded in, the last ``fade`` faded out."""
    trimmed = (begin - LEAD) + (end - last)
    last -= (last - begin) % 2  # whole samples at half the rate
    _shape(sound, begin, [math.sin(math.pi / 2 * (i + 0.5) / rise) for i in range(rise)])
    _shape(sound, last - fade, [math.cos(math.pi / 2 * (i + 0.5) / fade) for i in range(fade)])
    sound.truncate(last)
    sound.write(begin - LEAD, [0] * LEAD)
    sound.write(last, [0] * LEAD)
    return Loop(begin, last - begin, 1, "", trimmed, closed=False, tail=tail)


def _shape(sound: Samples, begin: int, factors: Sequence[float]) -> None:
    sound.write(begin, [a * b for a, b in zip(sound.read(begin, begin + len(factors)), factors)])
