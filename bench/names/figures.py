"""What is measured of the sound that a phone has heard: gaps, steps, loudness, and the gain of the music."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.sound import TARGET, longest_gap, meter
from moh.mastering.lowering import DOWN, HOLD, TICKS, UP, gain_at

RATE = 8000
NEAR = RATE * 50 // 1000
"""Samples on both sides of a joint that belong to it: 50 ms."""
FLOOR = -50.0
"""Level in dBFS below which music of -24 LUFS is silent on a telephone."""
GAIN_OVER = RATE * 40 // 1000
"""Samples of which one gain is measured: 40 ms."""


def place_in(heard: np.ndarray, music: np.ndarray) -> int:
    """The sample of the loop ``music`` that the first heard sample is."""
    size = min(len(heard), 12 * RATE)
    length = len(music)
    looped = np.concatenate([music, music[:size]])
    both = 1 << (len(looped) + size).bit_length()
    spectrum = np.fft.rfft(looped, both) * np.conj(np.fft.rfft(heard[:size], both))
    return int(np.argmax(np.fft.irfft(spectrum, both)[:length]))


def looped(music: np.ndarray, begin: int, count: int) -> np.ndarray:
    """``count`` samples of the loop from ``begin`` on."""
    return music[(begin + np.arange(count)) % len(music)]


@dataclass(frozen=True)
class JointFigures:
    """One joint, beside the music on both sides of it."""

    gap: float
    own_gap: float
    step: float
    own_step: float

    @property
    def is_good(self) -> bool:
        """Whether there is no gap above 5 ms and no step above the music's own."""
        return self.gap <= max(5.0, self.own_gap) and self.step <= self.own_step


def joint_figures(sound: np.ndarray, at: int, rate: int) -> JointFigures:
    """Measure the joint at sample ``at``. The music's own figures are those of 5 s on both sides."""
    floor = 32768 * 10 ** ((FLOOR + meter(sound, rate)[0] - TARGET) / 20)
    near, around = NEAR * rate // RATE, 5 * rate
    joint = sound[at - near : at + near]
    sides = sound[max(0, at - around) : at - near], sound[at + near : at + around]
    return JointFigures(
        longest_gap(joint, rate, floor),
        max(longest_gap(side, rate, floor) for side in sides),
        float(np.abs(np.diff(joint)).max()),
        max(float(np.abs(np.diff(side)).max()) for side in sides),
    )


def piece_loudness(sound: np.ndarray, begins: Sequence[int], end: int, rate: int) -> list[float]:
    """The loudness of each piece in LUFS."""
    return [meter(sound[begin:past], rate)[0] for begin, past in zip(begins, [*begins[1:], end])]


def voices_in(heard: np.ndarray, voice: np.ndarray) -> list[tuple[float, float]]:
    """The second at which each announcement begins, and how well it agrees with ``voice``: 1 is the same."""
    both = 1 << (len(heard) + len(voice)).bit_length()
    found = np.fft.irfft(np.fft.rfft(heard, both) * np.conj(np.fft.rfft(voice, both)), both)[: len(heard)]
    energy = np.concatenate([[0.0], np.cumsum(heard**2)])
    ends = np.minimum(np.arange(len(heard)) + len(voice), len(heard))
    shares = found / np.sqrt(np.maximum(1.0, energy[ends] - energy[: len(heard)]) * np.sum(voice**2))
    places = []
    while len(shares) and shares.max() > 0.5:
        at = int(np.argmax(shares))
        places.append((at / RATE, float(shares[at])))
        shares[max(0, at - len(voice)) : at + len(voice)] = 0
    return sorted(places)


@dataclass(frozen=True)
class Lowered:
    """The gain of the music around one announcement, in dB, and its figures."""

    seconds: np.ndarray
    """From the beginning of the voice."""
    gain: np.ndarray
    wanted: np.ndarray
    depth: float
    ripple: float
    """The standard deviation of the gain while the voice speaks, in dB."""
    down: float
    """Seconds from 1 dB below the music to 2 dB above the depth."""
    up: float
    before: float
    after: float
    """The gain in the 2 s before and after the window, in dB."""
    voice_above: float
    """By how many dB the voice is louder than the lowered music."""


def lowered(heard: np.ndarray, plain: np.ndarray, voice: np.ndarray, at: int) -> Lowered:
    """Measure how the music is lowered for the announcement whose voice begins at sample ``at``.

    ``plain`` has the same music without announcements. The voice is subtracted; what is left is music.
    """
    begin, end = at - DOWN - 2 * RATE, at + len(voice) + HOLD + UP + 2 * RATE
    begin = max(0, begin)
    end = min(end, len(heard))
    rest = heard[begin:end].copy()
    rest[at - begin : at - begin + len(voice)] -= voice[: end - at]
    music = plain[begin:end]
    count = len(rest) // GAIN_OVER
    parts = rest[: count * GAIN_OVER].reshape(count, -1), music[: count * GAIN_OVER].reshape(count, -1)
    power = np.sum(parts[1] ** 2, axis=1)
    gains = 20 * np.log10(np.maximum(1e-3, np.sum(parts[0] * parts[1], axis=1) / np.maximum(1.0, power)))
    seconds = (begin - at + GAIN_OVER * (np.arange(count) + 0.5)) / RATE
    heard_there = power > GAIN_OVER * (32768 * 10 ** ((FLOOR + 6) / 20)) ** 2
    seconds, gains = seconds[heard_there], gains[heard_there]
    spoken = len(voice) / RATE
    inside = (seconds > 0.1) & (seconds < spoken)
    depth = float(np.median(gains[inside]))
    falling, rising = seconds < 0.5, seconds > spoken - 0.5
    wanted = np.array([20 * np.log10(gain_at(max(0.0, each * TICKS + DOWN), len(voice))) for each in seconds])
    lead, behind = DOWN / TICKS, (HOLD + UP) / TICKS
    levels = [np.sqrt(np.mean(part**2)) for part in (voice, music[at - begin : at - begin + len(voice)])]
    return Lowered(
        seconds, gains, wanted, -depth, float(np.std(gains[inside])),
        _between(seconds[falling], gains[falling], -1.0, depth + 2),
        _between(seconds[rising], gains[rising], depth + 2, -1.0),
        _median(gains[seconds < -lead]), _median(gains[seconds > spoken + behind]),
        float(20 * np.log10(levels[0] / levels[1]) - depth),
    )  # fmt: skip


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else 0.0


def _between(seconds: np.ndarray, gains: np.ndarray, first: float, last: float) -> float:
    """The seconds from where the gain passes ``first`` to where it passes ``last``."""
    sign = 1 if last > first else -1
    places = [seconds[sign * (gains - level) > 0] for level in (first, last)]
    return float(places[1].min() - places[0].min()) if min(map(len, places)) else 0.0
