"""The timers of SIP (RFC 3261 table 4): their constants, retransmission times, and a schedule of timers.

All times are seconds. No clock is read here: ``now`` is always a parameter, of one monotonic clock.

======  ==================================================================  ==============
letter  what it times                                                       length
======  ==================================================================  ==============
G       resend a final answer to INVITE that is no 2xx                      T1 doubling up to T2
H       stop waiting for its ACK                                            64 * T1
I       absorb more ACKs                                                    T4
J       absorb retransmissions of any other request                         64 * T1
L       absorb retransmissions of an INVITE answered 2xx (RFC 6026)         64 * T1
A       resend our own INVITE until a response comes                        T1 doubling
B       stop waiting for that response                                      64 * T1
E       resend our own request that is no INVITE                            T1 doubling up to T2
F       stop waiting for its answer                                         64 * T1
======  ==================================================================  ==============
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterator
from typing import Generic, Optional, TypeVar

T1 = 0.5
"""Estimate of a round-trip time."""
T2 = 4.0
"""Longest interval between retransmissions."""
T4 = 5.0
"""Longest time that a message stays in the network."""
TRANSACTION_LIFE = 64 * T1
"""Timers B, F, H, J and L: the longest duration of one exchange."""

Key = TypeVar("Key", bound=Hashable)


def retransmit_times(start: float, longest: float = T2) -> Iterator[float]:
    """When a message sent at ``start`` is resent: after T1, doubling up to ``longest``, until 64*T1 (§17.2.1)."""
    gap, when = T1, start + T1
    while when < start + TRANSACTION_LIFE:
        yield when
        gap = min(2 * gap, longest)
        when += gap


class Schedule(Generic[Key]):
    """Timers, at most one for each key; the earliest expires first.

    Setting a timer again moves it. The old entry stays in the heap until it surfaces, or until old entries outnumber
    the others and the heap is made anew: so the heap has at most twice as many entries as there are timers, and 64.
    """

    def __init__(self) -> None:
        self._when: dict[Key, tuple[float, int, Key]] = {}  # the valid entries of the heap
        self._heap: list[tuple[float, int, Key]] = []
        self._order = 0  # equal times expire in the order in which they were set; no two entries are equal

    def __len__(self) -> int:
        return len(self._when)

    def set(self, key: Key, when: Optional[float]) -> None:
        """Set the timer of ``key`` to ``when``; ``None`` removes it."""
        if when is None:
            self._when.pop(key, None)
        elif (entry := self._when.get(key)) is None or entry[0] != when:
            self._order += 1
            self._when[key] = entry = (when, self._order, key)
            heapq.heappush(self._heap, entry)
        if len(self._heap) > 2 * len(self._when) + 64:
            self._heap = list(self._when.values())
            heapq.heapify(self._heap)

    @property
    def next_due(self) -> Optional[float]:
        """When the first timer expires; ``None`` while none is set."""
        while self._heap and self._when.get(self._heap[0][2]) != self._heap[0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> Iterator[Key]:
        """Remove the timers that have expired, the earliest first, and yield their keys."""
        while self._heap and self._heap[0][0] <= now:
            entry = heapq.heappop(self._heap)
            key = entry[2]
            if self._when.get(key) == entry:
                del self._when[key]
                yield key
