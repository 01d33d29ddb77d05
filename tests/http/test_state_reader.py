"""The page asks the server once a second at most."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from moh.http.state_reader import Reading, State, StateReader
from moh.net.state_client import NoState


class Server:
    """A server whose state counts how often it was asked. ``clock`` is the time."""

    def __init__(self) -> None:
        self.now = 100.0
        self.asked = 0
        self.error: Exception = NoState("no server runs here")
        self.answers = True

    def read(self) -> State:
        self.asked += 1
        if not self.answers:
            raise self.error
        return {"asked": self.asked}

    def clock(self) -> float:
        return self.now


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def latest(server: Server) -> Callable[[float], Reading]:
    """Returns the reading at a time."""
    reader = StateReader(server.read, server.clock)

    def at(now: float) -> Reading:
        server.now = now
        return reader.latest()

    return at


def test_the_state_is_read_once_a_second_at_most(server: Server, latest: Callable[[float], Reading]) -> None:
    assert latest(100.0) == Reading({"asked": 1}, 0.0, "", 1)
    assert latest(100.5) == Reading({"asked": 1}, 0.5, "", 1)
    assert latest(100.75) == Reading({"asked": 1}, 0.75, "", 1)
    assert latest(101.0) == Reading({"asked": 2}, 0.0, "", 2)
    assert server.asked == 2


def test_the_last_state_is_shown_with_its_age_for_ten_seconds(
    server: Server, latest: Callable[[float], Reading]
) -> None:
    latest(100.0)
    server.answers = False
    assert latest(105.0) == Reading({"asked": 1}, 5.0, "no server runs here", 1)
    assert latest(110.0).state == {"asked": 1}
    assert latest(111.0) == Reading(None, 0.0, "no server runs here", 1)
    server.answers = True
    assert latest(111.5).state is None, "the next read is a second after the last one"
    assert latest(112.0) == Reading({"asked": 5}, 0.0, "", 2)


def test_a_server_that_does_not_answer_is_asked_once_a_second_too(
    server: Server, latest: Callable[[float], Reading]
) -> None:
    server.answers = False
    assert latest(100.0) == Reading(None, 0.0, "no server runs here", 0)
    latest(100.9)
    assert server.asked == 1


def test_a_server_that_hangs_holds_up_one_request_and_no_second_one(server: Server) -> None:
    """Each read takes its whole time-out, and all threads of the web server would wait, one after another."""

    def read() -> State:
        server.now += 2.0
        return server.read()

    server.answers = False
    reader = StateReader(read, server.clock)
    assert reader.latest().state is None
    assert reader.latest().state is None and server.asked == 1
    server.now += 1.0
    assert reader.latest().state is None and server.asked == 2


def test_an_unexpected_error_is_reported_and_named(
    server: Server, latest: Callable[[float], Reading], caplog: pytest.LogCaptureFixture
) -> None:
    server.answers, server.error = False, KeyError("x")
    assert latest(100.0) == Reading(None, 0.0, "an unexpected error, which the log has", 0)
    assert "unexpected error in the reader of the state" in caplog.text


def test_other_threads_get_the_last_state_while_one_asks() -> None:
    asked, answer = threading.Event(), threading.Event()
    now = [100.0]
    reads: list[int] = []

    def read() -> State:
        reads.append(1)
        if len(reads) > 1:
            asked.set()
            assert answer.wait(10)
        return {"number": len(reads)}

    reader = StateReader(read, lambda: now[0])
    assert reader.latest().state == {"number": 1}
    now[0] = 101.0
    found: list[Reading] = []
    thread = threading.Thread(target=lambda: found.append(reader.latest()))
    thread.start()
    assert asked.wait(10)
    assert reader.latest() == Reading({"number": 1}, 1.0, "", 1)
    answer.set()
    thread.join(10)
    assert found[0].state == {"number": 2} and len(reads) == 2


def test_threads_that_ask_at_once_cause_one_read() -> None:
    reads: list[int] = []

    def read() -> State:
        reads.append(1)
        return {}

    reader = StateReader(read, lambda: 100.0)
    threads = [threading.Thread(target=reader.latest) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(reads) == 1


def test_threads_that_come_while_the_first_state_is_read_wait_for_it() -> None:
    """So does a thread that comes after a long time without any, when the last state is old."""
    asked, answer = threading.Event(), threading.Event()
    now = [100.0]

    def read() -> State:
        asked.set()
        assert answer.wait(10)
        return {"at": now[0]}

    reader = StateReader(read, lambda: now[0])
    for now[0] in (100.0, 150.0):
        asked.clear()
        answer.clear()
        found: list[Reading] = []
        threads = [threading.Thread(target=lambda kept=found: kept.append(reader.latest())) for _ in range(2)]
        threads[0].start()
        assert asked.wait(10)
        threads[1].start()
        threads[1].join(0.05)
        answer.set()
        for thread in threads:
            thread.join(10)
        assert [each.state for each in found] == [{"at": now[0]}] * 2
