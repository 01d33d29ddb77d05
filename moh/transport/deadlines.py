"""The deadlines of one TCP or TLS connection, as data: no clock and no socket in here."""

from __future__ import annotations

MESSAGE_TIMEOUT = 10.0
"""Seconds for the handshake, for the first message, for the rest of a partial message, and for what is to be sent
before a connection is closed."""
IDLE_TIMEOUT = 600.0
"""Seconds without a message after which a connection that no call uses is closed."""


class Deadlines:
    """When a connection is closed for silence or age, and when its next message may be handled.

    All times are seconds of one monotonic clock, which ``advance`` moves. While a message is held back by the rate
    limit, the connection is not read; so that time does not count as silence of the other side.
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
        """The clock is at ``now``; ``held``: a message was held back in the meantime."""
        if held:
            self._silent_at += now - self._now
        self._now = now

    def note_closing(self) -> None:
        """The connection closes as soon as what waits has been sent."""
        self._silent_at = min(self._silent_at, self._now + MESSAGE_TIMEOUT)

    def note_read(self, messages: int, was_partial: bool, is_partial: bool) -> None:
        """Octets came, and with them so many whole messages or keep-alives.

        ``was_partial`` and ``is_partial``: whether a partial message waited for its rest before and after. Octets that
        complete nothing do not extend its deadline, so a sender of single octets does not keep a connection open.
        """
        if is_partial:
            if messages or not was_partial:
                self._silent_at = self._now + MESSAGE_TIMEOUT
        elif messages:
            self._silent_at = self._now + IDLE_TIMEOUT

    def note_use(self) -> None:
        """A call uses the connection."""
        self._silent_at = self._now + IDLE_TIMEOUT

    def hold(self, seconds: float, now: float) -> None:
        """The next message may be handled in so many seconds, counted from ``now``."""
        self._handled_at = now + seconds

    # -- what follows from it --------------------------------------------------------------------------------------

    def timeout(self, held: bool) -> float:
        """The seconds until the next deadline; ``held``: a message is held back."""
        return max(0.0, min(self._closed_at, self._handled_at if held else self._silent_at) - self._now)

    @property
    def expired(self) -> bool:
        """Whether the connection has lasted as long as it may."""
        return self._now >= self._closed_at

    @property
    def silent(self) -> bool:
        """Whether the other side has been silent for too long."""
        return self._now >= self._silent_at

    @property
    def may_handle(self) -> bool:
        """Whether the next message may be handled."""
        return self._now >= self._handled_at
