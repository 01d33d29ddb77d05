"""What comes to the port that all share: taken in by the hundred, counted, and only RTCP handed on (RFC 3550 §6).

Linux tells here, too, whom our packets do not reach (``IP_RECVERR``). One thread alone may use an inbox.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys

from .actions import Address
from .many import Iovec, Mmsghdr, system_call
from .network import IP_RECVERR, IPV6_RECVERR, plain

AT_ONCE = 256
"""Datagrams that one look takes."""
OCTETS = 256
"""Octets that are kept of each: RTCP of a caller is shorter."""
TRIES = 2
"""Times that the kernel is asked, since it tells first, instead, of a packet of ours that was refused."""
BY_ICMP, PORT_UNREACHABLE = 2, (3, 3)
BY_ICMP6, PORT_UNREACHABLE_6 = 3, (1, 4)
"""Who tells of an error and what it is (struct sock_extended_err; RFC 792, RFC 4443 §3.1)."""
EXTENDED = struct.Struct("@IBBBxII")
RTCP_TYPES = range(192, 224)
"""Where RTP has marker and payload type, and none of that number (RFC 5761 §4)."""
RECVMMSG = system_call("recvmmsg", ctypes.c_void_p)


class Inbox:
    """One socket's datagrams and errors."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._fd = sock.fileno()
        self._octets = ctypes.create_string_buffer(OCTETS * AT_ONCE)
        self._vectors = (Iovec * AT_ONCE)()
        self._headers = (Mmsghdr * AT_ONCE)()
        start, vectors = ctypes.addressof(self._octets), ctypes.addressof(self._vectors)
        for place in range(AT_ONCE):
            self._vectors[place].base, self._vectors[place].length = start + place * OCTETS, OCTETS
            header = self._headers[place].header
            header.vector, header.vectors = vectors + place * ctypes.sizeof(Iovec), 1
        self._start = ctypes.addressof(self._headers)

    def look(self) -> tuple[int, list[bytes]]:
        """How many datagrams were waiting, ``AT_ONCE`` at the most, and those of them that are RTCP."""
        if RECVMMSG is None:
            return self._look_one_by_one()
        for _ in range(TRIES):
            count = RECVMMSG(self._fd, self._start, AT_ONCE, socket.MSG_DONTWAIT, None)
            if count > 0:
                break
        else:
            return 0, []
        octets = self._octets.raw[: count * OCTETS]
        found = [place for place, kind in enumerate(octets[1::OCTETS]) if kind in RTCP_TYPES]
        whole = [octets[place * OCTETS :][: self._headers[place].length] for place in found]
        return count, [data for data in whole if len(data) > 1]  # else that was the type of one before

    def _look_one_by_one(self) -> tuple[int, list[bytes]]:
        reports: list[bytes] = []
        count = tries = 0
        while count < AT_ONCE and tries < TRIES:
            try:
                data = self._sock.recv(OCTETS, socket.MSG_DONTWAIT)
            except OSError:
                tries += 1
                continue
            count += 1
            if len(data) > 1 and data[1] in RTCP_TYPES:
                reports.append(data)
        return count, reports

    def unreachable(self) -> list[Address]:
        """To whom packets were sent for which nobody listens, as the other machine says; ``AT_ONCE`` at the most."""
        found: list[Address] = []
        if not sys.platform.startswith("linux"):
            return found
        for _ in range(AT_ONCE):
            try:
                _, ancillary, _, to = self._sock.recvmsg(0, 256, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
            except OSError:
                break
            for level, kind, value in ancillary:
                if (level, kind) in ERRORS and len(value) >= EXTENDED.size:
                    _, origin, *what, _, _ = EXTENDED.unpack_from(value)
                    if (origin, tuple(what)) in ((BY_ICMP, PORT_UNREACHABLE), (BY_ICMP6, PORT_UNREACHABLE_6)):
                        found.append(Address(plain(to[0]), to[1]))
        return found


ERRORS = ((socket.IPPROTO_IP, IP_RECVERR), (socket.IPPROTO_IPV6, IPV6_RECVERR))
