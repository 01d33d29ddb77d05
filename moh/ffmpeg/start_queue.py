"""The calls that wait for their ffmpeg, and which of them is next. No clock and no process in here.

The law kept here: only the latest start of a call waits, and two starts of one call are ``STARTS_APART``. Without that,
re-INVITEs in a row would start and end one ffmpeg after the other.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import NamedTuple, Optional

from ..common.actions import StartStream

STARTS_APART = 0.5
"""Seconds between two starts of one call, at least. A caller that is moved twice within it hears silence."""


class PendingStart(NamedTuple):
    """A call that waits for its ffmpeg."""

    order: StartStream
    not_before: float
    """When it may be started, by the clock of ``StartQueue.pop``."""
    unreachable_for: float
    """Seconds for which the call has had no route to its receiver, and for which it has been started in vain."""


class StartQueue:
    """The starts that wait, first come, first served. Iterates over their calls. For one thread."""

    def __init__(self) -> None:
        self._waiting: dict[str, PendingStart] = {}
        self._started: dict[str, float] = {}
        """The calls that were started less than ``STARTS_APART`` before the latest start, and when."""

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[str]:
        return iter(self._waiting)

    def __contains__(self, call: str) -> bool:
        return call in self._waiting

    def put(self, order: StartStream) -> None:
        """Let the call wait for this start. It replaces an earlier one that waits, and keeps its place."""
        started = self._started.get(order.call)
        self._waiting[order.call] = PendingStart(order, 0.0 if started is None else started + STARTS_APART, 0.0)

    def put_back(self, start: PendingStart) -> None:
        """Let a call wait whose ffmpeg has ended by itself. ``not_before`` counts, and not ``STARTS_APART``."""
        self._waiting[start.order.call] = start

    def drop(self, call: str) -> Optional[StartStream]:
        """Remove the call's start and return it; ``None`` where none waits."""
        start = self._waiting.pop(call, None)
        return None if start is None else start.order

    def pop(self, now: float, busy: Container[str]) -> Optional[PendingStart]:
        """Remove the next start and return it; ``None`` where none may start now.

        ``now`` is in seconds and never runs back. ``busy`` are the calls whose former ffmpeg still has their port.
        """
        for call, start in self._waiting.items():
            if start.not_before <= now and call not in busy:
                break
        else:
            return None
        recent = {other: started for other, started in self._started.items() if now - started < STARTS_APART}
        recent[call] = now
        self._started = recent
        del self._waiting[call]  # after all that needs memory, so that a MemoryError does not lose the start
        return start

    def next_due(self, busy: Container[str]) -> Optional[float]:
        """When ``pop`` next has something to return; ``None`` where all that wait, wait for their port."""
        return min((start.not_before for call, start in self._waiting.items() if call not in busy), default=None)
