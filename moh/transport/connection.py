"""One TCP or TLS connection: messages in, responses out, keep-alives answered (RFC 3261 §18.3, RFC 5626 §4.4.1).

The laws kept here: only the connection's own thread uses its socket, since TLS allows nothing else. Other threads put
what they send into the outbox and never wait. A peer that is silent, slow or does not read loses its connection. A
connection above its rate is not read until its next message may be handled, so that TCP slows the sender down; messages
that were read already wait and are not lost.
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
"""Seconds that an outbound connection lasts at most: 64*T1, the time that the server waits for a response (RFC 3261
§17.1.2)."""

Socket = Union[socket.socket, ssl.SSLSocket]

log = logging.getLogger("moh")


class Host(Protocol):
    """The methods and attributes of the server that a connection uses."""

    transport: str
    tls: Optional[ssl.SSLContext]

    def handle_message(self, data: bytes, flow: Flow) -> None:
        """Handle one message."""

    def delay(self, host: str, data: bytes) -> float:
        """Count a message of ``host`` and return the seconds that the message has to wait.

        ``data`` is empty for a read that brought no whole message.
        """

    def in_use(self, flow: Flow) -> bool:
        """Whether a call uses this connection."""

    def register(self, connection: Connection) -> int:
        """Add an open connection and return its number."""

    def unregister(self, number: int) -> None:
        """Remove a closed connection."""


class Turn(NamedTuple):
    """The state of the connection, and the events that one turn of its thread waits for."""

    closing: bool
    """Whether the connection closes when the outbox is empty. Then the socket is not read."""
    held: bool
    """Whether the rate limit holds a message back. The socket is not read until that message is handled."""
    events: int
    """The poll events of the socket, 0 for none."""


class Connection(socketserver.BaseRequestHandler):
    """One connection, in its own thread."""

    server: Host  # type: ignore[assignment]  # the server that made the connection
    outbound = False
    """Whether the server opened the connection."""

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
        """Whether the connection is to be closed."""
        self.has_spoken = False
        """Whether a whole message has come by the connection."""
        self.opened_at = self.received_at = time.monotonic()
        """When the connection was opened, and when the last octets came."""
        self._unhandled: deque[bytes] = deque()  # messages that were read and are not handled yet
        self._counted = False  # whether the rate limit has counted the first of them
        self._socket: Optional[socket.socket] = self.request  # for ``abort``, until the socket is closed

    def finish(self) -> None:
        """Close the wake-up pair."""
        with self._lock:
            self.closing = True
            self._woken.close()
            self._waker.close()

    # -- for other threads -----------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Queue ``data`` for sending. If more than ``MAX_OUTBOX`` octets wait for the peer, the connection ends."""
        with self._lock:
            if self.closing:
                return
            self._outbox += data
            if len(self._outbox) > MAX_OUTBOX:
                self.closing = True
            self._wake()

    def close(self) -> None:
        """Close the connection when the outbox has been sent."""
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
            return  # the connection's own thread is awake
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
            # a phone's certificate is not verified, as it is not on accepted connections
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
        """The state and events of the next turn; ``None`` where the connection is over."""
        with self._lock:
            if self.closing and not 0 < len(self._outbox) <= MAX_OUTBOX:
                return None
            held = bool(self._unhandled) and not self.closing
            reading = 0 if self.closing or held else select.POLLIN
            return Turn(self.closing, held, reading | (select.POLLOUT if self._outbox else 0))

    def _wait(self, sock: Socket, turn: Turn, deadlines: Deadlines) -> int:
        """Wait for events, a wake-up or the next deadline. Return the events of the socket."""
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
        """Whether a deadline ends the connection. A silent connection stays open while a call uses it."""
        if deadlines.expired:
            return True
        if deadlines.silent:
            if turn.closing or framer.unfinished or not self.server.in_use(flow):
                return True
            deadlines.note_use()
        return False

    def _exchange(self, sock: Socket, events: int, turn: Turn, framer: Framer, deadlines: Deadlines) -> bool:
        """Write to the socket and read from it, as ``events`` allow. Return ``False`` if the connection has ended."""
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
        """Send what the peer takes now. Return ``False`` where more than ``MAX_OUTBOX`` octets wait for the peer."""
        with self._lock:
            if len(self._outbox) > MAX_OUTBOX:
                return False
            try:
                del self._outbox[: sock.send(self._outbox)]
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                pass
        return True

    def _read(self, sock: Socket, framer: Framer) -> Optional[int]:
        """Read what has come. Return the number of messages and keep-alives; ``None`` if the connection has ended."""
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
        self._unhandled.extend(pieces or [b""])  # the rate limit also counts a read without a message: it costs as much
        return len(pieces)

    def _handle_messages(self, flow: Flow) -> float:
        """Handle the messages that were read, as the rate allows. Return the seconds that the others wait, or 0.0."""
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
    """A connection that the server opened, for responses and requests whose own connection is closed (§18.2.2)."""

    outbound = True
