"""The server of a soak, and samples: its resources at one moment, read from ``/proc`` and from its log."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from bench.common.processes import children, end
from bench.common.program import SCRIPT, environment
from bench.playing.methods import SENDERS, free_pairs
from bench.soak.callers import HOST
from moh.ffmpeg.launch import leash
from moh.mastering.prepare import BUILTIN

READY, END = 60.0, 10.0
"""Seconds that the server may take until it is ready, and to its end."""
TROUBLE = ("Traceback", " ERROR ", " CRITICAL ")
COUNTS = re.compile(r" (\d+) calls?: (\d+) by ffmpeg(?:, (\d+) in the shared stream)?")


class Sample(NamedTuple):
    """The server's resources at one moment, ``minute`` minutes after the first call."""

    minute: float
    rss: float
    """Memory in MB of 10^6 octets, shared memory included."""
    private: float
    """Memory that comes from no file, in MB. (The private memory in ``smaps`` is 0 while a child is being forked.)"""
    threads: int
    descriptors: int
    processes: int
    """The number of the server's children, zombies included."""
    ports: int
    """The number of the server's UDP ports for music that are bound, by itself or by an ffmpeg."""
    calls: int
    """The number of calls in the server's last log line of statistics."""
    by_ffmpeg: int
    shared: int


class Server:
    """The real server in a process of its own. It dies with this process, and its ffmpegs die with it."""

    def __init__(self, folder: Path, longest: int, pairs: int) -> None:
        """``longest`` is the longest call in seconds, ``pairs`` the number of pairs of ports for music."""
        port, *senders = free_pairs(random.choice(SENDERS), pairs + 1)
        self.address = (HOST, port)
        self._ports = range(senders[0], senders[-1] + 2)
        self._log = folder / "server.log"
        settings = environment(
            MOH_BIND=HOST, MOH_SIP_PORT=port, MOH_RTP_PORTS=f"{self._ports[0]}-{self._ports[-1]}",
            MOH_MAX_CALL=f"{longest}s", MOH_CACHE=folder, MOH_MUSIC=BUILTIN,
        )  # fmt: skip
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*leash(os.getpid()), sys.executable, str(SCRIPT)], env=settings,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._lines = self._log.open(encoding="utf-8", errors="replace")
        self._counted = (0, 0, 0)
        self.trouble: list[str] = []
        """The lines of the server's log that report errors."""
        self._began = time.monotonic()

    def wait_until_ready(self) -> None:
        """Wait until the server takes calls."""
        give_up = time.monotonic() + READY
        while "ready: " not in self._log.read_text(errors="replace"):
            if self.process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"the server does not start: {self._log.read_text(errors='replace')[-300:]}")
            time.sleep(0.05)
        self._began = time.monotonic()

    def log_statistics(self) -> None:
        """Make the server log its number of calls. This takes it a moment."""
        os.kill(self.process.pid, signal.SIGUSR1)

    def sample(self) -> Sample:
        """Return the resources of the server now. The number of calls is the one that it logged last."""
        self._read_log()
        pid = self.process.pid
        status = Path(f"/proc/{pid}/status").read_text()
        return Sample(
            (time.monotonic() - self._began) / 60,
            _number(status, "VmRSS") * 1024 / 1e6,
            _number(status, "RssAnon") * 1024 / 1e6,
            _number(status, "Threads"),
            len(os.listdir(f"/proc/{pid}/fd")),
            len(children(pid, zombies=True)),
            len(set(self._ports).intersection(_bound_ports())),
            *self._counted,
        )

    def _read_log(self) -> None:
        for line in self._lines:
            if found := COUNTS.search(line):
                self._counted = (int(found[1]), int(found[2]), int(found[3] or 0))
            elif any(mark in line for mark in TROUBLE):
                self.trouble.append(line.strip())

    def close(self) -> int:
        """End the server. Return its exit status, which is negative if it had to be killed."""
        end([self.process], grace=END)
        self._read_log()
        self._lines.close()
        return self.process.returncode


def _number(status: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE)
    assert found is not None, f"no {name} in /proc/PID/status"
    return int(found[1])


def _bound_ports() -> set[int]:
    """Return the UDP ports of this machine that are bound."""
    ports: set[int] = set()
    for name in ("udp", "udp6"):
        try:
            lines = Path(f"/proc/net/{name}").read_text().splitlines()[1:]
        except OSError:
            continue
        ports.update(int(line.split()[1].rpartition(":")[2], 16) for line in lines)
    return ports
