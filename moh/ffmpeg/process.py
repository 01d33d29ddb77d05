"""One ffmpeg as ``stream`` knows it: how it is started, its process, its call, and what is planned for both."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import subprocess
import time
from dataclasses import dataclass, field, replace
from typing import IO, Optional

from ..common.actions import StartStream, Target
from ..common.tunes import Tune
from ..net.routes import way_out
from ..net.sockets import family_of
from ..rtp.liveness import HOST_UNREACHABLE_TIMEOUT
from ..rtp.rtcp import bye, cname_of
from .commands import ffmpeg_command
from .start_queue import PendingStart
from .watchdog import LOOK_EVERY, Watchdog

STEADY = 5.0
"""Seconds of playing after which that begins anew."""
KILLED = 1.0
"""Seconds that a killed process may take to be gone; milliseconds, unless the kernel itself hangs."""

log = logging.getLogger("moh")


@dataclass
class FfmpegProcess:
    """One ffmpeg and what is planned for its call."""

    call: str
    serial: int
    process: subprocess.Popen[bytes]
    target: Target
    ssrc: int
    bound_to: str
    """The address of ours that it sends from; empty where the system chooses."""
    witness: Watchdog
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

    @property
    def pipe(self) -> IO[bytes]:
        """Its standard error; reading does not wait."""
        assert self.process.stderr is not None
        return self.process.stderr

    def retry(self, now: float) -> Optional[PendingStart]:
        """How it is started again after ``LOOK_EVERY``, since there was no way; ``None``: there has been none too long.

        The tune goes on as if it had been heard meanwhile, as it does for who shares a stream.
        """
        played = now - self.began
        away = (0.0 if played > STEADY else self.away + played) + LOOK_EVERY
        if away > HOST_UNREACHABLE_TIMEOUT:
            return None
        order = replace(self.order, position=self.order.position + played + LOOK_EVERY)
        return PendingStart(order, now + LOOK_EVERY, away)

    def send_bye(self) -> None:
        """Say RTCP BYE for an ffmpeg that was killed, from the port that is free now (RFC 3550 §6.3.7)."""
        remote, local = self.target.remote, self.target.local
        try:
            with socket.socket(family_of(remote.host), socket.SOCK_DGRAM) as rtcp:
                rtcp.bind((self.bound_to, local.port + 1))
                farewell = bye(self.ssrc, cname_of(self.target.local.host))
                rtcp.sendto(farewell, (remote.host, self.target.remote_rtcp.port))
        except OSError as error:
            log.debug("[%s] no RTCP BYE: %s", self.call, error)


def start_ffmpeg(order: StartStream, away: float, tune: Tune, words: list[str], witnessed: bool) -> FfmpegProcess:
    """Start an ffmpeg as ordered, and all that belongs to it. Takes as long as a fork, up to 40 ms on a busy machine.

    ``away``: seconds for which it has been started in vain. ``words`` stand in front of the command; ``witnessed``:
    this ffmpeg knows what a witness needs. Raises ``OSError`` where ffmpeg does not start; whatever is raised, no
    process is left.
    """
    target = order.target
    bound_to = way_out(target.local.host, target.remote.host)
    ssrc = secrets.randbits(30) + 1
    witnessed = witnessed and not target.srtp_suite
    music = tune.files[target.codec.sample_rate]
    command = words + ffmpeg_command(music, tune.seconds, target, order.position, bool(bound_to), ssrc, witnessed)
    log.debug("[%s] = %s", order.call, " ".join(word if word != target.srtp_key else "KEY" for word in command))
    # a session of its own, so that Ctrl-C in a terminal reaches the server only and callers get their BYE
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    witness = None
    try:
        witness = Watchdog(process.pid, target, bound_to if witnessed else None)
        player = FfmpegProcess(order.call, order.serial, process, target, ssrc, bound_to, witness, order, away)
        os.set_blocking(player.pipe.fileno(), False)
    except BaseException:  # no memory, say: it would play on, and nobody would know of it
        discard(process, witness)
        raise
    return player


def discard(process: subprocess.Popen[bytes], witness: Optional[Watchdog]) -> None:
    """Kill an ffmpeg that nobody could look after, reap it, and close its pipe and its witness.

    Raises ``subprocess.TimeoutExpired`` where the kernel does not end it within ``KILLED`` seconds.
    """
    process.kill()
    if process.stderr is not None:
        process.stderr.close()
    if witness is not None:
        witness.close()
    process.wait(KILLED)
