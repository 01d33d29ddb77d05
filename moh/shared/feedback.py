"""What comes to the port that all share: taken in by the hundred, counted, and only RTCP handed on (RFC 3550 §6).

Linux tells here, too, whom our packets do not reach (``IP_RECVERR``). Whatever somebody on the way says of it counts
for the address that he names only: anybody can send ICMP that names this port, and no address has to be forged for
that. Our own kernel's word counts for the whole host. One thread alone may use an inbox.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
from collections.abc import Iterable
from typing import NamedTuple, Optional

from ..common.actions import Address
from ..net.mmsg import NAME, Iovec, Mmsghdr, system_call, unpacked
from ..net.routes import is_ours, neighbours
from ..net.sockets import IP_RECVERR, IPV6_RECVERR, plain, unsent
from ..rtp.liveness import BYE_TIMEOUT
from ..rtp.rtcp import PACKET_TYPES, has_bye

AT_ONCE = 256
"""Datagrams that one look takes."""
OCTETS = 256
"""Octets that are kept of each: RTCP of a caller is shorter."""
TELL_EVERY = 0.5
"""Seconds for which news are gathered, since to look for whom they are about is work for each caller."""
TRIES = 2
"""Times that the kernel is asked, since it tells first, instead, of a packet of ours that was refused."""
BY_ICMP, BY_ICMP6 = 2, 3
NOBODY_LISTENS = {(BY_ICMP, 3, 3), (BY_ICMP6, 1, 4)}
"""Who tells of an error and what it is (struct sock_extended_err; RFC 792, RFC 4443 §3.1): the port is unreachable."""
NO_WAY = {*((BY_ICMP, 3, code) for code in (0, 1, 9, 10, 13)), *((BY_ICMP6, 1, code) for code in (0, 1, 3, 5, 6))}
"""The same: the network or the host is, or what is sent there is forbidden."""
NO_ANSWER = {(BY_ICMP, 3, 1), (BY_ICMP6, 1, 3)}
"""What our own kernel says of a neighbour that does not answer."""
OURS_AT_ONCE = 8
"""Of how many addresses one look finds out whether they are ours: each takes two system calls."""
FULL = 4
"""A socket's memory is that much full, one part in so many, when it is looked which neighbours do not answer."""
EXTENDED = struct.Struct("@IBBBxII")
RECVMMSG = system_call("recvmmsg", ctypes.c_void_p)


class Report(NamedTuple):
    """RTCP, its first ``OCTETS``, and whose."""

    data: bytes
    source: Address


class Unreached(NamedTuple):
    """Whom packets of ours did not reach."""

    refused: list[Address]
    """Nobody listens there, as the other machine says."""
    astray: list[Address]
    """There is no way, as somebody on it says."""
    silent: list[str]
    """Hosts beside us that do not answer, as our own kernel says."""


