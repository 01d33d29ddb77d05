"""Limits on music to hosts that may not have asked for it (RFC 3261 §26.1.5).

A caller on the internet can name any host in c=, and two small messages bring that host hours of music. A host that has
sent RTP or RTCP takes part in calls; a host that has sent none is called silent, and may be a victim. The law kept
here: calls with music to silent hosts are few, for each host and for each source of calls. ``MediaPolicy`` decides
which calls are limited.

The tables are bounded by the number of calls and by ``MAX_HEARD``.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..common.addresses import is_private, source_of
from ..common.errors import Refusal
from .rate_limit import LruTable

CALLS_TO_ONE_HOST = 8
"""Calls of all limited sources together whose music may go to one silent host."""
CALLS_OF_ONE_SOURCE = 32
"""Calls of one source whose music may go to silent hosts."""
MAX_HEARD = 4096
"""Hosts with RTP or RTCP that are remembered. Beyond that the host that was reported least recently is forgotten."""
TOO_MUCH_MUSIC = "music to a silent host"
"""The text under which these refusals are counted."""


class MediaLimits:
    """The limited calls. Hosts and sources count as ``source_of`` writes them: a /64 of IPv6 is one."""

    def __init__(self) -> None:
        self._heard: LruTable[bool] = LruTable(MAX_HEARD)
        self._source_of: dict[str, str] = {}
        """By limited call: its source."""
        self._hosts_of: dict[str, set[str]] = {}
        """By call: the silent hosts that its music goes to."""
        self._calls_to: dict[str, set[str]] = {}
        self._calls_from: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._source_of)

    def __contains__(self, call: str) -> bool:
        return call in self._source_of

    def check(self, call: str, source: str, hosts: Iterable[str]) -> None:
        """Raises ``Refusal`` 503 where ``source`` may not have the music of ``call`` sent to ``hosts``.

        ``call`` is empty for a new call. ``source`` and ``hosts`` are addresses.
        """
        for host in hosts:
            key, origin = source_of(host), source_of(source)
            if self._heard.peek(key):
                continue
            to_host = self._calls_to.get(key, ())
            if call not in to_host and len(to_host) >= CALLS_TO_ONE_HOST:
                raise _too_many(
                    f"{len(to_host)} calls play to {host}, which has sent no RTP or RTCP",
                    f"MOH_ALLOW to name {source} or MOH_ALLOW_MEDIA to name {host}",
                )
            from_source = self._calls_from.get(origin, ())
            if call not in from_source and len(from_source) >= CALLS_OF_ONE_SOURCE:
                raise _too_many(
                    f"{len(from_source)} calls of {source} play to hosts that have sent no RTP or RTCP",
                    f"MOH_ALLOW to name {source} or MOH_ALLOW_MEDIA to name those hosts",
                )

    def add(self, call: str, source: str, hosts: Iterable[str]) -> None:
        """Note that the music of ``call`` goes to ``hosts`` now or after the ACK. Its former hosts count as well."""
        silent = {key for key in map(source_of, hosts) if not self._heard.peek(key)}
        if not silent:
            return
        silent |= self._hosts_of.get(call, set())
        self.remove(call)
        origin = source_of(source)
        self._source_of[call], self._hosts_of[call] = origin, silent
        self._calls_from.setdefault(origin, set()).add(call)
        for host in silent:
            self._calls_to.setdefault(host, set()).add(call)

    def keep(self, call: str, hosts: Iterable[str]) -> None:
        """Note that the music of ``call`` goes to no other hosts than ``hosts`` any more."""
        kept = set(map(source_of, hosts))
        for host in self._hosts_of.get(call, set()) - kept:
            self._forget(call, host)

    def remove(self, call: str) -> None:
        """Note that ``call`` has ended."""
        self.keep(call, ())

    def heard(self, host: str) -> None:
        """Note that ``host`` has sent RTP or RTCP: calls with music to ``host`` do not count any more."""
        if is_private(host):
            return
        key = source_of(host)
        self._heard.put(key, True)
        for call in list(self._calls_to.get(key, ())):
            self._forget(call, key)

    def _forget(self, call: str, host: str) -> None:
        """Remove one host of a call from the tables. With its last host the call is removed too."""
        _discard(self._calls_to, host, call)
        hosts = self._hosts_of[call]
        hosts.discard(host)
        if not hosts:
            _discard(self._calls_from, self._source_of.pop(call), call)
            del self._hosts_of[call]


def _discard(table: dict[str, set[str]], key: str, call: str) -> None:
    calls = table[key]
    calls.discard(call)
    if not calls:
        del table[key]


def _too_many(what: str, cure: str) -> Refusal:
    return Refusal(503, f"{what}; expected {cure}", ("Retry-After", "5"), counted_as=TOO_MUCH_MUSIC)
