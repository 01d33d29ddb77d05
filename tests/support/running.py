"""A server in its own process, its log and its ffmpegs; free ports; waiting. Standard library only, never ``moh``."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

ROOT = Path(__file__).parent.parent.parent
SHORT_SESSIONS = (
    sys.executable, "-c",
    "import runpy, sys; sys.argv = sys.argv[2:]; sys.path.insert(0, sys.argv[0].rpartition('/')[0]); "
    "import moh.sip.session_timer; moh.sip.session_timer.MIN_SE = 2; runpy.run_path(sys.argv[0], run_name='__main__')",
)  # fmt: skip
"""For ``Running(before=...)``: a server with sessions of 2 s, which RFC 4028 §4 forbids and no test could wait for."""
TEST_TIMEOUT = 10.0
"""Seconds until a test gives up waiting. This is no limit for how long the server may take."""

Address = tuple[str, int]
T = TypeVar("T")
_reserved: set[int] = set()


def wait_for(condition: Callable[[], T], what: str, seconds: float = TEST_TIMEOUT) -> T:
    """Call ``condition`` again and again until its result is true, and return the result. Fails after ``seconds``."""
    give_up = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < give_up, f"waited {seconds} s in vain: {what}"
        time.sleep(0.01)
    return found


def free_ports(count: int) -> int:
    """Reserve ``count`` free ports in a row, and return the first, which is even.

    The system gives none of these ports to other sockets. Short rows lie below long rows, so that the long rows do not
    run out. A server frees its row when it ends.
    """
    for _ in range(1000):
        first = random.randrange(11000, 17000, 2) if count < 20 else random.randrange(17000, 32000, 2)
        ports = range(first, first + count)
        if _reserved.isdisjoint(ports) and all(map(is_free, ports)):
            _reserved.update(ports)
            return first
    raise AssertionError(f"no {count} free ports in a row")


def is_free(port: int) -> bool:
    """Return whether no socket has ``port``, neither for UDP nor for TCP."""
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                return False
    return True


def ffmpegs_of(pid: int) -> list[int]:
    """Return the running children of the process ``pid`` that are ffmpegs, or that will become ffmpegs by ``exec``."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("needs the /proc of Linux to find the server's ffmpegs")
    return [
        child for child, state, parent in processes() if parent == pid and state != "Z" and name_of(child) in LEASHED
    ]


LEASHED = ("setpriv", "sh", "ffmpeg")


def name_of(pid: int) -> str:
    """Return the name of the process ``pid``; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def is_running(pid: int) -> bool:
    return any(pid == other and state != "Z" for other, state, _ in processes())


def processes() -> list[tuple[int, str, int]]:
    """Return the number, the state and the parent of each process."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # the process has just ended
            found.append((int(folder.name), fields[0], int(fields[1])))
    return found


class Running:
    """A server in its own process, on free ports of the loopback. ``settings`` are its environment."""

    def __init__(self, folder: Path, cache: Path, *, before: Sequence[str] = (), **settings: str) -> None:
        """``before`` is a command. It gets the server's command as its arguments, and runs it by ``exec``."""
        self.port = int(settings.get("MOH_SIP_PORT") or free_ports(1))
        self._ports = range(0)
        self.log_file = folder / f"server-{self.port}.log"
        self.address: Address = ("127.0.0.1", self.port)
        if "MOH_RTP_PORTS" not in settings:
            first = free_ports(100)
            self._ports = range(first, first + 100)
            settings["MOH_RTP_PORTS"] = f"{first}-{first + 99}"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MOH_")}
        environment.update(
            MOH_BIND="127.0.0.1", MOH_MUSIC=str(ROOT / "moh" / "builtin.mp3"), MOH_CACHE=str(cache), MOH_LOG="debug"
        )
        environment.update(settings, MOH_SIP_PORT=str(self.port))
        self.settings = settings
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [*before, sys.executable, str(ROOT / "sip_server.py")],
                cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def says(self, text: str) -> str:
        """Wait until the log holds ``text``. Return the whole log."""
        wait_for(lambda: text in self.log or self.process.poll() is not None, f"{text!r} in the log:\n{self.log}", 30)
        assert text in self.log, self.log
        return self.log

    def ready(self) -> Running:
        self.says("ready: ")
        return self

    @property
    def ffmpegs(self) -> list[int]:
        return ffmpegs_of(self.process.pid)

    def has_no_ffmpeg(self) -> bool:
        """Wait until all ffmpegs of the server have ended."""
        return bool(wait_for(lambda: not self.ffmpegs, "the end of all ffmpegs"))

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def exit_status(self) -> int:
        """Wait for the end of the process. Return its exit status."""
        return self.process.wait(TEST_TIMEOUT)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the server if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        _reserved.difference_update(self._ports)
