"""What the doctor finds out about the address that callers are told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Optional

from ..common.actions import Address
from ..common.addresses import is_loopback, is_private, is_unspecified
from ..common.config import Settings
from ..net.container import is_behind_a_bridge, local_addresses
from ..net.routes import address_on_the_network, is_ours
from .finding import Finding, finding


def own_addresses() -> list[str]:
    """The addresses of this machine on its networks, IPv4 first."""
    found = dict.fromkeys(host for _, host in local_addresses())
    return [host for host in found if not is_loopback(host) and not host.startswith("fe80:")]


def listed(hosts: list[str]) -> str:
    """The first three addresses, for a text."""
    return ", ".join(hosts[:3]) or "127.0.0.1"


def callable_host(settings: Settings) -> str:
    """The address at which this machine itself reaches the server; most often phones dial the same."""
    if not is_unspecified(settings.bind):
        return settings.bind
    return address_on_the_network()


def address_findings(settings: Settings, uri: Optional[str] = None) -> Iterator[Finding]:
    """What is wrong with the addresses. ``uri`` is what the running server has logged for the phone."""
    own = own_addresses()
    told = settings.advertised_address
    bridged = any(map(is_behind_a_bridge, own))
    if not is_unspecified(settings.bind) and not is_ours(settings.bind):
        yield finding("bind-elsewhere", address=settings.bind, own=listed(own))
        return
    if is_loopback(settings.bind):
        yield finding("bind-loopback", address=settings.bind)
    elif not own:
        yield finding("network-none")
    if told and is_loopback(told) and not is_loopback(settings.bind):
        yield finding("address-loopback", address=told)
    elif told and is_behind_a_bridge(told):
        yield finding("address-of-container", address=told)
    elif told and not is_ours(told) and not bridged:
        # a public address is most often that of a router in front of this machine
        yield finding("address-elsewhere", "" if is_private(told) else "note", address=told, own=listed(own))
    elif not told and bridged:
        yield finding("address-stand-in", port=settings.sip_port)
    else:
        yield finding("address", uri=uri or f"sip:123@{Address(told or callable_host(settings), settings.sip_port)}")
