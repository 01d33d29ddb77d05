"""One TCP or TLS connection: messages in, answers out, keep-alives answered (RFC 3261 §18.3, RFC 5626 §4.4.1).

The laws kept here: only its own thread touches a connection (TLS allows nothing else); whoever wants to send leaves
his octets in its outbox and never waits; who is silent, slow or reads nothing is cut off; who sends too fast is not
read until his turn has come, and TCP pushes back. No message that was read is lost by that.
"""

from __future__ import annotations

import logging
import math
import select
import socket
import socketserver
import ssl
import threading
import time
from collections import deque
from typing import Optional, Protocol, Union

from ..common.actions import Address, Flow
from ..net.sockets import plain
from ..sip.framing import PING, PONG, Framer

MAX_OUTBOX = 1 << 18
"""Octets that may wait for a reader who does not read."""
PATIENCE = 10.0
"""Seconds for the handshake, for the first message, and for the rest of one that has begun."""
IDLE = 600.0
"""Seconds of silence after which a connection that no call uses is closed."""
DIALLED = 32.0
"""Seconds that a connection of our own making may last: as long as we wait for an answer (RFC 3261 §17.1.2, 64*T1)."""

log = logging.getLogger("moh")


class Host(Protocol):
    """What a connection needs of the server that took it."""

    transport: str
    tls: Optional[ssl.SSLContext]

    def handle_message(self, data: bytes, flow: Flow) -> None:
        """Handle one message."""

    def in_use(self, flow: Flow) -> bool:
        """Whether a call goes by this connection."""

    def delay(self, host: str, data: bytes) -> float:
        """Let a message of ``host`` take its place; the seconds that it has to wait. Empty: a read without one."""

    def opened(self, connection: Connection) -> int:
        """Give it a number."""

    def closed(self, number: int) -> None:
        """Forget it."""


