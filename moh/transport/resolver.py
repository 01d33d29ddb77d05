"""Host names in SDP become addresses here, in a few threads of their own, so that no caller waits for another's DNS.

A name whose server is silent holds a thread for many seconds. So strangers' names have threads of their own, as their
datagrams have workers, and so have those of whom we trust: to be known it takes no more than an address, and two of
them could hold all that is there; a stranger has fewer names under way than there are threads (``guard.Allowance``);
and what nobody waits for any more when its turn comes is not looked up.
"""

from __future__ import annotations

import queue
import socket
from collections.abc import Callable

from ..common.actions import Resolve, Trust
from ..net.threads import Thread

WORKERS = 8
"""Threads for strangers' names, as many for those of whom we trust, and as many for those of all others."""
WAITING = 64
"""Names of each of the three that may wait; what comes on top is answered as unknown at once."""


class Resolver:
    """Asks the system's resolver. ``ask`` never waits; ``answers`` tells what has come since the last time."""

    def __init__(self, unasked: Callable[[Resolve], bool] = lambda asked: False) -> None:
        """``unasked`` tells, in any thread, whether nobody waits for a name any more; it gets no answer then."""
        self._unasked = unasked
        self._names: dict[Trust, queue.Queue[Resolve]] = {}
        self._answers: queue.SimpleQueue[tuple[Resolve, str]] = queue.SimpleQueue()

    def request(self, asked: Resolve) -> None:
        """Look a name up; the threads are started with the first one, since most servers never see any.

        Where the system has no thread, the name has no address, and with the next one it is tried again.
        """
        names = self._names.get(asked.trust)
        if names is None:
            names = queue.Queue(WAITING)
            if not self._start(names):
                self._answers.put((asked, ""))
                return
            self._names[asked.trust] = names
        try:
            names.put_nowait(asked)
        except queue.Full:
            self._answers.put((asked, ""))

    def drain(self) -> list[tuple[Resolve, str]]:
        """Pairs of what was asked and its address, IPv4 first; the address is empty where the name has none."""
        known = []
        while not self._answers.empty():
            known.append(self._answers.get())
        return known

    def _start(self, names: queue.Queue[Resolve]) -> bool:
        """Start the threads, as many as the system has; whether there is one."""
        for number in range(WORKERS):
            # daemons: the system's resolver may hold on for half a minute, and nobody waits for it at the end
            try:
                Thread(self._work, f"resolver-{number}", (names,)).start()
            except RuntimeError:  # a few of them do as well, only later
                return number > 0
        return True

    def _work(self, names: queue.Queue[Resolve]) -> None:
        while True:
            asked = names.get()
            if not self._unasked(asked):
                self._answers.put((asked, look_up(asked.name)))


def look_up(name: str) -> str:
    """The first address of ``name``, IPv4 before IPv6; empty where it has none. May take many seconds."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return ""
    addresses = sorted(found, key=lambda entry: entry[0] != socket.AF_INET)
    return str(addresses[0][4][0]) if addresses else ""
