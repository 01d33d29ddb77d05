"""Time in SIP (RFC 3261 table 4): the three constants, what is derived from them, and what falls due when.

All times are seconds. No clock is read here: "now" always comes from the caller, on one monotonic clock.

======  ==================================================================  ==============
letter  what it times                                                       length
======  ==================================================================  ==============
G       resend a final answer to INVITE that is no 2xx                      T1 doubling, T2 at the most
H       stop waiting for the ACK to it                                      64 * T1
I       absorb more ACKs                                                    T4
J       absorb repeats of any other request                                 64 * T1
L       absorb repeats of an INVITE answered 2xx (RFC 6026)                 64 * T1
E       resend our own BYE                                                  T1 doubling, T2 at the most
F       give up on it                                                       64 * T1
======  ==================================================================  ==============
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterator
from typing import Generic, Optional, TypeVar

T1 = 0.5
"""Estimate of a round trip."""
T2 = 4.0
"""Longest gap between two sendings of the same message."""
T4 = 5.0
"""How long a message may linger in the network."""
TRANSACTION_LIFE = 64 * T1
"""Timers B, F, H, J and L: how long one exchange may take."""

Key = TypeVar("Key", bound=Hashable)


def retransmit_times(start: float) -> Iterator[float]:
    """When to send again what was first sent at ``start``: gaps of T1 doubling up to T2, until 64*T1 (§17.2.1)."""
    gap, when = T1, start + T1
    while when < start + TRANSACTION_LIFE:
        yield when
        gap = min(2 * gap, T2)
        when += gap


class Schedule(Generic[Key]):
    """Who wants to be woken when: at most one time for each key, the earliest first.

    Setting a key again moves it. Old entries stay in the heap until they surface or until they outnumber the living
    ones, when the heap is made anew: so a schedule never holds more than twice what is really waiting.
    """

    def __init__(self) -> None:
        self._when: dict[Key, tuple[float, int, Key]] = {}  # the entries of the heap that count
        self._heap: list[tuple[float, int, Key]] = []
        self._order = 0  # equal times wake in the order they were set, and keys are never compared

    def __len__(self) -> int:
        return len(self._when)

    def set(self, key: Key, when: Optional[float]) -> None:
        """Wake ``key`` at ``when``, and at no other time; ``None``: not at all."""
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
        """The earliest time that anybody waits for; ``None`` while nobody waits."""
        while self._heap and self._when.get(self._heap[0][2]) is not self._heap[0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> Iterator[Key]:
        """Take out, earliest first, each key whose time has come."""
        while self._heap and self._heap[0][0] <= now:
            entry = heapq.heappop(self._heap)
            key = entry[2]
            if self._when.get(key) is entry:
                del self._when[key]
                yield key
