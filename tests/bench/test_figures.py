"""The arithmetic of the figures of ``bench``. End to end, on real sockets: the receiver of ``bench``."""

from __future__ import annotations

import shutil
import socket
import struct
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bench.common.compiler import compiled
from bench.common.figures import Figures, combine, pacing, quantile, ratio, starts
from bench.common.receiver import SOURCE, Packet, Receiver
from bench.playing.calls import tables


def stream(*arrivals: float, samples: int = 160, first: int = 0) -> list[Packet]:
    return [Packet(at, (first + samples * place) % 2**32, (65535 + place) % 65536) for place, at in enumerate(arrivals)]


FIGURES = Figures(
    cpu=1.0, private=2.0, start_p50=3.0, start_p99=4.0, spacing_p50=20.0, spacing_p99=20.0, spacing_max=20.0,
    jitter=0.0, late=0.0, missing=0.0, silent=0.0, others=0.0,
)  # fmt: skip


def test_a_steady_stream_has_no_jitter_and_is_never_late() -> None:
    found = pacing([stream(10.0, 10.02, 10.04, 10.06, first=2**32 - 320)], 10.0, 11.0)
    assert found == pytest.approx(
        {"spacing_p50": 20, "spacing_p99": 20, "spacing_max": 20, "jitter": 0, "late": 0, "missing": 0}, abs=1e-3
    )


def test_one_packet_of_four_is_late() -> None:
    found = pacing([stream(10.0, 10.02, 10.05, 10.06)], 10.0, 11.0)
    assert found["late"] == 25.0
    assert found["spacing_max"] == pytest.approx(30.0)
    # RFC 3550 §6.4.1, computed by hand: |D| is 0, 10 and 10 ms, so J is 0, 0.625 and 1.2109375 ms
    assert found["jitter"] == pytest.approx((0 + 0.625 + 1.2109375) / 3, abs=1e-3)


def test_half_of_the_packets_that_come_in_pairs_are_late() -> None:
    found = pacing([stream(10.0, 10.0, 10.04, 10.04, 10.08, 10.08)], 10.0, 11.0)
    assert found["late"] == 50.0


def test_a_packet_that_never_came_is_missing_also_when_sequence_numbers_wrap() -> None:
    packets = stream(10.0, 10.02, 10.04, 10.06)
    del packets[1]
    assert pacing([packets], 10.0, 11.0)["missing"] == 25.0


def test_only_packets_within_the_time_count() -> None:
    found = pacing([stream(9.0, 9.5, 10.0, 10.02, 10.04, 12.0), []], 10.0, 11.0)
    assert found["spacing_max"] == pytest.approx(20.0)


def test_the_start_of_each_call_is_measured() -> None:
    assert starts([stream(10.1), [], stream(10.4)], [10.0, 10.1, 10.2]) == pytest.approx([100, 200])


def test_quantiles_are_measured_values() -> None:
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile(range(100), 0.99) == quantile([99.0], 0.99) == 99


def test_rounds_are_compared_one_by_one() -> None:
    rounds = [replace(FIGURES, cpu=cpu) for cpu in (1.0, 4.0, 3.0)]
    reference = [replace(FIGURES, cpu=cpu) for cpu in (2.0, 4.0, 4.0)]
    assert str(ratio(rounds, reference, "cpu")) == "x 0.75 (0.50-1.00)"
    assert combine(rounds) == replace(FIGURES, cpu=3.0)


@pytest.mark.skipif(
    not shutil.which("cc") or not sys.platform.startswith("linux"), reason="needs Linux and a C compiler"
)
def test_the_receiver_records_when_each_packet_arrived(tmp_path: Path) -> None:
    receiver = Receiver(compiled(SOURCE, tmp_path), tmp_path, 2, 30.0)
    try:
        began = time.time()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for sequence in range(3):
                packet = struct.pack("!BBHII", 0x80, 0, sequence, 160 * sequence, 7) + bytes(160)
                sender.sendto(packet, ("127.0.0.1", receiver.ports[1]))
                sender.sendto(b"no RTP", ("127.0.0.1", receiver.ports[1]))
                sender.sendto(packet, ("127.0.0.1", receiver.ports[1] + 1))
        first, second = receiver.packets()
    finally:
        receiver.close()
    assert not first
    assert [packet[1:] for packet in second] == [(0, 0), (160, 1), (320, 2)]
    assert began <= second[0].arrival <= second[1].arrival <= second[2].arrival <= time.time()
    assert receiver.dropped == 0


def test_the_commands_are_compared_with_the_servers_command_and_servers_with_the_other_server() -> None:
    text = tables(
        {
            ("ours", 2): [FIGURES, replace(FIGURES, cpu=2.0)],
            ("copy", 2): [replace(FIGURES, cpu=0.5), FIGURES],
            ("server, ours", 2): [FIGURES, FIGURES],
            ("server, against", 2): [replace(FIGURES, cpu=4.0), replace(FIGURES, cpu=2.0)],
            ("copy", 9): [FIGURES],
        }
    )
    assert "copy / ours |" in text and "x 0.50 (0.50-0.50)" in text
    assert "server, ours / server, against |" in text and "x 0.38 (0.25-0.50)" in text
    assert "| ours /" not in text.replace("  ", "") and "copy / server" not in text
