"""Silence in the telephone's band, measured apart from the server's own code. Standard library and ffmpeg."""

from __future__ import annotations

import subprocess
import sys
from array import array
from collections.abc import Sequence
from operator import mul

FLOOR = -50.0
"""Level in dBFS below which music of -24 LUFS is silent on a telephone."""
WINDOW = 20
"""Milliseconds whose level (root mean square) has to be below the floor: a shorter dip is no pause."""
LONGEST = 30.0
"""Milliseconds of silence that are allowed where a loop begins again."""


def in_telephone_band(samples: Sequence[int], rate: int) -> array[int]:
    """Return what a telephone passes of the samples: 300 to 3400 Hz."""
    chain = ",".join(2 * ["highpass=f=300:p=2"] + 2 * ["lowpass=f=3400:p=2"])
    form = ["-f", "s16le", "-ar", str(rate), "-ac", "1"]
    command = ["ffmpeg", "-nostdin", "-v", "error", *form, "-i", "-", "-af", chain, *form, "-"]
    fed = array("h", samples)
    if sys.byteorder == "big":
        fed.byteswap()
    passed = array("h", subprocess.run(command, input=fed.tobytes(), capture_output=True, check=True).stdout)
    if sys.byteorder == "big":
        passed.byteswap()
    return passed


def silences(samples: Sequence[int], rate: int, floor: float = FLOOR) -> list[tuple[int, int]]:
    """Return where there is silence: beginnings and ends in milliseconds. ``samples`` are of the telephone's band."""
    size = rate // 1000
    parts = (samples[at : at + size] for at in range(0, len(samples) - size + 1, size))
    energies = [sum(map(mul, part, part)) for part in parts]
    least = (32768 * 10 ** (floor / 20)) ** 2 * size * WINDOW
    found: list[tuple[int, int]] = []
    window = sum(energies[: WINDOW - 1])
    for begin in range(len(energies) - WINDOW + 1):
        window += energies[begin + WINDOW - 1]
        if window < least:
            joins = found and begin <= found[-1][1]
            found[-1 if joins else len(found) :] = [(found[-1][0] if joins else begin, begin + WINDOW)]
        window -= energies[begin]
    return found


def silence_at(samples: Sequence[int], at: int, rate: int, floor: float = FLOOR) -> int:
    """Return the length in milliseconds of the whole silence that holds sample ``at``; 0 if there is sound."""
    place = at * 1000 // rate
    return next((end - begin for begin, end in silences(samples, rate, floor) if begin <= place <= end), 0)


def longest_silence(samples: Sequence[int], rate: int, floor: float = FLOOR) -> int:
    """Return the length in milliseconds of the longest silence."""
    return max((end - begin for begin, end in silences(samples, rate, floor)), default=0)
