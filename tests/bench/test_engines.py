"""The figures of ``bench.playing.engines``. End to end, on real sockets: its farm, its senders and the server."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from bench.common.compiler import compiled
from bench.common.farm import SOURCE, Farm, pacing, spacing
from bench.common.phone import Phone
from bench.playing.engines import figures
from bench.playing.load import Load, tables
from bench.playing.senders import C_SOURCE, WholeServerSender
from bench.playing.topologies import Loopback
from moh.common.config import Settings
from moh.mastering.prepare import BUILTIN, prepare

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


def test_counts_become_percentages_of_the_packets_due() -> None:
    counted = {
        "packets": 195, "due": 200, "lost": 4, "skipped": 1, "late": 39, "silent": 2, "widest": 31.0, "jitter": 0.25,
        "spacings": [[2000, 190]],
    }  # fmt: skip
    found = pacing(counted)
    assert (found["lost"], found["skipped"], found["late"], found["silent"]) == (2.0, 0.5, 20.0, 2)
    assert (found["spacing_max"], found["jitter"]) == (31.0, 0.25)


def test_figures_without_packets_are_nan() -> None:
    found = pacing({"packets": 0, "due": 0, "lost": 0, "skipped": 0, "late": 0, "silent": 5, "widest": 0, "jitter": 0})
    assert found["late"] != found["late"] and found["silent"] == 5


def test_counts_fill_a_load() -> None:
    counted = {"packets": 0, "due": 0, "lost": 0, "skipped": 0, "late": 0, "silent": 5, "widest": 0, "jitter": 0}
    assert Load(cpu=0.02, thread=20.0, memory=0.5, others=3.0, **figures(counted)).silent == 5


def test_two_engines_are_compared_if_both_were_measured() -> None:
    text = tables(
        {
            ("veth", "shared", 1000): [replace(LOAD, cpu=0.03), replace(LOAD, cpu=0.02)],
            ("veth", "C", 1000): [LOAD, replace(LOAD, cpu=0.04)],
            ("veth", "shared", 9000): [LOAD],
        }
    )
    assert "shared / C |" in text and "x 1.00 (0.50-1.50)" in text
    assert "C burst" not in text and text.count("shared / C") == 1


def test_a_phone_reports_the_status_line_of_a_refusal() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        requests: list[bytes] = []

        def serve() -> None:
            request, peer = server.recvfrom(65535)
            head = b"\r\n".join(line for line in request.split(b"\r\n") if line[:4] in (b"Call", b"From"))
            server.sendto(b"SIP/2.0 100 Trying\r\n" + head, peer)
            server.sendto(b"SIP/2.0 486 Busy\r\n" + head + b"\r\nTo: <sip:1@a>;tag=9\r\n", peer)
            requests.extend([request, server.recv(65535)])

        thread = threading.Thread(target=serve)
        thread.start()
        refusal = Phone("127.0.0.1", server.getsockname()).call("127.1.0.3", 4000, 10.0)
        thread.join()
    assert refusal == "SIP/2.0 486 Busy"
    assert requests[0].startswith(b"INVITE ") and b"c=IN IP4 127.1.0.3\r\n" in requests[0]
    assert requests[1].startswith(b"ACK ") and b";tag=9\r\n" in requests[1]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")
@pytest.mark.parametrize("ffmpegs", [50, 0])
def test_the_whole_server_plays_to_all_callers_and_is_ended(ffmpegs: int, tmp_path: Path) -> None:
    settings = {"PATH": os.environ["PATH"], "MOH_CACHE": str(tmp_path), "MOH_MUSIC": str(BUILTIN)}
    prepare(Settings.from_environment(settings))
    sender = WholeServerSender(tmp_path, ffmpegs)
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(3)]
        port = 0
        for number, listener in enumerate(listeners):
            listener.bind((f"127.1.0.{number}", port))
            listener.settimeout(10)
            port = listener.getsockname()[1]
        stack.callback(sender.finish)
        sender.open(Loopback(), 3, port)
        pid = sender.players()[0]
        sender.begin()
        packets = [listener.recv(2000) for listener in listeners]
        assert {(len(packet), packet[1] & 127) for packet in packets} == {(172, 0)}  # 20 ms of PCMU
        assert sender.finish() == "plays to 3 of 3"
    assert not sender.players() and not Path(f"/proc/{pid}").exists()


@in_c
def test_the_farm_counts_lost_skipped_and_foreign_packets(tmp_path: Path) -> None:
    farm = Farm(compiled(SOURCE, tmp_path), [], "udp", "127.1.0.0", 3, 1, 30.0, 24100)
    try:
        farm.begin()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"no RTP", ("127.1.0.1", farm.port))
            # After the second packet, sequence number 0 is lost. Before the last packet, one packet's time is skipped.
            for sequence, tick in ((65534, 0), (65535, 1), (1, 3), (2, 5)):
                packet = struct.pack("!BBHII", 0x80, 0, sequence, (2**32 - 160 + 160 * tick) % 2**32, 7) + bytes(160)
                sender.sendto(packet, ("127.1.0.2", farm.port))
                sender.sendto(packet, ("127.1.0.2", farm.port + 1))
        counted = farm.end()
    finally:
        farm.close()
    names = ("receiving", "silent", "packets", "due", "lost", "skipped", "foreign", "dropped", "overflow")
    assert [counted[name] for name in names] == [1, 2, 4, 6, 1, 1, 1, 0, 0]


@in_c
@pytest.mark.parametrize("slots", [1, 20])
def test_the_sender_in_c_plays_to_all_callers(slots: int, tmp_path: Path) -> None:
    farm = Farm(compiled(SOURCE, tmp_path), [], "udp", "127.1.0.0", 30, 1, 30.0, 24200)
    command = [compiled(C_SOURCE, tmp_path), "127.0.0.1", "0", "127.1.0.0", "30", str(farm.port), str(slots), "2"]
    sender = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert sender.stdout is not None and sender.stdin is not None
        assert sender.stdout.readline() == "ready\n"
        farm.begin()
        sender.stdin.write("go\n")
        sender.stdin.flush()
        with pytest.raises(subprocess.TimeoutExpired):
            sender.wait(0.3)
        output = sender.communicate(timeout=10)[0].split()
        counted = farm.end()
    finally:
        sender.kill()
        sender.wait()
        farm.close()
    assert (counted["silent"], counted["lost"], counted["skipped"]) == (0, 0, 0)
    assert output[0::2] == ["sent", "failed"] and int(output[1]) == counted["packets"]
