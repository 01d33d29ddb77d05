"""Sound as octets: 16-bit samples, one channel, little-endian, at each sample rate. Pure functions.

Lengths and positions are counted in frames: one sample at 8000 Hz, and two at 16000 Hz.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Callable, Mapping
from operator import mul

RATES = (8000, 16000)
"""The sample rates in Hz of all sound here."""
FRAMES = 8000
"""Frames in a second."""
FAINTEST = 32
"""The highest sample of silence: -60 dBFS. Behind the loudness filter, what is as faint as that is no music."""
SPLICE = 160
"""Frames of the cross-fade of a splice: 20 ms."""
SHORTEST_SPLICE, LONGEST_SPLICE = 40, 160
"""Frames by which a splice makes sound shorter or longer: 5 to 20 ms."""
ROOM_FOR_SPLICE = LONGEST_SPLICE + SPLICE
"""Frames that a sound needs for a splice."""

Sound = Mapping[int, bytes]
"""Octets by sample rate. All have the same length in frames."""


def octets_of(frames: int, rate: int) -> int:
    """How many octets ``frames`` take at ``rate``."""
    return 2 * frames * (rate // FRAMES)


def frames_of(sound: Sound) -> int:
    """The length of ``sound``."""
    return len(sound[FRAMES]) // 2


def samples(octets: bytes) -> array[int]:
    """The samples in ``octets``."""
    found = array("h", octets)
    if sys.byteorder == "big":
        found.byteswap()
    return found


def _octets(found: array[int]) -> bytes:
    if sys.byteorder == "big":
        found.byteswap()
    return found.tobytes()


def is_silent(octets: bytes) -> bool:
    """Whether no sample is above ``FAINTEST``."""
    found = samples(octets)
    return not found or (max(found) <= FAINTEST and min(found) >= -FAINTEST)


def cross_fade(old: bytes, new: bytes) -> bytes:
    """Fade from ``old`` to ``new``, which have the same length. The power stays the same for sounds that differ."""
    before, after = samples(old), samples(new)
    step = math.pi / 2 / max(1, len(before))
    mixed = array("h")
    for i, (fading, rising) in enumerate(zip(before, after)):
        angle = (i + 0.5) * step
        value = int(fading * math.cos(angle) + rising * math.sin(angle))
        mixed.append(max(-32768, min(32767, value)))
    return _octets(mixed)


def faded(old: Sound, new: Sound) -> dict[int, bytes]:
    """``cross_fade`` at each sample rate."""
    return {rate: cross_fade(old[rate], new[rate]) for rate in RATES}


def shortened(sound: Sound) -> dict[int, bytes]:
    """Cut out a few milliseconds where they are heard least. A sound below ``ROOM_FOR_SPLICE`` stays as it is."""

    def splice(octets: bytes, cut: int, fade: int) -> bytes:
        return _joined(octets[:fade], octets[cut : cut + fade]) + octets[cut + fade :]

    return _spliced(sound, splice)


def lengthened(sound: Sound) -> dict[int, bytes]:
    """Repeat a few milliseconds where they are heard least. A sound below ``ROOM_FOR_SPLICE`` stays as it is."""

    def splice(octets: bytes, cut: int, fade: int) -> bytes:
        return octets[:cut] + _joined(octets[cut : cut + fade], octets[:fade]) + octets[fade:]

    return _spliced(sound, splice)


def _spliced(sound: Sound, splice: Callable[[bytes, int, int], bytes]) -> dict[int, bytes]:
    """``splice`` at each sample rate. It gets the octets, and how many of them the cut and the cross-fade take."""
    if frames_of(sound) < ROOM_FOR_SPLICE:
        return dict(sound)
    lag = _best_lag(samples(sound[FRAMES][: octets_of(ROOM_FOR_SPLICE, FRAMES)]))
    return {rate: splice(sound[rate], octets_of(lag, rate), octets_of(SPLICE, rate)) for rate in RATES}


def _best_lag(found: array[int]) -> int:
    """By how many frames the beginning of ``found`` is most like itself."""
    head = found[:SPLICE]

    def likeness(lag: int) -> float:
        other = found[lag : lag + SPLICE]
        return float(sum(map(mul, head, other)) / math.sqrt(sum(map(mul, other, other)) + 1))

    return max(range(SHORTEST_SPLICE, LONGEST_SPLICE + 1), key=likeness)


def _joined(old: bytes, new: bytes) -> bytes:
    """Fade from ``old`` to ``new``, which are alike, so that their sum stays the same."""
    before, after = samples(old), samples(new)
    count = len(before)
    return _octets(array("h", ((a * (count - i) + b * i) // count for i, (a, b) in enumerate(zip(before, after)))))
