"""The ways to play to a caller that are compared: a command of ffmpeg for each call, or the whole server."""

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

from bench.common.ears import HOST
from bench.common.phone import Phone
from bench.common.processes import children, end
from bench.common.program import SCRIPT
from moh.common.actions import Address, Target
from moh.common.codecs import PCMU
from moh.ffmpeg.commands import ffmpeg_command
from moh.ffmpeg.launch import leash
from moh.mastering.prepare import Music

SENDERS = range(26000, 29000, 2)
"""Where the search for ports to send from begins, anywhere in here."""
PATIENCE = 10.0
"""Seconds until a server that does not answer is given up."""


class Way(Protocol):
    """One way to play to callers. ``begin`` starts a call, ``finish`` ends them all, whatever has happened."""

    def open(self, calls: int) -> None:
        """Get ready for that many calls."""

    def begin(self, port: int) -> float:
        """Start a call to that port; the time just before, in seconds since 1970."""

    def players(self) -> list[int]:
        """The processes that play, one for each call."""

    def helpers(self) -> list[int]:
        """The processes that all calls share."""

    def finish(self) -> None:
        """End all calls and processes."""


class Commands:
    """A process of ffmpeg for each call, as ``command`` writes it for the port to play to and the one to leave from.

    As in the server each dies with its parent, by the same words in front, which are a part of the start.
    """

    def __init__(self, command: Callable[[int, int], list[str]], said: Path) -> None:
        self._command = command
        self._said = said
        """The file that takes what the commands print."""
        self._leash = leash(os.getpid())
        self._processes: list[subprocess.Popen[bytes]] = []
        self._senders: list[int] = []

    def open(self, calls: int) -> None:
        """Find ports to send from."""
        self._senders = free_pairs(random.choice(SENDERS), calls)

    def begin(self, port: int) -> float:
        """Start one process."""
        words = self._leash + self._command(port, self._senders[len(self._processes)])
        with self._said.open("ab") as said:
            began = time.time()
            self._processes.append(
                subprocess.Popen(
                    words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True
                )
            )
        return began

    def players(self) -> list[int]:
        """All that have not ended."""
        return [process.pid for process in self._processes if process.poll() is None]

    def helpers(self) -> list[int]:
        """None."""
        return []

    def finish(self) -> None:
        """End all processes."""
        end(self._processes)
        self._processes = []


def naive(music: Path) -> Callable[[int, int], list[str]]:
    """What one would write first."""
    return lambda port, _: [
        "ffmpeg", "-re", "-stream_loop", "-1", "-i", str(music), "-c:a", "pcm_mulaw", "-f", "rtp",
        f"rtp://{HOST}:{port}",
    ]  # fmt: skip


def ours(binary: str, music: Music) -> Callable[[int, int], list[str]]:
    """What the server starts, run by ``binary``."""

    def command(port: int, sender: int) -> list[str]:
        target = Target(Address(HOST, port), Address(HOST, port + 1), Address(HOST, sender), PCMU, 0, 20)
        ssrc = secrets.randbits(30) + 1
        return [binary, *ffmpeg_command(music.paths[PCMU.sample_rate], music.seconds, target, 0.0, True, ssrc)[1:]]

    return command


def free_pairs(first: int, count: int) -> list[int]:
    """Even ports that are free on the loopback, together with the next."""
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

    It dies with us, as its ffmpegs die with it.
    """

    def __init__(self, binary: str, folder: Path, environment: dict[str, str]) -> None:
        self._environment = dict(environment)
        self._said = folder / "server.log"
        if os.sep in binary:
            (shelf := folder / f"path-{secrets.token_hex(4)}").mkdir()
            (shelf / "ffmpeg").symlink_to(Path(binary).absolute())
            self._environment["PATH"] = f"{shelf}{os.pathsep}{self._environment.get('PATH', os.defpath)}"
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._phone = Phone(HOST, (HOST, 0))
        self._port = 0

    def open(self, calls: int) -> None:
        """Start the server and wait until it answers."""
        port, first, *_, last = free_pairs(random.choice(SENDERS), calls + 20)
        self._port = port
        self._phone = Phone(HOST, (HOST, port))
        settings = {
            "MOH_BIND": HOST, "MOH_SIP_PORT": str(port), "MOH_RTP_PORTS": f"{first}-{last + 1}", "MOH_LOG": "warning",
        }  # fmt: skip
        words = [*leash(os.getpid()), sys.executable, str(SCRIPT)]
        environment = {**self._environment, **settings}
        with self._said.open("ab") as said:
            self._process = subprocess.Popen(
                words, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
            )
        give_up = time.monotonic() + PATIENCE
        while not self._phone.there(0.2):
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"the server does not start: {self._said.read_text(errors='replace')[-300:]}")

    @property
    def port(self) -> int:
        """The one that it listens on."""
        return self._port

    def begin(self, port: int, host: str = HOST) -> float:
        """INVITE, 200, ACK, for music to ``host``."""
        began = time.time()
        self._phone.call(host, port, 2.0)
        return began

    def players(self) -> list[int]:
        """The ffmpegs of the server."""
        return children(self._process.pid) if self._process else []

    def helpers(self) -> list[int]:
        """The server itself."""
        return [self._process.pid] if self._process else []

    def finish(self) -> None:
        """End the server, which ends its calls and its ffmpegs; when it is killed they die with it."""
        if self._process is not None:
            end([self._process], grace=5.0)
            self._process = None
