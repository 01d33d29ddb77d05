"""Converted music that a test makes itself, sample by sample, in a file for each sample rate."""

from __future__ import annotations

import math
import wave
from array import array
from collections.abc import Callable
from pathlib import Path

from moh.mastering.prepare import RATES, Music

Wave = Callable[[float], float]
"""The sound at a second, from -1 to 1."""


def tone(hertz: float, level: float = 0.2, phase: float = 0.0) -> Wave:
    return lambda at: level * math.sin(2 * math.pi * hertz * at + phase)


def write(path: Path, rate: int, samples: array[int]) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, len(samples), "NONE", "not compressed"))
        file.writeframes(samples.tobytes())


def mastered(folder: Path, name: str, seconds: float, sound: Wave) -> Music:
    """The music of ``sound``, as if the file ``name`` had been converted."""
    entry = folder / f"{name} converted"
    entry.mkdir()
    for rate in RATES:
        count = round(seconds * rate)
        write(entry / f"{rate}.wav", rate, array("h", [round(32767 * sound(i / rate)) for i in range(count)]))
    return Music({rate: entry / f"{rate}.wav" for rate in RATES}, seconds, folder / name)


def step(samples: array[int]) -> int:
    """The largest step from one sample to the next."""
    return max(map(abs, map(int.__sub__, samples[1:], samples[:-1])))


def gap(samples: array[int], rate: int, floor: int) -> float:
    """The milliseconds of the longest stretch in which no sample is above ``floor``."""
    longest = length = 0
    for sample in samples:
        length = length + 1 if abs(sample) <= floor else 0
        longest = max(longest, length)
    return 1000 * longest / rate
