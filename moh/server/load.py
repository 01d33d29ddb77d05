"""How much of one core the server and the ffmpegs of its calls take, for ``MOH_BUSY_AT``.

The page, the library and all that converts music do not count: they give way to the calls.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable

from ..common.busy_at import BusyAt

EVERY = 1.0
"""Seconds between two measurements."""
OVER = 10.0
"""Seconds over which the share is an average."""


def processor_seconds(pid: int) -> float:
    """The processor time in seconds that the process has used; 0 where it has ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class LoadMeter:
    """The share of one core, averaged. Only the main thread uses it."""

    def __init__(
        self, busy_at: BusyAt, pids: Callable[[], list[int]], seconds: Callable[[int], float] = processor_seconds
    ) -> None:
        """``pids`` returns the numbers of the ffmpegs that run. Their times are read only where a share is limited."""
        self._is_wanted = busy_at.calls < math.inf or busy_at.share < math.inf
        self._reads_time = busy_at.share < math.inf
        self._pids = pids
        self._seconds = seconds
        self._due_at = 0.0
        self._running: dict[int, float] = {}  # the time that each ffmpeg had used when it was measured last
        self._ended = 0.0  # the time of those that have ended since
        self._before: deque[tuple[float, float]] = deque()  # times, and the processor time that was used until then

    def due(self, now: float) -> bool:
        """Whether it is time to measure again; never without a limit."""
        return self._is_wanted and now >= self._due_at

    def share(self, now: float) -> float:
        """The share of one core over the last ``OVER`` seconds, as 0.8; 0 where none is limited."""
        self._due_at = now + EVERY
        if not self._reads_time:
            return 0.0
        used = self._used()
        while len(self._before) > 1 and now - self._before[0][0] > OVER:
            self._before.popleft()
        self._before.append((now, used))
        since, before = self._before[0]
        return (used - before) / (now - since) if now > since else 0.0

    def _used(self) -> float:
        """The processor time in seconds since the start. It never falls, though ffmpegs end."""
        own = os.times()
        running = {pid: self._seconds(pid) for pid in self._pids()}
        self._ended += sum(known for pid, known in self._running.items() if running.get(pid, 0.0) < known)
        self._running = running
        return own.user + own.system + self._ended + sum(running.values())
