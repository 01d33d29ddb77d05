"""Host names in SDP become addresses here, in a few threads of their own, so that no caller waits for another's DNS."""

from __future__ import annotations

import queue
import socket
import threading

WORKERS = 4
WAITING = 64
"""Names that may wait; what comes on top is answered as unknown at once."""


class Resolver:
    """Asks the system's resolver. ``ask`` never waits; ``answers`` tells what has come since the last time."""

    def __init__(self) -> None:
        self._names: queue.Queue[str] = queue.Queue(WAITING)
        self._answers: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._started = False

    def ask(self, name: str) -> None:
        """Look ``name`` up; the threads are started with the first name, since most servers never see one."""
        if not self._started:
            self._started = True
            for number in range(WORKERS):
                # daemons: the system's resolver may hold on for half a minute, and nobody waits for it at the end
                threading.Thread(target=self._work, name=f"resolver-{number}", daemon=True).start()
        try:
            self._names.put_nowait(name)
        except queue.Full:
            self._answers.put((name, ""))

    def answers(self) -> list[tuple[str, str]]:
        """Pairs of a name and its address, IPv4 first; the address is empty where the name has none."""
        known = []
        while not self._answers.empty():
            known.append(self._answers.get())
        return known

    def _work(self) -> None:
        while True:
            name = self._names.get()
            self._answers.put((name, look_up(name)))


def look_up(name: str) -> str:
    """The first address of ``name``, IPv4 before IPv6; empty where it has none. May take many seconds."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return ""
    addresses = sorted(found, key=lambda entry: entry[0] != socket.AF_INET)
    return str(addresses[0][4][0]) if addresses else ""
