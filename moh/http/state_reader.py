"""The state of the server, as the page knows it: read once a second at most, however many browsers ask."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Optional

from ..common.faults import FaultLog
from ..net.state_client import NoState

EVERY = 1.0
"""Seconds between two reads of the state."""
STALE = 10.0
"""Seconds for which a state is shown when the server does not answer any more."""

State = Mapping[str, Any]


class Reading(NamedTuple):
    """What is known of the server."""

    state: Optional[State]
    """The last state; ``None`` where none was read, or not for ``STALE`` seconds."""
    age: float
    """Seconds since that state was read; 0 without one."""
    why: str
    """Why the latest read failed; empty where it did not."""
    number: int
    """How many states were read: two readings with the same number have the same state."""


class StateReader:
    """Reads the state by ``read``, which raises ``NoState`` where it cannot be read."""

    def __init__(self, read: Callable[[], State], clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()  # held while the server is asked
        self._asked = float("-inf")
        self._last: tuple[Optional[State], float, str, int] = (None, 0.0, "", 0)
        self._faults = FaultLog("the reader of the state")

    def latest(self) -> Reading:
        """Return the state, and ask the server for it if the last time was ``EVERY`` seconds ago.

        While one thread asks, the others get the last state. They wait only if there is none, or an old one.
        """
        must_wait = self._last[0] is None or self._clock() - self._last[1] > STALE
        if (must_wait or self._is_due()) and self._lock.acquire(blocking=must_wait):
            try:
                if self._is_due():
                    self._ask()
            finally:
                self._lock.release()
        state, at, why, number = self._last
        age = 0.0 if state is None else self._clock() - at
        return Reading(None, 0.0, why, number) if age > STALE else Reading(state, age, why, number)

    def _is_due(self) -> bool:
        return self._clock() >= self._asked + EVERY

    def _ask(self) -> None:
        self._asked = self._clock()
        state, at, _, number = self._last
        try:
            self._last = (self._read(), self._clock(), "", number + 1)
        except NoState as error:
            self._last = (state, at, str(error), number)
        except Exception as error:
            self._faults.report(error, self._asked)
            self._last = (state, at, "an unexpected error, which the log has", number)
        if self._last[2]:
            self._asked = self._clock()  # a server that hangs is not asked by each request that has waited
