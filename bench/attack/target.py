"""The server that ``bench.attack.floods`` floods, in a process of its own, and what Linux and its log show of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple, Optional

from bench.attack.probes import takes_calls
from bench.attack.scene import SERVER
from bench.common.farm import Farm
from bench.common.processes import children, end
from bench.common.program import environment
from moh.ffmpeg.launch import leash
from moh.mastering.prepare import BUILTIN

FFMPEGS = 25
"""Calls that get an ffmpeg of their own."""
PORTS = range(10000, 10101)
"""The server's UDP ports for music."""
START = 60.0
"""Seconds that the server may take until it answers."""
LISTEN = 0.5
"""Seconds of listening, after which a call without a packet counts as a call without music."""


class Resources(NamedTuple):
    """The server's resources without its memory. They must be the same before a flood and after it."""

    with_music: int
    """The number of calls on hold whose music arrives."""
    calls: int
    """The number of calls that the server reports."""
    threads: int
    descriptors: int
    processes: int
    ports: int
    """The number of bound UDP ports for music."""


class Target:
    """The server whose program is ``script``. ``start`` starts it, ``finish`` ends it. It dies with this process."""

    def __init__(self, folder: Path, script: Path, ffmpegs: int = FFMPEGS) -> None:
        """``ffmpegs`` calls get an ffmpeg of their own."""
        self._folder, self._script, self._ffmpegs = folder, script, ffmpegs
        self._log = folder / "server.log"
        self._process: Optional[subprocess.Popen[bytes]] = None

    def start(self) -> None:
        """Start the server, or start it anew, and wait until it takes calls. Raises ``RuntimeError`` if it does not."""
        self.finish()
        settings = environment(
            MOH_SIP_PORT=SERVER[1], MOH_FFMPEG_CALLS=self._ffmpegs, MOH_CACHE=self._folder, MOH_MUSIC=BUILTIN,
            MOH_RTP_PORTS=f"{PORTS[0]}-{PORTS[-1]}",
        )  # fmt: skip
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(
                [*leash(os.getpid()), sys.executable, str(self._script)], env=settings, stdin=subprocess.DEVNULL,
                stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        give_up = time.monotonic() + START
        while not takes_calls(SERVER):
            if self.death() or time.monotonic() > give_up:
                self.finish()
                raise RuntimeError(f"the server does not start: {self.last_output()}")
            time.sleep(0.1)  # until the music is ready, the answer is 503

    def finish(self) -> None:
        """End the server; may be called again."""
        if self._process is not None:
            end([self._process], 10)
            self._process = None

    @property
    def pid(self) -> int:
        """The number of the server's process. Raises ``RuntimeError`` before ``start``."""
        if self._process is None:
            raise RuntimeError("the server was not started")
        return self._process.pid

    def death(self, seconds: float = 0.0) -> str:
        """Wait for ``seconds``. Return how the server died until then; empty if it lives."""
        if self._process is None:
            return "not started"
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return ""
        return f"died: {signal.Signals(-status).name if status < 0 else f'exit status {status}'}"

    def last_output(self) -> str:
        """Return the last 500 characters of the server's log."""
        return self._log.read_text(errors="replace")[-500:]

    def statistics(self) -> tuple[int, dict[str, int]]:
        """Send SIGUSR1, and return the number of calls and the counters that the server then logs.

        Raises ``RuntimeError`` if the server logs nothing within 10 s.
        """
        start = self._log.stat().st_size
        os.kill(self.pid, signal.SIGUSR1)
        give_up = time.monotonic() + 10
        while time.monotonic() < give_up:
            with self._log.open("rb") as file:
                file.seek(start)
                logged = file.read().decode()
            if found := re.search(r" (\d+) calls?: .*\n(?:.*\n)*?.* since the start: (.*)\n", logged):
                return int(found[1]), counters(found[2])
            time.sleep(0.05)
        raise RuntimeError("the server does not answer SIGUSR1")

    def processes(self) -> list[int]:
        """Return the process numbers of the server and its ffmpegs."""
        return [self.pid, *children(self.pid)]

    def resources(self, farm: Farm) -> Resources:
        """Return the server's resources, after ``LISTEN`` seconds. Raises ``FileNotFoundError`` if it has died."""
        farm.begin()
        time.sleep(LISTEN)
        with_music = int(farm.end()["receiving"])
        ports = sum(int(line.split()[1].rpartition(":")[2], 16) in PORTS for line in udp_sockets())
        threads, descriptors = (len(os.listdir(f"/proc/{self.pid}/{what}")) for what in ("task", "fd"))
        processes = len(children(self.pid, zombies=True))
        return Resources(with_music, self.statistics()[0], threads, descriptors, processes, ports)

    def rss(self) -> float:
        """Return the MB of memory of the server; nan if it has died."""
        try:
            found = re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())
        except OSError:
            found = []
        return int(found[0]) * 1024 / 1e6 if found else float("nan")


def udp_sockets() -> list[str]:
    """Return the lines of ``/proc/net/udp``: one for each UDP socket of this network namespace."""
    return Path("/proc/net/udp").read_text().splitlines()[1:]


def overflown() -> int:
    """Return how many datagrams the kernel dropped because the buffer of the SIP socket was full."""
    return sum(int(line.split()[-1]) for line in udp_sockets() if line.split()[1].endswith(f":{SERVER[1]:04X}"))


def counters(line: str) -> dict[str, int]:
    """Return the counters in ``line`` of the log, by their names."""
    return {name.strip(): int(number) for number, name in re.findall(r"(\d+) ([^,;:]+)", line)}
