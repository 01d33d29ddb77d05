"""Many receivers, tunes to play to them, and the start orders for an engine."""

from __future__ import annotations

import contextlib
import socket
import wave
from array import array
from math import pi, sin
from pathlib import Path

from moh.common.actions import Address, StartStream, Target
from moh.common.codecs import PCMU, Codec
from tests.support.phone import Ear, Packet
from tests.support.running import free_ports, wait_for


def write_wave(path: Path, samples: array[int], rate: int = 8000) -> Path:
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, rate, 0, "NONE", ""))
        sound.writeframes(samples.tobytes())
    return path


def sine(rate: int, count: int, cycles: int) -> array[int]:
    """Return ``count`` samples of a tone. They hold whole ``cycles``, so the tone goes on at the seam of the loop."""
    return array("h", (round(8000 * sin(2 * pi * cycles * n / count)) for n in range(count)))


def climbing(count: int = 8000) -> array[int]:
    """Return music in which each half millisecond differs from all others, even in PCMU."""
    return array("h", ((n * n // 7 * 31 + n * 5) % 24_000 - 12_000 for n in range(count)))


def target(to: Address, port: int, codec: Codec = PCMU, payload_type: int = 0, ptime: int = 20) -> Target:
    local = Address("::1" if ":" in to.host else "127.0.0.1", port)
    return Target(to, Address(to.host, to.port + 1), local, codec, payload_type, ptime)


def start(call: str, to: Target, serial: int = 1, tune: int = 0) -> StartStream:
    return StartStream(call, serial, to, 0.0, tune)


class Crowd:
    """Receivers. Each has an address of its own in 127.0.0.0/8, and all have one port.

    The kernel keeps the packets of the last seconds for each receiver, so a slow test loses no packet.
    """

    def __init__(self, count: int) -> None:
        port = free_ports(2)
        self.addresses = [Address(f"127.1.{n // 250}.{n % 250 + 1}", port) for n in range(count)]
        self.received: list[list[Packet]] = [[] for _ in range(count)]
        self._sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
        for sock, address in zip(self._sockets, self.addresses):
            sock.setblocking(False)
            sock.bind(address)

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self._sockets:
            sock.close()

    def read(self) -> None:
        """Read all packets that have come so far into ``received``."""
        for sock, received in zip(self._sockets, self.received):
            with contextlib.suppress(BlockingIOError):
                while True:
                    received.append(Ear.read(*sock.recvfrom(2048)))

    def await_packets(self, count: int, receivers: range) -> None:
        """Wait until each of ``receivers``, given by number, has got ``count`` more packets."""
        wanted = {n: len(self.received[n]) + count for n in receivers}

        def all_have_them() -> bool:
            self.read()
            return all(len(self.received[n]) >= total for n, total in wanted.items())

        wait_for(all_have_them, f"{count} packets for each receiver")
