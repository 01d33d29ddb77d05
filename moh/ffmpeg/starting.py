"""The ffmpegs that are starting: how many may start at once, and when one has begun to play.

An ffmpeg opens its sockets less than a millisecond before its first packet. By then it has loaded the program, which is
most of the work, read the header of the file and set up the encoder. Linux lists the descriptors of a process in
``/proc``. To read them takes 30 µs, and shows the sockets of every version of ffmpeg.
"""

from __future__ import annotations

import os
from typing import Optional

from .process import FfmpegProcess

LONGEST_START = 2.0
"""Seconds after which an ffmpeg no longer counts as starting. Otherwise one that hangs would keep others from starting
until its watchdog ends it."""
START_POLL = 0.004
"""Seconds between two polls of the ffmpegs that are starting."""
MOST_AT_ONCE = 8
"""Most ffmpegs that start at once, however many cores there are. One thread starts them one after another, so the last
would wait too long for its turn."""


def starts_at_once() -> int:
    """How many ffmpegs may start at once: one for each core of this process but one, which stays free for the music.

    On a busy machine with two cores, two ffmpegs that started at once took half as long again as one alone. Then the
    listeners of the shared stream lost 12 % of their packets in 2 s, with one ffmpeg 1 % (medians of three bursts).
    """
    return max(1, min(len(os.sched_getaffinity(0)) - 1, MOST_AT_ONCE))


def has_socket(pid: int) -> bool:
    """Whether a process has opened a socket; also true where ``/proc`` does not say."""
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            return any(os.readlink(entry.path).startswith("socket:") for entry in entries)
    except FileNotFoundError:
        # a descriptor was closed just now, or the process has ended; or there is no /proc at all
        return not os.path.exists("/proc/self")
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
        """Do not count an ffmpeg that has ended."""
        if ffmpeg in self._ffmpegs:
            self._ffmpegs.remove(ffmpeg)

    def next_poll(self, now: float) -> Optional[float]:
        """When to call ``begun`` next; ``None`` while no ffmpeg is starting."""
        return now + START_POLL if self._ffmpegs else None

    def begun(self, now: float) -> list[FfmpegProcess]:
        """The ffmpegs that have begun to play since the last call of this method, or take ``LONGEST_START`` or more."""
        found = [each for each in self._ffmpegs if now - each.began >= LONGEST_START or has_socket(each.process.pid)]
        for ffmpeg in found:
            self._ffmpegs.remove(ffmpeg)
        return found
