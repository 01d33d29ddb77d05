"""Watches one ffmpeg from outside: whether it still plays, and whether its receiver is still there.

ffmpeg reports neither. An ffmpeg that plays goes to sleep after each packet, and Linux counts these voluntary sleeps in
``/proc``. An ffmpeg that hangs (it is stopped, or waits for ever, or is busy) does not sleep anew. Without ``/proc`` no
ffmpeg counts as hung.

When the receiver's port is closed, its host answers each packet with ICMP "port unreachable". The kernel reports that
only to a socket that is connected to the same two ports. ffmpeg could connect its own socket (``connect=1``), but then
ffmpeg would end if the phone has no RTCP port, and many phones have none. So the watchdog has a second socket on
ffmpeg's RTP port: it is connected, and only receives. The watchdog has another socket on the RTCP port, because ffmpeg
does not read RTCP: a receiver reports what arrives, and a receiver that leaves sends BYE.
"""

from __future__ import annotations

import errno
import os
import re
import socket
from typing import Optional

from ..common.actions import Address, Target
from ..net.sockets import ask_for_errors, family_of
from ..rtp.liveness import (
    BYE_RECEIVED,
    BYE_TIMEOUT,
    HOST_ERROR_GAP,
    HOST_UNREACHABLE_TIMEOUT,
    PORT_UNREACHABLE_TIMEOUT,
    Streak,
    Verdict,
    host_unreachable,
    port_unreachable,
)
from ..rtp.rtcp import PACKET_TYPES, SHORTEST, has_bye, is_rtp_or_rtcp

WATCH_EVERY = 0.5
"""Seconds between two polls of a watchdog."""
POLLS_PER_READING = 4
"""Polls from one reading of the voluntary sleeps in ``/proc`` to the next."""
UNCHANGED_UNTIL_HUNG = 3
"""Readings without a change until an ffmpeg counts as hung, which is after 6 to 8 seconds.

The watchdog counts polls and not seconds, because a suspended machine or a paused container stops the server too.
"""

READS_PER_POLL = 16
"""Packets that one poll reads from a socket at most. A phone sends one RTCP packet in five seconds.

RTP is read only until the receiver has sent its first RTP or RTCP.
"""
RTCP_OCTETS = 1500
"""Octets that are read of each RTCP packet."""
RECEIVE_BUFFER = 8192
"""Octets of the kernel's buffer for each socket: room for a few packets, because the kernel needs a part for itself."""

VOLUNTARY_SWITCHES = re.compile(rb"^voluntary_ctxt_switches:\s+(\d+)", re.MULTILINE)


