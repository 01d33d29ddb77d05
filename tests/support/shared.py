"""A shared stream with a short tune, and stand-ins for its parts."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Optional

import pytest

from moh.common.actions import Address, StreamEnded, Target
from moh.common.codecs import PCMU, Codec
from moh.common.tunes import Tune, Tunes
from moh.net.sendmmsg import DestinationTable
from moh.shared.fanout import COMMON_HEADER, Fanout, FanoutKey, Receiver
from moh.shared.loop import Loop, LoopPair
from moh.shared.shared_stream import SharedStream
from tests.support.crowd import climbing, target, write_wave
from tests.support.phone import Ear
from tests.support.running import free_ports, wait_for

TUNE_SAMPLES = 8001
"""The number of samples of the tune: one more than fits into whole packets."""
SSRC, SEQUENCE, TIMESTAMP = 0x01020304, 1000, 50_000


def music_files(folder: Path) -> dict[int, Path]:
    """Write a second of music at both sample rates. Return the files by sample rate."""
    return {
        8000: write_wave(folder / "tune8.wav", climbing(TUNE_SAMPLES)),
        16000: write_wave(folder / "tune16.wav", climbing(2 * TUNE_SAMPLES), 16_000),
    }


@contextmanager
def playing(
    music: dict[int, Path], bind: str = "127.0.0.1", threads: int = 1, tunes: Optional[Tunes] = None
) -> Iterator[SharedStream]:
    """Yield a shared stream with one tune, number 0. At the end, check that none of its threads is left."""
    tunes = tunes or Tunes()
    tunes.add(Tune(music, TUNE_SAMPLES / 8000))
    stream = SharedStream(bind, free_ports(2), tunes, threads)
    try:
        yield stream
    finally:
        stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pacer")]


def to(ear: Ear, stream: SharedStream, codec: Codec = PCMU, payload_type: int = 0, ptime: int = 20) -> Target:
    """Return the target for music to ``ear``."""
    return target(Address(*ear.address), stream.port, codec, payload_type, ptime)


def the_end(stream: SharedStream) -> StreamEnded:
    """Wait until the shared stream reports the end of one call's music. Return that report."""
    (end,) = wait_for(stream.ended, "the report of an end")
    return end


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put the Python program ``script`` as ``ffmpeg`` on the PATH."""
    fake = folder / "ffmpeg"
    fake.write_text(f"#!{sys.executable}\nimport os, sys, time\nout = sys.stdout.buffer\n{script}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


class FakeLoop(Loop):
    """An endless tune. Each octet is its position modulo 251. The positions in ``missing`` are not encoded yet."""

    def __init__(self) -> None:
        self.missing = range(0)
        self.failure = ""
        self.began: Optional[float] = 4.0

    @property
    def ready(self) -> bool:
        return self.began is not None

    def second_at(self, position: int) -> float:
        return position / 8000

    def wake(self) -> None:
        """A real loop would encode."""

    def payload_at(self, position: int, octets: int) -> Optional[memoryview]:
        if position in self.missing:
            return None
        return memoryview(bytes((position + n) % 251 for n in range(octets)))


class Wire(DestinationTable):
    """A table of destinations that records packets and sends none."""

    def __init__(self, octets: int) -> None:
        self.common = memoryview(bytearray(octets))
        self.lost = 0
        self.no_route: list[int] = []
        self.to: list[tuple[Address, bytes]] = []
        self.sent: list[tuple[bytes, list[Address]]] = []
        """For each ``send``: the packet of the first destination, and all destinations."""
        self.received: dict[Address, list[bytes]] = {}
        """The packets of each destination."""

    def add(self, to: Address, source: str, prefix: bytes = b"") -> None:
        if to.port == 0:
            raise OSError("no address")
        self.to.append((to, prefix))

    def remove(self, slot: int) -> None:
        self.to[slot] = self.to[-1]
        self.to.pop()

    def send(self) -> None:
        packets = [prefix + self.common for _, prefix in self.to]
        for (to, _), packet in zip(self.to, packets):
            self.received.setdefault(to, []).append(packet)
        if packets:
            self.sent.append((packets[0], [to for to, _ in self.to]))


def fanout_key(codec: Codec = PCMU, ptime: int = 20) -> FanoutKey:
    return FanoutKey(0, codec, ptime, ipv6=False, alternate=0)


def a_fanout(
    key: Optional[FanoutKey] = None, due: float = 10.0, chance: tuple[int, int, int] = (SSRC, SEQUENCE, TIMESTAMP)
) -> tuple[Fanout, Wire, FakeLoop]:
    """Return a fan-out of a tune that began at 4.0. Its first packet is due at ``due``."""
    key = key or fanout_key()
    tune, wire = FakeLoop(), Wire(COMMON_HEADER.size + key.octets)
    return Fanout(key, LoopPair(tune), wire, began=4.0, due=due, offset=0, chance=chance), wire, tune


def receiver(number: int, payload_type: int = 0) -> Receiver:
    to: Target = target(Address(f"10.0.0.{number}", 4000), 10_100, payload_type=payload_type)
    return Receiver(f"call {number}", 1, to)
