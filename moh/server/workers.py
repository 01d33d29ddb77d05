"""The worker threads that parse and handle datagrams: a bounded number, each with a bounded queue of its own.

The laws kept here: all datagrams of one source go to one worker, so they are handled in the order in which they came.
Unvalidated sources have their own workers, so a flood from them does not fill the queues of validated sources.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ..common.faults import FaultLog
from ..net.recvmmsg import Datagram
from .message_log import without_keys

WORKERS = 8
FOR_UNVALIDATED = 2
"""How many of the workers take the datagrams of unvalidated sources."""
QUEUE = 1024
"""Datagrams that may wait for one worker. Datagrams beyond that are dropped, as a network would do, and counted.

All datagrams of one PBX go to one worker. A full queue is handled before the PBX repeats its first datagram after
0.5 s.
"""
TURN = 16
"""Most datagrams that a worker handles together: under one lock, and with one system call for their answers."""
JOIN = 1.0
"""Seconds that ``close`` waits for each worker."""


class Workers:
    """Threads that call ``handle(datagrams, source)`` for what ``submit`` accepts.

    ``datagrams`` is a sequence of one to ``TURN`` datagrams, and ``source`` the source of the first. A worker serves
    several sources.
    """

    def __init__(self, handle: Callable[[Any, Any], None]) -> None:
        self.dropped = 0
        """Datagrams that found a full queue."""
        self.faults = FaultLog("a worker")
        self.closing = False
        """Whether ``close`` was called. Then datagrams that still wait are not handled any more."""
        self._handle = handle
        self._queues: list[deque[Datagram]] = [deque() for _ in range(WORKERS)]
        self._wakeups: list[queue.SimpleQueue[None]] = [queue.SimpleQueue() for _ in range(WORKERS)]
        self._filled: set[int] = set()  # workers that have new datagrams since the last ``wake``
        self._threads = [
            threading.Thread(target=self._run, args=each, name=f"worker-{number}", daemon=True)
            for number, each in enumerate(zip(self._queues, self._wakeups))
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, datagram: Datagram, validated: bool) -> None:
        """Put a datagram into the queue of its source's worker; never waits. ``wake`` has to follow."""
        place = hash(datagram.flow.remote)
        number = FOR_UNVALIDATED + place % (WORKERS - FOR_UNVALIDATED) if validated else place % FOR_UNVALIDATED
        if len(self._queues[number]) < QUEUE:
            self._queues[number].append(datagram)
            self._filled.add(number)
        else:
            self.dropped += 1

    def wake(self) -> None:
        """Wake the workers that have new datagrams."""
        for number in self._filled:
            if self._wakeups[number].empty():  # otherwise the worker has not yet begun to empty its queue
                self._wakeups[number].put(None)
        self._filled.clear()

    def close(self) -> None:
        """End the workers. Waiting datagrams are not handled: with full queues that would take seconds."""
        self.closing = True
        for wakeup in self._wakeups:
            wakeup.put(None)
        for thread in self._threads:
            thread.join(JOIN)  # a thread that writes to the log while the interpreter ends would abort the process

    def _run(self, datagrams: deque[Datagram], wakeup: queue.SimpleQueue[None]) -> None:
        while not self.closing:
            wakeup.get()
            while datagrams and not self.closing:
                self._handle_turn([datagrams.popleft() for _ in range(min(TURN, len(datagrams)))])

    def _handle_turn(self, turn: Sequence[Datagram]) -> None:
        try:
            self._handle(turn, turn[0].flow.remote)
        except Exception as error:
            first, more = turn[0], f", and {len(turn) - 1} more" * (len(turn) > 1)
            about = f"a datagram from {first.flow.remote}: {without_keys(first.data)[:2000]!r}{more}"
            self.faults.report(error, time.monotonic(), about)
