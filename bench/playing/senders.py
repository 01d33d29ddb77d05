"""The engines that ``bench.playing.engines`` compares. Each plays to all callers from processes of its own."""

from __future__ import annotations

import ipaddress
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Optional, Protocol

from bench.common.processes import children, end
from bench.common.program import ROOT, SCRIPT
from bench.playing.topologies import Topology
from moh.common.actions import Address, Target
from moh.common.codecs import PCMU
from moh.ffmpeg.commands import ffmpeg_command
from moh.ffmpeg.launch import leash
from moh.mastering.prepare import BUILTIN, Music

C_SOURCE = Path(__file__).with_name("send.c")
SHARED_PROCESS = Path(__file__).with_name("shared_process.py")
EVERY = 0.05
"""Seconds from the start of one ffmpeg to the next."""
RTP_PORTS = range(29000, 29101)
"""Ports of the whole server's music. No caller has one of them, and the system gives none of them to a socket."""


class Sender(Protocol):
    """An engine. ``open`` prepares it, ``begin`` makes it play to all callers, ``finish`` ends it in any case."""

    def open(self, topology: Topology, callers: int, port: int) -> None:
        """Prepare to play to ``callers`` callers at ``port``."""

    def begin(self) -> None:
        """Begin to play to all callers."""

    def players(self) -> list[int]:
        """Return the numbers of the processes that play."""

    def finish(self) -> str:
        """End these processes. Return what they printed."""


class SingleProcess:
    """One process that plays to all callers.

    It prints "ready", waits for a line, plays, and ends when its standard input is closed.
    """

    def __init__(self) -> None:
        self._process: Optional[subprocess.Popen[str]] = None

    def command(self, topology: Topology, callers: int, port: int) -> list[str]:
        """Return the command of the process."""
        raise NotImplementedError

    def open(self, topology: Topology, callers: int, port: int) -> None:
        """See ``Sender``."""
        command = [*leash(os.getpid()), *topology.prefix, *self.command(topology, callers, port)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError(f"does not start: {' '.join(command)}")

    def begin(self) -> None:
        """See ``Sender``."""
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def players(self) -> list[int]:
        """See ``Sender``."""
        return [self._process.pid] if self._process else []

    def finish(self) -> str:
        """See ``Sender``."""
        if self._process is None:
            return ""
        try:
            output = self._process.communicate(timeout=10)[0]
        except subprocess.TimeoutExpired:
            self._process.kill()
            output = self._process.communicate()[0]
        self._process = None
        return output.strip()


class CSender(SingleProcess):
    """The sender ``send.c``. It divides the 20 ms into ``slots`` and has ``threads`` threads."""

    def __init__(self, program: str, slots: int, threads: int) -> None:
        super().__init__()
        self._program, self._slots, self._threads = program, str(slots), str(threads)

    def command(self, topology: Topology, callers: int, port: int) -> list[str]:
        """See ``SingleProcess``."""
        local = [topology.local, str(topology.local_ports(1)[0])]
        return [self._program, *local, topology.first, str(callers), str(port), self._slots, self._threads]


class SharedProcess(SingleProcess):
    """The server's shared stream (``shared_process.py``).

    It has at most ``threads`` threads; 0 stands for the number that the server would start.

    ``callers`` are "equal" or "mixed". ``root`` is the project's folder of the version that plays.
    """

    def __init__(self, music: Music, threads: int, callers: str = "equal", root: Path = ROOT) -> None:
        super().__init__()
        self._music, self._threads, self._callers, self._root = music, str(threads), callers, root

    def command(self, topology: Topology, callers: int, port: int) -> list[str]:
        """See ``SingleProcess``."""
        files = ",".join(f"{rate}={file}" for rate, file in self._music.paths.items())
        program = ["env", f"PYTHONPATH={self._root}", sys.executable, str(SHARED_PROCESS)]
        local = [topology.local, str(topology.local_ports(1)[0])]
        callers_at = [topology.first, str(callers), str(port)]
        return [*program, files, str(self._music.seconds), *local, *callers_at, self._threads, self._callers]


class FfmpegPerCaller:
    """An ffmpeg for each caller, started by the server's command."""

    def __init__(self, music: Music, log: Path) -> None:
        self._music = music
        self._log = log
        self._commands: list[list[str]] = []
        self._processes: list[subprocess.Popen[bytes]] = []

    def open(self, topology: Topology, callers: int, port: int) -> None:
        """See ``Sender``."""
        first, ports = int(ipaddress.ip_address(topology.first)), topology.local_ports(callers)
        prefix = [*leash(os.getpid()), *topology.prefix]
        for number in range(callers):
            host = str(ipaddress.ip_address(first + number))
            source = Address(topology.local, ports[number])
            target = Target(Address(host, port), Address(host, port + 1), source, PCMU, 0, 20)
            file, ssrc = self._music.paths[PCMU.sample_rate], secrets.randbits(30) + 1
            self._commands.append([*prefix, *ffmpeg_command(file, self._music.seconds, target, 0.0, True, ssrc)])

    def begin(self) -> None:
        """See ``Sender``."""
        with self._log.open("ab") as log:
            for command in self._commands:
                # in the session of this process, as a server's ffmpegs are in the server's session
                self._processes.append(
                    subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)
                )
                time.sleep(EVERY)

    def players(self) -> list[int]:
        """See ``Sender``."""
        return [process.pid for process in self._processes if process.poll() is None]

    def finish(self) -> str:
        """See ``Sender``."""
        end(self._processes)
        self._processes, self._commands = [], []
        return ""


