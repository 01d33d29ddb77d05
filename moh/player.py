"""One ffmpeg as ``stream`` knows it: its process, its call, and what is planned for both."""

from __future__ import annotations

import logging
import socket
import subprocess
from dataclasses import dataclass, field
from typing import Optional

from .actions import StartStream, Target
from .command import cname
from .network import family_of
from .rtcp import goodbye
from .witness import Witness

log = logging.getLogger("moh")


@dataclass
class Player:
    """One ffmpeg and what is planned for its call."""

    call: str
    serial: int
    process: subprocess.Popen[bytes]
    target: Target
    ssrc: int
    bound_to: str
    """The address of ours that it sends from; empty where the system chooses."""
    witness: Witness
    order: StartStream
    """What it was started for."""
    asked: bool = False
    """It was asked to end."""
    verdict: str = ""
    """Why we end it ourselves."""
    hopeless: bool = False
    """It is ended because nobody listens."""
    said: bytes = b""
    """The end of what it wrote to its standard error."""
    kill_at: Optional[float] = None
    """When it is killed, once it was asked to end."""
    killed: bool = False
    """It did not end in time, as no ffmpeg from 7 on does; so it could not take leave of its listener either."""
    silent: bool = False
    """Its standard error is closed: it is ending."""
    following: Optional[StartStream] = field(default=None)
    """What to start on the same port when it is gone."""

    def take_leave(self) -> None:
        """Say RTCP BYE for an ffmpeg that was killed, from the port that is free now (RFC 3550 §6.3.7)."""
        remote, local = self.target.remote, self.target.local
        try:
            with socket.socket(family_of(remote.host), socket.SOCK_DGRAM) as rtcp:
                rtcp.bind((self.bound_to, local.port + 1))
                farewell = goodbye(self.ssrc, cname(self.target))
                rtcp.sendto(farewell, (remote.host, self.target.remote_rtcp.port))
        except OSError as error:
            log.debug("[%s] no RTCP BYE: %s", self.call, error)
