"""How many streams may start at once on ports of their own. No socket and no clock in here.

An ffmpeg needs 5 to 100 ms of a core before its first packet. Where more of them start than there are cores, each
waits for the others, and so do the listeners of the shared stream. So a call that comes while too many streams are
starting gets the shared port, where music plays already.
"""

from __future__ import annotations

from typing import Optional

ACK_PATIENCE = 1.0
"""Seconds for which a call counts that waits for its ACK: an ACK comes after one round trip. A flood of calls without
ACK keeps other calls from an ffmpeg of their own for no longer."""


class StartLimit:
    """The calls whose stream starts now, or starts with their ACK. A call counts until its first packet has left.

    The law kept here: calls that wait for their ACK take no place from a call whose music starts at once. Unvalidated
    sources can make any number of the former, and none of the latter.
    """

    def __init__(self, most: Optional[int] = None) -> None:
        """``most`` streams may start at once; ``None`` is no limit."""
        self._most = most
        self._starting: set[str] = set()
        self._awaited: dict[str, float] = {}
        """Calls that wait for their ACK, each with the time until which it counts."""

    def __len__(self) -> int:
        return len(self._starting) + len(self._awaited)

    def await_ack(self, call: str, now: float) -> None:
        """Note that the ACK of ``call`` will start its stream."""
        self._awaited[call] = now + ACK_PATIENCE

    def note(self, call: str, starting: bool) -> None:
        """Note whether the stream of ``call`` is starting; otherwise it plays, has ended or waits for its ACK."""
        if starting:
            self._starting.add(call)
            self._awaited.pop(call, None)
        else:
            self._starting.discard(call)

    def forget(self, call: str) -> None:
        """Forget a call; an unknown one does no harm."""
        self._starting.discard(call)
        self._awaited.pop(call, None)

    def has_room(self, now: float, at_once: bool) -> bool:
        """Whether one more stream may start: ``at_once``, or with the ACK of its call."""
        if self._most is None:
            return True
        awaited = 0 if at_once else sum(now < until for until in self._awaited.values())
        return len(self._starting) + awaited < self._most
