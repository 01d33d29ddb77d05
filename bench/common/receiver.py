"""A process (``receive.c``) that records the arrival of each RTP packet, and the packets that it recorded."""

from __future__ import annotations

import random
import struct
import subprocess
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).with_name("receive.c")
HOST = "127.0.0.1"
"""All packets stay on the loopback."""
FIRST_PORTS = range(20000, 24000, 2)
"""The search for free ports begins at one of these. They are below the ports that the system gives to sockets."""
RECORD = struct.Struct("=qIIHH")
"""The record of one packet: arrival in ns since 1970, timestamp, SSRC, index of the port, sequence number."""


class Packet(NamedTuple):
    """An RTP packet: ``arrival`` in seconds since 1970 by the kernel's clock, the rest from its header."""

    arrival: float
    timestamp: int
    sequence: int


class Receiver:
    """A receiver with ``count`` pairs of ports, for at most ``seconds``. ``ports`` are the even ports.

    ``program`` is the compiled ``receive.c``. It writes its file into ``folder``.
    """

    def __init__(self, program: str, folder: Path, count: int, seconds: float) -> None:
        self.dropped = 0
        """The number of packets that found the buffer of their port full. It is known after ``close``."""
        self._file = folder / "packets"
        # The receiver has a session of its own, so that Ctrl-C reaches only this process. It ends when its standard
        # input is closed.
        self._process = subprocess.Popen(
            [program, HOST, str(random.choice(FIRST_PORTS)), str(count), str(seconds), str(self._file)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        key, *ports = self._process.stdout.readline().split() or [""]
        self.ports = [int(port) for port in ports]
        if key != "ports" or len(self.ports) != count:
            self.close()
            raise RuntimeError(f"the receiver has {len(self.ports)} ports; expected {count}")

    @property
    def pid(self) -> int:
        """The number of the receiver's process."""
        return self._process.pid

    def close(self) -> None:
        """End the receiver. Its file is complete afterwards. A second call does nothing."""
        if self._process.returncode is not None:
            return
        try:
            output = self._process.communicate(timeout=5)[0]
        except subprocess.TimeoutExpired:
            self._process.kill()
            output = self._process.communicate()[0]
        for line in output.splitlines():
            if line.startswith("dropped "):
                self.dropped = int(line.split()[1])

    def packets(self) -> list[list[Packet]]:
        """Close the receiver. Return the packets of each port in the order of their arrival."""
        self.close()
        received: list[list[Packet]] = [[] for _ in self.ports]
        for arrival, timestamp, _, index, sequence in RECORD.iter_unpack(self._file.read_bytes()):
            received[index].append(Packet(arrival / 1e9, timestamp, sequence))
        return received
