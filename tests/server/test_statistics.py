"""The log lines about rejections, dropped datagrams and counters: a bounded number, by literal clocks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from moh.common.faults import FaultLog
from moh.common.tunes import Tunes
from moh.guard.allowances import Allowances
from moh.guard.rate_limit import RateLimiter
from moh.server.engines import Engines
from moh.server.statistics import SET_UP_BOUNDS, Counts, Statistics, listed
from moh.server.stream_limit import StreamLimit
from moh.server.workers import Workers
from moh.shared.shared_stream import SharedStream, SharedStreamStats
from moh.sip.user_agent import UserAgent
from moh.transport.tcp import NOT_ALLOWED, TOO_MANY_OF_ONE
from tests.support.ladder import FLOW, answered, bye, invite, make_agent
from tests.support.running import free_ports

VIA = "Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKother;rport"


class Tcp:
    """A stand-in for the parts of a ``TcpServer`` that the statistics read."""

    def __init__(self) -> None:
        self.refused = {TOO_MANY_OF_ONE: 0, NOT_ALLOWED: 0}


class World:
    """The statistics, and the parts whose counters they read. All counters are 0."""

    def __init__(self) -> None:
        self.agent: UserAgent = make_agent()
        self.limiter = RateLimiter(Allowances(), lambda host, now: False, 0.0)
        self.workers = Workers(lambda request, client: None)
        self.streams = StreamLimit(Allowances())
        self.tcp = Tcp()
        self.faults = FaultLog("a test")
        tunes = Tunes()
        self.engines = Engines(tunes, SharedStream("127.0.0.1", free_ports(2), tunes))
        self.statistics = Statistics(
            self.agent, threading.Lock(), self.limiter, self.streams, self.workers, self.engines,
            [self.tcp],  # type: ignore[list-item]  # only ``refused`` is read
            [self.faults],
        )  # fmt: skip

    def log(self, now: float) -> None:
        self.statistics.log_periodically(now)

    def close(self) -> None:
        self.workers.close()
        self.engines.close()


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def test_counters_at_zero_make_no_line(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world.log(100.0)
    assert caplog.text == ""


def test_dropped_datagrams_and_refused_connections_have_a_line_each_in_ten_seconds(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.workers.dropped = 5
    world.tcp.refused.update({TOO_MANY_OF_ONE: 1, NOT_ALLOWED: 2})
    world.log(100.0)
    assert "dropped 5 datagrams: more came than 8 workers can handle" in caplog.text
    assert "refused 3 connections: 2 not in MOH_ALLOW, 1 beyond 64 of one address" in caplog.text
    caplog.clear()
    world.workers.dropped = 8
    world.log(109.9)
    assert caplog.text == ""
    world.log(110.0)
    assert "dropped 3 datagrams" in caplog.text
    assert "connections" not in caplog.text


def test_rejections_without_a_line_of_their_own_are_summed_up(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for host in range(30):
        world.limiter.tally.count_and_should_log("too many messages", f"192.0.2.{host}", 100.0)
        world.agent.tally.count_and_should_log("INVITE 488", f"192.0.2.{host}", 100.0)
    world.log(105.0)
    assert caplog.text == ""
    world.log(111.0)
    assert "rejected more datagrams: 20 x 'too many messages' (the last from 192.0.2.29)" in caplog.text
    assert "counted, without lines of their own: 20 x 'INVITE 488' (the last from 192.0.2.29)" in caplog.text


def test_the_summary_has_all_counts(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world.faults.report(MemoryError(), 0.0)
    world.workers.dropped = 7
    world.limiter.tally.count("not in MOH_ALLOW")
    world.statistics.log_summary()
    assert "0 calls: 0 by ffmpeg" in caplog.text
    assert "[" not in caplog.messages[-1], "no call has a line"
    assert (
        "since the start: nothing; datagrams rejected: 7 for want of workers, 1 not in MOH_ALLOW; "
        "messages that waited (TCP or TLS): none; unexpected errors: 1"
    ) in caplog.text


def test_the_counts_are_data(world: World) -> None:
    world.faults.report(MemoryError(), 0.0)
    call = answered(world.agent)
    world.agent.receive(invite(body="nonsense", call_id="Call-ID: other", via=VIA), FLOW, 1.0)
    world.limiter.tally.count("not in MOH_ALLOW")
    world.workers.dropped = 7
    world.limiter.tally.count_and_should_log("too many messages", "192.0.2.1", 1.5)
    counts = world.statistics.counts()
    world.agent.receive(bye(call), FLOW, 2.0)
    world.agent.stream_gone(call, 1, "stopped", now=2.0)
    later = world.statistics.counts()
    latest = {reason: (event.at, event.source) for reason, event in counts.latest.items()}
    assert latest == {"INVITE 400": (1.0, FLOW.remote.host), "too many messages": (1.5, "192.0.2.1")}
    assert counts.latest["INVITE 400"].text.startswith(f"refused 'INVITE' from {FLOW.remote}: 400 ")
    assert counts == Counts(
        calls=1, by_ffmpeg=0, shared=SharedStreamStats(0, 0, 0, 0, 0, 0, 0, 0), events={"INVITE 400": 1},
        latest=counts.latest, rejected={"not in MOH_ALLOW": 1, "too many messages": 1}, delayed={}, dropped=7,
        unexpected_errors=1,
    )  # fmt: skip
    assert (later.calls, later.events) == (0, {"INVITE 400": 1, "ended by BYE": 1})


def test_the_time_from_an_invite_to_its_answer_is_counted(world: World) -> None:
    world.statistics.note_set_up([100.02, 100.0992], now=100.1)
    counts = dict(zip(SET_UP_BOUNDS, world.statistics.set_up.counts))
    assert {bound: count for bound, count in counts.items() if count} == {0.001: 1, 0.1: 1}
    assert world.statistics.set_up.sum == pytest.approx(0.0808)


def test_counts_are_listed_with_the_largest_first() -> None:
    assert listed({"INVITE 488": 1, "REGISTER 405": 4}) == "4 REGISTER 405, 1 INVITE 488"
    assert listed({}) == ""
