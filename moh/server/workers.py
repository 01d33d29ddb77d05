"""The worker threads that parse and handle datagrams: a bounded number, each with a bounded queue of its own.

The laws kept here: all datagrams of one source go to one worker, so they are handled in the order in which they came.
Unvalidated sources have their own workers, so a flood from them does not fill the queues of validated sources.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Optional

from ..common.faults import FaultLog

WORKERS = 8
FOR_UNVALIDATED = 2
"""How many of the workers take the datagrams of unvalidated sources."""
QUEUE = 512
"""Datagrams that may wait for one worker. Datagrams beyond that are dropped, as a network would do, and counted.

All datagrams of one PBX go to one worker. A full queue is handled before the PBX repeats its first datagram after
0.5 s.
"""
JOIN = 1.0
"""Seconds that ``close`` waits for each worker."""

Client = tuple[str, int]
Job = tuple[Any, Client]


class Workers:
    """Threads that call ``handle(request, client)`` for each datagram that ``submit`` accepts."""

    def __init__(self, handle: Callable[[Any, Client], None]) -> None:
        self.dropped = 0
        """Datagrams that found a full queue."""
        self.faults = FaultLog("a worker")
        self.closing = False
        """Whether ``close`` was called. Then datagrams that still wait are not handled any more."""
        self._handle = handle
        self._queues: list[queue.SimpleQueue[Optional[Job]]] = [queue.SimpleQueue() for _ in range(WORKERS)]
        self._threads = [
            threading.Thread(target=self._run, args=(jobs,), name=f"worker-{number}", daemon=True)
            for number, jobs in enumerate(self._queues)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, request: Any, client: Client, validated: bool) -> None:
        """Put a datagram into the queue of its source's worker; never waits."""
        place = hash(client)
        if validated:
            jobs = self._queues[FOR_UNVALIDATED + place % (WORKERS - FOR_UNVALIDATED)]
        else:
            jobs = self._queues[place % FOR_UNVALIDATED]
        if jobs.qsize() < QUEUE:
            jobs.put((request, client))
        else:
            self.dropped += 1

    def close(self) -> None:
        """End the workers. Waiting datagrams are not handled: with full queues that would take seconds."""
        self.closing = True
        for jobs in self._queues:
            jobs.put(None)
        for thread in self._threads:
            thread.join(JOIN)  # a thread that writes to the log while the interpreter ends would abort the process

    def _run(self, jobs: queue.SimpleQueue[Optional[Job]]) -> None:
        while (job := jobs.get()) is not None and not self.closing:
            try:
                self._handle(*job)
            except Exception as error:
                request, client = job
                self.faults.report(error, time.monotonic(), f"a datagram from {client}: {request[0][:2000]!r}")
