"""The loudness of music over time, and what can be read from it. Pure functions.

A curve is a list of momentary loudnesses in LUFS (EBU R128): each is that of 0.4 s of sound, and one is taken every
0.1 s. Nothing is left out of a curve, however quiet it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

STEP = 0.1
"""Seconds from one value of a curve to the next."""
WINDOW = 0.4
"""Seconds of sound that a value is the loudness of."""
SHORT_TERM = 27
"""Successive values that cover 3 s: what EBU R128 calls short-term."""
FAINTEST = -70.0
"""Loudness in LUFS below which EBU R128 counts no sound. The noise of 16 bits is 30 dB below that."""
INAUDIBLE = 30.0
"""How many LU below the music a sound is not heard on a telephone any more."""


def _power(loudness: float) -> float:
    return 10 ** (loudness / 10)


def _loudness(powers: Sequence[float]) -> float:
    mean = sum(powers) / len(powers) if powers else 0.0
    return 10 * math.log10(mean) if mean > 0 else -math.inf


def average(curve: Sequence[float]) -> float:
    """The average level of the whole, in LUFS. Silence counts too."""
    return _loudness([_power(value) for value in curve])


def integrated(curve: Sequence[float]) -> float:
    """The loudness of the whole in LUFS. As EBU R128 says, quiet passages do not count."""
    powers = [_power(value) for value in curve if value >= FAINTEST]
    gate = _power(_loudness(powers) - 10)
    return _loudness([power for power in powers if power >= gate])


def loudness_range(curve: Sequence[float]) -> float:
    """The loudness range in LU (EBU Tech 3342): how far the loud passages are from the quiet ones."""
    powers = [_power(value) for value in curve]
    total = sum(powers[:SHORT_TERM])
    passages = [total]
    for old, new in zip(powers, powers[SHORT_TERM:]):
        passages.append(passages[-1] + new - old)
    passages = [passage / SHORT_TERM for passage in passages if passage > SHORT_TERM * _power(FAINTEST)]
    gate = _power(_loudness(passages) - 20)
    passages = sorted(passage for passage in passages if passage >= gate)
    if not passages:
        return 0.0
    low, high = (passages[round(share * (len(passages) - 1))] for share in (0.10, 0.95))
    return 10 * math.log10(high / low)


def heard_seconds(curve: Sequence[float]) -> float:
    """For how many seconds the music can be heard, once it is as loud as wanted."""
    floor = max(FAINTEST, integrated(curve) - INAUDIBLE)
    return STEP * sum(value >= floor for value in curve)


def silences(curve: Sequence[float], least: float) -> list[tuple[float, float]]:
    """Where for ``least`` seconds or more nothing can be heard: beginnings and ends in seconds from the start.

    The first value of the curve is that of the sound from -0.3 s on, as in a loop.
    """
    floor = integrated(curve) - INAUDIBLE
    found: list[tuple[float, float]] = []
    begin = None
    for i, value in enumerate([*curve, math.inf]):
        if value < floor:
            begin = i if begin is None else begin
        elif begin is not None:
            places = max(0.0, begin * STEP + STEP - WINDOW), i * STEP
            if places[1] - places[0] >= least:
                found.append(places)
            begin = None
    return found
