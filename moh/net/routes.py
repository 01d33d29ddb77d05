"""What the kernel says about addresses: which are local, which route leads to a host, which neighbours answer ARP.

Each function opens a socket or reads a file. None of them sends a packet.
"""

from __future__ import annotations

import socket
from pathlib import Path

from ..common.addresses import is_loopback, same_family
from .container import local_addresses
from .sockets import family_of

ARP = Path("/proc/net/arp")
ATF_COM = 2  # the flag of an ARP entry whose hardware address is known
DISCARD_PORT = 9
"""The port to which a socket is connected to learn a route (RFC 863). No packet is sent there."""


def local_address_towards(host: str) -> str:
    """The local address that a packet to ``host`` would leave from; empty where there is no route."""
    try:
        with socket.socket(family_of(host), socket.SOCK_DGRAM) as probe:
            probe.connect((host, DISCARD_PORT))
            return str(probe.getsockname()[0])
    except OSError:
        return ""


def address_on_the_network() -> str:
    """The local address that phones are most likely to reach; the loopback address where this machine has no other."""
    # the local address towards other networks: 192.0.2.1 belongs to no host (RFC 5737), and no packet is sent
    if host := local_address_towards("192.0.2.1"):
        return host
    others = [host for _, host in local_addresses() if not is_loopback(host) and not host.startswith("fe80:")]
    return next(iter(others), "127.0.0.1")


def is_ours(host: str) -> bool:
    """Whether ``host`` is an address of this machine, so that packets can leave from it."""
    return _can_bind(host, 0)


def has_port(host: str, port: int) -> bool:
    """Whether UDP ``port`` and the next one are free at the local address ``host``."""
    return _can_bind(host, port) and _can_bind(host, port + 1)


def _can_bind(host: str, port: int) -> bool:
    try:
        with socket.socket(family_of(host), socket.SOCK_DGRAM) as probe:
            probe.bind((host, port))
            return True
    except OSError:
        return False


def is_broadcast(host: str) -> bool:
    """Whether ``host`` is the broadcast address of a local network, or another address that Linux lets no packet to."""
    try:
        with socket.socket(family_of(host), socket.SOCK_DGRAM) as probe:
            probe.connect((host, DISCARD_PORT))
    except PermissionError:
        return True
    except OSError:
        pass
    return False


def way_out(local: str, remote: str) -> str:
    """The local address that media to ``remote`` leaves from: ``local`` where that is possible; empty means any.

    ``local`` is not possible where ``remote`` has another IP version, where ``local`` is loopback and ``remote`` is
    not, and where ``local``, which the SDP names, is the address of a router or bridge in front of this machine.
    """
    reaches = same_family(local, remote) and (is_loopback(remote) or not is_loopback(local))
    return local if reaches and is_ours(local) else ""


def neighbours() -> dict[str, bool]:
    """The IPv4 hosts on local networks to which packets were sent lately, and whether each answers ARP."""
    try:
        rows = [line.split() for line in ARP.read_text(encoding="ascii").splitlines()[1:]]
        found: dict[str, bool] = {}
        for row in rows:  # a host that two interfaces reach has two rows
            found[row[0]] = found.get(row[0], False) or bool(int(row[2], 16) & ATF_COM)
        return found
    except (OSError, ValueError, IndexError):
        return {}
