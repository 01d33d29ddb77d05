"""The ffmpegs that are starting: how many may start at once, and when one has begun to play.

An ffmpeg opens its sockets less than a millisecond before its first packet, and its start is over then: loading the
program, which is most of the work, reading the file and setting up the encoder. Linux lists the descriptors of a
process in ``/proc``; this holds for every version of ffmpeg, and costs 30 µs a look.
"""

from __future__ import annotations

import os
from typing import Optional

from .process import FfmpegProcess

LONGEST_START = 2.0
"""Seconds after which an ffmpeg no longer counts as starting, whatever it does: one that hangs must not keep others
from starting until its watchdog ends it."""
START_POLL = 0.004
"""Seconds between two looks at the ffmpegs that are starting."""
MOST_AT_ONCE = 8
"""More ffmpegs never start at once, however many cores there are: they are started one after another by one thread,
and the last would wait too long for its turn."""


def starts_at_once() -> int:
    """How many ffmpegs may start at once: as many as this process has cores but one, which stays free for the music.

    On a busy machine with two cores, two that started at once took half as long again as one alone, and the listeners
    of the shared stream lost 12 % of their packets in 2 s; with one they lost 1 % (medians of three bursts).
    """
    return max(1, min(len(os.sched_getaffinity(0)) - 1, MOST_AT_ONCE))


def has_socket(pid: int) -> bool:
    """Whether a process has opened a socket; also true where ``/proc`` does not say."""
    try:
        return any(os.readlink(entry.path).startswith("socket:") for entry in os.scandir(f"/proc/{pid}/fd"))
    except FileNotFoundError:
        return False  # a descriptor was closed just now, or the process has ended
    except OSError:
        return True


class Starting:
    """The ffmpegs that are starting, ``most`` at once. Only one thread may use it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._ffmpegs: list[FfmpegProcess] = []

    @property
    def has_room(self) -> bool:
        """Whether another ffmpeg may start."""
        return len(self._ffmpegs) < self._most

    def add(self, ffmpeg: FfmpegProcess) -> None:
        """Count an ffmpeg that was started just now."""
        self._ffmpegs.append(ffmpeg)

    def drop(self, ffmpeg: FfmpegProcess) -> None:
        """Count an ffmpeg no longer: it has ended, or is to end."""
        if ffmpeg in self._ffmpegs:
            self._ffmpegs.remove(ffmpeg)

    def next_look(self, now: float) -> Optional[float]:
        """When to call ``begun`` next; ``None`` while no ffmpeg is starting."""
        return now + START_POLL if self._ffmpegs else None

    def begun(self, now: float) -> list[FfmpegProcess]:
        """The ffmpegs that play since the last call of this, or have been starting for ``LONGEST_START``."""
        found = [each for each in self._ffmpegs if now - each.began >= LONGEST_START or has_socket(each.process.pid)]
        for ffmpeg in found:
            self._ffmpegs.remove(ffmpeg)
        return found
