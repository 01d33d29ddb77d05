"""The media policy: the addresses to which music may go (RFC 3261 §26.1.5, RFC 7088 §5).

The law kept here: music goes to one host, in the owner's networks, on no port of this server; any other offer gets 488.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..common.actions import Address, Flow
from ..common.addresses import Network, is_loopback, is_private, within
from ..common.errors import Refusal


@dataclass(frozen=True)
class MediaPolicy:
    """What the core knows of the addresses of this machine and its networks.

    ``is_ours`` says whether a host is this machine, ``is_broadcast`` whether packets to it reach several hosts; both
    are asked each time, because interfaces change. ``own_ports`` are the ports of this server. ``allowed`` are the
    networks in ``MOH_ALLOW_MEDIA``; none: all.
    """

    is_ours: Callable[[str], bool] = lambda host: False
    is_broadcast: Callable[[str], bool] = lambda host: False
    own_ports: frozenset[int] = frozenset()
    allowed: tuple[Network, ...] = ()

    def check(self, flow: Flow, remote: Address, remote_rtcp: Address) -> None:
        """Raises ``Refusal`` 488 where a request by ``flow`` may not direct music to these two addresses."""
        for host in {remote.host, remote_rtcp.host}:
            if self.allowed and not within(host, self.allowed):
                raise _refused(f"address is {host}; expected one that the owner of this server allows music to")
            if is_loopback(host) and not (is_loopback(flow.remote.host) or self.is_ours(flow.remote.host)):
                raise _refused(f"address is {host}; expected one that is not the loopback of this server")
            if self.is_broadcast(host):
                raise _refused(f"address is {host}; expected that of one host, to which packets may go")
        for host, port in (remote, remote_rtcp, Address(remote.host, remote_rtcp.port)):
            if port in self.own_ports and (is_loopback(host) or self.is_ours(host)):
                raise _refused(f"address is {Address(host, port)}; expected no port of this server itself")

    def may_send_before_ack(self, flow: Flow, remote: Address, remote_rtcp: Address) -> bool:
        """Whether music may start before the ACK proves that the caller asked for it: from private to private only.

        Not to this machine: other programs on it trust packets from its own addresses.
        """
        hosts = {remote.host, remote_rtcp.host}
        if not (is_private(flow.remote.host) and all(map(is_private, hosts))):
            return False
        return not any(is_loopback(host) or self.is_ours(host) for host in hosts)


def _refused(why: str) -> Refusal:
    return Refusal(488, f"No music there: {why}", ("Warning", f'399 moh "{why}"'))
