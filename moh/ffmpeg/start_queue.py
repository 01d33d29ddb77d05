"""Which calls wait for their ffmpeg, and which of them is the next; no clock here, no process.

Of each call only the latest start waits. Whoever sends one re-INVITE after the other would have one ffmpeg after the
other started and ended at once; so two starts of the same call are ``APART``.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import NamedTuple, Optional

from ..common.actions import StartStream

APART = 0.5
"""Seconds from one start of a call to its next, at the least: so long who is moved again at once hears nothing."""


class PendingStart(NamedTuple):
    """A call that waits for its ffmpeg."""

    order: StartStream
    not_before: float
    """When it may be started, by the clock of ``StartQueue.take``."""
    away: float
    """Seconds for which there has been no way to its listener, and for which it has been started in vain."""


class StartQueue:
    """The starts that wait, first come, first served; iterates over the calls. For one thread."""

    def __init__(self) -> None:
        self._waiting: dict[str, PendingStart] = {}
        self._begun: dict[str, float] = {}
        """When those calls were started that were so within ``APART`` of the latest start."""

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[str]:
        return iter(self._waiting)

    def __contains__(self, call: str) -> bool:
        return call in self._waiting

    def put(self, order: StartStream) -> None:
        """Let the call wait for this start. One that it waited for already is forgotten, but its place is kept."""
        begun = self._begun.get(order.call)
        self._waiting[order.call] = PendingStart(order, 0.0 if begun is None else begun + APART, 0.0)

    def put_back(self, waiting: PendingStart) -> None:
        """Let a call wait whose ffmpeg ended by itself; its own ``not_before`` counts, and not ``APART``."""
        self._waiting[waiting.order.call] = waiting

    def drop(self, call: str) -> Optional[StartStream]:
        """Do not start the call; gives back what it waited for, if it did."""
        waiting = self._waiting.pop(call, None)
        return None if waiting is None else waiting.order

    def pop(self, now: float, busy: Container[str]) -> Optional[PendingStart]:
        """The start whose turn it is, which waits no more; ``None`` where there is none at this time.

        ``now`` is in seconds and never runs back. ``busy`` are the calls whose former ffmpeg still has their port.
        """
        for call, waiting in self._waiting.items():
            if waiting.not_before <= now and call not in busy:
                break
        else:
            return None
        young = {each: begun for each, begun in self._begun.items() if now - begun < APART}
        young[call] = now
        self._begun = young
        del self._waiting[call]  # after all that needs memory, lest it is lost
        return waiting

    def next_due(self, busy: Container[str]) -> Optional[float]:
        """From when on ``take`` has something to give; ``None`` where nobody waits but for a port."""
        return min((each.not_before for call, each in self._waiting.items() if call not in busy), default=None)
