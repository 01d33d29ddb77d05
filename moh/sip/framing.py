"""Where one message ends and the next begins on a stream (RFC 3261 §18.3): Content-Length counts there.

Bounded: who sends more than a message may hold, or what cannot be cut into messages, is at fault, and the connection
with it. Keep-alives (RFC 5626 §3.5.1) come out as ``PING``, those in a row as one piece: however many octets of
nothing somebody sends, they cost one look.
"""

from __future__ import annotations

from typing import Optional

from ..common.errors import Refusal
from .parser import MAX_DATAGRAM, end_of_head

PING = b"\r\n\r\n"
PONG = b"\r\n"
BEGUN = (PING[:3], PING[:2], PING[:1], b"")
"""What may be the beginning of a keep-alive, the longest first."""


class Framer:
    """Cuts the octets of one connection into messages."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._looked = 0  # no end of a head lies before this; so slow octets cost no more than quick ones
        self._wanted = 0  # octets of the message that has begun, once its head is there; else 0
        self.broken = False
        """Nothing more can be cut: the message that came out last is the last one, and the connection has to end."""

    @property
    def unfinished(self) -> bool:
        """Whether part of a message waits for the rest; half a keep-alive is none."""
        return bytes(self._held[:1]) not in (b"", b"\r", b"\n")

    def feed(self, data: bytes) -> list[bytes]:
        """Take octets in; give the messages, and the keep-alives, that are complete now, in order.

        Keep-alives in a row are one piece: so many times ``PING``. What is too long comes out as far as it is there,
        for ``parse`` to say what is wrong with it.
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
        """The next piece; empty for white space between messages, ``None`` until more has come."""
        if self._held[0] in b"\r\n":
            return self._cut_keep_alive()
        if not self._wanted:
            head = self._head_length()
            if head is None:
                if len(self._held) > MAX_DATAGRAM:
                    return self._give_up()
                return None
            try:
                self._wanted = head + declared_length(bytes(self._held[:head]))
            except Refusal:
                return self._give_up()
        if self._wanted > MAX_DATAGRAM:
            return self._give_up()
        return self._take(self._wanted) if len(self._held) >= self._wanted else None

    def _cut_keep_alive(self) -> Optional[bytes]:
        """All the white space between two messages at once: its keep-alives, if there are any."""
        if self._held in BEGUN:
            return None
        space = len(self._held) - len(self._held.lstrip(PONG))
        *pings, rest = self._take(space).split(PING)
        if not self._held:  # what may be the beginning of one waits for the rest of it
            self._held += next(begun for begun in BEGUN if rest.endswith(begun))
        return PING * len(pings)

    def _head_length(self) -> Optional[int]:
        """The length of the header fields and the empty line behind them; ``None`` while that is not there."""
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
    """What Content-Length says in ``head``; 0 where there is none. Raises ``Refusal`` 400 where it is no one number."""
    values = set()
    for line in head.split(b"\n"):
        name, colon, value = line.partition(b":")
        if colon and name.strip().lower() in (b"content-length", b"l"):
            values.add(value.strip())
    if not values:
        return 0
    text = values.pop()
    if values or not text.isdigit() or len(text) > 9:
        raise Refusal(400, f"Content-Length is {text[:20]!r}; expected one number of octets")
    return int(text)
