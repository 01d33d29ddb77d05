"""The calls a second of ``bench.playing.rate``: what SIPp counted, which rate is tried next, and the tables.

End to end, on real sockets: the ports of the PBX, and ``answer.c``.
"""

from __future__ import annotations

import errno
import shutil
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.common.compiler import compiled
from bench.common.farm import SOURCE
from bench.common.messages import Dialog
from bench.common.program import ROOT
from bench.common.sink import Sink
from bench.playing.capacity import Capacity, Climb, Step, steps_at_most, tables
from bench.playing.rate import ANSWERS, LIMIT, arguments, line, measure, servers
from bench.playing.rounds import AGAINST, OWN
from bench.playing.sip_servers import SipServer
from bench.playing.sipp import Answer, Calls, read_answers, read_counts

STEP = Step(
    rate=400, offered=399.0, good=100.0, repeats=0.0, answer_p50=4.0, answer_p99=20.0, cpu=60.0, each=1.5,
    spacing_p99=20.5, late=0.0, lost=0.0, silent=0.0,
)  # fmt: skip
CAPACITY = Capacity(
    most=600, each=1.5, answer_p50=4.0, answer_p99=20.0, cpu=60.0, spacing_p99=20.5, late=0.0, lost=0.0, silent=0.0
)
NAN = float("nan")


def climb(capable: int, first: int = 400, most: int = 4000) -> tuple[list[int], Capacity]:
    """The rates that are tried with a server that takes ``capable`` calls a second, and its capacity."""
    tried, climb = [], Climb(first, most)
    while rate := climb.rate():
        tried.append(rate)
        climb.add(replace(STEP, rate=rate, offered=rate, good=100.0 if rate <= capable else 50.0, each=rate / 100))
    return tried, climb.capacity()


def test_the_tables_of_sipp_are_read() -> None:
    table = (
        "TotalCallCreated;SuccessfulCall(P);SuccessfulCall(C);Retransmissions(P);Retransmissions(C);\n"
        "1;1;1;0;0;\n20;4;17;1;3;\n"
    )
    assert read_counts(table) == (20, 17, 3)
    assert read_answers("Date_ms;response_time_ms;rtd_no\n1700.1;2;1\n1700.2;31.5;1\n") == [
        Answer(1700.1, 2.0),
        Answer(1700.2, 31.5),
    ]


def test_the_offered_rate_is_that_of_the_invites() -> None:
    answers = [Answer(1000.0 + 10 * number + took, took) for number, took in enumerate((0.0, 40.0, 5.0, 90.0))]
    assert Calls(4, 4, 0, answers, "").offered() == pytest.approx(100.0)
    assert Calls(1, 1, 0, answers[:1], "").offered() != Calls(0, 0, 0, [], "").offered()  # nan


@pytest.mark.parametrize(
    "worse",
    [
        {"good": 99.89},
        {"repeats": 0.11},
        {"answer_p99": 201.0},
        {"answer_p99": NAN},
        {"offered": 379.0},
        {"offered": NAN},
    ],
)
def test_a_rate_passes_only_if_every_figure_does(worse: dict[str, float]) -> None:
    assert replace(STEP, good=99.9, repeats=0.1, answer_p99=200.0, offered=380.0).passes()
    assert not replace(STEP, **worse).passes()
    assert "400 calls a second pass" in line(STEP) and "FAIL" in line(replace(STEP, **worse))


def test_rates_grow_until_one_fails_twice_and_the_rates_between_are_halved() -> None:
    tried, capacity = climb(1000)
    assert tried == [400, 600, 900, 1350, 1350, 1125, 1125, 1012, 1012, 956]
    assert (capacity.most, capacity.each) == (956, 4.0)
    assert len(tried) <= steps_at_most(400, 4000)


def test_rates_grow_no_further_than_the_greatest() -> None:
    assert climb(9000, most=1000) == ([400, 600, 900, 1000], replace(climb(9000, most=1000)[1], most=1000))
    assert steps_at_most(400, 400) >= 1


def test_rates_shrink_if_the_first_one_fails() -> None:
    tried, capacity = climb(130)
    assert tried[:6] == [400, 400, 267, 267, 178, 178] and 119 <= capacity.most <= 130
    assert capacity.each == 4.0  # at the first rate, although it failed


