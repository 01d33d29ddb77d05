"""End to end: live music from a ring, by both engines, with a real ffmpeg. Each tenth of a second has its number."""

from __future__ import annotations

import os
import time
import wave
from array import array
from pathlib import Path
from typing import Optional

import pytest

from moh.common.actions import Address
from moh.common.tunes import Tune, Tunes
from moh.server.engines import Engines
from moh.shared.shared_stream import SharedStream
from tests.support.crowd import start, target
from tests.support.phone import Ear, Packet, has_no_gap
from tests.support.running import ffmpegs_of, free_ports

BLOCK = 0.1
"""Seconds of music that have the same number."""
NUMBERS = 101
"""A block has its number modulo this. It is no divisor of a ring's length, so what a former round left is noticed."""
AHEAD = 8.0
"""Seconds by which the ring is written before it is played: the least that is promised."""


def linear(code: int) -> int:
    """Return the sample of a mu-law octet (ITU-T G.711, table 2a)."""
    value = ((((~code & 15) << 3) + 132) << ((~code & 112) >> 4)) - 132
    return value if code & 128 else -value


class Ring:
    """A ring of 12 s that is written round and round, and now is half a second before the end of its second round."""

    seconds = 12.0

    def __init__(self, path: Path) -> None:
        self.path = path
        self.began = time.monotonic() - 2 * self.seconds + 0.5
        self._written = round((time.monotonic() - self.began - 0.2) / BLOCK)
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(bytes(round(self.seconds * 16_000)))
        self._file = path.open("r+b", buffering=0)
        self.write()

    def write(self) -> None:
        """Write up to ``AHEAD`` seconds after now."""
        while self.began + self._written * BLOCK < time.monotonic() + AHEAD:
            samples = array("h", [linear(self._written % NUMBERS + 128)]) * round(8000 * BLOCK)
            self._file.seek(44 + round(self._written * BLOCK % self.seconds * 8000) * 2)
            self._file.write(samples.tobytes())
            self._written += 1

    def close(self) -> None:
        self._file.close()


class Listener:
    """A receiver that keeps all packets, with the times at which they came."""

    def __init__(self) -> None:
        self.ear = Ear()
        self.packets: list[Packet] = []
        self.came: list[float] = []

    def listen(self) -> None:
        new = self.ear.waiting()
        self.packets += new
        self.came += [time.monotonic()] * len(new)

    def first_block(self, near: float) -> int:
        """Return the number of the block in the first packet; it is near ``near``."""
        return min(range(round(near) - 50, round(near) + 51), key=lambda block: self.code(block) != self.heard[0])

    @staticmethod
    def code(block: int) -> int:
        return block % NUMBERS + 128

    @property
    def heard(self) -> bytes:
        return b"".join(packet.payload for packet in self.packets)


def assert_plays(listener: Listener, ring: Ring, latest: float) -> None:
    """Assert that no packet is missing and that the blocks follow each other in the times of the ring."""
    assert has_no_gap(listener.packets)
    heard, at = listener.heard, (listener.came[0] - ring.began) / BLOCK
    first = listener.first_block(at)
    rest = next(place for place in range(len(heard)) if heard[place] != heard[0])
    expected = bytes([heard[0]]) * rest
    for block in range(first + 1, first + 2 + len(heard) // 800):
        expected += bytes([listener.code(block)]) * 800
    assert heard == expected[: len(heard)], "each block in its order, also over the end of the ring"
    played = ring.began + (first + 1) * BLOCK - rest / 8000
    assert -0.05 < listener.came[0] - played < latest


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    return Ring(tmp_path / "ring.wav")


def live(ring: Ring, tunes: Optional[Tunes] = None) -> Engines:
    tunes = tunes or Tunes()
    engines = Engines(tunes, SharedStream("127.0.0.1", free_ports(2), tunes))
    assert engines.add_tune(Tune({8000: ring.path}, ring.seconds, began=ring.began)) == 0
    return engines


def play(ring: Ring, listeners: list[Listener], seconds: float) -> None:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        ring.write()
        for listener in listeners:
            listener.listen()
        time.sleep(0.002)


def test_both_engines_play_live_music_in_its_time_over_the_end_of_the_ring(ring: Ring) -> None:
    engines, own, shared = live(ring), Listener(), Listener()
    engines.order(start("ann", target(Address(*own.ear.address), free_ports(2))))
    engines.order(start("bob", target(Address(*shared.ear.address), engines.shared.port)))
    play(ring, [own, shared], 3.0)
    assert engines.playing() == {("PCMU", "ffmpeg"): 1, ("PCMU", "shared"): 1}
    skipped = engines.shared.stats().skipped
    engines.close()
    assert ffmpegs_of(os.getpid()) == []
    assert_plays(own, ring, latest=4.0)
    if not skipped:  # on a busy machine
        assert_plays(shared, ring, latest=0.5)
    assert len(own.packets) > 80 and len(shared.packets) > 80
    ring.close()


def test_the_ring_of_a_dead_writer_plays_on(ring: Ring) -> None:
    engines, listener = live(ring), Listener()
    engines.order(start("bob", target(Address(*listener.ear.address), engines.shared.port)))
    play(ring, [listener], 1.0)
    ring.close()
    ring.path.unlink()
    listener.packets += listener.ear.packets(60)
    assert has_no_gap(listener.packets)
    engines.close()


def test_the_encoder_of_live_music_dies_and_no_packet_is_missing(ring: Ring) -> None:
    engines, listener = live(ring), Listener()
    engines.order(start("bob", target(Address(*listener.ear.address), engines.shared.port)))
    play(ring, [listener], 0.6)
    for pid in ffmpegs_of(os.getpid()):
        os.kill(pid, 9)
    play(ring, [listener], 2.5)
    skipped = engines.shared.stats().skipped
    engines.close()
    if not skipped:
        assert_plays(listener, ring, latest=0.5)
    assert len(listener.packets) > 100 and engines.ended()[0].why == "the server stops"
    ring.close()
