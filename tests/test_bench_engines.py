"""The figures of ``bench.engines``: pure arithmetic; and its receiver and sender in C, end to end on real sockets."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.farm import Farm, compiled, pacing, spacing
from bench.load import Load, tables
from bench.rate import read_answers, read_counts

LOAD = Load(
    cpu=0.02, thread=20.0, memory=0.5, spacing_p50=20.0, spacing_p99=20.2, spacing_max=21.0, jitter=0.05, late=0.0,
    lost=0.0, skipped=0.0, silent=0.0, others=3.0,
)  # fmt: skip
in_c = pytest.mark.skipif(
    not shutil.which("cc") or not sys.platform.startswith("linux"), reason="needs Linux and a C compiler"
)


def test_quantiles_of_bins() -> None:
    bins = [(1990, 1), (2000, 97), (2500, 2)]
    assert spacing(bins, 0.5) == pytest.approx(20.005)
    assert spacing(bins, 0.99) == pytest.approx(25.005)
    assert spacing([], 0.5) != spacing([], 0.5)  # nan


def test_counts_become_shares_of_what_was_due() -> None:
    counted = {
        "packets": 195, "due": 200, "lost": 4, "skipped": 1, "late": 39, "silent": 2, "widest": 31.0, "jitter": 0.25,
        "spacings": [[2000, 190]],
    }  # fmt: skip
    found = pacing(counted)
    assert (found["lost"], found["skipped"], found["late"], found["silent"]) == (2.0, 0.5, 20.0, 2)
    assert (found["spacing_max"], found["jitter"]) == (31.0, 0.25)


def test_where_nothing_came_the_figures_are_none() -> None:
    found = pacing({"packets": 0, "due": 0, "lost": 0, "skipped": 0, "late": 0, "silent": 5, "widest": 0, "jitter": 0})
    assert found["late"] != found["late"] and found["silent"] == 5


def test_engines_are_compared_where_both_were_measured() -> None:
    told = tables(
        {
            ("veth", "shared", 1000): [replace(LOAD, cpu=0.03), replace(LOAD, cpu=0.02)],
            ("veth", "C", 1000): [LOAD, replace(LOAD, cpu=0.04)],
            ("veth", "shared", 9000): [LOAD],
        }
    )
    assert "shared / C |" in told and "x 1.00 (0.50-1.50)" in told
    assert "C burst" not in told and told.count("shared / C") == 1


def test_what_sipp_writes_is_read() -> None:
    table = "TotalCallCreated;SuccessfulCall(P);SuccessfulCall(C);FailedCall(C);\n1;1;1;0;\n20;4;17;3;\n"
    assert read_counts(table) == {"SuccessfulCall": 17, "FailedCall": 3, "TotalCallCreated": 20}
    assert read_answers("Date_ms;response_time_ms;rtd_no\n1700.1;2;1\n1700.2;31.5;1\n") == [
        (1700.1, 2.0),
        (1700.2, 31.5),
    ]


@in_c
def test_the_farm_counts_what_is_lost_skipped_and_strange(tmp_path: Path) -> None:
    farm = Farm(compiled("farm.c", tmp_path), [], "udp", "127.1.0.0", 3, 1, 30.0, 24100)
    try:
        farm.begin()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"no RTP", ("127.1.0.1", farm.port))
            # after the second packet one number is lost, and then a moment passes without any
            for sequence, tick in ((65534, 0), (65535, 1), (1, 3), (2, 5)):
                packet = struct.pack("!BBHII", 0x80, 0, sequence, (2**32 - 160 + 160 * tick) % 2**32, 7) + bytes(160)
                sender.sendto(packet, ("127.1.0.2", farm.port))
                sender.sendto(packet, ("127.1.0.2", farm.port + 1))
        counted = farm.end()
    finally:
        farm.close()
    names = ("heard", "silent", "packets", "due", "lost", "skipped", "strangers", "dropped", "overflow")
    assert [counted[name] for name in names] == [1, 2, 4, 6, 1, 1, 1, 0, 0]


@in_c
@pytest.mark.parametrize("slots", [1, 20])
def test_the_sender_plays_to_everybody(slots: int, tmp_path: Path) -> None:
    farm = Farm(compiled("farm.c", tmp_path), [], "udp", "127.1.0.0", 30, 1, 30.0, 24200)
    words = [compiled("send.c", tmp_path), "127.0.0.1", "0", "127.1.0.0", "30", str(farm.port), str(slots), "2"]
    sender = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert sender.stdout is not None and sender.stdin is not None
        assert sender.stdout.readline() == "ready\n"
        farm.begin()
        sender.stdin.write("go\n")
        sender.stdin.flush()
        with pytest.raises(subprocess.TimeoutExpired):
            sender.wait(0.3)
        said = sender.communicate(timeout=10)[0].split()
        counted = farm.end()
    finally:
        sender.kill()
        sender.wait()
        farm.close()
    assert (counted["silent"], counted["lost"], counted["skipped"]) == (0, 0, 0)
    assert said[0::2] == ["sent", "failed"] and int(said[1]) == counted["packets"]