class WholeServerSender(SingleProcess):
    """The whole server, which ``bench.playing.dial`` calls by SIP. ``ffmpegs`` is its ``MOH_FFMPEG_CALLS``.

    The cost of making the calls is not in the figures. The server keeps its files in ``folder``.
    """

    def __init__(self, folder: Path, ffmpegs: int) -> None:
        super().__init__()
        self._folder, self._ffmpegs = folder, ffmpegs
        self._port = 0
        self._server: Optional[subprocess.Popen[bytes]] = None
        self._output = ""

    def command(self, topology: Topology, callers: int, port: int) -> list[str]:
        """See ``SingleProcess``. The process is the one that makes the calls."""
        server = [topology.local, str(self._port)]
        calls = [topology.first, str(callers), str(port), str(self._ffmpegs)]
        return [sys.executable, "-m", "bench.playing.dial", *server, *calls]

    def open(self, topology: Topology, callers: int, port: int) -> None:
        """See ``Sender``."""
        self._port = topology.local_ports(1)[0]
        settings = {
            "MOH_BIND": topology.local, "MOH_SIP_PORT": self._port, "MOH_FFMPEG_CALLS": self._ffmpegs,
            "MOH_RTP_PORTS": f"{RTP_PORTS[0]}-{RTP_PORTS[-1]}", "MOH_CACHE": self._folder, "MOH_MUSIC": BUILTIN,
        }  # fmt: skip
        variables = [f"{name}={value}" for name, value in settings.items()]
        command = [*leash(os.getpid()), *topology.prefix, "env", *variables, sys.executable, str(SCRIPT)]
        log = self._folder / "server.log"
        with log.open("wb") as file:
            self._server = subprocess.Popen(
                command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )
        try:
            super().open(topology, callers, port)
        except RuntimeError as error:
            raise RuntimeError(f"the server does not answer: {log.read_text(errors='replace')[-300:]}") from error

    def begin(self) -> None:
        """See ``Sender``. Returns when all calls have been answered."""
        super().begin()
        assert self._process is not None and self._process.stdout is not None
        self._output = self._process.stdout.readline().strip()

    def players(self) -> list[int]:
        """See ``Sender``. The processes are the server and its ffmpegs."""
        if self._server is None or self._server.poll() is not None:
            return []
        return [self._server.pid, *children(self._server.pid)]

    def finish(self) -> str:
        """See ``Sender``."""
        super().finish()
        if self._server is not None:
            end([self._server])
            self._server = None
        return self._output
