"""Which of our addresses a datagram came to, and from which one an answer leaves (IP_PKTINFO, RFC 3542).

Also: which of them leads where, and whether one is ours.

Linux tells and obeys; elsewhere the socket's own address has to do. An IPv6 socket that takes IPv4 as well shows and
wants IPv4 addresses as ``::ffff:192.0.2.1``; from here up they are plain IPv4.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .actions import Address
from .addresses import is_unspecified

IP_PKTINFO = 8  # Linux' number; the socket module has it from 3.14 on
IPV4 = struct.Struct("=I4s4s")  # interface, the address of ours to use, the destination in the header
IPV6 = struct.Struct("=16sI")  # address, interface
MAPPED = bytes(10) + b"\xff\xff"
ANCILLARY = list[tuple[int, int, bytes]]


def family_of(host: str) -> socket.AddressFamily:
    """The family of a literal address."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def ask_for_local_address(sock: socket.socket) -> None:
    """Have the kernel tell with each datagram which address of ours it came to; ``::`` takes IPv4 as well."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if sys.platform == "linux":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    elif sys.platform == "linux":
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)


def local_address(ancillary: Iterable[tuple[int, int, bytes]], default: str) -> str:
    """The address of ours that a datagram came to, as the kernel tells it; else ``default``."""
    for level, kind, value in ancillary:
        if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
            return socket.inet_ntoa(IPV4.unpack(value[: IPV4.size])[1])
        if sys.platform == "linux" and level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            packed = IPV6.unpack(value[: IPV6.size])[0]
            return plain(socket.inet_ntop(socket.AF_INET6, packed))
    return plain(default)


def leaving_from(host: str, family: int) -> ANCILLARY:
    """What makes a datagram leave from our address ``host``; nothing where that is not known."""
    if sys.platform != "linux" or is_unspecified(host):
        return []
    if family == socket.AF_INET:
        return [(socket.IPPROTO_IP, IP_PKTINFO, IPV4.pack(0, socket.inet_aton(host), bytes(4)))]
    packed = socket.inet_pton(socket.AF_INET6, host) if ":" in host else MAPPED + socket.inet_aton(host)
    return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, IPV6.pack(packed, 0))]


def plain(host: str) -> str:
    """An IPv4 address that an IPv6 socket tells of, as the IPv4 address that it is."""
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def local_address_towards(host: str) -> str:
    """The address of ours that a packet to ``host`` would leave from; empty where there is no way. Sends nothing."""
    try:
        with socket.socket(family_of(host), socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return ""


def is_ours(host: str) -> bool:
    """Whether packets can leave from ``host``, that is whether it is an address of this machine."""
    try:
        with socket.socket(family_of(host), socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
            return True
    except OSError:
        return False


def has_port(host: str, port: int) -> bool:
    """Whether ``port`` and the next of our address ``host`` are free for UDP."""
    for number in (port, port + 1):
        try:
            with socket.socket(family_of(host), socket.SOCK_DGRAM) as probe:
                probe.bind((host, number))
        except OSError:
            return False
    return True


def in_a_bridge(host: str) -> bool:
    """Whether ``host`` seems to be a container's own address, as Docker gives them: no phone reaches it."""
    contained = any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv"))
    return contained and ipaddress.ip_address(host) in ipaddress.ip_network("172.16.0.0/12")


def destination(to: Address, family: int) -> Any:
    """``to`` as a socket of ``family`` wants it."""
    mapped = family == socket.AF_INET6 and ":" not in to.host
    return (f"::ffff:{to.host}" if mapped else to.host, to.port)
