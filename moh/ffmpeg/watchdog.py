"""Watches one ffmpeg from outside: whether it still plays, and whether its receiver is still there.

ffmpeg reports neither. An ffmpeg that plays sleeps after each packet, and Linux counts that in ``/proc``. One that
hangs does not: it is stopped, or waits for ever, or is busy. Without ``/proc`` no ffmpeg counts as hung.

When the receiver's port is closed, its host answers each packet with ICMP "port unreachable". The kernel reports that
only to a socket that is connected to the same two ports. ffmpeg could connect its own socket (``connect=1``), but would
then end at a phone without an RTCP port, as many are. So the watchdog has a second socket on ffmpeg's port, connected,
that only receives. It has another one for RTCP, which ffmpeg does not read, because a receiver that leaves sends BYE.
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
POLLS_PER_PULSE = 4
"""Polls between two readings of the pulse, the count of voluntary sleeps in ``/proc``."""
STILL_UNTIL_HUNG = 3
"""Readings without a change until an ffmpeg counts as hung: after 6 to 8 seconds.

Polls are counted and not seconds: a machine that was suspended, or a container that was paused, stops the server too.
"""

READS_PER_POLL = 16
"""Packets that one poll reads from a socket; a phone sends RTCP in five seconds. RTP is read until one has come."""
RTCP_OCTETS = 1500
"""Octets that are read of each RTCP packet."""
RECEIVE_BUFFER = 8192
"""Octets of the kernel's buffer for each socket, with what the kernel needs for itself: room for a few packets."""

VOLUNTARY_SWITCHES = re.compile(rb"^voluntary_ctxt_switches:\s+(\d+)", re.MULTILINE)


class Watchdog:
    """Watches the ffmpeg process ``pid``, which plays to ``target``."""

    def __init__(self, pid: int, target: Target, source_host: Optional[str]) -> None:
        """``source_host`` is the local address that ffmpeg sends from, empty for any.

        ``None``: ffmpeg does not share its ports, so there are no second sockets.
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
        self._polls = 0
        self._pulse: Optional[int] = None
        self._still = 0

    def verdict(self, now: float) -> Optional[Verdict]:
        """Why this ffmpeg plays in vain; ``None`` while it does not."""
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
        """Read the receiver's RTCP: a BYE counts until another RTCP packet follows it."""
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
            elif len(data) > 1 and data[1] in PACKET_TYPES:
                self._bye_at = None

    def has_new_sender(self) -> bool:
        """Whether the first RTP or RTCP of the receiver has come; true once, after ``verdict``."""
        if self._sender_reported:
            return False
        self._sender_reported = self._rtcp_came or (self._rtp is not None and _brings_media(self._rtp))
        return self._sender_reported

    def hangs(self) -> bool:
        """Whether ffmpeg shows no sign of life any more; to be called at each poll."""
        self._polls += 1
        if self._polls % POLLS_PER_PULSE:
            return False
        before, self._pulse = self._pulse, pulse(self._pid)
        self._still = self._still + 1 if before is not None and before == self._pulse else 0
        return self._still >= STILL_UNTIL_HUNG

    def close(self) -> None:
        """Close the sockets."""
        for sock in (self._rtp, self._rtcp):
            if sock is not None:
                sock.close()


def _brings_media(sock: socket.socket) -> bool:
    """Whether there is RTP among the datagrams that wait; they are read."""
    for _ in range(READS_PER_POLL):
        try:
            data = sock.recv(SHORTEST, socket.MSG_DONTWAIT)
        except OSError:
            return False
        if is_rtp_or_rtcp(data):
            return True
    return False


def pulse(pid: int) -> Optional[int]:
    """How often the threads of a process have gone to sleep by themselves; ``None`` where ``/proc`` does not say."""
    counts = []
    try:
        for task in os.scandir(f"/proc/{pid}/task"):
            # not by pathlib, which adds each part of a path to the interpreter's table of names: 0.7 MB in some minutes
            with open(f"{task.path}/status", "rb") as status:
                counts.append(VOLUNTARY_SWITCHES.search(status.read()))
    except OSError:
        return None
    return sum(int(count[1]) for count in counts if count) if all(counts) else None


def _second_socket(local: Address, remote: Address) -> Optional[socket.socket]:
    """A connected socket on a port that ffmpeg has as well; ``None`` where there can be none."""
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
