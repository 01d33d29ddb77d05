"""Cuts a stream into messages by their Content-Length (RFC 3261 §18.3).

The buffer is bounded. A message that is too long, or data without message boundaries, breaks the stream (``broken``),
and the connection has to end. Keep-alives (RFC 5626 §3.5.1) come out as ``PING``; several in a row come out as one
piece, so that they are handled once.
"""

from __future__ import annotations

from typing import Optional

from ..common.errors import Refusal
from .parser import MAX_DATAGRAM, end_of_head

PING = b"\r\n\r\n"
PONG = b"\r\n"
BODY_NOT_READ = b"BYE "
"""The beginning of messages that come out before their body has come: the call ends even if no body follows."""
BEGUN = (PING[:3], PING[:2], PING[:1], b"")
"""Beginnings of a keep-alive, the longest first."""


class Framer:
    """Cuts the octets of one connection into messages."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._looked = 0  # octets that were searched already, so that no octet is searched twice
        self._wanted = 0  # octets of the message that has begun, once its head is complete; 0 before
        self._skipped = 0  # octets still to come of a body that is not read
        self.broken = False
        """Whether no more messages can be cut. Then the connection has to end after the latest message."""

    @property
    def unfinished(self) -> bool:
        """Whether a message has begun and is not complete. Part of a keep-alive does not count as a message."""
        return self._skipped > 0 or bytes(self._held[:1]) not in (b"", b"\r", b"\n")

    def feed(self, data: bytes) -> list[bytes]:
        """Add octets. Return the messages and keep-alives that are complete now, in order.

        Keep-alives in a row come out as one piece, in which ``PING`` is repeated. Of a message that is too long, the
        part that has come so far comes out, so that ``parse`` finds its fault.
        """
        out: list[bytes] = []
        if self.broken:
            return out
        self._held += data
        while self._held and not self.broken:
            piece = self._cut()
            if piece is None:
                break
            if piece:
                out.append(piece)
        return out

    def _cut(self) -> Optional[bytes]:
        """The next piece; empty for white space between messages, ``None`` until more octets come."""
        if self._skipped:
            return self._skip()
        if self._held[0] in b"\r\n":
            return self._cut_keep_alive()
        if not self._wanted:
            head = self._head_length()
            if head is None:
                if len(self._held) > MAX_DATAGRAM:
                    return self._give_up()
                return None
            try:
                length = declared_length(bytes(self._held[:head]))
            except Refusal:
                return self._give_up()
            self._wanted = head + length
            if self._wanted <= MAX_DATAGRAM and self._held.startswith(BODY_NOT_READ):
                self._skipped = length
                return self._take(head)
        if self._wanted > MAX_DATAGRAM:
            return self._give_up()
        return self._take(self._wanted) if len(self._held) >= self._wanted else None

    def _skip(self) -> bytes:
        """Remove the part of an unread body that has come so far."""
        length = min(self._skipped, len(self._held))
        del self._held[:length]
        self._skipped -= length
        return b""

    def _cut_keep_alive(self) -> Optional[bytes]:
        """Cut all white space between two messages at once. Return the keep-alives in it."""
        if self._held in BEGUN:
            return None
        space = len(self._held) - len(self._held.lstrip(PONG))
        *pings, rest = self._take(space).split(PING)
        if not self._held:  # the beginning of another keep-alive waits for its rest
            self._held += next(begun for begun in BEGUN if rest.endswith(begun))
        return PING * len(pings)

    def _head_length(self) -> Optional[int]:
        """The length of the header fields and the empty line behind them; ``None`` while they are not complete."""
        end = end_of_head(self._held, self._looked)
        if end is None:
            self._looked = max(0, len(self._held) - 3)
            return None
        return sum(end)

    def _take(self, length: int) -> bytes:
        piece = bytes(self._held[:length])
        del self._held[:length]
        self._looked = self._wanted = 0
        return piece

    def _give_up(self) -> bytes:
        self.broken = True
        return self._take(min(len(self._held), MAX_DATAGRAM))


def declared_length(head: bytes) -> int:
    """The Content-Length in ``head``; 0 without Content-Length. Raises ``Refusal`` 400 unless it is one number."""
    lengths: list[bytes] = []
    continued = False  # whether a folded line would continue a Content-Length
    for line in head.split(b"\n"):
        if line[:1] in (b" ", b"\t"):
            if continued:
                lengths[-1] = (lengths[-1] + b" " + line).strip()
            continue
        name, colon, value = line.partition(b":")
        continued = bool(colon) and name.rstrip().lower() in (b"content-length", b"l")
        if continued:
            lengths.append(value.strip())
    if not lengths:
        return 0
    text = lengths[0]
    if len(set(lengths)) > 1 or not text.isdigit() or len(text) > 9:
        raise Refusal(400, f"Content-Length is {text[:20]!r}; expected one number of octets")
    return int(text)
