"""Looks up the host names in requests, in threads of its own, so that no call waits for the DNS server of another.

A silent DNS server holds a thread for many seconds, and a look-up cannot be cancelled. So a queue with priorities would
not be enough: a few names of unvalidated sources would hold all threads. The law kept here: each kind of ``Trust`` has
threads and a queue of its own. For one unvalidated source fewer names are looked up at the same time than there are
threads (``Allowance.names``). Before a thread looks a name up, it checks that a request still waits for the name.
"""

from __future__ import annotations

import queue
import socket
import time
from collections.abc import Callable

from ..common.actions import Resolve, Trust
from ..common.faults import FaultLog
from ..net.threads import Thread

THREADS = 8
"""Threads for each kind of ``Trust``."""
MAX_QUEUE = 64
"""Names of each kind of ``Trust`` that may wait for a thread. A name beyond this limit counts as without address."""


class Resolver:
    """Asks the system's resolver. ``request`` never waits. ``drain`` returns the answers since the last ``drain``."""

    def __init__(self, is_unwanted: Callable[[Resolve], bool] = lambda asked: False) -> None:
        """``is_unwanted`` says whether no request waits for a name any more; such a name gets no answer.

        The resolver's threads call it.
        """
        self.faults = FaultLog("the resolver")
        self._is_unwanted = is_unwanted
        self._queues: dict[Trust, queue.Queue[Resolve]] = {}
        self._answers: queue.SimpleQueue[tuple[Resolve, str]] = queue.SimpleQueue()

    def request(self, asked: Resolve) -> None:
        """Queue a name for a look-up. The first name of a kind of ``Trust`` starts its threads: most servers need none.

        If the system gives no thread, the name gets no address, and the next name tries again to start the threads.
        """
        names = self._queues.get(asked.trust)
        if names is None:
            names = queue.Queue(MAX_QUEUE)
            if not self._start(names):
                self._answers.put((asked, ""))
                return
            self._queues[asked.trust] = names
        try:
            names.put_nowait(asked)
        except queue.Full:
            self._answers.put((asked, ""))

    def drain(self) -> list[tuple[Resolve, str]]:
        """Pairs of a request and the address of its name; the address is empty where the name has none."""
        answers = []
        while not self._answers.empty():
            answers.append(self._answers.get())
        return answers

    def _start(self, names: queue.Queue[Resolve]) -> bool:
        """Start as many threads as the system gives, ``THREADS`` at most. Return whether there is one."""
        for number in range(THREADS):
            # daemon threads: a look-up may take half a minute, and the server does not wait for it when it ends
            try:
                Thread(self._run, f"resolver-{number}", (names,)).start()
            except RuntimeError:  # fewer threads do the same work, more slowly
                return number > 0
        return True

    def _run(self, names: queue.Queue[Resolve]) -> None:
        while True:
            asked = names.get()
            try:
                if not self._is_unwanted(asked):
                    self._answers.put((asked, look_up(asked.name, asked.version)))
            except Exception as error:
                self.faults.report(error, time.monotonic(), f"looking up {asked.name!r}")
                self._answers.put((asked, ""))


def look_up(name: str, version: int = 0) -> str:
    """The first address of ``name``, IPv4 before IPv6; empty where it has none. May take many seconds.

    ``version`` is 4 or 6 for an address of this IP version, 0 for any.
    """
    family = {4: socket.AF_INET, 6: socket.AF_INET6}.get(version, socket.AF_UNSPEC)
    try:
        found = socket.getaddrinfo(name, None, family, socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return ""
    addresses = sorted(found, key=lambda entry: entry[0] != socket.AF_INET)
    return str(addresses[0][4][0]) if addresses else ""
