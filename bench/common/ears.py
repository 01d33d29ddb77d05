"""Starts the receiver (``receive.c``, or ``receive_slowly.py`` without a compiler) and reads what it wrote."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from bench.common.receive_slowly import RECORD

HOST = "127.0.0.1"
"""All that is measured stays on the loopback."""
FIRST_PORTS = range(20000, 24000, 2)
"""Where the search for free ports begins, anywhere in here: below those that the system gives away."""


class Packet(NamedTuple):
    """A packet of RTP: ``arrival`` in seconds since 1970 by the kernel's stamp, the rest from its header."""

    arrival: float
    timestamp: int
    sequence: int


def receiver(folder: Path) -> list[str]:
    """The first words of the receiver's command, compiled into ``folder`` where there is a compiler."""
    compiler = shutil.which("cc")
    if compiler:
        binary = folder / "receive"
        source = Path(__file__).with_name("receive.c")
        done = subprocess.run(
            [compiler, "-O2", "-o", str(binary), str(source)], stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if done.returncode == 0:
            return [str(binary)]
        print(f"cc does not make the receiver: {done.stderr.strip()}", file=sys.stderr)
    print("Without a C compiler a slower receiver in Python is used; its stamps are the kernel's too.", file=sys.stderr)
    return [sys.executable, "-m", "bench.common.receive_slowly"]


class Ears:
    """A receiver with ``count`` pairs of ports, for ``seconds`` at the most; ``ports`` are the even ones."""

    def __init__(self, command: list[str], folder: Path, count: int, seconds: float) -> None:
        self.dropped = 0
        """Packets that found the buffer of their port full, known once it is closed."""
        self._file = folder / "packets"
        # a session of its own, so that Ctrl-C reaches us only; it ends as soon as its standard input is closed
        self._process = subprocess.Popen(
            [*command, HOST, str(random.choice(FIRST_PORTS)), str(count), str(seconds), str(self._file)],
            cwd=Path(__file__).parent.parent.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        word, *ports = self._process.stdout.readline().split() or [""]
        self.ports = [int(port) for port in ports]
        if word != "ports" or len(self.ports) != count:
            self.close()
            raise RuntimeError(f"the receiver has {len(self.ports)} ports; expected {count}")

    @property
    def pid(self) -> int:
        """The receiver's process."""
        return self._process.pid

    def close(self) -> None:
        """End the receiver, all that it has written being in its file; may be called again."""
        if self._process.returncode is not None:
            return
        try:
            said = self._process.communicate(timeout=5)[0]
        except subprocess.TimeoutExpired:
            self._process.kill()
            said = self._process.communicate()[0]
        for line in said.splitlines():
            if line.startswith("dropped "):
                self.dropped = int(line.split()[1])

    def packets(self) -> list[list[Packet]]:
        """What each port got, in the order of arrival; closes the receiver."""
        self.close()
        heard: list[list[Packet]] = [[] for _ in self.ports]
        for arrival, timestamp, _, place, sequence in RECORD.iter_unpack(self._file.read_bytes()):
            heard[place].append(Packet(arrival / 1e9, timestamp, sequence))
        return heard
