"""What is seen of an ffmpeg from outside: whether it still plays, and whether anybody listens.

ffmpeg does not tell either. An ffmpeg that plays goes to sleep after each packet, which Linux counts in ``/proc``; one
that hangs does not, be it stopped, waiting for ever or busy with itself. Where there is no ``/proc`` nothing is seen.

Where nobody listens, the listener's machine answers each packet with "port unreachable". The kernel hands that to a
socket which is connected to the same two ports, and to no other. ffmpeg can connect its own (``connect=1``), but then
it ends where a phone has no port for RTCP, as many do; so a second socket stands beside its, and only listens.
"""

from __future__ import annotations

import errno
import os
import re
import socket
from pathlib import Path
from typing import Optional

from .actions import Address
from .doubts import DEAF_FOR, Refusals, deaf
from .network import family_of

LOOK_EVERY = 0.5
"""Seconds from one look at a player to the next."""
BEATS = 4
"""Looks after which its pulse is felt once."""
STILL = 3
"""Times that the pulse is felt and has not changed until a player counts as hung: after 6 to 8 seconds.

Counted in looks and not in seconds, as a machine that slept, or a container that was paused, has stopped us as well.
"""

SWITCHES = re.compile(rb"^voluntary_ctxt_switches:\s+(\d+)", re.MULTILINE)


class Witness:
    """Watches one player: the process ``pid``, which plays from ``local`` to ``remote``."""

    def __init__(self, pid: int, local: Optional[Address], remote: Address) -> None:
        """``local`` is ``None`` where no second socket may be beside the player's."""
        self._pid = pid
        self._remote = remote
        self._socket = None if local is None else _beside(local, remote)
        self._refusals: Optional[Refusals] = None
        self._looks = 0
        self._pulse: Optional[int] = None
        self._still = 0

    def nobody_listens(self, now: float) -> str:
        """Why the player may as well end; empty while it may not."""
        if self._socket is None or self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != errno.ECONNREFUSED:
            return ""
        self._refusals = self._refusals or Refusals(now)
        seconds = self._refusals.again(now)
        return deaf(self._remote, seconds) if seconds >= DEAF_FOR else ""

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
        if self._socket is not None:
            self._socket.close()


def pulse(pid: int) -> Optional[int]:
    """How often the threads of a process have gone to sleep by themselves; ``None`` where nobody tells."""
    try:
        tasks = [Path(task.path) for task in os.scandir(f"/proc/{pid}/task")]
        counts = [SWITCHES.search((task / "status").read_bytes()) for task in tasks]
    except OSError:
        return None
    return sum(int(count[1]) for count in counts if count) if all(counts) else None


def _beside(local: Address, remote: Address) -> Optional[socket.socket]:
    """A second socket on the port that the player has; it reads nothing, so it has hardly any room for it."""
    sock = None
    try:
        sock = socket.socket(family_of(remote.host), socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        sock.bind((local.host, local.port))
        sock.connect((remote.host, remote.port))
    except OSError:
        if sock is not None:
            sock.close()
        return None
    return sock
