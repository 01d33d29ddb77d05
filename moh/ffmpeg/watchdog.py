"""What is seen of an ffmpeg from outside: whether it still plays, and whether anybody listens.

ffmpeg tells neither. An ffmpeg that plays goes to sleep after each packet, which Linux counts in ``/proc``; one
that hangs does not, be it stopped, waiting for ever or busy with itself. Where there is no ``/proc`` nothing is seen.

Where nobody listens, the listener's machine answers each packet with "port unreachable". The kernel hands that to a
socket which is connected to the same two ports, and to no other. ffmpeg can connect its own (``connect=1``), but then
it ends where a phone has no port for RTCP, as many do; so a second socket stands beside its, and only listens. So it
is with RTCP, which ffmpeg does not read: a second socket that is connected gets what the listener says, BYE above all.
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
from ..rtp.rtcp import PACKET_TYPES, has_bye

LOOK_EVERY = 0.5
"""Seconds from one look at a player to the next."""
BEATS = 4
"""Looks after which its pulse is felt once."""
STILL = 3
"""Times that the pulse is felt and has not changed until a player counts as hung: after 6 to 8 seconds.

Counted in looks and not in seconds, as a machine that slept, or a container that was paused, has stopped us as well.
"""

READ_AT_ONCE = 16
"""RTCP packets that one look takes; a phone sends one in five seconds."""
OCTETS, ROOM = 1500, 8192
"""Octets that are read of each; and the room for all that wait, what the kernel needs for itself included."""

SWITCHES = re.compile(rb"^voluntary_ctxt_switches:\s+(\d+)", re.MULTILINE)


class Watchdog:
    """Watches one player: the process ``pid``, which plays to ``target``."""

    def __init__(self, pid: int, target: Target, bound_to: Optional[str]) -> None:
        """``bound_to`` is the address of ours that it plays from, empty for any.

        ``None``: no second sockets may be beside the player's.
        """
        self._pid = pid
        self._remote = remote = target.remote
        self._rtp = self._rtcp = None
        if bound_to is not None:
            port = target.local.port
            self._rtp = _beside(Address(bound_to, port), remote)
            self._rtcp = _beside(Address(bound_to, port + 1), Address(remote.host, target.remote_rtcp.port))
        self._refusals: Optional[Streak] = None
        self._losses: Optional[Streak] = None
        self._left: Optional[float] = None
        self._looks = 0
        self._pulse: Optional[int] = None
        self._still = 0

    def verdict(self, now: float) -> Optional[Verdict]:
        """Why the player may as well end; ``None`` while it may not."""
        if self._rtcp is not None:
            self._read(self._rtcp, now)
            if self._left is not None and now - self._left >= BYE_TIMEOUT:
                return BYE_RECEIVED
        error = 0 if self._rtp is None else self._rtp.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error == errno.ECONNREFUSED:
            self._refusals = self._refusals or Streak(now)
            seconds = self._refusals.extend(now)
            return port_unreachable(self._remote, seconds) if seconds >= PORT_UNREACHABLE_TIMEOUT else None
        if error in (errno.EHOSTUNREACH, errno.ENETUNREACH):
            self._losses = self._losses or Streak(now, HOST_ERROR_GAP)
            return host_unreachable(self._remote) if self._losses.extend(now) >= HOST_UNREACHABLE_TIMEOUT else None
        return None

    def _read(self, sock: socket.socket, now: float) -> None:
        """Take in what the listener has said: his leave counts until he speaks again."""
        for _ in range(READ_AT_ONCE):
            try:
                data = sock.recv(OCTETS, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                continue  # a report of ours was refused: he has no port for RTCP
            if has_bye(data):
                self._left = now if self._left is None else self._left
            elif len(data) > 1 and data[1] in PACKET_TYPES:
                self._left = None

    def hangs(self) -> bool:
        """Whether the player shows no sign of life any more; to be asked at each look."""
        self._looks += 1
        if self._looks % BEATS:
            return False
        before, self._pulse = self._pulse, pulse(self._pid)
        self._still = self._still + 1 if before is not None and before == self._pulse else 0
        return self._still >= STILL

    def close(self) -> None:
        """Look no more."""
        for sock in (self._rtp, self._rtcp):
            if sock is not None:
                sock.close()


def pulse(pid: int) -> Optional[int]:
    """How often the threads of a process have gone to sleep by themselves; ``None`` where nobody tells."""
    counts = []
    try:
        for task in os.scandir(f"/proc/{pid}/task"):
            # not by pathlib, which has each part of a path in the interpreter's table of names: that grew by 0.7 MB
            with open(f"{task.path}/status", "rb") as status:
                counts.append(SWITCHES.search(status.read()))
    except OSError:
        return None
    return sum(int(count[1]) for count in counts if count) if all(counts) else None


def _beside(local: Address, remote: Address) -> Optional[socket.socket]:
    """A second socket on a port that the player has, connected; with room for a few packets, which are small."""
    sock = None
    try:
        sock = socket.socket(family_of(remote.host), socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)
        ask_for_errors(sock)  # else only "port unreachable" is told
        sock.bind((local.host, local.port))
        sock.connect((remote.host, remote.port))
    except OSError:
        if sock is not None:
            sock.close()
        return None
    return sock