def test_a_server_that_takes_no_call_has_no_figures() -> None:
    tried, capacity = climb(0, first=4)
    assert tried == [4, 4, 3, 3, 2, 2, 1, 1] and capacity.most == 0 and capacity.cpu != capacity.cpu


def test_a_rate_that_passes_at_the_second_try_passes() -> None:
    climb = Climb(400, 4000)
    climb.add(replace(STEP, good=0.0))
    assert climb.rate() == 400
    climb.add(STEP)
    assert climb.rate() == 600 and climb.capacity().most == 400


def test_servers_are_compared_with_this_one_round_by_round() -> None:
    rounds = [replace(CAPACITY, most=600, each=1.0), replace(CAPACITY, most=900, each=2.0)]
    others = [replace(CAPACITY, most=300, each=2.0), replace(CAPACITY, most=300, each=2.0, late=NAN, spacing_p99=NAN)]
    text = tables({(0, "this"): rounds, (0, "against"): others, (1000, "this"): []}, "this")
    assert "this / against |" in text and "x 2.50 (2.00-3.00)" in text and "x 0.75 (0.50-1.00)" in text
    assert "1000" not in text and "nan" not in text
    assert "Ratios" not in tables({(0, "this"): rounds}, "this")


def test_the_options_name_the_servers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = arguments(["--against", str(ROOT), "--peer", "sems=sems -P {port}", "--set", "MOH_LOG=warning"])
    assert (given.others, list(servers(given, tmp_path))) == ([0, 1000], [OWN, AGAINST, "sems"])
    assert list(servers(arguments([]), tmp_path)) == [OWN]
    for wrong in (["--first", "0"], ["--others", "-1"], ["--set", "MOH_LOG"], ["--rounds", "0"]):
        with pytest.raises(SystemExit):
            arguments(wrong)
    assert "expected NAME=VALUE" in capsys.readouterr().err


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")
def test_a_sink_takes_packets_and_reports_no_closed_port() -> None:
    with Sink("127.0.0.9", 3) as sink, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        assert len(set(sink.ports)) == 3 and all(port % 2 == 0 for port in sink.ports)
        for port in (sink.ports[2], sink.ports[2] + 1):
            sender.connect(("127.0.0.9", port))
            for _ in range(50):
                sender.send(bytes(172))
        port = sink.ports[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.9", port))
        sender.send(bytes(172))
        assert sender.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED


@pytest.mark.skipif(
    not shutil.which("cc") or not shutil.which("sipp") or not sys.platform.startswith("linux"),
    reason="needs Linux, a C compiler and SIPp",
)
def test_sipp_makes_calls_and_the_server_is_measured(tmp_path: Path) -> None:
    given = arguments(["--seconds", "0.5", "--limit"])
    server, farm = servers(given, tmp_path)[LIMIT], compiled(SOURCE, tmp_path)
    step = measure(server, 40, 2, farm, given, tmp_path)
    assert (step.rate, step.good, step.silent) == (40, 100.0, 2)
    assert step.offered > 10 and step.answer_p99 >= step.answer_p50 >= 0 and step.cpu > 0


@pytest.mark.skipif(
    not shutil.which("cc") or not sys.platform.startswith("linux"), reason="needs Linux and a C compiler"
)
def test_the_least_program_answers_a_call(tmp_path: Path) -> None:
    server = SipServer([compiled(ANSWERS, tmp_path), "127.0.0.1", "{port}"], tmp_path)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.bind(("127.0.0.1", 0))
        phone.settimeout(10)
        try:
            server.open()
            assert server.call("127.0.0.9", 4000) == ""
            dialog = Dialog(server.address, phone.getsockname())
            phone.sendto(dialog.request("INVITE", 1), server.address)
            ringing, answer = phone.recv(4096).decode(), phone.recv(4096).decode()
            phone.sendto(dialog.request("ACK", 1), server.address)
            phone.sendto(dialog.request("BYE", 2), server.address)
            ended = phone.recv(4096).decode()
        finally:
            server.close()
    assert ringing.startswith("SIP/2.0 180 ") and answer.startswith("SIP/2.0 200 ") and ended.startswith("SIP/2.0 200 ")
    assert f"Call-ID: {dialog.call_id}\r\n" in answer and ";tag=1\r\n" in answer and "m=audio 30000" in answer
    assert "CSeq: 2 BYE\r\n" in ended and ended.endswith("Content-Length: 0\r\n\r\n")
