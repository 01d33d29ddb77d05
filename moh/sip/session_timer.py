"""Session timers on the answering side (RFC 4028): they end a call whose caller has vanished.

If the server may choose, the phone refreshes the session: RFC 7088 §2.7 permits a phone to refuse requests of the
server.
"""

from __future__ import annotations

from typing import NamedTuple, Optional

from ..common.errors import Refusal
from .headers import read_params
from .message import Message

MIN_SE = 90
"""Seconds of the shortest interval that RFC 4028 §4 allows."""
OUR_INTERVAL = 1800
"""The session interval in seconds that we propose to a phone that supports timers but gives no interval (§4)."""
MARGIN = 32.0
"""Seconds before its expiry at which a session without refresh is ended, at most a third of the interval (§10)."""


DIALOG_GONE = frozenset((404, 408, 410, 416, 480, 481, 482, 483, 484, 485, 489, 604))
"""Responses to a refresh that end the call: they say that the dialog, or our use of it, has ended (RFC 5057 §5.1).

A 403 does not end the call, although §5.1 lists it: phones answer requests of a music server with 403 (RFC 7088 §2.7).
A 5xx does not end it either: a proxy may be out of order while the phone waits.
"""
NEEDS_BYE = frozenset((408, 480, 483))
"""Responses of ``DIALOG_GONE`` that a proxy sends for a phone which may still have the dialog (RFC 4028 §10)."""
UPDATE_UNKNOWN = (405, 501)
"""Responses of a phone that does not take an UPDATE, whatever its Allow says."""
RETRY_AFTER_GLARE = 2.0
"""Seconds at most until our re-INVITE is sent again after it met a re-INVITE of the phone (RFC 3261 §14.1)."""


class Agreement(NamedTuple):
    """What a 2xx says: the interval in seconds, and whether we refresh the session (``uas``) or the phone does."""

    interval: int
    ours: bool
    supported: bool = True
    """Whether the phone supports session timers. If it does not, a proxy has asked for one."""

    def headers(self) -> list[tuple[str, str]]:
        """The header fields of the 2xx (§9), with Require if the phone supports timers."""
        fields = [("Session-Expires", f"{self.interval};refresher={'uas' if self.ours else 'uac'}")]
        return [*fields, ("Require", "timer")] if self.supported else fields

    def refresh_after(self) -> float:
        """Seconds until the refresher's next request: half the interval (§10)."""
        return self.interval / 2

    def ends_after(self) -> float:
        """Seconds until we end a session that the phone has not refreshed (§10)."""
        return self.interval - min(MARGIN, self.interval / 3)


def _read(message: Message, name: str) -> tuple[Optional[int], str]:
    """The seconds and the refresher, in lower case, in the header field ``name``; ``None`` if it has no number."""
    value = message.first(name)
    if value is None:
        return None, ""
    text, *params = value.split(";")
    number = text.strip()
    seconds = min(int(number), 2**31) if number.isascii() and number.isdigit() and len(number) < 11 else None
    return seconds, read_params(params).get("refresher", "").lower()


def agree(request: Message) -> Optional[Agreement]:
    """The session timer for our 2xx to an INVITE or UPDATE; ``None`` for no timer.

    Raises ``Refusal`` 422 for an interval that is too short (§9, table 2). An interval that is no number is ignored.
    """
    supported = "timer" in request.option_tags("supported") or "timer" in request.option_tags("require")
    interval, refresher = _read(request, "session-expires")
    least = max(_read(request, "min-se")[0] or MIN_SE, MIN_SE)
    if interval is None:
        return Agreement(max(OUR_INTERVAL, least), ours=False) if supported else None
    if interval < MIN_SE and supported:
        raise Refusal(422, f"Session-Expires is {interval}; expected at least {MIN_SE}", ("Min-SE", str(MIN_SE)))
    interval = max(interval, MIN_SE)  # a mistake of a proxy: a phone without timers would not understand 422 (§9)
    return Agreement(interval, ours=not supported or refresher == "uas", supported=supported)


def agreed_by_answer(response: Message, before: Agreement) -> Agreement:
    """What a 2xx to our refresh says of the timer (§7.2); as before where that is missing or cannot be read."""
    interval, refresher = _read(response, "session-expires")
    if interval is None or interval < MIN_SE:
        return before
    # in the answer to our own request the phone is the UAS
    return Agreement(interval, ours=refresher != "uas")
