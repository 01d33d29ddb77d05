"""UDP sockets: the local address that a datagram came to, and the one an answer leaves from (IP_PKTINFO, RFC 3542).

An IPv6 socket that also carries IPv4 reads and writes IPv4 addresses as ``::ffff:192.0.2.1``. The rest of the code uses
plain IPv4 addresses.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from collections.abc import Iterable
from typing import Any

from ..common.actions import Address
from ..common.addresses import is_unspecified

IP_PKTINFO = 8  # Linux' number; the socket module has it from 3.14 on
IPV4 = struct.Struct("=I4s4s")  # struct in_pktinfo: interface, local address, destination in the header
IPV6 = struct.Struct("=16sI")  # struct in6_pktinfo: address, interface
IP_RECVERR, IPV6_RECVERR = 11, 25  # Linux' numbers
SEND_TIMEOUT = struct.pack("@ll", 0, 10_000)
"""10 ms, as a ``struct timeval``: how long a media socket whose buffer is full may hold up its thread."""
DSCP_EF = 46
"""Expedited forwarding (RFC 3246), as phones mark their own voice."""
MAPPED = bytes(10) + b"\xff\xff"
ANCILLARY = list[tuple[int, int, bytes]]


def family_of(host: str) -> socket.AddressFamily:
    """The family of a literal address."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def ask_for_local_address(sock: socket.socket) -> None:
    """Have the kernel report the local address of each datagram. An IPv6 socket then receives IPv4 as well."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)


def local_address(ancillary: Iterable[tuple[int, int, bytes]], default: str) -> str:
    """The local address that a datagram came to, from its ancillary data; ``default`` where that names none."""
    for level, kind, value in ancillary:
        if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
            return socket.inet_ntoa(IPV4.unpack(value[: IPV4.size])[1])
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            host = IPV6.unpack(value[: IPV6.size])[0]
            return plain(socket.inet_ntop(socket.AF_INET6, host))
    return plain(default)


def leaving_from(host: str, family: int) -> ANCILLARY:
    """Ancillary data that makes a datagram leave from the local address ``host``; empty if ``host`` is unspecified."""
    if is_unspecified(host):
        return []
    if family == socket.AF_INET:
        return [(socket.IPPROTO_IP, IP_PKTINFO, IPV4.pack(0, socket.inet_aton(host), bytes(4)))]
    address = socket.inet_pton(socket.AF_INET6, host) if ":" in host else MAPPED + socket.inet_aton(host)
    return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, IPV6.pack(address, 0))]


def plain(host: str) -> str:
    """An IPv4 address that an IPv6 socket reports (``::ffff:192.0.2.1``), as plain IPv4; others unchanged."""
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def destination(to: Address, family: int) -> Any:
    """``to`` as a socket of ``family`` wants it."""
    mapped = family == socket.AF_INET6 and ":" not in to.host
    return (f"::ffff:{to.host}" if mapped else to.host, to.port)


def media_sockets(bind: str, port: int) -> dict[bool, socket.socket]:
    """The sockets of the shared stream: the IPv6 socket under ``True``, the IPv4 socket under ``False``.

    Raises ``OSError`` if the socket at ``bind`` cannot be opened. On a machine without the other IP version the socket
    for that version is missing.
    """
    ipv6 = ":" in bind
    sockets = {ipv6: _media_socket(bind, port)}
    try:
        sockets[not ipv6] = _media_socket("0.0.0.0" if ipv6 else "::", port)
    except OSError:
        pass
    return sockets


def _media_socket(host: str, port: int) -> socket.socket:
    sock = socket.socket(family_of(host), socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, SEND_TIMEOUT)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, DSCP_EF << 2)
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, DSCP_EF << 2)
        ask_for_errors(sock)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def unsent(sock: socket.socket) -> int:
    """Octets of kernel memory held by packets that have not left, for example to a neighbour that answers no ARP."""
    return int(struct.unpack("@i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0])


def ask_for_errors(sock: socket.socket) -> None:
    """Have the kernel keep what the network reports about sent packets (ICMP) in the socket's error queue."""
    sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
