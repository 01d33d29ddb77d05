"""The parts of ``bench.attack.floods`` that use no socket. End to end, on real sockets: the server as its target."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from bench.attack import floods as bench_floods
from bench.attack import target as bench_target
from bench.attack.floods import campaign, floods, restored
from bench.attack.probes import KINDS, Call, hang_up, place, takes_calls
from bench.attack.results import Row, absent, answered, table
from bench.attack.target import Resources, Target, counters
from bench.common.compiler import compiled
from bench.common.farm import SOURCE, Farm
from bench.common.program import SCRIPT
from moh.sip.message import Request
from moh.sip.parser import parse
from tests.support.running import free_ports, wait_for

in_c = pytest.mark.skipif(
    not shutil.which("cc") or not sys.platform.startswith("linux"), reason="needs Linux and a compiler"
)
BEFORE = Resources(50, 0, 60, 120, 0, 100)
NAN = float("nan")


def row(name: str = "OPTIONS", **different: Any) -> Row:
    """Return the row of a flood that did no harm. The figures in ``different`` replace its figures."""
    report = {"seconds": 8.0, "sent": 800, "sent_octets": 8000, "answer_octets": 80}
    figures: dict[str, Any] = {
        "generator": report, "before": {"spacing_p99": 20.0}, "during": {"spacing_p99": 21.0, "spacing_max": 30.0},
        "lost": (1, 2), "cpu": (3.0, 40.0), "rss": (30.0, 31.0), "overflown": 8, "counters": {},
        "waits": {kind: [0.01] for kind in KINDS}, "recovery": 0.0,
    }  # fmt: skip
    return Row(name, **{**figures, **different})


def test_each_flood_sends_the_message_in_its_name() -> None:
    for flood in floods():
        if flood.mode == "udp" and flood.data[:4] in (b"OPTI", b"INVI", b"REGI"):
            message = parse(flood.data)
            assert isinstance(message, Request) and message.fault is None, flood.name
            assert b"########" in flood.data


def test_the_requests_of_a_probe_have_no_fault() -> None:
    call = Call(("203.0.113.1", 5070), ("192.0.2.1", 5060), ("192.0.2.1", 4000))
    ack = call.ack(b"SIP/2.0 200 OK\r\nTo: <sip:1@203.0.113.1>;tag=ours\r\n\r\n")
    for data, method in ((call.invite(), "INVITE"), (ack, "ACK"), (call.bye(), "BYE")):
        message = parse(data)
        assert isinstance(message, Request) and message.fault is None and message.method == method
    assert b">;tag=ours\r\n" in call.bye()


def test_the_counters_in_the_log_are_read() -> None:
    line = "3 ended by BYE, 20 INVITE 503; datagrams rejected: 7 for want of workers, 5 too many messages"
    assert counters(line) == {
        "ended by BYE": 3, "INVITE 503": 20, "for want of workers": 7, "too many messages": 5,
    }  # fmt: skip
    assert counters("nothing; datagrams rejected: 0 for want of workers") == {"for want of workers": 0}


def test_probes_without_an_answer_are_counted() -> None:
    assert answered([0.002, None, 0.004, 0.003]) == "3 of 4, 3 / 4"
    assert answered([None]) == "0 of 1"


def test_the_table_has_a_row_for_each_flood() -> None:
    last = table([row()]).splitlines()[-1]
    for cell in ("OPTIONS", "100", "0.0100", "1.0", "3 -> 40", "1 / 2", "x 1.05", "1 of 1, 10 / 10", "30.0 -> 31.0",
                 "at rest after 0 s"):  # fmt: skip
        assert f" {cell} |" in last


def test_the_table_shows_a_dead_server_and_resources_that_are_not_restored() -> None:
    dead = row(cpu=(10.0, NAN), rss=(80.0, NAN), during={"spacing_p99": NAN}, failure="died: SIGSEGV after 2.0 s")
    sick = row(not_restored=["with_music 50 -> 12", "descriptors 120 -> 1024"], failure="takes no calls any more")
    hurt = row(not_restored=["threads 60 -> 61"])
    lines = table([dead, sick, hurt]).splitlines()[2:]
    for cell in ("10 -> -", "80.0 -> -", "x -", "died: SIGSEGV after 2.0 s"):
        assert f" {cell} |" in lines[0]
    assert lines[1].endswith("takes no calls any more; with_music 50 -> 12, descriptors 120 -> 1024 |")
    assert lines[2].endswith(" threads 60 -> 61 |")


def test_packets_of_calls_that_fell_silent_are_counted() -> None:
    assert absent(due=50 * 400, calls=50, seconds=8.0) == 0
    assert absent(due=50 * 398, calls=50, seconds=8.01) == 0  # two packets of each call may lie outside of the time
    assert absent(due=40 * 398, calls=50, seconds=8.0) == 10 * 398
    assert absent(due=0, calls=0, seconds=8.0) == 0


class Script:
    """A stand-in for a target and a farm. It returns the given resources and deaths one after another."""

    pid = 0

    def __init__(self, *resources: Resources, deaths: tuple[str, ...] = ()) -> None:
        self._resources, self._deaths = list(resources), list(deaths)
        self.started = 0

    def start(self) -> None:
        self.started += 1

    def finish(self) -> None:
        pass

    close = finish

    def processes(self) -> list[int]:
        return []

    def last_output(self) -> str:
        return "the end of its log"

    def resources(self, _: object) -> Resources:
        if not self._resources:
            raise FileNotFoundError("/proc/1/task")
        return self._resources.pop(0)

    def death(self, seconds: float = 0.0) -> str:
        return self._deaths.pop(0) if self._deaths else ""


def after_flood(script: Script, answers: bool, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Resources]:
    monkeypatch.setattr(bench_floods, "takes_calls", lambda server: answers)
    return restored(cast(Target, script), cast(Farm, None), BEFORE)[:2]


def test_the_state_of_the_server_after_a_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    hurt = BEFORE._replace(threads=61)
    assert after_flood(Script(hurt, BEFORE), True, monkeypatch) == ("", BEFORE)
    assert after_flood(Script(BEFORE), False, monkeypatch) == ("takes no calls any more", BEFORE)
    assert after_flood(Script(BEFORE, deaths=("died: SIGSEGV",)), False, monkeypatch) == ("died: SIGSEGV", BEFORE)
    assert after_flood(Script(hurt, deaths=("died: SIGABRT",)), True, monkeypatch) == ("died: SIGABRT", hurt)
    monkeypatch.setattr(bench_floods, "LINGER", -1.0)
    assert after_flood(Script(hurt, BEFORE), True, monkeypatch) == ("", hurt)


@pytest.mark.parametrize(
    ("failures", "taken", "started"),
    [
        (("", "", ""), (50,), 1),
        (("died: SIGSEGV", "", ""), (50, 50), 2),
        (("takes no calls any more", "died: SIGSEGV", ""), (50, 50, 50), 3),
        (("", ""), (12,), 1),  # the server takes only 12 calls
    ],
)
def test_a_server_that_takes_no_calls_any_more_is_started_anew(
    failures: tuple[str, ...], taken: tuple[int, ...], started: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    target, counts, measured = Script(), list(taken), []
    monkeypatch.setattr(bench_floods, "Farm", lambda *_: Script())
    monkeypatch.setattr(bench_floods, "on_hold", lambda _: [cast(Call, None)] * counts.pop(0))
    monkeypatch.setattr(bench_floods, "prefer", lambda *_: None)
    monkeypatch.setattr(bench_floods, "SETTLE", 0.0)

    def measure(*given: Any) -> Row:
        measured.append(given[-1])
        return row(failure=failures[len(measured) - 1])

    monkeypatch.setattr(bench_floods, "measure", measure)
    rows = campaign(cast(Target, target), floods()[: len(failures)], tmp_path, 1.0)
    assert [one.failure for one in rows] == list(failures) and not counts
    assert target.started == started and set(measured) == set(taken)


@in_c
def test_the_server_holds_calls_and_its_death_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ("127.0.0.1", free_ports(2))
    monkeypatch.setattr(bench_target, "SERVER", server)
    monkeypatch.setattr(bench_target, "PORTS", range(first := free_ports(8), first + 8))
    farm = Farm(compiled(SOURCE, tmp_path), [], "udp", "127.1.0.0", 2, 1, 120.0, 24300)
    target = Target(tmp_path, SCRIPT)
    try:
        target.start()
        alone = target.resources(farm)
        call = place(server, ("127.1.0.1", farm.port))
        assert call is not None
        wait_for(lambda: target.resources(farm).with_music == 1, "music")
        up = target.resources(farm)
        assert (up.calls, up.processes) == (1, 1) and up.descriptors > alone.descriptors and up.ports > alone.ports
        hang_up(server, call)
        wait_for(lambda: target.resources(farm) == alone, "all as before", 30.0)
        os.kill(target.pid, signal.SIGKILL)
        assert target.death(10.0) == "died: SIGKILL"
        assert target.rss() != target.rss()  # nan
        assert restored(target, farm, alone)[0] == "died: SIGKILL"
        target.start()
        assert not target.death() and takes_calls(server)
    finally:
        target.finish()
        farm.close()
