"""One TCP or TLS connection: messages in, responses out, keep-alives answered (RFC 3261 §18.3, RFC 5626 §4.4.1).

The laws kept here: only the connection's own thread uses its socket, since TLS allows nothing else; other threads put
what they send into the outbox and never wait; a peer that is silent, slow or does not read loses its connection; a
connection above its rate is not read until its next message may be handled, so that TCP slows the sender down. No
message that was read is lost by that.
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
from typing import NamedTuple, Optional, Protocol, Union

from ..common.actions import Address, Flow
from ..net.sockets import plain
from ..sip.framing import PING, PONG, Framer
from .deadlines import MESSAGE_TIMEOUT, Deadlines

MAX_OUTBOX = 1 << 18
"""Octets that may wait for a peer that does not read."""
OUTBOUND_LIFETIME = 32.0
"""Seconds that an outbound connection lasts at most: 64*T1, as long as the server waits for a response (RFC 3261
§17.1.2)."""

Socket = Union[socket.socket, ssl.SSLSocket]

log = logging.getLogger("moh")


class Host(Protocol):
    """What a connection needs of its server."""

    transport: str
    tls: Optional[ssl.SSLContext]

    def handle_message(self, data: bytes, flow: Flow) -> None:
        """Handle one message."""

    def delay(self, host: str, data: bytes) -> float:
        """Count a message of ``host`` and return the seconds that it has to wait; empty: a read without a message."""

    def in_use(self, flow: Flow) -> bool:
        """Whether a call uses this connection."""

    def register(self, connection: Connection) -> int:
        """Add an open connection; returns its number."""

    def unregister(self, number: int) -> None:
        """Remove a closed connection."""


class Turn(NamedTuple):
    """What one turn of the connection's loop waits for."""

    closing: bool
    """The connection closes when the outbox is empty; nothing is read."""
    held: bool
    """A message is held back by the rate limit; nothing is read until it is handled."""
    events: int
    """The poll events of the socket, 0 for none."""


