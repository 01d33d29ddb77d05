"""The target of ``bench.attack.floods``: our server, or a peer in its place, and what can be seen from outside.

All listen at ``SERVER``, UDP and TCP, and are called there. A peer cannot be asked for what it counts; what ``/proc``
tells, and what those on hold hear, has to do.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Optional

from bench.attack.honest import answers
from bench.attack.scene import SERVER
from bench.common.farm import Farm
from bench.common.processes import children, end
from bench.common.program import environment
from bench.playing import baresip
from moh.common.codecs import PCMU
from moh.common.config import Settings
from moh.ffmpeg.launch import leash
from moh.mastering.prepare import BUILTIN, prepare

FFMPEGS = 25
"""Calls that get an ffmpeg of their own from our server."""
BUFFER = 1 << 21
"""What our server asks the kernel for to keep datagrams in, in octets; the kernel doubles it."""
PIDFD_GETFD = 438
"""The number of that system call, on every architecture."""
START = 60.0
"""Seconds that one may take until it answers."""
LOOK = 0.5
"""Seconds that are listened to find out who hears music."""
MUSIC = 85.0
"""Seconds that a file has to last for one that plays it once only: all that is done in one flood, and some more."""


class Rest(NamedTuple):
    """What the server has, apart from memory; ``hearing`` are the calls on hold that hear music."""

    hearing: int
    calls: int
    """As it says itself; 0 of one that cannot be asked."""
    threads: int
    descriptors: int
    processes: int
    ports: int
    """UDP ports of its range for music that are taken."""


class Target(ABC):
    """A server in a process of its own that dies with us. ``start`` it first, ``finish`` ends it."""

    name: str
    ports: range
    """Its UDP ports for music."""
    plays_once = False
    """Whether its calls end when the music does, and have to be made anew before each flood."""
    shelf: Optional[Path] = None
    """The folder that it works in, for what it may write there; ``None``: that of the bench."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / f"{self.name}.log"
        self._process: Optional[subprocess.Popen[bytes]] = None

    @abstractmethod
    def _words(self) -> tuple[list[str], dict[str, str]]:
        """Its command and its environment."""

    def start(self) -> None:
        """Start it, or start it anew, and wait until it answers calls. Raises ``RuntimeError`` where it does not."""
        self.finish()
        words, environment = self._words()
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(
                [*leash(os.getpid()), *words], env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True, cwd=self.shelf,
            )  # fmt: skip
        give_up = time.monotonic() + START
        while not answers(SERVER):
            if self.fate() or time.monotonic() > give_up:
                self.finish()
                raise RuntimeError(f"{self.name} does not start: {self.said()}")
            time.sleep(0.1)  # it may say 503 until the music is ready

    def finish(self) -> None:
        """End it; may be called again."""
        if self._process is not None:
            end([self._process], 10)
            self._process = None

    @property
    def pid(self) -> int:
        """Its process. Raises ``RuntimeError`` before it is started."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process.pid

    def fate(self, seconds: float = 0.0) -> str:
        """How it died, at the latest within ``seconds``; empty: it lives."""
        if self._process is None:
            return "not started"
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return ""
        return f"died: {signal.Signals(-status).name if status < 0 else f'exit status {status}'}"

    def said(self) -> str:
        """The end of what it has written."""
        return self._log.read_text(errors="replace")[-500:]

    def told(self) -> tuple[int, dict[str, int]]:
        """Its calls, and what it has counted, where it can be asked for that."""
        return 0, {}

    def processes(self) -> list[int]:
        """All that it takes to play: itself, and what it has started."""
        return [self.pid, *children(self.pid)]

    def rest(self, farm: Farm) -> Rest:
        """What it has now; takes ``LOOK`` seconds. Raises ``FileNotFoundError`` where it has died."""
        farm.begin()
        time.sleep(LOOK)
        hearing = int(farm.end()["heard"])
        ports = sum(int(line.split()[1].rpartition(":")[2], 16) in self.ports for line in bound())
        threads, descriptors = (len(os.listdir(f"/proc/{self.pid}/{what}")) for what in ("task", "fd"))
        processes = len(children(self.pid, zombies=True))
        return Rest(hearing, self.told()[0], threads, descriptors, processes, ports)

    def rss(self) -> float:
        """MB of memory; nan where it has died."""
        try:
            found = re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())
        except OSError:
            found = []
        return int(found[0]) * 1024 / 1e6 if found else float("nan")


class Moh(Target):
    """Our server, of the program ``script``."""

    name = "moh"
    ports = range(10000, 10101)

    def __init__(self, folder: Path, script: Path) -> None:
        super().__init__(folder)
        self._folder, self._script = folder, script

    def _words(self) -> tuple[list[str], dict[str, str]]:
        settings = environment(
            MOH_SIP_PORT=SERVER[1], MOH_FFMPEG_CALLS=FFMPEGS, MOH_CACHE=self._folder, MOH_MUSIC=BUILTIN
        )
        return [sys.executable, str(self._script)], settings

    def told(self) -> tuple[int, dict[str, int]]:
        """What it says when asked by SIGUSR1. Raises ``RuntimeError`` where it says nothing within 10 s."""
        start = self._log.stat().st_size
        os.kill(self.pid, signal.SIGUSR1)
        give_up = time.monotonic() + 10
        while time.monotonic() < give_up:
            with self._log.open("rb") as file:
                file.seek(start)
                said = file.read().decode()
            if found := re.search(r" (\d+) calls: .*\n(?:.*\n)*?.* since the start: (.*)\n", said):
                return int(found[1]), counted(found[2])
            time.sleep(0.05)
        raise RuntimeError("the server does not answer SIGUSR1")


class Baresip(Target):
    """baresip that plays what our server would, with the same room in the kernel for datagrams."""

    name = baresip.NAME
    ports = range(10000, 20000)
    plays_once = True
    buffer = BUFFER
    """Octets that are asked for it; 0: it has what the kernel gives to whoever does not ask."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        settings = {"MOH_CACHE": str(folder), "MOH_MUSIC": str(BUILTIN)}
        music = prepare(Settings.from_environment(settings)).paths[PCMU.sample_rate]
        self.shelf = folder / self.name
        self.shelf.mkdir()
        longer = baresip.prolonged(music, self.shelf / "music.wav", MUSIC)
        self._command = baresip.configure(self.shelf, SERVER, longer, "1", self.ports)

    def _words(self) -> tuple[list[str], dict[str, str]]:
        return self._command, dict(os.environ)

    def start(self) -> None:
        """As the others; it leaves the buffer of its socket to whoever runs the machine, and that are we."""
        super().start()
        if self.buffer and not widen(self.pid, SERVER[1], self.buffer):
            print(f"{self.name}: its socket keeps the kernel's own buffer, which is smaller", file=sys.stderr)


