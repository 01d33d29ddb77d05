"""One ffmpeg process and its call: how the process is started, when it is to be killed, and how it is started again."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from dataclasses import dataclass, field
from typing import IO, Optional

from ..common.actions import StartStream, Target
from ..common.tunes import Tune
from ..net.routes import way_out
from ..net.sockets import family_of
from ..rtp.liveness import HOST_UNREACHABLE_TIMEOUT
from ..rtp.reception import StreamReport, stream_report
from ..rtp.rtcp import bye, cname_of
from .commands import ffmpeg_command
from .launch import player
from .spawn import Process, start_process
from .start_queue import PendingStart
from .watchdog import Watchdog

STEADY_AFTER = 5.0
"""Seconds of playing after which an earlier time without a route no longer counts."""
RETRY_AFTER = 0.5
"""Seconds from the end of an ffmpeg that had no route to the next try."""
REAP_TIMEOUT = 1.0
"""Seconds that a killed process may take to end. A process takes milliseconds, unless the kernel itself hangs."""

log = logging.getLogger("moh")


@dataclass
class FfmpegProcess:
    """One ffmpeg process, and the supervisor's plans for it. "ffmpeg" below means this process."""

    order: StartStream
    """The action of the core that this ffmpeg was started for."""
    serial: int
    """The serial of the call's latest start, which may be later than that of ``order``."""
    process: Process
    ssrc: int
    first: int
    """The sequence number of ffmpeg's first packet."""
    source_host: str
    """The local address that ffmpeg sends from; empty where the system chooses."""
    watchdog: Watchdog
    unreachable_for: float
    """Seconds for which the call had no route to its receiver before this start."""
    began: float = field(default_factory=time.monotonic)
    asked_to_end: bool = False
    verdict: str = ""
    """Why the supervisor ends this ffmpeg by itself (receiver gone, ffmpeg hangs); empty while there is no reason."""
    hopeless: str = ""
    """As in ``StreamEnded``."""
    last_output: bytes = b""
    """The last octets that ffmpeg wrote to its standard error."""
    kill_at: Optional[float] = None
    """When ffmpeg is killed if it has not ended by then; ``None`` while it may play on."""
    killed: bool = False
    """Whether ffmpeg did not end in time and was killed. Then it has sent no RTCP BYE. ffmpeg 7 and later end in
    time."""
    exiting: bool = False
    """Whether ffmpeg has closed its standard error."""

    @property
    def call(self) -> str:
        """The call that ffmpeg plays to."""
        return self.order.call

    @property
    def target(self) -> Target:
        """The receiver that ffmpeg plays to."""
        return self.order.target

    @property
    def stderr(self) -> IO[bytes]:
        """The pipe from ffmpeg's standard error. Reading from it does not wait."""
        assert self.process.stderr is not None
        return self.process.stderr

    def exit_reason(self) -> str:
        """The exit status of ffmpeg, and the first line of its last output: the first line names the cause."""
        reason = f"ffmpeg ended with status {self.process.returncode}"
        lines = self.last_output.decode("utf-8", "replace").strip().splitlines()
        return f"{reason}: {lines[0][:200]!r}" if lines else reason

    def retry(self, now: float) -> Optional[PendingStart]:
        """The next start after an ffmpeg that had no route; ``None`` after ``HOST_UNREACHABLE_TIMEOUT`` of tries.

        The tune goes on as if it had played meanwhile, as it does in the shared stream; a live tune does so anyway.
        """
        played = now - self.began
        unreachable_for = (0.0 if played > STEADY_AFTER else self.unreachable_for + played) + RETRY_AFTER
        if unreachable_for > HOST_UNREACHABLE_TIMEOUT:
            return None
        order = self.order._replace(position=self.order.position + played + RETRY_AFTER)
        return PendingStart(order, now + RETRY_AFTER, unreachable_for)

    def sent(self, now: float) -> int:
        """About how many packets ffmpeg has sent: as many as it has had time for."""
        return int((now - self.began) * 1000 / self.target.ptime)

    def report(self, now: float) -> Optional[StreamReport]:
        """What the receiver has reported since the last call of this; ``None`` where it has sent no report."""
        data = self.watchdog.latest_rtcp()
        if not data:
            return None
        return stream_report(data, self.call, self.ssrc, self.first, self.sent(now), self.target.codec.clock_rate)

    def send_bye(self) -> None:
        """Send RTCP BYE in place of a killed ffmpeg, from its RTCP port, which is free now (RFC 3550 §6.3.7)."""
        remote, local = self.target.remote, self.target.local
        try:
            with socket.socket(family_of(remote.host), socket.SOCK_DGRAM) as rtcp:
                rtcp.bind((self.source_host, local.port + 1))
                rtcp.sendto(bye(self.ssrc, cname_of(local.host)), (remote.host, self.target.remote_rtcp.port))
        except OSError as error:
            log.debug("[%s] no RTCP BYE: %s", self.call, error)


def start_ffmpeg(
    order: StartStream, unreachable_for: float, tune: Tune, prefix: list[str], share_port: bool
) -> FfmpegProcess:
    """Start an ffmpeg and its watchdog. This takes milliseconds, most of them without the interpreter's lock.

    ``prefix`` is put before the command. ``share_port`` says that the installed ffmpeg knows the option by which the
    watchdog's sockets can have the same ports. Raises ``OSError`` where ffmpeg does not start. After any exception no
    process is left.
    """
    target = order.target
    source_host = way_out(target.local.host, target.remote.host)
    ssrc, first = secrets.randbits(30) + 1, secrets.randbits(15)
    share_port = share_port and not target.srtp_suite  # ffmpeg's SRTP does not hand the option on
    music = tune.files[target.codec.sample_rate]
    bind = bool(source_host)
    # a live tune is where the clock is, however long the call has been held
    position = order.position if tune.began is None else max(0.0, time.monotonic() - tune.began)
    played = ffmpeg_command(music, tune.seconds, target, position, bind, ssrc, share_port, first)
    command = [*prefix, player(), *played[1:]]
    log.debug("[%s] = %s", order.call, " ".join(word if word != target.srtp_key else "KEY" for word in command))
    process = start_process(command)
    watchdog = None
    try:
        watchdog = Watchdog(process.pid, target, source_host if share_port else None)
        ffmpeg = FfmpegProcess(order, order.serial, process, ssrc, first, source_host, watchdog, unreachable_for)
        os.set_blocking(ffmpeg.stderr.fileno(), False)
    except BaseException:  # an ffmpeg that is not watched must not play on
        discard(process, watchdog)
        raise
    return ffmpeg


def discard(process: Process, watchdog: Optional[Watchdog]) -> None:
    """Kill and reap an ffmpeg that cannot be watched, and close its pipe and its watchdog.

    Raises ``subprocess.TimeoutExpired`` where the kernel does not end it within ``REAP_TIMEOUT`` seconds.
    """
    process.kill()
    if process.stderr is not None:
        process.stderr.close()
    if watchdog is not None:
        watchdog.close()
    process.wait(REAP_TIMEOUT)