class FeedbackSocket:
    """One socket's datagrams and errors."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._fd = sock.fileno()
        self._room = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        self._octets = ctypes.create_string_buffer(OCTETS * AT_ONCE)
        self._names = ctypes.create_string_buffer(NAME * AT_ONCE)
        self._vectors = (Iovec * AT_ONCE)()
        self._headers = (Mmsghdr * AT_ONCE)()
        start, vectors = ctypes.addressof(self._octets), ctypes.addressof(self._vectors)
        names = ctypes.addressof(self._names)
        for place in range(AT_ONCE):
            self._vectors[place].base, self._vectors[place].length = start + place * OCTETS, OCTETS
            header = self._headers[place].header
            header.vector, header.vectors = vectors + place * ctypes.sizeof(Iovec), 1
            header.name, header.name_length = names + place * NAME, NAME
        self._start = ctypes.addressof(self._headers)

    def poll(self) -> tuple[int, list[Report]]:
        """How many datagrams were waiting, ``AT_ONCE`` at the most, and those of them that are RTCP."""
        for _ in range(TRIES):
            count = RECVMMSG(self._fd, self._start, AT_ONCE, socket.MSG_DONTWAIT, None)
            if count > 0:
                break
        else:
            return 0, []
        octets = self._octets.raw[: count * OCTETS]
        found = [place for place, kind in enumerate(octets[1::OCTETS]) if kind in PACKET_TYPES]
        reports = []
        for place in found:
            data = octets[place * OCTETS : place * OCTETS + min(self._headers[place].length, OCTETS)]
            if len(data) > 1:  # else that was the type of one before
                name = self._names.raw[place * NAME : (place + 1) * NAME]
                reports.append(Report(data, unpacked(name, self._sock.family)))
        return count, reports

    def unreachable(self) -> Unreached:
        """Where packets of ours have not arrived, of ``AT_ONCE`` at the most."""
        found = Unreached([], [], [])
        ours: dict[str, bool] = {}
        for _ in range(AT_ONCE):
            try:
                _, ancillary, _, to = self._sock.recvmsg(0, 256, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
            except OSError:
                break
            for level, kind, value in ancillary:
                if (level, kind) not in ERRORS or len(value) < EXTENDED.size:
                    continue
                _, origin, *what, _, _ = EXTENDED.unpack_from(value)
                address = Address(plain(to[0]), to[1])
                if (origin, *what) in NOBODY_LISTENS:
                    found.refused.append(address)
                elif (origin, *what) in NO_ANSWER and _by_us(value[EXTENDED.size :], ours):
                    found.silent.append(address.host)
                elif (origin, *what) in NO_WAY:
                    found.astray.append(address)
        return found

    def crowded(self) -> bool:
        """Whether so much of what was sent has not left that somebody may hold it up."""
        return unsent(self._sock) > self._room // FULL


def _by_us(offender: bytes, ours: dict[str, bool]) -> bool:
    """Whether it is our own machine that tells of an error; ``ours`` is what is known already, of a few addresses."""
    family = int.from_bytes(offender[:2], sys.byteorder)
    if family not in (socket.AF_INET, socket.AF_INET6) or len(offender) < (16 if family == socket.AF_INET else 24):
        return False
    host = unpacked(offender, family).host
    if host not in ours and len(ours) < OURS_AT_ONCE:
        ours[host] = is_ours(host)
    return ours.get(host, False)


class FeedbackReport(NamedTuple):
    """What callers' machines and their phones have said."""

    refused: frozenset[Address]
    """Where nobody listens, by ICMP."""
    left: frozenset[Address]
    """Who took leave by an RTCP BYE."""
    spoke: frozenset[Address]
    """Who sent other RTCP."""
    silent: frozenset[str] = frozenset()
    """Hosts beside us that do not answer: what is sent to them waits, at the cost of all others."""
    astray: frozenset[Address] = frozenset()
    """To which address there is no way, by ICMP."""


class Feedback:
    """All inboxes as one: what comes is counted, and told twice a second at the most."""

    def __init__(self, sockets: Iterable[socket.socket]) -> None:
        self.heard = 0
        """Datagrams so far."""
        self.reports = 0
        """Those of them that were RTCP."""
        self._inboxes = [FeedbackSocket(sock) for sock in sockets]
        self._refused: set[Address] = set()
        self._left: set[Address] = set()
        self._spoke: set[Address] = set()
        self._silent: set[str] = set()
        self._astray: set[Address] = set()
        self._urgent = False  # packets to who does not answer take the room of all others
        self._tell_at = 0.0
        self._doubtful_until = 0.0  # so long it counts whether somebody who took leave speaks again

    def poll(self) -> int:
        """Take in what is waiting; the most that one inbox had, ``AT_ONCE`` at the most."""
        most = 0
        for inbox in self._inboxes:
            count, reports = inbox.poll()
            self.heard += count
            self.reports += len(reports)
            for report in reports:
                (self._left if has_bye(report.data) else self._spoke).add(report.source)
            unreached = inbox.unreachable()
            self._refused.update(unreached.refused)
            self._astray.update(unreached.astray)
            self._silent.update(unreached.silent)
            most = max(most, count)
        if self.crowded():
            self._silent.update(host for host, answers in neighbours().items() if not answers)
            self._urgent = bool(self._silent)
        return most

    def crowded(self) -> bool:
        """Whether it is time to look, since what cannot leave takes the room of what could."""
        return any(inbox.crowded() for inbox in self._inboxes)

    def report(self, now: float) -> Optional[FeedbackReport]:
        """What has been said since it was told last; ``None`` where that is nothing of interest, or not long ago."""
        if now < self._tell_at and not self._urgent:
            return None
        self._tell_at, self._urgent = now + TELL_EVERY, False
        if self._left:
            self._doubtful_until = now + 2 * BYE_TIMEOUT
        left = frozenset(self._left)
        refused, silent, astray = frozenset(self._refused), frozenset(self._silent), frozenset(self._astray)
        news = FeedbackReport(refused, left, frozenset(self._spoke - left), silent, astray)
        self._refused, self._left, self._spoke, self._silent, self._astray = set(), set(), set(), set(), set()
        return news if refused or silent or astray or now < self._doubtful_until else None


ERRORS = ((socket.IPPROTO_IP, IP_RECVERR), (socket.IPPROTO_IPV6, IPV6_RECVERR))