class BaresipAsIs(Baresip):
    """The same with the kernel's own buffer: more datagrams are lost, and those that are not wait less."""

    name = "baresip-as-is"
    buffer = 0


PEERS: dict[str, tuple[type[Baresip], Callable[[], bool], str]] = {
    kind.name: (kind, baresip.is_here, "baresip-core") for kind in (Baresip, BaresipAsIs)
}
"""By their names: the target, whether it can be had, and the package that it is in."""


def targets(folder: Path, script: Path, peers: list[str]) -> list[Target]:
    """Our server, and those of ``peers`` that can be had; of others one line on standard error tells."""
    found: list[Target] = [Moh(folder, script)]
    for name in peers:
        kind, is_here, package = PEERS[name]
        if is_here():
            found.append(kind(folder))
        else:
            print(f"{name} is not installed (package {package}): only our own server is flooded", file=sys.stderr)
    return found


def bound() -> list[str]:
    """The lines of all UDP sockets of this namespace."""
    return Path("/proc/net/udp").read_text().splitlines()[1:]


def overflown() -> int:
    """Datagrams that found the SIP socket full since it is open."""
    return sum(int(line.split()[-1]) for line in bound() if line.split()[1].endswith(f":{SERVER[1]:04X}"))


def widen(pid: int, port: int, octets: int) -> bool:
    """Give the UDP socket of a process that is bound to ``port`` a buffer of ``octets``; whether that was possible."""
    inodes = {f"socket:[{line.split()[9]}]" for line in bound() if line.split()[1].endswith(f":{port:04X}")}
    try:
        process = os.pidfd_open(pid)
    except (AttributeError, OSError):
        return False  # an old kernel, or another system
    try:
        found = [int(entry.name) for entry in os.scandir(f"/proc/{pid}/fd") if os.readlink(entry.path) in inodes]
        ours = [ctypes.CDLL(None).syscall(PIDFD_GETFD, process, number, 0) for number in found]
    except OSError:
        ours = []
    finally:
        os.close(process)
    for number in ours:
        if number >= 0:  # else we may not
            with socket.socket(fileno=number) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, octets)
    return bool(ours) and min(ours) >= 0


def counted(said: str) -> dict[str, int]:
    """The numbers of a line of counts."""
    return {reason.strip(): int(number) for number, reason in re.findall(r"(\d+) ([^,;:]+)", said)}
