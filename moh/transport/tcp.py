"""SIP over TCP and TLS (RFC 3261 §18): a bounded number of connections, each with its own thread.

This module accepts connections, counts them by source, evicts them, and opens outbound connections, which have limits
of their own. The module ``connection`` handles the messages of one connection.
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
from typing import Any, Optional, Union

from ..common.actions import Address, Flow, Send
from ..common.addresses import source_of
from ..common.errors import SettingsError
from ..common.faults import FaultLog
from ..net.sockets import family_of
from ..net.threads import Thread
from .connection import MAX_OUTBOX, Connection, OutboundConnection
from .deadlines import MESSAGE_TIMEOUT

MAX_CONNECTIONS = 128
"""Accepted connections at the same time; each costs a thread and three descriptors.

TCP and TLS together, with the ffmpegs of 50 calls, need fewer than the 1024 descriptors that a process usually may
have. Without a free descriptor the server could start no music.
"""
SPARE_CONNECTIONS = 16
"""How many of ``MAX_CONNECTIONS`` are kept free: when fewer are free, each new connection evicts another one.

A call does not end with its connection: a BYE from the phone or from the server goes by another connection (§18.1.1).
"""
MAX_PER_SOURCE = 64
"""Accepted connections of one source at the same time; a proxy has a few."""
MAX_OUTBOUND = 16
"""Outbound connections at the same time, to phones that have closed the connection of their call."""
MAX_OUTBOUND_PER_SOURCE = 4
"""Outbound connections for the calls of one source. The source chooses where they lead, even to a silent address."""
FIRST_MESSAGE_TIME = 1.0
"""Seconds that a new connection has for its first message before it can be evicted."""
RECEIVE_BUFFER = 1 << 16
"""Octets that the system buffers for a connection that is not read. When the buffer is full, TCP slows the sender."""
USE_LIFETIME = 0.25
"""Seconds for which the set of connections that calls use is kept. With 10,000 calls, making the set takes 0.4 ms."""
RETRY_AFTER = 0.2
"""Seconds until the next attempt when the system has no descriptor or memory for a connection."""
NOT_ALLOWED = "not in MOH_ALLOW"
TOO_MANY = f"beyond {MAX_CONNECTIONS} at once"
TOO_MANY_OF_ONE = f"beyond {MAX_PER_SOURCE} of one address"
NOT_OPENED = "to phones, not opened"
"""Why connections are refused, and the names under which they are counted."""
NUMBERS = itertools.count(1)
"""The numbers of all TCP and TLS connections. No number is used twice."""

log = logging.getLogger("moh")


class TcpServer(socketserver.ThreadingTCPServer):
    """Listens on one port, for TCP or, with a ``tls`` context, for TLS."""

    allow_reuse_address = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self,
        address: Address,
        handle_message: Callable[[bytes, Flow], None],
        connections_in_use: Callable[[], set[int]],
        tls: Optional[ssl.SSLContext] = None,
        allows: Callable[[str], bool] = lambda host: True,
        delay: Callable[[str, bytes], float] = lambda host, data: 0.0,
    ) -> None:
        """``handle_message`` gets each message with its flow. ``allows`` says whether a host may connect.

        ``connections_in_use`` gives the numbers of the connections that calls use. ``delay`` gives the seconds that a
        message of a host has to wait before it is handled. Any thread may call these functions.
        """
        self.address_family = family_of(address.host)
        self.handle_message = handle_message
        self.delay = delay
        self.tls = tls
        self._connections_in_use = connections_in_use
        self._used: tuple[set[int], float] = (set(), -USE_LIFETIME)  # the latest ``connections_in_use``, and its time
        self._allows = allows
        self.transport = "TLS" if tls else "TCP"
        self.refused = dict.fromkeys((NOT_ALLOWED, TOO_MANY, TOO_MANY_OF_ONE, NOT_OPENED), 0)
        """Connections that were not accepted or not opened, by reason. The keys stay, so any thread may read it."""
        self.faults = FaultLog(f"the {self.transport} server")
        self._open: dict[int, Connection] = {}
        self._sources: dict[str, int] = {}
        self._outbound: dict[Address, Union[Connection, bytearray]] = {}  # the octets to send, until it is open
        self._outbound_for: dict[Address, str] = {}  # the source of the calls that an outbound connection is for
        self._lock = threading.Lock()
        super().__init__(address, Connection)

    def server_bind(self) -> None:
        """Bind the socket; ``::`` accepts IPv4 as well. A small receive buffer bounds what is read after a flood."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    # -- accepting and evicting ------------------------------------------------------------------------------------

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Return whether a new connection is accepted. If so, count it; if few are left, evict another connection."""
        source = source_of(client_address[0])
        with self._lock:
            count, own = sum(self._sources.values()), self._sources.get(source, 0)
            refusal = ""
            if not self._allows(client_address[0]):
                refusal = NOT_ALLOWED
            elif own >= MAX_PER_SOURCE:
                refusal = TOO_MANY_OF_ONE
            elif count >= MAX_CONNECTIONS:
                refusal = TOO_MANY
            if refusal:
                self.refused[refusal] += 1
            else:
                self._sources[source] = own + 1
        if refusal in ("", TOO_MANY) and count >= MAX_CONNECTIONS - SPARE_CONNECTIONS:
            evicted = self._find_evictable(source, time.monotonic())
            if evicted is not None:
                evicted.abort()
        return not refusal

    def _find_evictable(self, source: str, now: float) -> Optional[Connection]:
        """The connection to evict for a new connection of ``source``, if any. It is the first of these that exists:

        - the oldest connection that has brought no whole message, if it had the time for one or if there are many such;
        - of the connections that no call uses, the one that was silent longest;
        - the oldest connection that has brought no whole message;
        - of the source with most connections, at least two more than ``source``, the one that was silent longest.
        """
        with self._lock:
            present = {number: each for number, each in self._open.items() if not (each.closing or each.outbound)}
            if len(present) < MAX_CONNECTIONS - SPARE_CONNECTIONS:
                return None  # the connections that are closing leave enough room
            own, most = self._sources.get(source, 0), max(self._sources.values(), default=0)
            greedy = {each for each, count in self._sources.items() if count == most > own + 1}
        mute = [each for each in present.values() if not each.has_spoken]
        if len(mute) > SPARE_CONNECTIONS // 2 or (mute and now - mute[0].opened_at >= FIRST_MESSAGE_TIME):
            return mute[0]
        used, when = self._recently_used(now)
        # a call begins with a message, so a connection that received octets after ``when`` may have a call by now
        idle = [
            each
            for number, each in present.items()
            if each.has_spoken and number not in used and each.received_at < when
        ]
        of_the_greedy = [each for each in present.values() if source_of(each.client_address[0]) in greedy]
        return min(idle or mute[:1] or of_the_greedy, key=lambda each: each.received_at, default=None)

    def _recently_used(self, now: float) -> tuple[set[int], float]:
        """The connections that calls used at a recent time, ``USE_LIFETIME`` ago at most, and that time."""
        if now - self._used[1] >= USE_LIFETIME:
            self._used = (self._connections_in_use(), now)
        return self._used

    def in_use(self, flow: Flow) -> bool:
        """Whether a call uses this connection, which has been silent for a while."""
        return flow.connection in self._recently_used(time.monotonic())[0]

    def get_request(self) -> tuple[Any, Any]:
        """Accept the next connection. Without a descriptor for it, wait: otherwise the thread would retry at once."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                time.sleep(RETRY_AFTER)
            raise

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Accept connections until ``shutdown``. An unexpected error is logged, and this thread goes on."""
        while True:
            try:
                super().serve_forever(poll_interval)
                return
            except Exception as error:
                self.faults.report(error, time.monotonic(), "accepting connections")
                time.sleep(RETRY_AFTER)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a connection's thread. Where the system has none left, the connection is closed and not counted."""
        try:
            Thread(self.process_request_thread, "connection", (request, client_address)).start()
        except Exception as error:
            self._release(client_address[0])
            self.faults.report(error, time.monotonic(), f"starting the thread of a connection from {client_address}")
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Run one connection from start to end, in its own thread. An unexpected error ends no other connection."""
        try:
            self.finish_request(request, client_address)
        except Exception as error:
            self.faults.report(error, time.monotonic(), f"the connection of {client_address}")
        finally:
            self.shutdown_request(request)
            self._release(client_address[0])

    def _release(self, host: str) -> None:
        source = source_of(host)
        with self._lock:
            self._sources[source] -= 1
            if not self._sources[source]:
                del self._sources[source]

    # -- open connections ------------------------------------------------------------------------------------------

    def register(self, connection: Connection) -> int:
        """Add an open connection and return its number. An outbound connection gets the octets that wait for it."""
        number = next(NUMBERS)
        with self._lock:
            self._open[number] = connection
            waiting = self._outbound.get(connection.client_address) if connection.outbound else None
            if isinstance(waiting, bytearray):
                connection.send(bytes(waiting))
                self._outbound[connection.client_address] = connection
        return number

    def unregister(self, number: int) -> None:
        """Remove a closed connection."""
        with self._lock:
            connection = self._open.pop(number)
        if connection.outbound:
            self._forget_outbound(connection.client_address, connection)

    def close_connections(self) -> None:
        """Close each connection when its outbox has been sent."""
        with self._lock:
            still_open = list(self._open.values())
        for connection in still_open:
            connection.close()

    # -- sending, and outbound connections -------------------------------------------------------------------------

    def send(self, action: Send) -> None:
        """Send by the flow's connection or, if that is closed, by an outbound connection to the same peer (§18.2.2)."""
        with self._lock:
            connection = self._open.get(action.flow.connection) or self._outbound.get(action.to)
            connecting = connection is None and self._may_connect(action)
            if connecting:
                self._outbound[action.to] = waiting = bytearray(action.data)
                self._outbound_for[action.to] = source_of(action.flow.remote.host)
            elif connection is None:
                self.refused[NOT_OPENED] += 1
            elif isinstance(connection, bytearray) and len(connection) + len(action.data) <= MAX_OUTBOX:
                connection += action.data
        if isinstance(connection, Connection):
            connection.send(action.data)
        elif connecting:
            self._start_connecting(action.to, waiting)

    def _may_connect(self, action: Send) -> bool:
        """Whether the limits of outbound connections leave room for one more."""
        source = source_of(action.flow.remote.host)
        own = sum(each == source for each in self._outbound_for.values())
        return len(self._outbound) < MAX_OUTBOUND and own < MAX_OUTBOUND_PER_SOURCE and self._allows(action.to.host)

    def _start_connecting(self, to: Address, waiting: bytearray) -> None:
        try:
            Thread(self._connect, "outbound connection", (to, waiting)).start()
        except (RuntimeError, MemoryError) as error:
            log.warning("could not connect to %s: %s", to, error)
            self._forget_outbound(to, waiting)

    def _connect(self, to: Address, waiting: bytearray) -> None:
        """Run one outbound connection from start to end, in its own thread."""
        try:
            client = socket.create_connection(to, timeout=MESSAGE_TIMEOUT)
        except OSError as error:
            log.info("could not connect to %s: %s", to, error)
            self._forget_outbound(to, waiting)
            return
        try:
            OutboundConnection(client, to, self)
        except Exception as error:
            self.faults.report(error, time.monotonic(), f"the outbound connection to {to}")
        finally:
            self._forget_outbound(to, waiting)  # in case the connection was never registered
            self.shutdown_request(client)

    def _forget_outbound(self, to: Address, what: Union[Connection, bytearray]) -> None:
        with self._lock:
            if self._outbound.get(to) is what:  # and not a later connection to the same address
                del self._outbound[to], self._outbound_for[to]


def tls_context(certificate: str, key: str) -> ssl.SSLContext:
    """The server's TLS context from PEM files; ``key`` is empty where the certificate's file contains the key.

    Raises ``SettingsError`` for files that cannot be read or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key or None)
    except (OSError, ssl.SSLError) as error:
        files = f"MOH_TLS_CERT is {certificate!r}, MOH_TLS_KEY is {key!r}"
        raise SettingsError(f"{files}: {error.strerror or error}; expected PEM files that belong together") from None
    return context
