"""The methods of playing to a caller that ``bench.playing.calls`` compares: a command for each call, or the server."""

from __future__ import annotations

import os
import random
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Optional, Protocol

from bench.common.phone import Phone
from bench.common.processes import children, end
from bench.common.program import SCRIPT
from bench.common.receiver import HOST
from moh.common.actions import Address, Target
from moh.common.codecs import PCMU
from moh.ffmpeg.commands import ffmpeg_command
from moh.ffmpeg.launch import leash
from moh.mastering.prepare import Music

SENDERS = range(26000, 29000, 2)
"""The search for ports to send from begins at one of these."""
PATIENCE = 10.0
"""Seconds that the server may take until it answers."""


class Method(Protocol):
    """A method of playing to callers. ``begin`` starts a call, ``finish`` ends all calls, even after a failure."""

    def open(self, calls: int) -> None:
        """Prepare ``calls`` calls."""

    def begin(self, port: int) -> float:
        """Start a call whose music goes to ``port``. Return the time just before, in seconds since 1970."""

    def players(self) -> list[int]:
        """Return the numbers of the processes that play, one for each call."""

    def helpers(self) -> list[int]:
        """Return the numbers of the processes that all calls share."""

    def finish(self) -> None:
        """End all calls and processes."""


class FfmpegCommands:
    """An ffmpeg for each call. ``command`` makes its command from two ports: to play to, and to send from.

    As in the server, each ffmpeg dies with its parent. A prefix of its command (``leash``) sees to that. The measured
    start includes the prefix.
    """

    def __init__(self, command: Callable[[int, int], list[str]], log: Path) -> None:
        self._command = command
        self._log = log
        """The file that gets the output of the commands."""
        self._leash = leash(os.getpid())
        self._processes: list[subprocess.Popen[bytes]] = []
        self._senders: list[int] = []

    def open(self, calls: int) -> None:
        """Find a port to send from for each call."""
        self._senders = free_pairs(random.choice(SENDERS), calls)

    def begin(self, port: int) -> float:
        """Start one ffmpeg."""
        command = self._leash + self._command(port, self._senders[len(self._processes)])
        with self._log.open("ab") as log:
            began = time.time()
            self._processes.append(
                subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True
                )
            )
        return began

    def players(self) -> list[int]:
        """Return all ffmpegs that run."""
        return [process.pid for process in self._processes if process.poll() is None]

    def helpers(self) -> list[int]:
        """Return no process: the calls share none."""
        return []

    def finish(self) -> None:
        """End all ffmpegs."""
        end(self._processes)
        self._processes = []


def plain(music: Path) -> Callable[[int, int], list[str]]:
    """Return the simplest command that plays ``music`` in a loop by RTP."""
    return lambda port, _: [
        "ffmpeg", "-re", "-stream_loop", "-1", "-i", str(music), "-c:a", "pcm_mulaw", "-f", "rtp",
        f"rtp://{HOST}:{port}",
    ]  # fmt: skip


def server_command(binary: str, music: Music) -> Callable[[int, int], list[str]]:
    """Return the server's command, with ``binary`` as its ffmpeg."""

    def command(port: int, sender: int) -> list[str]:
        target = Target(Address(HOST, port), Address(HOST, port + 1), Address(HOST, sender), PCMU, 0, 20)
        ssrc = secrets.randbits(30) + 1
        return [binary, *ffmpeg_command(music.paths[PCMU.sample_rate], music.seconds, target, 0.0, True, ssrc)[1:]]

    return command


def free_pairs(first: int, count: int) -> list[int]:
    """Return ``count`` even ports of the loopback, from ``first`` on. They and the ports above them are free."""
    found: list[int] = []
    for port in range(first, 32768, 2):
        if len(found) == count:
            break
        if all(map(_is_free, (port, port + 1))):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


class WholeServer:
    """The real server in a process of its own, called by SIP. ``binary`` is the ffmpeg that it finds on its PATH.

    The server dies with this process, and its ffmpegs die with the server.
    """

    def __init__(self, binary: str, folder: Path, settings: dict[str, str], script: Path = SCRIPT) -> None:
        """``script`` is the server, of this project or of the project at another commit."""
        self._environment = dict(settings)
        self._script = script
        self._log = folder / "server.log"
        if os.sep in binary:
            (path := folder / f"path-{secrets.token_hex(4)}").mkdir()
            (path / "ffmpeg").symlink_to(Path(binary).absolute())
            self._environment["PATH"] = f"{path}{os.pathsep}{self._environment.get('PATH', os.defpath)}"
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._phone = Phone(HOST, (HOST, 0))
        self._port = 0
        self.last_rtp_port = 0
        """The port of the shared stream."""

    def open(self, calls: int) -> None:
        """Start the server and wait until it answers."""
        self._port, first, *_, last = free_pairs(random.choice(SENDERS), calls + 20)
        self.last_rtp_port = last
        self._phone = Phone(HOST, (HOST, self._port))
        environment = {
            **self._environment, "MOH_BIND": HOST, "MOH_SIP_PORT": str(self._port),
            "MOH_RTP_PORTS": f"{first}-{last + 1}", "MOH_LOG": "warning",
        }  # fmt: skip
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*leash(os.getpid()), sys.executable, str(self._script)], env=environment, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        give_up = time.monotonic() + PATIENCE
        while not self._phone.reaches_server(0.2):
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"the server does not start: {self._log.read_text(errors='replace')[-300:]}")

    @property
    def port(self) -> int:
        """The server's SIP port."""
        return self._port

    def begin(self, port: int, host: str = HOST) -> float:
        """Make a call (INVITE, 200, ACK) whose music goes to ``host`` and ``port``. Return the time of its INVITE."""
        began = time.time()
        self._phone.call(host, port, 2.0)
        return began

    def players(self) -> list[int]:
        """Return the server's ffmpegs."""
        return children(self._process.pid) if self._process else []

    def helpers(self) -> list[int]:
        """Return the server itself."""
        return [self._process.pid] if self._process else []

    def finish(self) -> None:
        """End the server. Its calls and ffmpegs end with it."""
        if self._process is not None:
            end([self._process], grace=5.0)
            self._process = None
