"""The host names by which callers dial this server, with their addresses: each is remembered for a while.

So a phone does not wait for a DNS server at each call. The laws kept here: no name from an unvalidated source is
stored, and no result of a look-up for an untrusted caller reaches a trusted one.
"""

from __future__ import annotations

from typing import NamedTuple, Optional

from ..common.actions import Resolve, Trust
from ..guard.rate_limit import LruTable

MAX_NAMES = 64
"""Names that are remembered for trusted callers, and as many for all others; the one that was used least recently is
forgotten first."""
KNOWN_FOR, UNKNOWN_FOR = 300.0, 60.0
"""Seconds until a name is looked up again, after a look-up that found an address and after one that found none."""
KEPT_FOR = 86_400.0
"""Seconds for which the latest address is in use while look-ups fail: an old address is better than none (RFC 8767)."""


class LatestResult(NamedTuple):
    """What is known of a name. All times are seconds of the clock."""

    address: str
    """The address that was found last; empty if there is none."""
    kept_until: float
    """When the address is too old."""
    look_up_at: float
    """From when on the name has to be looked up again."""


class DialledNames:
    """The latest results of look-ups, each for a host name in lower case and an IP version."""

    def __init__(self) -> None:
        self._trusted: LruTable[LatestResult] = LruTable(MAX_NAMES)
        self._others: LruTable[LatestResult] = LruTable(MAX_NAMES)

    def learn(self, asked: Resolve, address: str, now: float) -> None:
        """Keep the result of a look-up of a dialled name; ``address`` is empty for a name without one.

        An address is not forgotten because a later look-up found none: the DNS server may be silent, or the queue of
        the resolver full.
        """
        key = (asked.name, asked.version)
        results = self._results(asked.trust)
        former = results.get(key)
        if address:
            results.put(key, LatestResult(address, now + KEPT_FOR, now + KNOWN_FOR))
        elif former is None:
            results.put(key, LatestResult("", now, now + UNKNOWN_FOR))
        elif former.look_up_at <= now:
            results.put(key, former._replace(look_up_at=now + UNKNOWN_FOR))

    def needs_look_up(self, name: str, version: int, trust: Trust, now: float) -> bool:
        """Whether ``name`` has to be looked up for a caller of this ``trust``, for the first time or again."""
        found = self._results(trust).get((name, version))
        return found is None or found.look_up_at <= now

    def address(self, name: str, version: int, trust: Trust, now: float) -> Optional[str]:
        """The latest address of ``name``, also where it has to be looked up again.

        It is empty if the latest look-up found none, ``None`` if nothing is known. Where no address was found for
        untrusted callers, they get the one that was found for trusted callers.
        """
        key = (name, version)
        own = _address(self._results(trust).get(key), now)
        if own or trust is Trust.TRUSTED:
            return own
        return _address(self._trusted.peek(key), now) or own

    def _results(self, trust: Trust) -> LruTable[LatestResult]:
        return self._trusted if trust is Trust.TRUSTED else self._others


def _address(found: Optional[LatestResult], now: float) -> Optional[str]:
    if found is None:
        return None
    if now < found.kept_until:
        return found.address
    return "" if now < found.look_up_at else None