class Connection(socketserver.BaseRequestHandler):
    """One connection, in its own thread."""

    server: Host  # type: ignore[assignment]  # what a Connection needs of the server that made it
    outbound = False
    """Whether the server opened it."""

    def setup(self) -> None:
        """Set up the outbox and the wake-up pair that other threads use."""
        self._outbox = bytearray()
        self._lock = threading.Lock()
        self._thread = threading.current_thread()
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._poll_wake_up, self._poll_both = select.poll(), select.poll()  # select() has no descriptors above 1023
        for each in (self._poll_wake_up, self._poll_both):
            each.register(self._woken, select.POLLIN)
        self.closing = False
        """Whether it is to be closed."""
        self.has_spoken = False
        """Whether a whole message has come by it."""
        self.opened_at = self.received_at = time.monotonic()
        """When it was opened, and when octets came by it last."""
        self._unhandled: deque[bytes] = deque()  # what was read and is not handled yet
        self._counted = False  # whether the rate limit has counted the first of these
        self._socket: Optional[socket.socket] = self.request  # for ``abort``, until it is closed

    def finish(self) -> None:
        """Close the wake-up pair."""
        with self._lock:
            self.closing = True
            self._woken.close()
            self._waker.close()

    # -- for other threads -----------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Have ``data`` sent soon. A peer that lets more than ``MAX_OUTBOX`` pile up loses its connection."""
        with self._lock:
            if self.closing:
                return
            self._outbox += data
            if len(self._outbox) > MAX_OUTBOX:
                self.closing = True
            self._wake()

    def close(self) -> None:
        """Close the connection when what waits has been sent."""
        with self._lock:
            if not self.closing:
                self.closing = True
                self._wake()

    def abort(self) -> None:
        """Close the connection now, even during its handshake."""
        with self._lock:
            if self.closing:
                return
            self.closing = True
            self._outbox.clear()
            self._wake()
            try:
                if self._socket is not None:  # the plain shutdown: that of TLS belongs to the connection's own thread
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
            except OSError:
                pass  # the peer closed it first

    def _wake(self) -> None:
        if threading.current_thread() is self._thread:
            return  # it is awake
        try:
            self._waker.send(b".")
        except OSError:
            pass  # the pair is full of wake-ups, or closed

    # -- its own thread --------------------------------------------------------------------------------------------

    def handle(self) -> None:
        """Read messages and send responses until one side closes the connection."""
        number = self.server.register(self)
        try:
            self._handle(number)
        finally:
            self.server.unregister(number)
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

    def _secured(self, sock: socket.socket) -> Socket:
        sock.settimeout(MESSAGE_TIMEOUT)
        if self.server.tls is None:
            return sock
        if self.outbound:
            # the certificate of a phone is not verified, as in calls that come in
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        else:
            context = self.server.tls
        secured = context.wrap_socket(sock, server_side=not self.outbound, do_handshake_on_connect=False)
        with self._lock:
            self._socket = secured
            if self.closing:
                raise OSError("aborted before its handshake")
        secured.do_handshake()
        return secured

    def _converse(self, sock: Socket, flow: Flow) -> None:
        framer = Framer()
        deadlines = Deadlines(time.monotonic(), OUTBOUND_LIFETIME if self.outbound else math.inf)
        while (turn := self._next_turn()) is not None:
            events = self._wait(sock, turn, deadlines)
            if self._is_over(turn, framer, flow, deadlines) or not self._exchange(
                sock, events, turn, framer, deadlines
            ):
                return
            if self._unhandled and deadlines.may_handle:
                seconds = self._handle_messages(flow)
                deadlines.hold(seconds, time.monotonic())
            if framer.broken and not self._unhandled:
                self.close()

    def _next_turn(self) -> Optional[Turn]:
        """What to wait for next; ``None`` where the connection is over."""
        with self._lock:
            if self.closing and not 0 < len(self._outbox) <= MAX_OUTBOX:
                return None
            held = bool(self._unhandled) and not self.closing
            reading = 0 if self.closing or held else select.POLLIN
            return Turn(self.closing, held, reading | (select.POLLOUT if self._outbox else 0))

    def _wait(self, sock: Socket, turn: Turn, deadlines: Deadlines) -> int:
        """Wait for events, a wake-up or the next deadline; returns the events of the socket."""
        if turn.events:
            self._poll_both.register(sock, turn.events)
        if turn.closing:
            deadlines.note_closing()
        poll = self._poll_both if turn.events else self._poll_wake_up
        events = dict(poll.poll(1000 * deadlines.timeout(turn.held) + 1))
        deadlines.advance(time.monotonic(), turn.held)
        if self._woken.fileno() in events:
            self._drain_wake_ups()
        return events.get(sock.fileno(), 0)

    def _is_over(self, turn: Turn, framer: Framer, flow: Flow, deadlines: Deadlines) -> bool:
        """Whether a deadline ends the connection. In silence a call that uses it keeps it open."""
        if deadlines.expired:
            return True
        if deadlines.silent:
            if turn.closing or framer.unfinished or not self.server.in_use(flow):
                return True
            deadlines.note_use()
        return False

    def _exchange(self, sock: Socket, events: int, turn: Turn, framer: Framer, deadlines: Deadlines) -> bool:
        """Write and read what the socket is ready for; ``False`` where the connection has ended."""
        if events & select.POLLOUT and not self._write(sock):
            return False
        if events & ~select.POLLOUT and not turn.held:
            was_partial = framer.unfinished
            messages = self._read(sock, framer)
            if messages is None:
                return False
            deadlines.note_read(messages, was_partial, framer.unfinished)
        return True

    def _drain_wake_ups(self) -> None:
        try:
            self._woken.recv(4096)
        except BlockingIOError:
            pass

    def _write(self, sock: Socket) -> bool:
        """Send what the peer takes now; ``False`` where it has let too much pile up."""
        with self._lock:
            if len(self._outbox) > MAX_OUTBOX:
                return False
            try:
                del self._outbox[: sock.send(self._outbox)]
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                pass
        return True

    def _read(self, sock: Socket, framer: Framer) -> Optional[int]:
        """Read what has come; returns how many messages and keep-alives, ``None`` where the connection has ended."""
        pieces: list[bytes] = []
        while True:
            try:
                data = sock.recv(65536)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                break
            if not data:
                return None
            self.received_at = time.monotonic()
            pieces += framer.feed(data)
            if framer.broken or not (isinstance(sock, ssl.SSLSocket) and sock.pending()):
                break
        self._unhandled.extend(pieces or [b""])  # the rate limit counts a read without a message too: it costs as much
        return len(pieces)

    def _handle_messages(self, flow: Flow) -> float:
        """Handle what was read as far as its rate allows; returns the seconds that the rest has to wait, or 0.0."""
        while self._unhandled and not self.closing:
            piece = self._unhandled[0]
            if not self._counted:
                self._counted = True
                if wait := self.server.delay(flow.remote.host, piece):
                    return wait
            self._counted = False
            self._unhandled.popleft()
            if piece.startswith(PING):
                self.send(PONG * (len(piece) // len(PING)))
            elif piece:
                self.has_spoken = True
                self.server.handle_message(piece, flow)
        return 0.0


class OutboundConnection(Connection):
    """A connection that the server opened, for what cannot go back by the connection of its request (§18.2.2)."""

    outbound = True