class Watchdog:
    """Watches the ffmpeg process ``pid``, which plays to ``target``."""

    def __init__(self, pid: int, target: Target, source_host: Optional[str]) -> None:
        """``source_host`` is the local address that ffmpeg sends from; empty means any.

        With ``None`` ffmpeg does not share its ports, and the watchdog opens no sockets.
        """
        self._pid = pid
        self._remote = remote = target.remote
        self._rtp = self._rtcp = None
        if source_host is not None:
            port = target.local.port
            self._rtp = _second_socket(Address(source_host, port), remote)
            self._rtcp = _second_socket(Address(source_host, port + 1), Address(remote.host, target.remote_rtcp.port))
        self._port_errors: Optional[Streak] = None
        self._host_errors: Optional[Streak] = None
        self._bye_at: Optional[float] = None
        self._rtcp_came = self._sender_reported = False
        self._latest = b""
        self._polls = 0
        self._sleeps: Optional[int] = None
        self._unchanged = 0

    def verdict(self, now: float) -> Optional[Verdict]:
        """Why the receiver counts as gone; ``None`` while it does not."""
        if self._rtcp is not None:
            self._read_rtcp(self._rtcp, now)
            if self._bye_at is not None and now - self._bye_at >= BYE_TIMEOUT:
                return BYE_RECEIVED
        error = 0 if self._rtp is None else self._rtp.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error == errno.ECONNREFUSED:
            self._port_errors = self._port_errors or Streak(now)
            seconds = self._port_errors.extend(now)
            return port_unreachable(self._remote, seconds) if seconds >= PORT_UNREACHABLE_TIMEOUT else None
        if error in (errno.EHOSTUNREACH, errno.ENETUNREACH):
            self._host_errors = self._host_errors or Streak(now, HOST_ERROR_GAP)
            if self._host_errors.extend(now) >= HOST_UNREACHABLE_TIMEOUT:
                return host_unreachable(self._remote)
        return None

    def _read_rtcp(self, sock: socket.socket, now: float) -> None:
        """Read the receiver's RTCP. A BYE counts until another RTCP packet comes."""
        for _ in range(READS_PER_POLL):
            try:
                data = sock.recv(RTCP_OCTETS, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                continue  # the receiver has no port for RTCP, and its host has refused a report
            self._rtcp_came = self._rtcp_came or is_rtp_or_rtcp(data)
            if has_bye(data):
                self._bye_at = now if self._bye_at is None else self._bye_at
                self._latest = self._latest or data
            elif len(data) > 1 and data[1] in PACKET_TYPES:
                self._bye_at = None
                self._latest = data

    def latest_rtcp(self) -> bytes:
        """The latest RTCP packet of the receiver since the last call; empty if none has come.

        One with BYE is returned only if no other came. ``verdict`` reads the packets: call it first.
        """
        latest, self._latest = self._latest, b""
        return latest

    def has_new_sender(self) -> bool:
        """Whether the first RTP or RTCP of the receiver has come. This is true only once; call ``verdict`` before."""
        if self._sender_reported:
            return False
        self._sender_reported = self._rtcp_came or (self._rtp is not None and _brings_media(self._rtp))
        return self._sender_reported

    def hangs(self) -> bool:
        """Count one poll. Return whether ffmpeg has not gone to sleep in the last ``UNCHANGED_UNTIL_HUNG`` readings."""
        self._polls += 1
        if self._polls % POLLS_PER_READING:
            return False
        before, self._sleeps = self._sleeps, voluntary_sleeps(self._pid)
        self._unchanged = self._unchanged + 1 if before is not None and before == self._sleeps else 0
        return self._unchanged >= UNCHANGED_UNTIL_HUNG

    def close(self) -> None:
        """Close the sockets."""
        for sock in (self._rtp, self._rtcp):
            if sock is not None:
                sock.close()


def _brings_media(sock: socket.socket) -> bool:
    """Read the waiting datagrams of ``sock``. Return whether RTP is among them."""
    for _ in range(READS_PER_POLL):
        try:
            data = sock.recv(SHORTEST, socket.MSG_DONTWAIT)
        except OSError:
            return False
        if is_rtp_or_rtcp(data):
            return True
    return False


def voluntary_sleeps(pid: int) -> Optional[int]:
    """How often the threads of a process have gone to sleep by themselves; ``None`` where ``/proc`` does not say."""
    counts = []
    try:
        for task in os.scandir(f"/proc/{pid}/task"):
            # pathlib would add each part of each path to the interpreter's table of names: 0.7 MB in some minutes
            with open(f"{task.path}/status", "rb") as status:
                counts.append(VOLUNTARY_SWITCHES.search(status.read()))
    except OSError:
        return None
    return sum(int(count[1]) for count in counts if count) if all(counts) else None


def _second_socket(local: Address, remote: Address) -> Optional[socket.socket]:
    """A connected socket on a port that ffmpeg has as well; ``None`` where the system does not allow it."""
    sock = None
    try:
        sock = socket.socket(family_of(remote.host), socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        ask_for_errors(sock)  # without this only "port unreachable" is reported
        sock.bind((local.host, local.port))
        sock.connect((remote.host, remote.port))
    except OSError:
        if sock is not None:
            sock.close()
        return None
    return sock
