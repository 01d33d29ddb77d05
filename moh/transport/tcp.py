"""SIP over TCP and TLS (RFC 3261 §18): a bounded number of connections, a thread each, all feeding the same core.

Here they are taken, counted by their sources, and made to make room; what goes on in one is in ``connection``. Those
that we open ourselves have places of their own.
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
from ..net.sockets import family_of
from ..net.threads import Thread
from .connection import MAX_OUTBOX, PATIENCE, Connection, Dialled

MAX_CONNECTIONS = 128
"""Connections at once; each costs a thread and three descriptors.

TCP and TLS, with the ffmpegs of 50 calls, have to stay below the 1024 that a process usually may have: with none left
no music could be started.
"""
SPARE = 16
"""How many of them are kept free: where fewer are, one makes room for each that comes, see ``TcpServer._least_missed``.

A call does not end with its connection: its BYE comes by another one (§18.1.1), and so does ours.
"""
MAX_PER_HOST = 64
"""Connections at once from one source: a proxy has a few, a flood wants all."""
MAX_DIALLED = 16
"""Connections of our own making at once: to whoever has closed the one that his call came by."""
MAX_DIALLED_FOR = 4
"""How many of them are for the calls of one source: it chooses where they lead, be it to where nobody answers."""
HELLO = 1.0
"""Seconds that who has just come has for his first message, before he has to make room for others."""
UNREAD = 1 << 16
"""Octets that the system may keep of a connection that is not read for a moment: then it pushes back."""
FRESH = 0.25
"""Seconds for which it is known which connections calls go by: with 10,000 calls it takes 0.4 ms to find out."""
NO_ROOM = 0.2
"""Seconds until another connection is tried where the system has no descriptor or memory for it."""
NUMBERS = itertools.count(1)
"""Of all connections, by TCP and by TLS: no two have the same."""
log = logging.getLogger("moh")


class TcpServer(socketserver.ThreadingTCPServer):
    """Listens on one port, for TCP or, with a ``tls`` context, for TLS.

    ``take`` gets each message with its flow. ``in_use`` tells by which connections calls go, by their numbers, and
    ``wait`` how many seconds a message of a host has to wait before it is taken; both in the thread of whoever asks.
    """

    allow_reuse_address = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self,
        address: Address,
        take: Callable[[bytes, Flow], None],
        in_use: Callable[[], set[int]],
        tls: Optional[ssl.SSLContext] = None,
        allows: Callable[[str], bool] = lambda host: True,
        wait: Callable[[str, bytes], float] = lambda host, data: 0.0,
    ) -> None:
        self.address_family = family_of(address.host)
        self.handle_message = take
        self.delay = wait
        self.tls = tls
        self._ask = in_use
        self._used: tuple[set[int], float] = (set(), -FRESH)  # by which connections calls go, and when that was so
        self._allows = allows
        self.transport = "TLS" if tls else "TCP"
        self.refused = 0
        self._open: dict[int, Connection] = {}
        self._sources: dict[str, int] = {}
        self._dialled: dict[Address, Union[Connection, bytearray]] = {}  # what waits for it, until it is there
        self._dialled_for: dict[Address, str] = {}  # for whose calls
        self._lock = threading.Lock()
        super().__init__(address, Connection)

    def server_bind(self) -> None:
        """Bind; ``::`` takes IPv4 as well. Of what is not read little is kept, so that no flood is read long after."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UNREAD)
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether this host may connect, and there is room for one more connection and one more of its own."""
        source = source_of(client_address[0])
        with self._lock:
            count, own = sum(self._sources.values()), self._sources.get(source, 0)
            welcome = self._allows(client_address[0]) and own < MAX_PER_HOST
            room = welcome and count < MAX_CONNECTIONS
            if room:
                self._sources[source] = own + 1
            else:
                self.refused += 1
        if welcome and count >= MAX_CONNECTIONS - SPARE:
            goes = self._least_missed(source, time.monotonic())
            if goes is not None:
                goes.cut()
        return room

    def _least_missed(self, source: str, now: float) -> Optional[Connection]:
        """Which connection makes room for one of ``source``.

        The oldest that has not sent a whole message, if it had the time or there are many of them; else the one that
        was silent longest of those that no call uses; else one that has only come; else, of the source that has most
        and at least two more than the one who comes, the one that was silent longest.
        """
        with self._lock:
            there = {number: each for number, each in self._open.items() if not (each.ending or each.dialled)}
            if len(there) < MAX_CONNECTIONS - SPARE:
                return None  # those that are about to end leave room enough
            own, most = self._sources.get(source, 0), max(self._sources.values(), default=0)
            greedy = {each for each, count in self._sources.items() if count == most > own + 1}
        mute = [each for each in there.values() if not each.spoke]
        if len(mute) > SPARE // 2 or (mute and now - mute[0].began >= HELLO):
            return mute[0]
        used, when = self._lately_used(now)
        # who was heard since then may be in use by now: a call begins with a message
        idle = [each for number, each in there.items() if each.spoke and number not in used and each.heard < when]
        of_the_greedy = [each for each in there.values() if source_of(each.client_address[0]) in greedy]
        return min(idle or mute[:1] or of_the_greedy, key=lambda each: each.heard, default=None)

    def _lately_used(self, now: float) -> tuple[set[int], float]:
        """By which connections calls go, and when that was so: ``FRESH`` seconds ago at the most."""
        if now - self._used[1] >= FRESH:
            self._used = (self._ask(), now)
        return self._used

    def in_use(self, flow: Flow) -> bool:
        """Whether a call goes by this connection, which has been silent for a while."""
        return flow.connection in self._lately_used(time.monotonic())[0]

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
            Thread(self.process_request_thread, "connection", (request, client_address)).start()
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
        """Give a connection its number, and to one of our own making what has to be sent."""
        number = next(NUMBERS)
        with self._lock:
            self._open[number] = connection
            waiting = self._dialled.get(connection.client_address) if connection.dialled else None
            if isinstance(waiting, bytearray):
                connection.send(bytes(waiting))
                self._dialled[connection.client_address] = connection
        return number

    def closed(self, number: int) -> None:
        """Forget a connection."""
        with self._lock:
            connection = self._open.pop(number)
        if connection.dialled:
            self._forget_dial(connection.client_address, connection)

    def send(self, action: Send) -> None:
        """Send on the connection of the flow; where that is gone, on one of our own to the same end (§18.2.2)."""
        with self._lock:
            connection = self._open.get(action.flow.connection) or self._dialled.get(action.to)
            dial = connection is None and self._may_dial(action)
            if dial:
                self._dialled[action.to] = waiting = bytearray(action.data)
                self._dialled_for[action.to] = source_of(action.flow.remote.host)
            elif connection is None:
                self.refused += 1
            elif isinstance(connection, bytearray) and len(connection) + len(action.data) <= MAX_OUTBOX:
                connection += action.data
        if isinstance(connection, Connection):
            connection.send(action.data)
        elif dial:
            self._dial(action.to, waiting)

    def _may_dial(self, action: Send) -> bool:
        """Whether there is room for one more connection of our own, for the calls of this source as well."""
        source = source_of(action.flow.remote.host)
        own = sum(each == source for each in self._dialled_for.values())
        return len(self._dialled) < MAX_DIALLED and own < MAX_DIALLED_FOR and self._allows(action.to.host)

    def _dial(self, to: Address, waiting: bytearray) -> None:
        """Open a connection for what has to be sent; quietly given up where nobody listens at the other end."""

        def dial() -> None:
            try:
                client = socket.create_connection(to, timeout=PATIENCE)
            except OSError as error:
                log.info("could not connect to %s: %s", to, error)
                self._forget_dial(to, waiting)
                return
            try:
                Dialled(client, to, self)
            except Exception:
                self.handle_error(client, to)
            finally:
                self._forget_dial(to, waiting)  # where it did not even begin
                self.shutdown_request(client)

        try:
            Thread(dial, "dial").start()
        except RuntimeError as error:
            log.warning("could not connect to %s: %s", to, error)
            self._forget_dial(to, waiting)

    def _forget_dial(self, to: Address, what: Union[Connection, bytearray]) -> None:
        with self._lock:
            if self._dialled.get(to) is what:  # not another one that was begun since
                del self._dialled[to], self._dialled_for[to]

    def _release(self, host: str) -> None:
        source = source_of(host)
        with self._lock:
            self._sources[source] -= 1
            if not self._sources[source]:
                del self._sources[source]

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
