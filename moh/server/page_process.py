"""The page (``MOH_HTTP``) as a process of its own: the server binds its socket, starts it, and starts it again.

The page shares nothing with the threads that play music: not the interpreter's lock, not the memory, and it has a lower
priority. ``Child`` starts it, and sees to it that the page ends with the server.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Optional

from ..common.actions import Address
from ..common.config import Settings
from ..common.errors import SettingsError
from ..common.faults import FaultLog
from ..net.container import is_behind_a_bridge
from ..net.routes import address_on_the_network
from .child import LONGEST_PAUSE, Child

COMMAND = (sys.executable, "-m", "moh.http")
ENDED = "the page has ended: %s. Calls go on; the page starts again in %g s"
BACKLOG = 1024
"""Connections that the kernel keeps until the page accepts them."""


def listening(settings: Settings) -> Optional[socket.socket]:
    """The socket of the page; ``None`` where there is no page. Raises ``SettingsError`` where it cannot listen."""
    if settings.http is None:
        return None
    host, port = place_of(settings.http, settings.http_port_only)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=host == "::")
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            why = "another program uses this port; expected a port that is free, or an empty MOH_HTTP for no page"
        elif error.errno == errno.EADDRNOTAVAIL:
            why = "this machine has no such address; expected 127.0.0.1, or another one of its own"
        elif error.errno == errno.EACCES:
            why = "the system does not permit this port; expected one above 1023"
        else:
            why = f"{os.strerror(error.errno or 0)}; expected 127.0.0.1 and a port that is free"
        raise SettingsError(f"Cannot listen on MOH_HTTP {settings.http}: {why}") from None


def place_of(http: Address, port_only: bool) -> Address:
    """Where the page listens. A port without an address means: for this machine alone.

    In a container with a network of its own, the machine reaches its addresses and not its loopback. There it listens
    on all of them, and how the port is published decides which machines reach it.
    """
    return Address("0.0.0.0", http.port) if port_only and is_behind_a_bridge(address_on_the_network()) else http


class PageProcess:
    """Keeps the page running as soon as the server is ready. Without ``MOH_HTTP`` it does nothing."""

    def __init__(self, settings: Settings, command: Sequence[str] = COMMAND) -> None:
        self.faults = FaultLog("the thread of the page")
        self.is_ready: Callable[[], bool] = lambda: True
        """Whether the server is ready. A page that starts earlier takes time from the conversion of the music."""
        self._start_at = 0.0
        self._listener = listening(settings)
        self._child: Optional[Child] = None
        if self._listener is not None:
            number = self._listener.fileno()
            command = [*command, str(number)]
            self._child = Child("the page", ENDED, command, self.faults, prefix="page: ", descriptor=number)

    def service(self, now: float) -> None:
        """Start the page when the server is ready. Raises ``RuntimeError`` where the system cannot start a thread."""
        child = self._child
        if child is None or child.started or now < self._start_at or not self.is_ready():
            return
        self._start_at = now + LONGEST_PAUSE  # of the next attempt, if this one fails
        child.start()

    def close(self) -> None:
        """End the page and close its socket."""
        if self._child is not None:
            self._child.close()
        if self._listener is not None:
            self._listener.close()
