"""Reads the port of the shared stream: datagrams are counted, RTCP and network errors are reported.

Of the datagrams only RTCP is read (RFC 3550 §6). With ``IP_RECVERR`` the kernel reports packets that did not arrive. An
error that a remote host reports (ICMP) counts only for the address in the error, because any host can send ICMP about
this port without forging an address. An error that this machine's kernel reports counts for the whole host.

Only one thread may use an object of this module.
"""

from __future__ import annotations

import ctypes
import queue
import socket
import struct
import sys
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple, Optional

from ..common.actions import Address
from ..net.mmsg import NAME, Iovec, Mmsghdr, system_call, unpacked
from ..net.routes import is_ours, neighbours
from ..net.sockets import IP_RECVERR, IPV6_RECVERR, plain, unsent
from ..rtp.liveness import BYE_TIMEOUT
from ..rtp.rtcp import PACKET_TYPES, SHORTEST, has_bye, is_rtp_or_rtcp

MOST_POLLED = 256
"""Datagrams that one poll takes from a socket at most; also the errors that one poll takes at most."""
KEPT_OCTETS = 256
"""Octets that are kept of each datagram: RTCP of a phone is shorter."""
FEEDBACK_INTERVAL = 0.5
"""Seconds between two reports: each report costs some work for every receiver."""
READ_TRIES = 2
"""How often ``recvmmsg`` is called: instead of datagrams, the first call may return the error of a sent packet."""
BY_ICMP, BY_ICMP6 = 2, 3
PORT_UNREACHABLE = {(BY_ICMP, 3, 3), (BY_ICMP6, 1, 4)}
"""Errors by origin, type and code (struct sock_extended_err; RFC 792, RFC 4443 §3.1): the port is unreachable."""
HOST_UNREACHABLE = {
    *((BY_ICMP, 3, code) for code in (0, 1, 9, 10, 13)),
    *((BY_ICMP6, 1, code) for code in (0, 1, 3, 5, 6)),
}
"""Errors by origin, type and code: the network or the host is unreachable, or a filter on the way rejects packets."""
NO_NEIGHBOUR = {(BY_ICMP, 3, 1), (BY_ICMP6, 1, 3)}
"""Errors that this machine's kernel reports if a neighbour does not answer ARP or neighbour discovery."""
MOST_ORIGINS_CHECKED = 8
"""Hosts that one poll compares with this machine at most: each comparison takes two system calls."""
CONGESTED_PART = 4
"""A socket is congested when more than a quarter (one part in ``CONGESTED_PART``) of its send buffer is full."""
EXTENDED_ERROR = struct.Struct("@IBBBxII")
ERROR_MESSAGES = ((socket.IPPROTO_IP, IP_RECVERR), (socket.IPPROTO_IPV6, IPV6_RECVERR))
MOST_NEW_SENDERS = 16
"""New senders of RTP or RTCP that one poll reports. Further senders are reported when their next packets come."""
MOST_KEPT_PACKETS = 1024
"""RTCP packets that wait for ``SharedStream.reports`` at most; beyond that the oldest are dropped."""
MOST_KNOWN_SENDERS = 4096
"""Reported senders that are remembered. Beyond that all are forgotten, and each is reported once more."""
RECVMMSG = system_call("recvmmsg", ctypes.c_void_p)


class RtcpPacket(NamedTuple):
    """A datagram with RTCP, cut to ``KEPT_OCTETS``, and its source."""

    data: bytes
    source: Address


class SendErrors(NamedTuple):
    """The addresses that packets of the shared stream did not reach, as the network reports."""

    port_unreachable: list[Address]
    """Addresses whose host reports that no program has the port."""
    host_unreachable: list[Address]
    """Addresses to which, as a host on the way reports, there is no way."""
    silent_hosts: list[str]
    """Neighbours that, as this machine's kernel reports, do not answer."""


