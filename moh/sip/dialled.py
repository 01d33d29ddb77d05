"""The host names by which callers dial this server, with their addresses: each is remembered for a while.

So a phone does not wait for a DNS server at each call. The law kept here: no name from an unvalidated source is stored.
"""

from __future__ import annotations

from typing import NamedTuple, Optional

from ..common.actions import Resolve
from ..guard.rate_limit import LruTable

MAX_NAMES = 64
"""Names that are remembered; the one that was used least recently is forgotten first."""
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
        self._results: LruTable[LatestResult] = LruTable(MAX_NAMES)

    def learn(self, asked: Resolve, address: str, now: float) -> None:
        """Keep the result of a look-up of a dialled name; ``address`` is empty for a name without one.

        An address is not forgotten because a later look-up found none: the DNS server may be silent, or the queue of
        the resolver full.
        """
        key = (asked.name, asked.version)
        former = self._results.get(key)
        if address:
            self._results.put(key, LatestResult(address, now + KEPT_FOR, now + KNOWN_FOR))
        elif former is None:
            self._results.put(key, LatestResult("", now, now + UNKNOWN_FOR))
        elif former.look_up_at <= now:
            self._results.put(key, former._replace(look_up_at=now + UNKNOWN_FOR))

    def needs_look_up(self, name: str, version: int, now: float) -> bool:
        """Whether ``name`` has to be looked up, for the first time or again."""
        found = self._results.get((name, version))
        return found is None or found.look_up_at <= now

    def address(self, name: str, version: int, now: float) -> Optional[str]:
        """The latest address of ``name``, also where it has to be looked up again.

        It is empty if the latest look-up found none, ``None`` if nothing is known.
        """
        found = self._results.get((name, version))
        if found is not None and now < found.kept_until:
            return found.address
        return None if found is None or found.look_up_at <= now else ""
