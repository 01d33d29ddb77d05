"""The figures of ``bench.playing.engines``: arithmetic; and its receiver, sender and peers on real sockets."""

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
from bench.playing.crowds import SEND
from bench.playing.load import Load, tables
from bench.playing.ng import Control, Value, decode, encode
from bench.playing.peers import Baresip, Moh, MohShared, Peer, Rtpengine, peers
from bench.playing.places import Loopback
from bench.playing.rate import read_answers, read_counts
from moh.common.codecs import PCMU
from moh.common.config import Settings
from moh.mastering.prepare import BUILTIN, Music, prepare

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


@pytest.mark.parametrize(
    ("value", "octets"),
    [
        (-7, b"i-7e"),
        ("\xb5", b"2:\xc2\xb5"),
        ([1, "a", []], b"li1e1:alee"),
        ({"to": {"b": 1}, "at": ""}, b"d2:at0:2:tod1:bi1eee"),
    ],
)
def test_what_is_bencoded_comes_back(value: Value, octets: bytes) -> None:
    assert encode(value) == octets
    assert decode(octets) == value


@pytest.mark.parametrize("octets", [b"", b"i7", b"l1:a", b"3:ab", b"-1:ab", b"x", b"i1ei2e", b"d1:ae1"])
def test_what_is_not_bencoded_is_refused(octets: bytes) -> None:
    with pytest.raises(ValueError):
        decode(octets)


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([b"d6:result2:oke"] * 3, ""),
        ([b"d6:result2:oke", b"d12:error-reason7:No call6:result5:errore"], "answer: No call"),
        ([b"d6:result2:oke", b"d6:result2:oke", b"le"], "play media: no answer"),
    ],
)
def test_rtpengine_is_told_in_three_steps(answers: list[bytes], told: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        asked: list[Value] = []

        def serve() -> None:
            for answer in answers:
                request, peer = server.recvfrom(65535)
                cookie, _, words = request.partition(b" ")
                asked.append(decode(words))
                server.sendto(b"of-another " + answer, peer)
                server.sendto(cookie + b" " + answer, peer)

        thread = threading.Thread(target=serve)
        thread.start()
        said = Control("127.0.0.1", server.getsockname(), "/music").call("127.1.0.3", 4000, 10.0)
        thread.join()
    assert said == told
    first = asked[0]
    assert isinstance(first, dict) and first["command"] == "offer"
    assert "c=IN IP4 127.1.0.3\r\n" in first["sdp"] and "m=audio 4000 RTP/AVP 0\r\n" in first["sdp"]


def test_a_phone_tells_what_it_was_refused_with() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        heard: list[bytes] = []

        def serve() -> None:
            request, peer = server.recvfrom(65535)
            head = b"\r\n".join(line for line in request.split(b"\r\n") if line[:4] in (b"Call", b"From"))
            server.sendto(b"SIP/2.0 100 Trying\r\n" + head, peer)
            server.sendto(b"SIP/2.0 486 Busy\r\n" + head + b"\r\nTo: <sip:1@a>;tag=9\r\n", peer)
            heard.extend([request, server.recv(65535)])

        thread = threading.Thread(target=serve)
        thread.start()
        said = Phone("127.0.0.1", server.getsockname()).call("127.1.0.3", 4000, 10.0)
        thread.join()
    assert said == "SIP/2.0 486 Busy"
    assert heard[0].startswith(b"INVITE ") and b"c=IN IP4 127.1.0.3\r\n" in heard[0]
    assert heard[1].startswith(b"ACK ") and b";tag=9\r\n" in heard[1]


def test_a_peer_that_is_not_installed_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    music = Music({PCMU.sample_rate: tmp_path / "none.wav"}, 48.0, BUILTIN)
    assert peers(["shared", "baresip", "rtpengine"], music, tmp_path, 5.0) == {}
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["Without baresip", "Without rtpengine"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")
@pytest.mark.parametrize("kind", [Baresip, Rtpengine, Moh, MohShared])
def test_a_peer_plays_to_everybody_and_is_ended(kind: type[Peer], tmp_path: Path) -> None:
    program = "python3" if issubclass(kind, Moh) else kind.__name__.lower()
    if not shutil.which(program) or not shutil.which("ffmpeg"):
        pytest.skip(f"needs {program} and ffmpeg")
    settings = {"PATH": os.environ["PATH"], "MOH_CACHE": str(tmp_path), "MOH_MUSIC": str(BUILTIN)}
    crowd, place = kind(prepare(Settings.from_environment(settings)), tmp_path), Loopback()
    assert crowd.lacks(5.0) == ""
    with ExitStack() as stack:
        ears = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(3)]
        port = 0
        for number, ear in enumerate(ears):
            ear.bind((f"127.1.0.{number}", port))
            ear.settimeout(10)
            port = ear.getsockname()[1]
        stack.callback(crowd.finish)
        crowd.open(place, 3, port)
        pid = crowd.players()[0]
        crowd.begin()
        packets = [ear.recv(2000) for ear in ears]
        assert {(len(packet), packet[1] & 127) for packet in packets} == {(172, 0)}  # 20 ms of PCMU
        assert crowd.finish() == "plays to 3 of 3"
    assert not crowd.players() and not Path(f"/proc/{pid}").exists()


@in_c
def test_the_farm_counts_what_is_lost_skipped_and_strange(tmp_path: Path) -> None:
    farm = Farm(compiled(SOURCE, tmp_path), [], "udp", "127.1.0.0", 3, 1, 30.0, 24100)
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
    farm = Farm(compiled(SOURCE, tmp_path), [], "udp", "127.1.0.0", 30, 1, 30.0, 24200)
    words = [compiled(SEND, tmp_path), "127.0.0.1", "0", "127.1.0.0", "30", str(farm.port), str(slots), "2"]
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
