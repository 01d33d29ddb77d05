"""The list of the calls: data for whatever shows it, and the lines of SIGUSR1. Literal clocks, no sockets."""

from __future__ import annotations

import threading
import time

import pytest

from moh.rtp.reception import StreamReport
from moh.server.call_list import MOST_LISTED, CallList
from moh.sip.user_agent import UserAgent
from tests.support.ladder import FLOW, OFFER, ack, bye, make_agent, octets, read, response, tag


class CountingLock:
    """A lock that counts how often it was taken."""

    def __init__(self) -> None:
        self.taken = 0

    def __enter__(self) -> None:
        self.taken += 1

    def __exit__(self, *_: object) -> None:
        pass


class World:
    """An agent with two calls with an ffmpeg; all others share the stream."""

    def __init__(self) -> None:
        self.agent: UserAgent = make_agent(ports=(10000, 10100), most=2, shared=10100)
        self.lock = CountingLock()
        self.list = CallList(self.agent, self.lock, lambda call: 600)  # type: ignore[arg-type]  # a stand-in

    def call(self, number: int, now: float, body: str = OFFER) -> str:
        via = f"Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bK{number};rport"
        message = read(octets("INVITE", body=body, call_id=f"Call-ID: {number}", via=via))
        found = tag(response(self.agent.receive(message, FLOW, now)))
        self.agent.receive(ack(found, call_id=f"Call-ID: {number}"), FLOW, now)
        return found


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    return World()


def test_each_call_has_a_line(world: World) -> None:
    ann, bob, eve = (world.call(number, now=88.0 + number) for number in range(3))
    on_hold = world.call(3, 99.0, OFFER.replace("recvonly", "inactive"))
    world.agent.reported([StreamReport(ann, 7, 500, 500, 5, 0.0, 0.002)], now=97.0)
    caller = "'201@pbx.lan' at 192.168.1.50:5062"
    assert world.list.lines(4) == [
        f"[{ann[:8]}] answered 12 s ago: {caller}; PCMU to 192.168.1.77:17422 from port 10000 by ffmpeg; "
        "the receiver reported 1.0 % lost, jitter 2 ms (3 s ago)",
        f"[{bob[:8]}] answered 11 s ago: {caller}; PCMU to 192.168.1.77:17422 from port 10002 by ffmpeg; "
        "no report from the receiver",
        f"[{eve[:8]}] answered 10 s ago: {caller}; PCMU to 192.168.1.77:17422 from port 10100 by shared stream; "
        "600 packets sent; no report from the receiver",
        f"[{on_hold[:8]}] answered 1 s ago: {caller}; on hold, no music",
    ]


def test_of_a_thousand_calls_the_newest_have_a_line_and_the_rest_a_number(world: World) -> None:
    calls = [world.call(number, now=50.0 + number / 100) for number in range(1000)]
    lines = world.list.lines(1000)
    assert len(lines) == MOST_LISTED + 1 and lines[-1] == "and 950 older calls"
    assert [line[1:9] for line in lines[:-1]] == [call[:8] for call in calls[-MOST_LISTED:]]


def test_all_calls_are_read_in_pieces_so_that_the_lock_is_held_briefly(world: World) -> None:
    calls = [world.call(number, now=50.0) for number in range(250)]
    world.lock.taken = 0
    assert [row.call.id for row in world.list.rows()] == calls
    assert world.lock.taken == 1 + 3, "the ids, then a hundred calls at a time"


def test_an_ended_call_has_no_line(world: World) -> None:
    ann, bob = world.call(0, 90.0), world.call(1, 90.0)
    world.agent.receive(bye(ann, call_id="Call-ID: 0"), FLOW, 95.0)
    assert [row.call.id for row in world.list.rows()] == [bob]


def test_without_calls_there_is_no_line(world: World) -> None:
    assert world.list.lines(0) == [] and world.list.rows() == []


def test_a_callers_name_cannot_break_a_line_or_make_it_long(world: World) -> None:
    name = "x" * 300
    via = "Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKlong;rport"
    message = read(octets("INVITE", body=OFFER, from_=f"From: <sip:{name}@a>;tag=1", via=via))
    world.agent.receive(message, FLOW, 90.0)
    (line,) = world.list.lines(1)
    assert len(line) < 300 and f"'{'x' * 60}' at " in line


def test_calls_may_come_and_go_while_they_are_listed() -> None:
    """End to end: another thread takes the lock, makes calls and ends them."""
    agent, lock = make_agent(ports=(10000, 10400)), threading.Lock()
    calls, stopped = CallList(agent, lock, lambda call: None), threading.Event()

    def change() -> None:
        number = 0
        while not stopped.is_set():
            number += 1
            via = f"Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bK{number};rport"
            with lock:
                message = read(octets("INVITE", body=OFFER, call_id=f"Call-ID: {number}", via=via))
                found = tag(response(agent.receive(message, FLOW, float(number))))
                agent.receive(bye(found, call_id=f"Call-ID: {number}"), FLOW, float(number))
                agent.stream_gone(found, 1, "stopped", now=float(number))

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(300):
            assert all(row.call.codec == "PCMU" for row in calls.rows())
    finally:
        stopped.set()
        thread.join()
