"""SIP over TCP and TLS (RFC 3261 §18): a bounded number of connections, a thread each, all feeding the same core.

Here they are taken and counted; what goes on in one is in ``connection``.
"""

from __future__ import annotations

import errno
import itertools
import logging
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, Optional

from .actions import Address, Flow, Send
from .connection import PATIENCE, Connection
from .errors import SettingsError
from .network import family_of

MAX_CONNECTIONS = 128
"""Connections at once; each costs a thread and three descriptors.

TCP and TLS, with the ffmpegs of 50 calls, have to stay below the 1024 that a process usually may have: with none left
no music could be started.
"""
SPARE = 16
"""How many of them are kept free: where fewer are, the oldest that has not sent a whole message yet makes room."""
MAX_PER_HOST = 64
"""Connections at once from one address: a proxy has a few, a flood wants all."""
NO_ROOM = 0.2
"""Seconds until another connection is tried where the system has no descriptor or memory for it."""
log = logging.getLogger("moh")


class TcpServer(socketserver.ThreadingTCPServer):
    """Listens on one port, for TCP or, with a ``tls`` context, for TLS. ``take`` gets each message with its flow."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self,
        address: Address,
        take: Callable[[bytes, Flow], None],
        in_use: Callable[[Flow], bool],
        tls: Optional[ssl.SSLContext] = None,
        allows: Callable[[str], bool] = lambda host: True,
    ) -> None:
        self.address_family = family_of(address.host)
        self.take = take
        self.in_use = in_use
        self.tls = tls
        self._allows = allows
        self.transport = "TLS" if tls else "TCP"
        self.refused = 0
        self._numbers = itertools.count(1)
        self._open: dict[int, Connection] = {}
        self._hosts: dict[str, int] = {}
        self._lock = threading.Lock()
        super().__init__(address, Connection)

    def server_bind(self) -> None:
        """Bind; ``::`` takes IPv4 as well."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether this host may connect, and there is room for one more connection and one more of its own."""
        silent = None
        with self._lock:
            host, count = client_address[0], sum(self._hosts.values())
            room = self._allows(host) and count < MAX_CONNECTIONS and self._hosts.get(host, 0) < MAX_PER_HOST
            if room:
                self._hosts[host] = self._hosts.get(host, 0) + 1
            else:
                self.refused += 1
            if room and count >= MAX_CONNECTIONS - SPARE:
                silent = next((each for each in self._open.values() if not (each.spoke or each.ending)), None)
        if silent is not None:
            silent.cut()
        return room

    def get_request(self) -> tuple[Any, Any]:
        """The next connection. Where there is no room for it, it still waits, and the loop must not spin meanwhile."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                time.sleep(NO_ROOM)
            raise

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Take connections until ``shutdown``, whatever befalls one of them."""
        while True:
            try:
                super().serve_forever(poll_interval)
                break
            except Exception:  # no memory for one turn of the loop, say
                time.sleep(NO_ROOM)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a connection's thread; where the system has none left, the connection is closed and not counted."""
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            self._release(client_address[0])
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One connection from its beginning to its end, in a thread of its own."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._release(client_address[0])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A fault of ours ends this connection and nothing else."""
        log.exception("the connection of %s made the server stumble", client_address)

    def opened(self, connection: Connection) -> int:
        """Give a connection its number."""
        with self._lock:
            number = next(self._numbers)
            self._open[number] = connection
        return number

    def closed(self, number: int) -> None:
        """Forget a connection."""
        with self._lock:
            self._open.pop(number, None)

    def send(self, action: Send) -> None:
        """Send on the connection of the flow; where that is gone, on a new one to the same end (§18.2.2)."""
        with self._lock:
            connection = self._open.get(action.flow.connection)
        if connection is not None:
            connection.post(action.data)
        else:
            self._dial(action)

    def _dial(self, action: Send) -> None:
        """Open a connection for what has to be sent; quietly given up where nobody listens at the other end."""

        def connect() -> None:
            try:
                client = socket.create_connection(action.to, timeout=PATIENCE)
            except OSError as error:
                log.info("could not connect to %s: %s", action.to, error)
                self._release(action.to.host)
                return
            self.process_request_thread((client, action.data), action.to)

        if self.verify_request(None, action.to):
            try:
                threading.Thread(target=connect, name="dial", daemon=True).start()
            except RuntimeError as error:
                log.warning("could not connect to %s: %s", action.to, error)
                self._release(action.to.host)

    def _release(self, host: str) -> None:
        with self._lock:
            self._hosts[host] -= 1
            if not self._hosts[host]:
                del self._hosts[host]

    def shutdown_request(self, request: Any) -> None:
        """Close a connection, also one that we opened ourselves."""
        super().shutdown_request(request[0] if isinstance(request, tuple) else request)

    def close_connections(self) -> None:
        """Let every connection send what waits and close."""
        with self._lock:
            still_open = list(self._open.values())
        for connection in still_open:
            connection.end()


def tls_context(certificate: str, key: str) -> ssl.SSLContext:
    """What a server needs for TLS, from PEM files; ``key`` may be empty where the certificate's file holds it.

    Raises ``SettingsError`` for files that do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key or None)
    except (OSError, ssl.SSLError) as error:
        files = f"MOH_TLS_CERT is {certificate!r}, MOH_TLS_KEY is {key!r}"
        raise SettingsError(f"{files}: {error.strerror or error}; expected PEM files that belong together") from None
    return context
