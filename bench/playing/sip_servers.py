"""SIP servers that are measured by calling them: those of this project, and others."""

from __future__ import annotations

import os
import random
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Optional

from bench.common.messages import HostPort
from bench.common.phone import Phone
from bench.common.processes import children, end
from bench.common.program import SCRIPT, environment
from bench.common.receiver import HOST
from bench.playing.methods import SENDERS, free_pairs
from moh.ffmpeg.launch import leash
from moh.mastering.prepare import BUILTIN

PATIENCE = 20.0
"""Seconds that a server may take until it answers."""
RTP_PORTS = (40000, 49999)
"""The first and the last port for the music of other servers."""


class SipServer:
    """A server in a process of its own. It dies with this process.

    In ``command`` and in the values of ``settings`` {port} stands for the SIP port, {first} and {last} for the range of
    ports for music. ``settings`` are added to the environment.
    """

    def __init__(self, command: Sequence[str], folder: Path, settings: Optional[Mapping[str, str]] = None) -> None:
        self._command, self._settings = command, settings or {}
        self._folder, self._log = folder, folder / "server.log"
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._phone = Phone(HOST, (HOST, 0))
        self.address: HostPort = (HOST, 0)
        self.last_rtp_port = 0
        """The even port of the last pair for music: this project's shared stream has it."""
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def pid(self) -> int:
        """The number of the server's process, which may have children."""
        assert self._process is not None
        return self._process.pid

    def open(self, pairs: int = 1) -> None:
        """Start the server, and wait until it would take a call: OPTIONS gets the answer that an INVITE would get.

        This project's servers get ``pairs`` pairs of ports for music. Raises ``RuntimeError`` if the server does not
        start.
        """
        port, *own = free_pairs(random.choice(SENDERS), pairs + 1)
        self.last_rtp_port = own[-1]
        names = {"port": port, "first": own[0], "last": own[-1] + 1}
        if not self._settings:
            names.update(first=RTP_PORTS[0], last=RTP_PORTS[1])
        self.address = (HOST, port)
        self._phone = Phone(HOST, self.address)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*leash(os.getpid()), *(part.format(**names) for part in self._command)],
                env=environment(**{name: value.format(**names) for name, value in self._settings.items()}),
                cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        give_up = time.monotonic() + PATIENCE
        while not self._phone.reaches_server(0.2):
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"the server does not start: {self._log.read_text(errors='replace')[-300:]}")

    def call(self, host: str, port: int) -> str:
        """Make a call whose music goes to ``host`` and ``port``. Return why it was refused; empty if it was not."""
        return self._phone.call(host, port, 2.0)

    def close(self) -> None:
        """End the server and its calls."""
        if self._process is not None:
            end([self._process], grace=5.0)
            self._process = None


def project(
    tree: Path, folder: Path, settings: Mapping[str, str], python: str = sys.executable, ffmpeg: str = "ffmpeg"
) -> SipServer:
    """Return the server of the project in ``tree``, with its default settings but for ``settings``.

    ``python`` runs it, and ``ffmpeg`` is the one on its PATH. ``folder`` holds its converted music.
    """
    usual = {
        "MOH_BIND": HOST, "MOH_SIP_PORT": "{port}", "MOH_RTP_PORTS": "{first}-{last}", "MOH_CACHE": str(folder),
        "MOH_MUSIC": str(BUILTIN),
    }  # fmt: skip
    if os.sep in ffmpeg:
        folder.mkdir(parents=True, exist_ok=True)
        path = Path(tempfile.mkdtemp(prefix="path-", dir=folder))
        (path / "ffmpeg").symlink_to(Path(ffmpeg).absolute())
        usual["PATH"] = f"{path}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return SipServer([python, str(tree.absolute() / SCRIPT.name)], folder, {**usual, **settings})


def peer(command: str, folder: Path) -> SipServer:
    """Return another server. ``command`` is split as a shell splits it, and has to stay in the foreground."""
    program, *options = shlex.split(command)
    if os.sep in program:
        program = str(Path(program).absolute())  # it runs in another folder
    return SipServer([program, *options], folder)


class WholeServer:
    """This project's server as a method of playing to callers; see ``bench.playing.methods.Method``."""

    def __init__(self, server: SipServer) -> None:
        self._server = server
        self._runs = False

    def open(self, calls: int) -> None:
        """Start the server and wait until it answers."""
        self._runs = True
        self._server.open(calls + 20)

    def begin(self, port: int) -> float:
        """Make a call (INVITE, 200, ACK) whose music goes to ``port``. Return the time of its INVITE."""
        began = time.time()
        self._server.call(HOST, port)
        return began

    def processes(self) -> list[int]:
        """Return the server and its ffmpegs."""
        return [self._server.pid, *children(self._server.pid)] if self._runs else []

    def finish(self) -> None:
        """End the server. Its calls and ffmpegs end with it."""
        self._runs = False
        self._server.close()
