"""The processes of a fleet: servers of this project, and Kamailio with ``deploy/kamailio`` in front of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from bench.common.messages import HostPort
from bench.common.phone import Phone
from bench.common.processes import children, end
from bench.common.program import ROOT, SCRIPT, environment
from moh.ffmpeg.launch import leash
from moh.mastering.prepare import BUILTIN

CONFIG = ROOT / "deploy" / "kamailio" / "kamailio.cfg"
SIP_PORT = 26500
"""The SIP port of the proxy and of each server. Each has an address of its own."""
RTP_PORTS = (26600, 26619)
"""The ports that each server sends music from."""
PHONE, PROXY = "127.0.26.200", "127.0.26.100"
"""The address of all phones, for SIP, and that of the proxy."""
MEMORY = 1024
"""MB that Kamailio's processes share. Its default of 64 is enough for 800 calls a second: a transaction takes some 16
KB, and stays for 5 s after its end."""
PATIENCE = 30.0
"""Seconds that a process may take until it answers OPTIONS."""


def server_address(number: int) -> str:
    """Return the address of the server ``number``, from 1 on."""
    return f"127.0.26.{number}"


class Member:
    """A process at an address of its own. It dies with this process. ``folder`` gets its log."""

    def __init__(self, name: str, host: str, command: Sequence[str], folder: Path, **settings: object) -> None:
        self.name, self.address = name, (host, SIP_PORT)
        self._command, self._settings = command, settings
        self._log = folder / f"{name}.log"
        self._process: Optional[subprocess.Popen[bytes]] = None

    @property
    def pid(self) -> int:
        """The number of the process, which may have children."""
        assert self._process is not None
        return self._process.pid

    def processes(self) -> list[int]:
        """Return the process and its children."""
        return [self.pid, *children(self.pid)]

    def start(self) -> None:
        """Start the process. It may take a while until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*leash(os.getpid()), *self._command], env=environment(**self._settings), cwd=self._log.parent,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def await_ready(self, phone: str) -> None:
        """Wait until OPTIONS from the address ``phone`` gets 200. Raises ``RuntimeError`` if it does not."""
        asks, give_up = Phone(phone, self.address), time.monotonic() + PATIENCE
        while not asks.reaches_server(0.3):
            if (self._process and self._process.poll() is not None) or time.monotonic() > give_up:
                raise RuntimeError(f"{self.name} does not start: {self._log.read_text(errors='replace')[-500:]}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        os.kill(self.pid, number)

    def close(self) -> None:
        """End the process. A second call does nothing."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.signal(signal.SIGCONT)
            end([self._process], grace=5.0)
            self._process = None


def server(number: int, folder: Path, python: str = sys.executable) -> Member:
    """Return a server of this project, in which all calls share one stream."""
    host = server_address(number)
    return Member(
        f"server{number}", host, [python, str(SCRIPT)], folder, MOH_BIND=host, MOH_SIP_PORT=SIP_PORT,
        MOH_RTP_PORTS=f"{RTP_PORTS[0]}-{RTP_PORTS[1]}", MOH_FFMPEG_CALLS=0, MOH_MUSIC=BUILTIN,
        MOH_CACHE=folder / "cache", MOH_LOG="info", MOH_ALLOW=f"{PHONE},{PROXY}", MOH_CALL_RATE=20000,
    )  # fmt: skip


def proxy(folder: Path, servers: Sequence[HostPort], hidden: bool = False) -> Member:
    """Return a Kamailio that distributes calls of ``PHONE`` to ``servers``, which have equal weights.

    With ``hidden``, all messages of a call pass it. Its configuration is that of ``deploy/kamailio``; only the paths
    of its lists are others.
    """
    text = CONFIG.read_text(encoding="utf-8").replace("/etc/kamailio/", f"{folder}/")
    (folder / "kamailio.cfg").write_text(text, encoding="utf-8")
    (folder / "address.list").write_text(f"2 {PHONE}\n", encoding="utf-8")
    lines = [f"1 sip:{host}:{port} 9 0 rweight=50\n" for host, port in servers]
    (folder / "dispatcher.list").write_text("".join(lines), encoding="utf-8")
    defined = [f"PROXY_ADDRESS={PROXY}", f"PROXY_PORT={SIP_PORT}", *(["SERVERS_HIDDEN"] if hidden else [])]
    command = ["kamailio", "-DD", "-E", "-m", str(MEMORY), "-Y", str(folder), "-f", str(folder / "kamailio.cfg")]
    return Member("kamailio", PROXY, [*command, *(part for name in defined for part in ("-A", name))], folder)
