"""The deadlines of one TCP or TLS connection, as data: this module has no clock and no socket."""

from __future__ import annotations

MESSAGE_TIMEOUT = 10.0
"""Seconds for the handshake, for the first message, for the rest of a partial message, and for sending the outbox
before a connection is closed."""
IDLE_TIMEOUT = 600.0
"""Seconds without a message after which a connection that no call uses is closed."""


class Deadlines:
    """When a connection is closed for silence or age, and when its next message may be handled.

    All times are seconds of one monotonic clock, which ``advance`` moves. While the rate limit holds a message back,
    the connection is not read; so this time does not count as silence of the peer.
    """

    __slots__ = ("_closed_at", "_handled_at", "_now", "_silent_at")

    def __init__(self, now: float, lifetime: float) -> None:
        """``lifetime`` is how many seconds the connection may last at most."""
        self._now = now
        self._silent_at = now + MESSAGE_TIMEOUT
        self._closed_at = now + lifetime
        self._handled_at = now

    # -- what happens ----------------------------------------------------------------------------------------------

    def advance(self, now: float, held: bool) -> None:
        """Move the clock to ``now``. ``held`` says whether a message was held back in the meantime."""
        if held:
            self._silent_at += now - self._now
        self._now = now

    def note_closing(self) -> None:
        """Note that the connection closes as soon as the outbox has been sent."""
        self._silent_at = min(self._silent_at, self._now + MESSAGE_TIMEOUT)

    def note_read(self, messages: int, was_partial: bool, is_partial: bool) -> None:
        """Note that octets came, with ``messages`` whole messages or keep-alives.

        ``was_partial`` and ``is_partial`` say whether a partial message waited for its rest before and after. Octets
        that complete no message do not extend its deadline, so a peer that sends octet by octet keeps no connection
        open.
        """
        if is_partial:
            if messages or not was_partial:
                self._silent_at = self._now + MESSAGE_TIMEOUT
        elif messages:
            self._silent_at = self._now + IDLE_TIMEOUT

    def note_use(self) -> None:
        """Note that a call uses the connection."""
        self._silent_at = self._now + IDLE_TIMEOUT

    def hold(self, seconds: float, now: float) -> None:
        """Note that the next message may be handled ``seconds`` after ``now``."""
        self._handled_at = now + seconds

    # -- what follows from it --------------------------------------------------------------------------------------

    def timeout(self, held: bool) -> float:
        """The seconds until the next deadline. ``held`` says whether a message is held back."""
        return max(0.0, min(self._closed_at, self._handled_at if held else self._silent_at) - self._now)

    @property
    def expired(self) -> bool:
        """Whether the connection has lasted as long as it may."""
        return self._now >= self._closed_at

    @property
    def silent(self) -> bool:
        """Whether the peer has been silent for too long."""
        return self._now >= self._silent_at

    @property
    def may_handle(self) -> bool:
        """Whether the next message may be handled."""
        return self._now >= self._handled_at
