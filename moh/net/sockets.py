"""Which of our addresses a datagram came to, and from which one an answer leaves (IP_PKTINFO, RFC 3542).

Also: which of them leads where, and whether one is ours.

Linux tells and obeys; elsewhere the socket's own address has to do. An IPv6 socket that takes IPv4 as well shows and
wants IPv4 addresses as ``::ffff:192.0.2.1``; from here up they are plain IPv4.
"""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
import sys
import termios
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..common.actions import Address
from ..common.addresses import is_loopback, is_unspecified, same_family

IP_PKTINFO = 8  # Linux' number; the socket module has it from 3.14 on
IPV4 = struct.Struct("=I4s4s")  # interface, the address of ours to use, the destination in the header
IPV6 = struct.Struct("=16sI")  # address, interface
IP_RECVERR, IPV6_RECVERR = 11, 25  # Linux' numbers
IPV6_TCLASS = getattr(socket, "IPV6_TCLASS", 67)
SEND_PATIENCE = struct.pack("@ll", 0, 10_000)  # 10 ms, as a timeval
ARP = Path("/proc/net/arp")
ATF_COM = 2  # the hardware address of a neighbour is known
DSCP_EF = 46
"""Expedited forwarding, as phones mark their own voice."""
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


def is_broadcast(host: str) -> bool:
    """Whether ``host`` is the broadcast address of a network of ours, or else one to which Linux lets nothing go."""
    try:
        with socket.socket(family_of(host), socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))
    except PermissionError:
        return True
    except OSError:
        pass
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


def way_out(local: str, remote: str) -> str:
    """The address of ours that media to ``remote`` leaves from: ``local`` where it can be, else empty for any.

    A caller reached by the other kind of IP, or beyond this machine, gets nothing from such an address; behind a
    router or a bridge the address that was told is none of ours.
    """
    reaches = same_family(local, remote) and (is_loopback(remote) or not is_loopback(local))
    return local if reaches and is_ours(local) else ""


def media_sockets(bind: str, port: int) -> dict[bool, socket.socket]:
    """The sockets that all may share for their media, by whether they are IPv6.

    That of ``bind`` has to be had, or ``OSError`` is raised; a machine without the other kind of IP has no caller
    there.
    """
    ours = ":" in bind
    sockets = {ours: _media_socket(bind, port)}
    try:
        sockets[not ours] = _media_socket("0.0.0.0" if ours else "::", port)
    except OSError:
        pass
    return sockets


def _media_socket(host: str, port: int) -> socket.socket:
    sock = socket.socket(family_of(host), socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        # where the way out is full, packets are lost as anywhere; nobody waits longer for it than this
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, SEND_PATIENCE)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_TCLASS, DSCP_EF << 2)
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, DSCP_EF << 2)
        ask_for_errors(sock)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def unsent(sock: socket.socket) -> int:
    """Octets of memory of packets that have not left, be it since a neighbour does not answer; 0 where nobody tells."""
    if sys.platform != "linux":
        return 0
    return int(struct.unpack("@i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0])


def neighbours() -> dict[str, bool]:
    """The IPv4 hosts beside us to which something was sent lately, and whether they answer (ARP); as Linux tells."""
    try:
        rows = [line.split() for line in ARP.read_text(encoding="ascii").splitlines()[1:]]
        found: dict[str, bool] = {}
        for row in rows:  # beside two interfaces a host has two
            found[row[0]] = found.get(row[0], False) or bool(int(row[2], 16) & ATF_COM)
        return found
    except (OSError, ValueError, IndexError):
        return {}


def ask_for_errors(sock: socket.socket) -> None:
    """Have Linux keep what the network says of our packets, in the socket's queue of errors."""
    if sys.platform == "linux":
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
