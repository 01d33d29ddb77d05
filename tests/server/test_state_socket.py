"""The socket of the state: who may read it, and readers that hang or come in crowds. End to end, by real sockets."""

from __future__ import annotations

import json
import logging
import math
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from moh.common.faults import FaultLog
from moh.net.state_client import NoState, read_state, state_name
from moh.server import state_socket
from moh.server.state_socket import MOST_READERS, StateSocket, encoded
from tests.support.running import free_ports, wait_for


class World:
    """A socket that gives a state with the number of states that were made, and ``filling``."""

    def __init__(self, filling: str = "") -> None:
        self.port = free_ports(1)
        self.name = state_name("127.0.0.1", self.port)
        self.made = 0
        self.filling = filling
        self.faults = FaultLog("a test")
        self.socket = StateSocket(self.name, self.state, self.faults)

    def state(self) -> dict[str, Any]:
        self.made += 1
        return {"made": self.made, "filling": self.filling}

    def read(self) -> dict[str, Any]:
        return read_state("127.0.0.1", self.port)

    def reader(self) -> socket.socket:
        """A reader that connects and does not read."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(self.name)
        return sock


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.socket.close()


def test_a_reader_gets_the_state(world: World) -> None:
    assert world.read() == {"made": 1, "filling": ""}
    assert world.faults.count == 0


def test_the_state_is_made_twice_a_second_at_most(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_socket, "LIFETIME", 60.0)
    assert {world.read()["made"] for _ in range(100)} == {1}
    monkeypatch.setattr(state_socket, "LIFETIME", 0.0)
    assert world.read()["made"] == 2


def test_readers_that_never_read_do_not_keep_others_from_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """The state is longer than the kernel's buffer, so each of them waits; each is given up."""
    monkeypatch.setattr(state_socket, "READ_TIMEOUT", 0.2)
    world = World("x" * 5_000_000)
    hanging = [world.reader() for _ in range(MOST_READERS + 10)]
    try:
        assert world.read()["filling"] == world.filling
        wait_for(lambda: not world.socket._readers, "the end of the time that readers have")
        for sock in hanging:
            sock.settimeout(5)
            octets = 0
            while part := sock.recv(1 << 20):
                octets += len(part)
            assert octets < 5_000_000, "the rest was not sent"
    finally:
        for sock in hanging:
            sock.close()
        world.socket.close()
    assert world.faults.count == 0


def test_a_hundred_readers_are_all_served(world: World) -> None:
    world.filling = "x" * 100_000
    readers = [world.reader() for _ in range(60)]
    for number in range(100):
        with readers.pop(0) as sock:
            data = b""
            while part := sock.recv(1 << 16):
                data += part
        assert json.loads(data)["filling"] == world.filling
        if number < 40:
            readers.append(world.reader())
    assert world.made < 20


def test_a_reader_that_leaves_early_does_no_harm(world: World) -> None:
    world.filling = "x" * 5_000_000
    for _ in range(30):
        world.reader().close()
    assert world.read()["filling"] == world.filling
    assert world.faults.count == 0


def test_another_user_gets_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_socket, "user_of_peer", lambda sock: 4711)
    with pytest.raises(NoState, match="without an answer"):
        world.read()
    assert world.made == 0


def test_root_gets_the_state(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_socket, "user_of_peer", lambda sock: 0)
    assert world.read()["made"] == 1


def test_an_error_while_the_state_is_made_is_reported_and_the_next_reader_gets_it(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(state_socket, "RETRY_AFTER", 0.01)
    makes = world.state

    def fails_once() -> dict[str, Any]:
        monkeypatch.setattr(world.socket, "_state", makes)
        raise LookupError("a plain bug")

    monkeypatch.setattr(world.socket, "_state", fails_once)
    with pytest.raises(NoState):
        world.read()
    assert world.read()["made"] == 1
    assert world.faults.count == 1 and "LookupError: a plain bug" in caplog.text


def test_a_name_that_is_taken_is_tried_again_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(state_socket, "RETRY_AFTER", 0.01)
    caplog.set_level(logging.WARNING)
    port = free_ports(1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as former:
        former.bind(state_name("127.0.0.1", port))
        faults = FaultLog("a test")
        made = StateSocket(state_name("127.0.0.1", port), lambda: {"made": 1}, faults)
        wait_for(lambda: "can read the state of this server: another program has its name" in caplog.text, "the line")
    try:
        assert wait_for(lambda: reads(port), "the state") == {"made": 1}
    finally:
        made.close()
    assert caplog.text.count("another program has its name") == 1 and faults.count == 0


def reads(port: int) -> dict[str, Any]:
    try:
        return read_state("127.0.0.1", port)
    except NoState:
        return {}


def test_after_the_end_the_name_is_free_at_once() -> None:
    first = World()
    began = time.monotonic()
    first.socket.close()
    second = StateSocket(first.name, first.state, first.faults)
    assert first.read()["made"] == 1
    second.close()
    assert time.monotonic() - began < 1.0


# -- JSON ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"a": 1},
        {"a": [], "b": {}, "c": None, "d": True, "e": -1.5, "f": '\u2028"音\ud800'},
        {"calls": {"now": 2, "listed": [{"id": "a", "x": [1, 2]}, {"id": "b"}]}, "one": [{"id": "a"}], "two": [1, "b"]},
    ],
)
def test_the_pieces_are_the_whole(state: dict[str, Any]) -> None:
    assert json.loads(encoded(state)) == state


def test_a_number_that_is_not_finite_is_no_json() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encoded({"jitter": math.inf})