class Connection(socketserver.BaseRequestHandler):
    """One connection, in its own thread."""

    server: Host  # type: ignore[assignment]  # what a Connection needs of the server that made it
    dialled = False
    """Whether it is we who opened it."""

    def setup(self) -> None:
        """Get ready to be written to by others."""
        self._outbox = bytearray()
        self._lock = threading.Lock()
        self._thread = threading.current_thread()
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self.ending = False
        """Whether it is to be closed."""
        self.spoke = False
        """Whether a whole message has come by it."""
        self.began = self.heard = time.monotonic()
        """When it was opened, and when octets came by it last."""
        self._unread: deque[bytes] = deque()  # what has come and is not handed on yet
        self._in_place = False  # the first of it has its place behind all others
        self._socket: Optional[socket.socket] = self.request  # for ``cut``, until it is closed

    def finish(self) -> None:
        """Give the wake-up pair back."""
        with self._lock:
            self.ending = True
            self._woken.close()
            self._waker.close()

    # -- for other threads -----------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Have ``data`` sent soon. A reader who lets too much pile up loses his connection."""
        with self._lock:
            if self.ending:
                return
            self._outbox += data
            if len(self._outbox) > MAX_OUTBOX:
                self.ending = True
            self._wake()

    def end(self) -> None:
        """Close when what waits has been sent."""
        with self._lock:
            if not self.ending:
                self.ending = True
                self._wake()

    def cut(self) -> None:
        """Have it closed now, also where its handshake goes on."""
        with self._lock:
            if self.ending:
                return
            self.ending = True
            self._outbox.clear()
            self._wake()
            try:
                if self._socket is not None:  # not as TLS does it: that is its own thread's
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
            except OSError:
                pass  # the other side was first

    def _wake(self) -> None:
        if threading.current_thread() is self._thread:
            return  # it is awake
        try:
            self._waker.send(b".")
        except OSError:
            pass  # woken often enough already

    # -- its own thread --------------------------------------------------------------------------------------------

    def handle(self) -> None:
        """Read messages and write answers until one side has had enough."""
        number = self.server.opened(self)
        try:
            self._handle(number)
        finally:
            self.server.closed(number)
            with self._lock:
                self._socket, secured = None, self._socket
            if secured is not None and secured is not self.request:
                secured.close()

    def _handle(self, number: int) -> None:
        try:
            sock = self._secured(self.request)
        except (OSError, ssl.SSLError) as error:
            log.debug("no TLS with %s: %s", self.client_address, error)
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        remote = Address(plain(self.client_address[0]), self.client_address[1])
        local = sock.getsockname()
        flow = Flow(remote, Address(plain(local[0]), local[1]), self.server.transport, number)
        try:
            self._converse(sock, flow)
        except OSError as error:
            log.debug("connection of %s ended: %s", flow.remote, error)

    def _secured(self, sock: socket.socket) -> Union[socket.socket, ssl.SSLSocket]:
        sock.settimeout(PATIENCE)
        if self.server.tls is None:
            return sock
        if self.dialled:
            # the phone's certificate is checked by nobody, as with every call that comes in
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        else:
            context = self.server.tls
        secured = context.wrap_socket(sock, server_side=not self.dialled, do_handshake_on_connect=False)
        with self._lock:
            self._socket = secured
            if self.ending:
                raise OSError("it had to make room")
        secured.do_handshake()
        return secured

    def _converse(self, sock: Union[socket.socket, ssl.SSLSocket], flow: Flow) -> None:
        framer = Framer()
        quiet, poll = select.poll(), select.poll()  # unlike select() it takes descriptors above 1023
        for each in (quiet, poll):
            each.register(self._woken, select.POLLIN)
        now = time.monotonic()
        patience = now + PATIENCE
        last = now + DIALLED if self.dialled else math.inf
        turn = now  # when the first of what is unread may be handed on
        while True:
            with self._lock:
                ending = self.ending
                if ending and not 0 < len(self._outbox) <= MAX_OUTBOX:
                    return
                held = bool(self._unread) and not ending
                # whose connection ends is not listened to any more, nor who has to wait
                wanted = (0 if ending or held else select.POLLIN) | (select.POLLOUT if self._outbox else 0)
            if wanted:
                poll.register(sock, wanted)
            if ending:
                patience = min(patience, now + PATIENCE)
            until = min(last, turn if held else patience)
            events = dict((poll if wanted else quiet).poll(1000 * max(0.0, until - now) + 1))
            then, now = now, time.monotonic()
            happened = events.get(sock.fileno(), 0)
            if held:
                patience += now - then  # it is not he who keeps us waiting
            if now >= last:
                return
            if now >= patience:
                if ending or framer.unfinished or not self.server.in_use(flow):
                    return
                patience = now + IDLE
            if self._woken.fileno() in events:
                self._drain_wake_ups()
            if happened & select.POLLOUT and not self._write(sock):
                return
            if happened & ~select.POLLOUT and not held:
                began = framer.unfinished
                heard = self._read(sock, framer)
                if heard is None:
                    return
                if framer.unfinished:
                    patience = patience if began and not heard else now + PATIENCE
                elif heard:
                    patience = now + IDLE
            if self._unread and now >= turn:
                wait = self._hand_on(flow)
                turn = time.monotonic() + wait
            if framer.broken and not self._unread:
                self.end()

    def _drain_wake_ups(self) -> None:
        try:
            self._woken.recv(4096)
        except BlockingIOError:
            pass

    def _write(self, sock: Union[socket.socket, ssl.SSLSocket]) -> bool:
        """Send what the other side takes now; ``False`` when the connection is to be cut."""
        with self._lock:
            if len(self._outbox) > MAX_OUTBOX:
                return False
            try:
                del self._outbox[: sock.send(self._outbox)]
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                pass
        return True

    def _read(self, sock: Union[socket.socket, ssl.SSLSocket], framer: Framer) -> Optional[int]:
        """Take in what has come, and tell how many messages and pings; ``None`` when the connection has ended."""
        pieces: list[bytes] = []
        while True:
            try:
                data = sock.recv(65536)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                break
            if not data:
                return None
            self.heard = time.monotonic()
            pieces += framer.feed(data)
            if framer.broken or not (isinstance(sock, ssl.SSLSocket) and sock.pending()):
                break
        self._unread.extend(pieces or [b""])
        return len(pieces)

    def _hand_on(self, flow: Flow) -> float:
        """Hand on what has come as far as it may be now; the seconds that the rest has to wait, 0.0 if there is none.

        A read that brought nothing whole has to take its place as well: it costs us as much.
        """
        while self._unread and not self.ending:
            piece = self._unread[0]
            if not self._in_place:
                self._in_place = True
                if wait := self.server.delay(flow.remote.host, piece):
                    return wait
            self._in_place = False
            self._unread.popleft()
            if piece.startswith(PING):
                self.send(PONG * (len(piece) // len(PING)))
            elif piece:
                self.spoke = True
                self.server.handle_message(piece, flow)
        return 0.0


class Dialled(Connection):
    """A connection that we opened ourselves, for what cannot go back the way that its request came (§18.2.2)."""

    dialled = True
