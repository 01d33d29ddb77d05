"""What a source may do: rates and counts for public sources, for private ones, and for those that the owner names.

It is enforced by ``rate_limit`` for datagrams and for messages in streams, by ``address_validation`` for calls, and by
``moh/sip/pending.py`` for host names.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..common.addresses import Network, is_private, within

CALL_RATE = 1000
"""New calls a second of a trusted source. ``MOH_CALL_RATE`` may set another rate for the sources in ``MOH_ALLOW``."""
MAX_SOURCES = 4096
"""Sources in one table."""


@dataclass(frozen=True)
class Allowance:
    """What one source may do. A pair is a rate per second and a burst."""

    in_call: tuple[float, float]
    """Datagrams that may belong to a call."""
    other: tuple[float, float]
    """All other datagrams."""
    calls: tuple[float, float]
    """New calls."""
    unacknowledged: int
    """Calls that wait for their first ACK."""
    names: int
    """Host names that are looked up at the same time. A look-up may hold a thread of the resolver while a DNS server
    is silent, so an untrusted source gets half of the threads at most."""
    trusted: bool
    """Whether the source is in a private network or in one that the owner names."""


PUBLIC_ALLOWANCE = Allowance((100, 1000), (10, 50), calls=(20, 200), unacknowledged=128, names=4, trusted=False)
"""For a source on the internet. A PBX may put 100 calls on hold at once, and send two more messages for each."""


def trusted_allowance(call_rate: int) -> Allowance:
    """The allowance of a trusted source that may begin ``call_rate`` calls a second.

    A call takes three datagrams (INVITE, ACK, BYE), or more where some are retransmitted.
    """
    return Allowance(
        in_call=(4 * call_rate, 8 * call_rate),
        other=(200, 400),
        calls=(call_rate, 2 * call_rate),
        unacknowledged=max(1024, call_rate),
        names=16,
        trusted=True,
    )


TRUSTED_ALLOWANCE = trusted_allowance(CALL_RATE)
"""For a source in a private network."""


def named_networks(allowed: tuple[Network, ...]) -> tuple[Network, ...]:
    """The owner's ``allowed`` networks that are trusted: 0.0.0.0/0 and ::/0 allow every source, but trust none."""
    return tuple(network for network in allowed if network.prefixlen)


class Allowances:
    """The allowance of each source. Any thread may use it."""

    def __init__(self, allowed: tuple[Network, ...] = (), call_rate: int = CALL_RATE) -> None:
        """``allowed`` are the networks in ``MOH_ALLOW``; where it is empty, all may call."""
        self.allowed = allowed
        self._named_networks = named_networks(allowed)
        self._named_allowance = trusted_allowance(call_rate)
        self._named: dict[str, bool] = {}  # by host; dropped as a whole when it is full

    def of(self, host: str) -> Allowance:
        """The allowance of ``host``."""
        if self.is_named(host):
            return self._named_allowance
        return TRUSTED_ALLOWANCE if is_private(host) else PUBLIC_ALLOWANCE

    def is_named(self, host: str) -> bool:
        """Whether ``host`` is in a network that the owner names."""
        if not self._named_networks:
            return False
        named = self._named.get(host)
        if named is None:
            if len(self._named) >= MAX_SOURCES:
                self._named.clear()
            named = self._named[host] = within(host, self._named_networks)
        return named

    def may_call(self, host: str) -> bool:
        """Whether ``host`` is in the networks that may call."""
        return not self.allowed or self.is_named(host) or within(host, self.allowed)
