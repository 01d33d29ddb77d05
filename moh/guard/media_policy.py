"""The media policy: the addresses to which music may go (RFC 3261 §26.1.5, RFC 7088 §5).

The law kept here: music goes to one host, in the owner's networks, on no port of this server; any other offer gets 488.
A caller on the internet cannot direct music inwards, which means into a private network, and cannot learn whether a
host name leads there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ..common.actions import Address, Flow
from ..common.addresses import (
    Network,
    is_behind_carrier,
    is_loopback,
    is_private,
    is_public,
    lenient_literal,
    literal,
    meanings,
    source_of,
    within,
)
from ..common.errors import Refusal
from .allowances import named_networks

HEXADECIMAL = re.compile(r"(^|\.)0x", re.IGNORECASE)
"""A hexadecimal number in the text of an IPv4 address. Only with such a number the text looks like a host name."""


@dataclass(frozen=True)
class MediaPolicy:
    """What the core knows of the addresses of this machine and its networks.

    ``is_ours`` says whether a host is this machine, ``is_broadcast`` whether packets to an address reach several hosts.
    Both are called each time, because interfaces change. ``advertised`` is the address in ``MOH_ADVERTISED_ADDRESS``,
    which may be the address of a router. ``own_ports`` are the ports of this server. ``allowed`` are the networks in
    ``MOH_ALLOW_MEDIA``; an empty tuple allows all. ``callers`` are the ``named_networks`` of ``MOH_ALLOW``.
    """

    is_ours: Callable[[str], bool] = lambda host: False
    is_broadcast: Callable[[str], bool] = lambda host: False
    own_ports: frozenset[int] = frozenset()
    allowed: tuple[Network, ...] = ()
    callers: tuple[Network, ...] = ()
    advertised: str = ""

    def check(self, flow: Flow, remote: Address, remote_rtcp: Address) -> None:
        """Raises ``Refusal`` 488 where a request by ``flow`` may not direct music to these two addresses."""
        for host in {remote.host, remote_rtcp.host}:
            if self.is_out_of_bounds(flow, host):
                raise _inwards(flow, host)
            if self.allowed and not within(host, self.allowed):
                raise _refused(f"address is {host}; expected one that the owner of this server allows music to")
            if is_loopback(host) and not (is_loopback(flow.remote.host) or self.is_ours(flow.remote.host)):
                raise _refused(f"address is {host}; expected one that is not the loopback of this server")
            if self.is_broadcast(host):
                raise _refused(f"address is {host}; expected that of one host, to which packets may go")
        for host, port in (remote, remote_rtcp, (remote.host, remote_rtcp.port)):
            if port in self.own_ports and (is_loopback(host) or self._is_own(host)):
                raise _refused(f"address is {Address(host, port)}; expected no port of this server itself")

    def may_send_before_ack(self, flow: Flow, remote: Address, remote_rtcp: Address) -> bool:
        """Whether music may start before the ACK proves that the caller asked for it.

        It may if the caller and the receiver are both in private networks. But music to this machine waits for the ACK:
        other programs here trust packets from the machine's own addresses.
        """
        hosts = {remote.host, remote_rtcp.host}
        if not (is_private(flow.remote.host) and all(map(is_private, hosts))):
            return False
        return not any(is_loopback(host) or self._is_own(host) for host in hosts)

    # -- callers on the internet -----------------------------------------------------------------------------------

    def is_out_of_bounds(self, flow: Flow, host: str) -> bool:
        """Whether the source of ``flow`` is on the internet, and ``host``, a literal, is inwards or this machine."""
        if is_private(flow.remote.host) or (is_public(host) and not any(map(self._is_own, meanings(host)))):
            return False
        return not (self._is_named(host) or self._is_trusted(flow))

    def is_private_from_outside(self, flow: Flow, host: str) -> bool:
        """Whether the source of ``flow`` is in no private network, and names ``host``, which is inwards.

        Such a caller has been trusted by a setting, or is behind a provider's NAT. The music may still not arrive: a
        phone behind a NAT that does not know its public address names its private one.
        """
        source = flow.remote.host
        if is_private(source) or self._is_own(source) or self._is_own(host) or is_public(host):
            return False
        return not (is_behind_carrier(source) and is_behind_carrier(host))

    def addresses(self, flow: Flow, names: Mapping[str, str], hosts: Iterable[str]) -> dict[str, str]:
        """The address for each host name of an offer that came by ``flow``; empty for a name without an address.

        ``names`` are the results of look-ups, ``hosts`` are the hosts in the offer. A name that leads where ``flow``
        may not direct music counts as a name without an address, so that the answer does not show where it leads. Text
        that a lenient program reads as an address, such as 0x7f000001, counts as this address and is not looked up.
        """
        found = {name: "" if self.hides(flow, address) else address for name, address in names.items()}
        for text in hosts:
            meant = lenient_literal(text) if literal(text) is None else ""
            if meant and (HEXADECIMAL.search(text) or self.is_out_of_bounds(flow, meant)):
                found[text] = meant
        return found

    def hides(self, flow: Flow, address: str) -> bool:
        """Whether a name whose look-up gave ``address`` counts as without address for the source of ``flow``."""
        return bool(address) and self.is_out_of_bounds(flow, lenient_literal(address))

    def limited_hosts(self, flow: Flow, remote: Address, remote_rtcp: Address) -> set[str]:
        """Those of the two hosts to which ``MediaLimits`` limits the calls by ``flow``.

        That are hosts on the internet, where the source is another one on the internet, and the owner names none.
        """
        source = flow.remote.host
        if is_private(source):
            return set()
        others = {host for host in (remote.host, remote_rtcp.host) if source_of(host) != source_of(source)}
        limited = {host for host in others if not (is_private(host) or self._is_named(host))}
        return set() if not limited or self._is_trusted(flow) else limited

    def _is_named(self, host: str) -> bool:
        """Whether ``MOH_ALLOW_MEDIA`` names ``host``: 0.0.0.0/0 and ::/0 allow every host and name none."""
        return within(host, named_networks(self.allowed))

    def _is_trusted(self, flow: Flow) -> bool:
        """Whether the source of ``flow`` is in a private or shared network, on this machine, or in ``MOH_ALLOW``.

        The advertised address does not count: it may be a router's, so that anyone can write it into a datagram.
        """
        source = flow.remote.host
        return is_private(source) or is_behind_carrier(source) or within(source, self.callers) or self.is_ours(source)

    def _is_own(self, host: str) -> bool:
        return host == self.advertised or self.is_ours(host)


def _inwards(flow: Flow, host: str) -> Refusal:
    source = flow.remote.host
    settings = f"neither MOH_ALLOW names {source} nor MOH_ALLOW_MEDIA that address"
    return _refused(f"address is {host}; expected a public one, since {settings}")


def _refused(why: str) -> Refusal:
    return Refusal(488, f"No music there: {why}", ("Warning", f'399 moh "{why}"'))
