"""One ffmpeg as ``stream`` knows it: its process, its call, and what is planned for both."""

from __future__ import annotations

import logging
import socket
import subprocess
import time
from dataclasses import dataclass, field, replace
from typing import Optional

from .actions import StartStream, Target
from .command import cname
from .doubts import AWAY
from .network import family_of
from .rtcp import goodbye
from .witness import LOOK_EVERY, Witness

STEADY = 5.0
"""Seconds of playing after which that begins anew."""

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
    away: float
    """Seconds for which there was no way to its listener, and for which its like have been started in vain."""
    began: float = field(default_factory=time.monotonic)
    asked: bool = False
    """It was asked to end."""
    verdict: str = ""
    """Why we end it ourselves."""
    hopeless: str = ""
    """In two words, why another one would be in vain; empty where it would not."""
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

    def again(self, now: float) -> Optional[tuple[StartStream, float]]:
        """How it is started again, since there was no way, and for how long there has been none; ``None``: too long.

        The tune goes on as if it had been heard meanwhile, as it does for who shares a stream.
        """
        played = now - self.began
        away = (0.0 if played > STEADY else self.away + played) + LOOK_EVERY
        if away > AWAY:
            return None
        return replace(self.order, position=self.order.position + played + LOOK_EVERY), away

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
