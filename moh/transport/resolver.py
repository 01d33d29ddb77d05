"""Looks up the host names in SDP, in threads of its own, so that no call waits for the DNS server of another.

A silent DNS server holds a thread for many seconds, and a look-up cannot be cancelled. So a queue with priorities would
not do: a few names of unvalidated sources would hold all threads. The law kept here: each kind of ``Trust`` has threads
and a queue of its own. One unvalidated source has fewer names looked up at the same time than there are threads
(``Allowance.names``). A name that no request waits for any more when its turn comes is not looked up.
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
"""Names of each kind that may wait for a thread; beyond that a name has no address."""


class Resolver:
    """Asks the system's resolver. ``request`` never waits; ``drain`` returns the answers since its last call."""

    def __init__(self, is_unwanted: Callable[[Resolve], bool] = lambda asked: False) -> None:
        """``is_unwanted`` says, in any thread, whether no request waits for a name any more; then it has no answer."""
        self.faults = FaultLog("the resolver")
        self._is_unwanted = is_unwanted
        self._queues: dict[Trust, queue.Queue[Resolve]] = {}
        self._answers: queue.SimpleQueue[tuple[Resolve, str]] = queue.SimpleQueue()

    def request(self, asked: Resolve) -> None:
        """Look up a name. Its kind's first name starts the threads: most servers never look up any.

        Where the system has no thread the name has no address, and the next name tries again to start them.
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
        """Pairs of a request and its address, IPv4 first; the address is empty where the name has none."""
        answers = []
        while not self._answers.empty():
            answers.append(self._answers.get())
        return answers

    def _start(self, names: queue.Queue[Resolve]) -> bool:
        """Start the threads, as many as the system has; whether there is one."""
        for number in range(THREADS):
            # daemons: a look-up may take half a minute, and the end of the server does not wait for it
            try:
                Thread(self._run, f"resolver-{number}", (names,)).start()
            except RuntimeError:  # a few threads are enough, only slower
                return number > 0
        return True

    def _run(self, names: queue.Queue[Resolve]) -> None:
        while True:
            asked = names.get()
            try:
                if not self._is_unwanted(asked):
                    self._answers.put((asked, look_up(asked.name)))
            except Exception as error:
                self.faults.report(error, time.monotonic(), f"looking up {asked.name!r}")
                self._answers.put((asked, ""))


def look_up(name: str) -> str:
    """The first address of ``name``, IPv4 before IPv6; empty where it has none. May take many seconds."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return ""
    addresses = sorted(found, key=lambda entry: entry[0] != socket.AF_INET)
    return str(addresses[0][4][0]) if addresses else ""
