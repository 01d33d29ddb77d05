"""The calls that wait for their ffmpeg, and which of them is next. This module has no clock and starts no process.

The law kept here: only the latest start of a call waits, and two starts of one call are ``STARTS_APART`` seconds apart.
Without this law, re-INVITEs in a row would start and end one ffmpeg after the other.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import NamedTuple, Optional

from ..common.actions import StartStream

STARTS_APART = 0.5
"""Seconds between two starts of one call, at least. A caller that is moved twice within this time hears silence."""


class PendingStart(NamedTuple):
    """A call that waits for its ffmpeg."""

    order: StartStream
    """The action of the core that asks for the start."""
    not_before: float
    """When the ffmpeg may be started, by the clock of ``StartQueue.pop``."""
    unreachable_for: float
    """Seconds for which ffmpegs of this call have found no route to its receiver."""


class StartQueue:
    """The starts that wait, first come, first served. Iterating gives their calls. Only one thread may use it."""

    def __init__(self) -> None:
        self._waiting: dict[str, PendingStart] = {}
        self._started: dict[str, float] = {}
        """By call: the time of its start, for starts less than ``STARTS_APART`` seconds before the latest start."""

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[str]:
        return iter(self._waiting)

    def __contains__(self, call: str) -> bool:
        return call in self._waiting

    def put(self, order: StartStream) -> None:
        """Queue the start ``order``. It replaces a waiting start of the same call, and takes over its place."""
        started = self._started.get(order.call)
        self._waiting[order.call] = PendingStart(order, 0.0 if started is None else started + STARTS_APART, 0.0)

    def put_back(self, start: PendingStart) -> None:
        """Queue a call whose ffmpeg has ended by itself. ``start.not_before`` counts instead of ``STARTS_APART``."""
        self._waiting[start.order.call] = start

    def drop(self, call: str) -> Optional[StartStream]:
        """Remove the start of ``call`` and return it; ``None`` where ``call`` does not wait."""
        start = self._waiting.pop(call, None)
        return None if start is None else start.order

    def pop(self, now: float, busy: Container[str]) -> Optional[PendingStart]:
        """Remove the next start and return it; ``None`` where no call may start now.

        ``now`` is in seconds and never runs back. ``busy`` are the calls whose port a former ffmpeg still has.
        """
        for call, start in self._waiting.items():
            if start.not_before <= now and call not in busy:
                break
        else:
            return None
        recent = {other: started for other, started in self._started.items() if now - started < STARTS_APART}
        recent[call] = now
        self._started = recent
        del self._waiting[call]  # last, so that a MemoryError in the lines above does not lose the start
        return start

    def next_due(self, busy: Container[str]) -> Optional[float]:
        """When ``pop`` will next have a start to return; ``None`` where all waiting calls are ``busy``."""
        return min((start.not_before for call, start in self._waiting.items() if call not in busy), default=None)
