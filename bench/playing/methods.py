"""The ways to play to callers that ``bench.playing.calls`` compares: their interface, and a command for each call."""

from __future__ import annotations

import os
import random
import secrets
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from bench.common.processes import end
from bench.common.receiver import HOST
from moh.common.actions import Address, Target
from moh.common.codecs import PCMU
from moh.ffmpeg.commands import ffmpeg_command
from moh.ffmpeg.launch import leash
from moh.mastering.prepare import Music

SENDERS = range(26000, 29000, 2)
"""The search for ports to send from begins at one of these."""


class Method(Protocol):
    """A method of playing to callers. ``begin`` starts a call, ``finish`` ends all calls, even after a failure."""

    def open(self, calls: int) -> None:
        """Prepare ``calls`` calls."""

    def begin(self, port: int) -> float:
        """Start a call whose music goes to ``port``. Return the time just before, in seconds since 1970."""

    def processes(self) -> list[int]:
        """Return the numbers of all processes that the calls need."""

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
                # in the session of this process, as a server's ffmpegs are in the server's session
                subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)
            )
        return began

    def processes(self) -> list[int]:
        """Return all ffmpegs that run."""
        return [process.pid for process in self._processes if process.poll() is None]

    def finish(self) -> None:
        """End all ffmpegs."""
        end(self._processes)
        self._processes = []


def copied(music: Path, folder: Path) -> Callable[[int, int], list[str]]:
    """Return the command with the least work for an ffmpeg: it copies ready packets of 20 ms, each at its time."""
    frames = folder / "frames.mka"
    encode = ["-af", "asetnsamples=n=160:p=0", "-c:a", "pcm_mulaw"]
    subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", str(music), *encode, str(frames)], check=True,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return lambda port, _: [
        "ffmpeg", "-re", "-stream_loop", "-1", "-i", str(frames), "-c", "copy", "-f", "rtp", f"rtp://{HOST}:{port}",
    ]  # fmt: skip


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
