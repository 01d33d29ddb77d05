"""The engines that ``bench.playing.engines`` compares, each playing to a crowd from processes of its own."""

from __future__ import annotations

import ipaddress
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Optional, Protocol

from bench.common.processes import end
from bench.common.program import ROOT
from bench.playing.places import Place
from moh.common.actions import Address, Target
from moh.common.codecs import PCMU
from moh.ffmpeg.commands import ffmpeg_command
from moh.ffmpeg.launch import leash
from moh.mastering.prepare import Music

SEND = Path(__file__).with_name("send.c")
EVERY = 0.05
"""Seconds from the start of one ffmpeg to the next."""


class Crowd(Protocol):
    """An engine. ``open`` makes it ready, ``begin`` has it play to all, ``finish`` ends it, whatever has happened."""

    def open(self, place: Place, callers: int, port: int) -> None:
        """Get ready to play to so many callers at ``port``."""

    def begin(self) -> None:
        """Play."""

    def players(self) -> list[int]:
        """The processes that play."""

    def finish(self) -> str:
        """End them; what they say of it."""


class One:
    """A process that plays to all: it says "ready", waits for a line, and ends when its standard input is closed."""

    def __init__(self) -> None:
        self._process: Optional[subprocess.Popen[str]] = None

    def command(self, place: Place, callers: int, port: int) -> list[str]:
        """The words of its command."""
        raise NotImplementedError

    def open(self, place: Place, callers: int, port: int) -> None:
        """See ``Crowd``."""
        words = [*leash(os.getpid()), *place.prefix, *self.command(place, callers, port)]
        self._process = subprocess.Popen(
            words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError(f"does not start: {' '.join(words)}")

    def begin(self) -> None:
        """See ``Crowd``."""
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def players(self) -> list[int]:
        """See ``Crowd``."""
        return [self._process.pid] if self._process else []

    def finish(self) -> str:
        """See ``Crowd``."""
        if self._process is None:
            return ""
        try:
            said = self._process.communicate(timeout=10)[0]
        except subprocess.TimeoutExpired:
            self._process.kill()
            said = self._process.communicate()[0]
        self._process = None
        return said.strip()


class Sender(One):
    """``send.c``: the callers' packets in so many ``slots`` of the 20 ms, by so many ``threads``."""

    def __init__(self, binary: str, slots: int, threads: int) -> None:
        super().__init__()
        self._words = (binary, str(slots), str(threads))

    def command(self, place: Place, callers: int, port: int) -> list[str]:
        """See ``One``."""
        binary, slots, threads = self._words
        return [binary, place.local, str(place.senders(1)[0]), place.first, str(callers), str(port), slots, threads]


class Shared(One):
    """The server's shared stream (``bench.playing.shared_process``); 0 ``threads``: as many as it takes by itself."""

    def __init__(self, music: Music, threads: int) -> None:
        super().__init__()
        self._music, self._threads = music, threads

    def command(self, place: Place, callers: int, port: int) -> list[str]:
        """See ``One``."""
        music = [str(self._music.paths[PCMU.sample_rate]), str(self._music.seconds)]
        to = [place.local, str(place.senders(1)[0]), place.first, str(callers), str(port), str(self._threads)]
        return [sys.executable, "-m", "bench.playing.shared_process", *music, *to]


class Ffmpegs:
    """An ffmpeg for each caller, by the server's command."""

    def __init__(self, music: Music, said: Path) -> None:
        self._music = music
        self._said = said
        self._commands: list[list[str]] = []
        self._processes: list[subprocess.Popen[bytes]] = []

    def open(self, place: Place, callers: int, port: int) -> None:
        """See ``Crowd``."""
        first, senders = int(ipaddress.ip_address(place.first)), place.senders(callers)
        front = [*leash(os.getpid()), *place.prefix]
        for number in range(callers):
            host = str(ipaddress.ip_address(first + number))
            leaves = Address(place.local, senders[number])
            target = Target(Address(host, port), Address(host, port + 1), leaves, PCMU, 0, 20)
            file, ssrc = self._music.paths[PCMU.sample_rate], secrets.randbits(30) + 1
            self._commands.append([*front, *ffmpeg_command(file, self._music.seconds, target, 0.0, True, ssrc)])

    def begin(self) -> None:
        """See ``Crowd``."""
        with self._said.open("ab") as said:
            for command in self._commands:
                self._processes.append(
                    subprocess.Popen(
                        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said,
                        start_new_session=True,
                    )
                )  # fmt: skip
                time.sleep(EVERY)

    def players(self) -> list[int]:
        """See ``Crowd``."""
        return [process.pid for process in self._processes if process.poll() is None]

    def finish(self) -> str:
        """See ``Crowd``."""
        end(self._processes)
        self._processes, self._commands = [], []
        return ""
