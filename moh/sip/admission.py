"""Whether this server takes new calls: a server that drains, is busy or stops says so to OPTIONS first.

A proxy in front of several servers asks each of them by OPTIONS, once a second or so. The law kept here: OPTIONS is
refused before any call is. So a proxy has moved on by the time a call would be refused, and no call is lost to a drain.
Requests within a call are answered in all states.
"""

from __future__ import annotations

import logging
import math
from typing import Optional

from ..common.actions import Action, Note
from ..common.amounts import amount
from ..common.busy_at import NEVER, BusyAt

ANNOUNCED = 5.0
"""Seconds from the beginning of a drain in which OPTIONS is refused and calls are still taken."""
SPARE = 0.1
"""The share of ``BusyAt`` by which a busy server goes above it, until calls are refused as well; and the share by which
it has to fall below it, until it is busy no longer."""

STEPS = "OPTIONS is answered by 503 from now on, and new calls a little later"
DRAINS, STOPS = "The server takes no more calls for now", "The server stops"
SERVER_STOPS = "server stops"
"""``Call.ended_by`` of a call that ends because the server stops."""


class Admission:
    """Decides whether OPTIONS and new calls are refused. Times are in seconds of the caller's clock."""

    def __init__(self, busy_at: BusyAt = NEVER) -> None:
        self._busy_at = busy_at
        self._share = 0.0
        self._busy = self._logged_busy = False
        self._drains_at: Optional[float] = None
        self._stops_at: Optional[float] = None
        self.ends_at: Optional[float] = None
        """When all calls end, once the server stops; ``None`` before."""

    @property
    def draining(self) -> bool:
        """Whether the server takes no more calls, until ``drain`` says otherwise."""
        return self._drains_at is not None

    @property
    def stopping(self) -> bool:
        """Whether the server stops."""
        return self._stops_at is not None

    def drain(self, wanted: bool, calls: int, now: float) -> list[Action]:
        """Take no more calls from ``ANNOUNCED`` seconds on; where ``wanted`` is false, take calls again.

        The log says how many ``calls`` there are; they go on.
        """
        if wanted == self.draining:
            return []
        self._drains_at = now + ANNOUNCED if wanted else None
        text = (
            f"the server drains: {amount(calls, 'call')} may go on; {STEPS}"
            if wanted
            else "the server takes calls again"
        )
        return [Note(logging.INFO, "", text)]

    def stop(self, grace: float, now: float) -> None:
        """Take no more calls from ``ANNOUNCED`` seconds on at the latest, and end all calls in ``grace`` seconds.

        Without a grace no call is taken from now on.
        """
        refused_at = now + min(ANNOUNCED, grace / 2)
        self._stops_at = refused_at if self._stops_at is None else min(self._stops_at, refused_at)
        self.ends_at = now + grace

    def is_announced(self, now: float) -> bool:
        """Whether the drain or the stop has been announced for as long as proxies need to notice it."""
        return now >= self._refuses_from()

    def note_share(self, share: float, calls: int) -> list[Action]:
        """Note which share of one core the server and its calls' ffmpegs take; the log says when this makes it busy."""
        was, self._share = self._logged_busy, share
        self._logged_busy = self.is_busy(calls)
        if was == self._logged_busy:
            return []
        found = amount(calls, "call")
        if self._busy_at.share < math.inf:  # otherwise it is not measured
            found += f", {share:.0%} of a core"
        if was:
            return [Note(logging.INFO, "", f"the server is busy no longer: {found}")]
        return [Note(logging.WARNING, "", f"the server is busy: {found}, and MOH_BUSY_AT is {self._busy_at}; {STEPS}")]

    def is_busy(self, calls: int) -> bool:
        """Whether the server is busy with so many ``calls``. It stays busy until it has fallen by ``SPARE``."""
        load = self._load(calls)
        self._busy = load >= (1 - SPARE if self._busy else 1)
        return self._busy

    def options_refusal(self, calls: int) -> str:
        """Why an OPTIONS outside a call is refused; empty where it is not."""
        if self.stopping:
            return STOPS
        if self.draining:
            return DRAINS
        return self._busy_text() if self.is_busy(calls) else ""

    def call_refusal(self, calls: int, now: float) -> str:
        """Why a new call is refused; empty where it is not."""
        if now >= self._refuses_from():
            return STOPS if self.stopping else DRAINS
        return self._busy_text() if self.is_busy(calls) and self._load(calls) >= 1 + SPARE else ""

    def _refuses_from(self) -> float:
        return min((at for at in (self._drains_at, self._stops_at) if at is not None), default=math.inf)

    def _load(self, calls: int) -> float:
        return max(calls / self._busy_at.calls, self._share / self._busy_at.share)

    def _busy_text(self) -> str:
        at = self._busy_at
        return f"The server is busy: {at} calls" if at.calls < math.inf else f"The server is busy: {at} of a core"
