"""Performs the actions of the core, in this order: messages first, then the starts and stops of streams.

``sip_server.py`` calls this under its lock. Nothing here waits.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Union

from ..common.actions import Action, Fault, Note, Resolve, Send, StartStream, StopStream
from ..common.faults import FaultLog
from ..transport.resolver import Resolver
from .engines import Engines
from .outbox import Outbox

log = logging.getLogger("moh")

StreamGone = Callable[[StartStream, str], list[Action]]


class Performer:
    """Performs the actions of one turn: those of one message or timer, or of several messages.

    The law kept here: an action that fails does not keep the others from being performed.
    """

    def __init__(
        self, outbox: Outbox, engines: Engines, resolver: Resolver, faults: FaultLog, stream_gone: StreamGone
    ) -> None:
        """``stream_gone`` reports to the core that a stream could not be ordered, and returns the actions of the core.

        Without that report the call would wait for its stream, and keep its port, for ever.
        """
        self._outbox, self._engines, self._resolver = outbox, engines, resolver
        self._faults = faults
        self._stream_gone = stream_gone
        self._orders: deque[Union[StartStream, StopStream]] = deque()  # for the end of the turn

    def perform(self, actions: Iterable[Action]) -> None:
        """Perform ``actions``. Messages by UDP, and orders for streams, wait for ``finish``."""
        for action in actions:
            try:
                self._perform(action)
            except Exception as error:
                self._faults.report(error, time.monotonic(), f"action {type(action).__name__}")

    def finish(self) -> None:
        """End the turn. No packet of music leaves before the answer that names its port."""
        self._outbox.flush()
        while self._orders:
            order = self._orders.popleft()
            try:
                self._engines.order(order)
            except Exception as error:
                self._faults.report(error, time.monotonic(), f"action {type(order).__name__}")
                if isinstance(order, StartStream):
                    self.perform(self._stream_gone(order, f"unexpected error in the server: {error!r}"))
                    self._outbox.flush()

    def _perform(self, action: Action) -> None:
        if isinstance(action, Send):
            self._outbox.add(action)
        elif isinstance(action, Note):
            log.log(action.level, "%s", action)
        elif isinstance(action, Resolve):
            self._resolver.request(action)
        elif isinstance(action, Fault):
            self._faults.report(action.error, time.monotonic(), action.about)
        else:
            self._orders.append(action)


class Turn:
    """Holds the lock for one or more steps of the core, and then performs what waits for the end of the turn."""

    def __init__(self, lock: threading.Lock, performer: Performer) -> None:
        self._lock, self._performer = lock, performer

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        try:
            self._performer.finish()
        finally:
            self._lock.release()
