"""The gain of the music while an announcement is spoken, and the sum of both.

The gain follows the places of the announcement alone, and never its syllables, so it does not pump. The music is
lowered before the voice begins and returns after the voice has ended. At both ends of this *window* the gain is exactly
1: outside it no sample changes.

Times are in *ticks* of 1/8000 s, so that the files of all sample rates change at the same instants.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from itertools import repeat

from .limiter import REACH, as_samples, limit

TICKS = 8000
"""Ticks a second."""
DEPTH = 15.0
"""dB by which the music is lowered: on a telephone a voice is understood well 12 dB above music, also by people who
hear badly."""
DOWN = TICKS * 450 // 1000
"""Ticks in which the music is lowered, before the voice begins: 0.45 s."""
HOLD = TICKS * 200 // 1000
"""Ticks for which the music stays lowered after the voice: 0.2 s, in which its last sound dies away."""
UP = TICKS * 1200 // 1000
"""Ticks in which the music returns: 1.2 s."""
EDGE = TICKS * 5 // 1000
"""Ticks in which the announcement fades in and out, 5 ms: it may begin or end in the noise of a room."""
BLOCK = TICKS
"""Ticks that are mixed at once: 1 s."""


def window(spoken: int) -> int:
    """The ticks in which the music of an announcement of ``spoken`` ticks is not what it was."""
    return DOWN + spoken + HOLD + UP


def gain_at(tick: float, spoken: int) -> float:
    """The factor of the music at ``tick`` of the window of an announcement that is ``spoken`` ticks long."""
    after = tick - DOWN - spoken - HOLD
    share = min(1.0, tick / DOWN) if after < 0 else 1 - min(1.0, after / UP)
    return float(10 ** (-DEPTH * (1 - math.cos(math.pi * share)) / 40))


class Lowering:
    """One announcement, to be spoken over any music of one sample rate."""

    def __init__(self, voice: Sequence[int], rate: int, ceiling: float) -> None:
        """``voice`` has the samples of the announcement; no sample of the sum is to be above ``ceiling``."""
        self._each = each = rate // TICKS
        self._spoken = len(voice) // each
        self._ceiling, self._rate = ceiling, rate
        self._voice = array("h", voice)
        fade = min(EDGE * each, len(voice) // 2)
        for i in range(fade):
            share = (i + 0.5) / fade
            self._voice[i] = round(self._voice[i] * share)
            self._voice[-1 - i] = round(self._voice[-1 - i] * share)
        self._down = [gain_at(i / each, self._spoken) for i in range(DOWN * each)]
        self._low = gain_at(DOWN, self._spoken)
        back = DOWN + self._spoken + HOLD
        self._up = [gain_at(back + i / each, self._spoken) for i in range(UP * each)]

    def over(self, music: Callable[[int, int], Sequence[int]], begin: int, end: int) -> array[int]:
        """The sound from tick ``begin`` up to ``end`` of the window: the music of these ticks, lowered, and the voice.

        ``music`` gives the samples between two ticks of the window.
        """
        whole = window(self._spoken)
        # a peak matters as far as the limiter reaches, and counts if the limiter does not reach beyond the ends
        first, last = max(0, begin - 2 * REACH), min(whole, end + 2 * REACH + 1)
        mixed = self._mix(music(first, last), first * self._each)
        limit(mixed, self._rate, self._ceiling)
        return as_samples(mixed[(begin - first) * self._each : (end - first) * self._each])

    def _mix(self, music: Sequence[int], at: int) -> list[float]:
        """The sum of the lowered music and the voice, from sample ``at`` of the window on."""
        each, end = self._each, at + len(music)
        voice_at = DOWN * each
        up_at = (DOWN + self._spoken + HOLD) * each
        down = self._down[at:end]
        up = self._up[max(0, at - up_at) : max(0, end - up_at)]
        gains: list[float] = [*down, *repeat(self._low, len(music) - len(down) - len(up)), *up]
        mixed = [value * gain for value, gain in zip(music, gains)]
        spoken_from, spoken_to = max(at, voice_at), min(end, voice_at + len(self._voice))
        if spoken_from < spoken_to:
            spoken = self._voice[spoken_from - voice_at : spoken_to - voice_at]
            part = slice(spoken_from - at, spoken_to - at)
            mixed[part] = [value + word for value, word in zip(mixed[part], spoken)]
        return mixed
