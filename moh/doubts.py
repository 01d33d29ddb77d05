"""How long it is waited until a listener counts as gone: his machine says so (ICMP), or he himself (RTCP BYE).

No clock here. Neither word ends a call at once: a phone may be about to open its port, or change its codec.
"""

from __future__ import annotations

from typing import NamedTuple

from .actions import Address

DEAF_FOR = 2.0
"""Seconds for which a caller's machine says that nobody listens until he is given up."""
FORGIVEN = 3.0
"""Seconds without such a word after which that begins anew: some machines say it once a second only."""
LEFT_FOR = 5.0
"""Seconds after an RTCP BYE without a word of his until a listener is given up."""


class Verdict(NamedTuple):
    """Why a listener is given up: at length, and in two words by which it is counted."""

    why: str
    by: str


LEFT = Verdict("the listener took leave by RTCP BYE", "RTCP BYE")


class Refusals:
    """What one caller's machine says of his port."""

    __slots__ = ("_first", "_last")

    def __init__(self, now: float) -> None:
        self._first = self._last = now

    def again(self, now: float) -> float:
        """It says once more that nobody listens: for how many seconds it has by now."""
        if now - self._last > FORGIVEN:
            self._first = now
        self._last = now
        return now - self._first


def deaf(address: Address, seconds: float) -> Verdict:
    """Why a call ends that nobody hears."""
    return Verdict(f"nobody listens at {address}: ICMP port unreachable for {seconds:.0f} s", "nobody listens")
