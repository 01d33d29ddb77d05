"""The web server: waitress, with limits that fit a page for a few people.

Each connection carries one request. So a page that stays open holds none, and a sender cannot queue up answers that it
does not read. A connection has ``REQUEST_TIME`` to send its request, and when there are more than ``CONNECTIONS``, the
oldest that is not being answered makes room: connections that only wait keep no browser out.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from typing import Any, Optional

from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer

from ..common.faults import FaultLog

THREADS = 4
"""Threads that answer requests; ``players.MOST_WAITING`` of them may wait for a sound."""
CONNECTIONS = 128
"""Connections at once: twenty browsers with six each, and a few programs."""
BACKLOG = 1024
"""Connections that the kernel keeps until they are accepted."""
MOST_HEADER, MOST_BODY = 16 << 10, 64 << 10
"""Octets of a request's header and of its body; browsers send less than 2,000 and none."""
REQUEST_TIME = 10.0
"""Seconds in which a connection has to send its request."""
STALLED = 20.0
"""Seconds for which a browser may read nothing of its answer."""
ANSWER_TIME = 300.0
"""Seconds that a connection may last in all: 4 MB at 110 kbit/s."""

TOO_SLOW = ("408 Request Timeout", f"no whole request has come within {REQUEST_TIME:g} s")
TOO_MANY = ("503 Service Unavailable", "too many connections to the page are open; try again in a second")


class OneRequest(HTTPRequestParser):  # type: ignore[misc]
    """A request that is the last one of its connection, whatever the browser asks for."""

    def parse_header(self, header_plus: bytes) -> None:
        """Read the header, and have waitress close the connection after the answer."""
        super().parse_header(header_plus)
        self.headers["CONNECTION"] = "close"
        self.connection_close = True


class Connection(HTTPChannel):  # type: ignore[misc]
    """A connection of a browser."""

    parser_class = OneRequest

    @property
    def is_served(self) -> bool:
        """Whether its request is being answered, or waits for a thread."""
        return bool(self.requests)

    @property
    def is_waiting(self) -> bool:
        """Whether its request has not come, and it has got nothing to read."""
        return not (self.requests or self.total_outbufs_len or self.close_when_flushed)

    def end(self, answer: tuple[str, str]) -> None:
        """Close it; if it waits, say why first. A line fits into the buffer of any socket."""
        if self.is_waiting:
            status, line = answer
            body = f"{line}\n".encode()
            head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close"
            self.send(head.encode() + b"\r\n\r\n" + body)
        if self.connected:  # ``send`` closes a connection that is broken
            self.handle_close()


class WebServer(TcpWSGIServer):  # type: ignore[misc]
    """Listens on ``listener``, a bound socket. ``run`` serves until the process ends."""

    channel_class = Connection

    def __init__(
        self, application: Callable[..., Any], listener: socket.socket, connections: int = CONNECTIONS
    ) -> None:
        logging.getLogger("waitress").setLevel(logging.WARNING)  # no line for each browser that goes away
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # nor for requests that wait a moment
        self.connections = connections
        self._faults = FaultLog("the listener of the page")
        settings = Adjustments(
            sockets=[listener], threads=THREADS, connection_limit=2 * connections + 64, backlog=BACKLOG,
            cleanup_interval=1, max_request_header_size=MOST_HEADER, max_request_body_size=MOST_BODY, ident="",
            log_socket_errors=False, asyncore_use_poll=True,
        )  # fmt: skip
        where = (listener.family, listener.type, listener.proto, listener.getsockname())
        super().__init__(application, _sock=listener, adj=settings, sockinfo=where, bind_socket=False)

    def handle_accept(self) -> None:
        """Accept a connection. If there are too many, close one: ``_surplus``."""
        try:
            super().handle_accept()
            if len(self.active_channels) > self.connections and (surplus := self._surplus()):
                surplus.end(TOO_MANY)
        except Exception as error:  # waitress would close the listener
            self._faults.report(error, time.monotonic())

    def _surplus(self) -> Optional[Connection]:
        """The oldest connection that waits; without one, the oldest that reads its answer."""
        idle = [each for each in self.active_channels.values() if not each.is_served]
        return min(idle, key=lambda each: (not each.is_waiting, each.creation_time), default=None)

    def maintenance(self, now: float) -> None:
        """Close connections that take too long; waitress calls this each second."""
        for each in list(self.active_channels.values()):
            age = now - each.creation_time
            if each.is_served:
                continue
            if each.is_waiting:
                if age > REQUEST_TIME:
                    each.end(TOO_SLOW)
            elif age > ANSWER_TIME or now - each.last_activity > STALLED:
                each.handle_close()
