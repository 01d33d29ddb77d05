"""The host names by which callers dial this server, with their addresses: each is remembered for a while.

So a phone does not wait for a DNS server at each call. The law kept here: no name from an unvalidated source is stored.
"""

from __future__ import annotations

from typing import Optional

from ..common.actions import Resolve
from ..guard.rate_limit import LruTable

MAX_NAMES = 64
"""Names that are remembered; the one that was used least recently is forgotten first."""
KNOWN_FOR, UNKNOWN_FOR = 300.0, 60.0
"""Seconds for which an address is remembered, and for which it is remembered that a name has none."""

Name = tuple[str, int]
"""A host name in lower case, and the IP version of the address that is wanted."""


class DialledNames:
    """The latest results of look-ups."""

    def __init__(self) -> None:
        self._results: LruTable[tuple[str, float]] = LruTable(MAX_NAMES)

    def learn(self, asked: Resolve, address: str, now: float) -> None:
        """Keep the result of a look-up of a dialled name; ``address`` is empty for a name without one.

        An address is not forgotten because a later look-up found none: the queue of the resolver may have been full.
        """
        key = (asked.name, asked.version)
        former = self._results.get(key)
        if address or former is None or former[1] <= now:
            self._results.put(key, (address, now + (KNOWN_FOR if address else UNKNOWN_FOR)))

    def address(self, name: str, version: int, now: float) -> Optional[str]:
        """The address of ``name``; empty if it has none, ``None`` if it has to be looked up."""
        found = self._results.get((name, version))
        return None if found is None or found[1] <= now else found[0]
