"""How long it is waited until a listener counts as gone: the network says so (ICMP), or he himself (RTCP BYE).

No clock here. No such word ends a call at once: a phone may be about to open its port, or change its codec; a cable may
be plugged in again.
"""

from __future__ import annotations

from typing import NamedTuple, Optional

from ..common.actions import Address

DEAF_FOR = 2.0
"""Seconds for which a caller's machine says that nobody listens until he is given up."""
FORGIVEN = 3.0
"""Seconds without such a word after which that begins anew: some machines say it once a second only."""
LEFT_FOR = 7.0
"""Seconds after an RTCP BYE without a word of his until a listener is given up: who takes another SSRC reports 6.2 s
later at the latest (RFC 3550 §6.3.1)."""
AWAY = 30.0
"""Seconds for which a listener may have no way to him until his call is given up: an interface is down for a while."""
RARE = 8.0
"""Seconds without such a word after which that begins anew: where nobody answers ARP, Linux says so each 3 s; and a
router says it of one packet in a second, whoever else it was for."""
ASTRAY = 1.5
"""The same where the kernel says so of each packet, and is asked twice a second."""
BACK = 5.0
"""Seconds after the last such word, and after a packet that may have brought another, until a listener is played to."""
PROBE_EVERY = 2.0
"""Seconds between the packets that try the way."""


class Verdict(NamedTuple):
    """Why a listener is given up: at length, and in two words by which it is counted."""

    why: str
    by: str


LEFT = Verdict("the listener took leave by RTCP BYE", "RTCP BYE")


class Streak:
    """What is said of one caller's address again and again; after ``forgiven`` seconds of silence it begins anew."""

    __slots__ = ("_first", "_forgiven", "_last")

    def __init__(self, now: float, forgiven: float = FORGIVEN) -> None:
        self._first = self._last = now
        self._forgiven = forgiven

    def repeat(self, now: float) -> float:
        """It is said once more: for how many seconds it has been by now."""
        if now - self._last > self._forgiven:
            self._first = now
        self._last = now
        return now - self._first


def deaf(address: Address, seconds: float) -> Verdict:
    """Why a call ends that nobody hears."""
    return Verdict(f"nobody listens at {address}: ICMP port unreachable for {seconds:.0f} s", "nobody listens")


def no_way(address: Address) -> Verdict:
    """Why a call ends to which no packet finds its way."""
    return Verdict(f"no way to {address}: the network says so for {AWAY:.0f} s", "no way")


class Unreachable:
    """A listener to whom there is no way: nothing is played to him till there is, only tried now and then.

    Packets to a machine that answers no ARP wait in the kernel, at the cost of all who leave by the same socket.
    """

    __slots__ = ("_probed", "_silent", "_since", "_told")

    def __init__(self, now: float) -> None:
        self._since = self._told = self._probed = now
        self._silent = False

    def repeat(self, now: float) -> None:
        """The network says it once more."""
        self._told = now

    def expired(self, now: float) -> bool:
        """Whether it is time to give him up."""
        return now - self._since >= AWAY

    def is_back(self, answers: Optional[bool], now: float) -> bool:
        """Whether he is to be played to again. ``answers``: whether he answers ARP, ``None`` where that is unknown."""
        if answers is False:  # that counts as well: of many hosts at once Linux tells of a few only
            self._silent, self._told = True, now
        return (self._silent and answers is True) or now - self._told >= BACK

    def probe_due(self, now: float) -> bool:
        """Whether it is time to try the way; then it counts as done."""
        due = now - self._probed >= PROBE_EVERY
        if due:
            self._probed = now
        return due