class FeedbackSocket:
    """The datagrams and errors of one socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._fd = sock.fileno()
        self._send_buffer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        self._octets = ctypes.create_string_buffer(KEPT_OCTETS * MOST_POLLED)
        self._names = ctypes.create_string_buffer(NAME * MOST_POLLED)
        self._vectors = (Iovec * MOST_POLLED)()
        self._headers = (Mmsghdr * MOST_POLLED)()
        start, vectors = ctypes.addressof(self._octets), ctypes.addressof(self._vectors)
        names = ctypes.addressof(self._names)
        for slot in range(MOST_POLLED):
            self._vectors[slot].base, self._vectors[slot].length = start + slot * KEPT_OCTETS, KEPT_OCTETS
            header = self._headers[slot].header
            header.vector, header.vectors = vectors + slot * ctypes.sizeof(Iovec), 1
            header.name, header.name_length = names + slot * NAME, NAME
        self._start, self._first_name = ctypes.addressof(self._headers), names
        self._known_senders: set[bytes] = set()
        self.new_senders: list[str] = []
        """The hosts of which the latest poll has read the first RTP or RTCP."""

    def poll(self) -> tuple[int, list[RtcpPacket]]:
        """How many datagrams were waiting, ``MOST_POLLED`` at most, and those of them that are RTCP."""
        self.new_senders = []
        for _ in range(READ_TRIES):
            count = RECVMMSG(self._fd, self._start, MOST_POLLED, socket.MSG_DONTWAIT, None)
            if count > 0:
                break
        else:
            return 0, []
        octets = self._octets.raw[: count * KEPT_OCTETS]
        self._note_senders(octets, count)
        found = [slot for slot, kind in enumerate(octets[1::KEPT_OCTETS]) if kind in PACKET_TYPES]
        packets = []
        for slot in found:
            data = octets[slot * KEPT_OCTETS : slot * KEPT_OCTETS + min(self._headers[slot].length, KEPT_OCTETS)]
            if len(data) > 1:  # behind a datagram of one octet the slot holds octets of its former datagram
                name = self._names.raw[slot * NAME : (slot + 1) * NAME]
                packets.append(RtcpPacket(data, unpacked(name, self._sock.family)))
        return count, packets

    def _note_senders(self, octets: bytes, count: int) -> None:
        """Note from which hosts RTP or RTCP has come. Of a packet of a known sender this costs a look into a set."""
        names = ctypes.string_at(self._first_name, count * NAME)
        senders = {names[slot * NAME : (slot + 1) * NAME]: slot for slot in range(count)}
        for name in senders.keys() - self._known_senders:
            start, length = senders[name] * KEPT_OCTETS, self._headers[senders[name]].length
            if not is_rtp_or_rtcp(octets[start : start + min(length, SHORTEST)]):
                continue
            if len(self._known_senders) >= MOST_KNOWN_SENDERS:
                self._known_senders.clear()
            self._known_senders.add(name)
            self.new_senders.append(unpacked(name, self._sock.family).host)
            if len(self.new_senders) == MOST_NEW_SENDERS:
                break

    def read_errors(self) -> SendErrors:
        """The errors that the kernel has kept, ``MOST_POLLED`` at most."""
        found = SendErrors([], [], [])
        known_origins: dict[str, bool] = {}
        for _ in range(MOST_POLLED):
            try:
                _, ancillary, _, to = self._sock.recvmsg(0, 256, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
            except OSError:
                break
            for level, kind, value in ancillary:
                if (level, kind) not in ERROR_MESSAGES or len(value) < EXTENDED_ERROR.size:
                    continue
                _, origin, *what, _, _ = EXTENDED_ERROR.unpack_from(value)
                error, address = (origin, *what), Address(plain(to[0]), to[1])
                if error in PORT_UNREACHABLE:
                    found.port_unreachable.append(address)
                elif error in NO_NEIGHBOUR and _is_from_us(value[EXTENDED_ERROR.size :], known_origins):
                    found.silent_hosts.append(address.host)
                elif error in HOST_UNREACHABLE:
                    found.host_unreachable.append(address)
        return found

    def is_congested(self) -> bool:
        """Whether so many packets wait in the kernel that a silent neighbour may block packets to other receivers."""
        return unsent(self._sock) > self._send_buffer // CONGESTED_PART


def _is_from_us(offender: bytes, known: dict[str, bool]) -> bool:
    """Whether this machine reports an error. ``offender`` is a ``struct sockaddr``; ``known`` keeps former answers."""
    family = int.from_bytes(offender[:2], sys.byteorder)
    if family not in (socket.AF_INET, socket.AF_INET6) or len(offender) < (16 if family == socket.AF_INET else 24):
        return False
    host = unpacked(offender, family).host
    if host not in known and len(known) < MOST_ORIGINS_CHECKED:
        known[host] = is_ours(host)
    return known.get(host, False)


class FeedbackReport(NamedTuple):
    """What has come back since the last report."""

    port_unreachable: frozenset[Address]
    """Addresses without a socket, by ICMP."""
    bye: frozenset[Address]
    """Sources of an RTCP BYE."""
    rtcp: frozenset[Address]
    """Sources of other RTCP only."""
    silent_hosts: frozenset[str] = frozenset()
    """Neighbours that do not answer: packets to them wait in the kernel and block packets to all other receivers."""
    host_unreachable: frozenset[Address] = frozenset()
    """Addresses without a way to them, by ICMP."""


class Feedback:
    """Counts the feedback of all media sockets, and reports it at most twice a second."""

    def __init__(self, sockets: Iterable[socket.socket]) -> None:
        self.received = 0
        """Datagrams so far."""
        self.rtcp = 0
        """How many of these datagrams were RTCP."""
        self.senders: queue.SimpleQueue[str] = queue.SimpleQueue()
        """Hosts that have sent RTP or RTCP, each once or more often. Any thread may take them out."""
        self.packets: deque[RtcpPacket] = deque(maxlen=MOST_KEPT_PACKETS)
        """The latest RTCP packets. Another thread may take them out and read them, which costs this one no time."""
        self._sockets = [FeedbackSocket(sock) for sock in sockets]
        self._port_unreachable: set[Address] = set()
        self._bye: set[Address] = set()
        self._rtcp: set[Address] = set()
        self._silent_hosts: set[str] = set()
        self._host_unreachable: set[Address] = set()
        self._is_urgent = False  # packets to a silent neighbour block those to all others
        self._report_at = 0.0
        self._rtcp_counts_until = 0.0  # only after a BYE it matters that a receiver sends more RTCP

    def poll(self) -> int:
        """Read all sockets. Return the number of datagrams from the socket that had most, ``MOST_POLLED`` at most."""
        most = 0
        for sock in self._sockets:
            count, packets = sock.poll()
            self.received += count
            self.rtcp += len(packets)
            self.packets.extend(packets)
            for host in sock.new_senders:
                self.senders.put(host)
            for packet in packets:
                (self._bye if has_bye(packet.data) else self._rtcp).add(packet.source)
            errors = sock.read_errors()
            self._port_unreachable.update(errors.port_unreachable)
            self._host_unreachable.update(errors.host_unreachable)
            self._silent_hosts.update(errors.silent_hosts)
            most = max(most, count)
        if self.is_congested():
            self._silent_hosts.update(host for host, answers in neighbours().items() if not answers)
            self._is_urgent = bool(self._silent_hosts)
        return most

    def is_congested(self) -> bool:
        """Whether to poll at once: packets that cannot leave take the room of packets that could."""
        return any(sock.is_congested() for sock in self._sockets)

    def report(self, now: float) -> Optional[FeedbackReport]:
        """What has come since the last report.

        ``None`` where the last report is less than ``FEEDBACK_INTERVAL`` ago, or nothing of interest has come.
        """
        if now < self._report_at and not self._is_urgent:
            return None
        self._report_at, self._is_urgent = now + FEEDBACK_INTERVAL, False
        if self._bye:
            self._rtcp_counts_until = now + 2 * BYE_TIMEOUT
        report = FeedbackReport(
            frozenset(self._port_unreachable), frozenset(self._bye), frozenset(self._rtcp - self._bye),
            frozenset(self._silent_hosts), frozenset(self._host_unreachable),
        )  # fmt: skip
        for gathered in (self._port_unreachable, self._bye, self._rtcp):
            gathered.clear()
        self._silent_hosts.clear()
        self._host_unreachable.clear()
        errors = report.port_unreachable or report.silent_hosts or report.host_unreachable
        return report if errors or now < self._rtcp_counts_until else None
