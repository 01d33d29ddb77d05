"""End to end: header fields as real devices and strangers write them, by UDP and by TCP, both engines.

The tables are those of ``tests/sip/test_odd_headers.py``. Each test collects all faults, so that one run shows all.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Optional

import pytest

from tests.e2e.test_tcp import Line, over
from tests.support.odd_headers import (
    BROKEN_VIAS,
    FATAL,
    FATAL_FIRST,
    FLAWS,
    NOT_NEEDED,
    SEMICOLONS,
    UNANSWERABLE,
    Change,
    field,
    line,
)
from tests.support.phone import Ear, Message, Phone, offer
from tests.support.running import Running

NOT_LONG = 0.3
"""Seconds after which an answer counts as missing."""
BOTH = pytest.mark.parametrize("transport", ["UDP", "TCP"])


class Caller:
    """A phone that sends requests with changed octets, by UDP or by a connection of its own."""

    def __init__(self, server: Running, transport: str) -> None:
        self.transport = transport
        self.phone = Phone(server.address)
        self.connection = Line(server.address) if transport == "TCP" else None

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self.phone.socket.close()
        if self.connection is not None:
            self.connection.socket.close()

    def send(self, data: bytes, change: Optional[Change] = None) -> None:
        if self.connection is not None:
            data = over("TCP", self.phone, data)
        if change is not None:
            data = change(data)
        if self.connection is not None:
            self.connection.send(data)
        else:
            self.phone.send(data)

    def final(self, seconds: float = 10.0) -> Message:
        """Return the next final answer. Fails if none comes."""
        while True:
            if self.connection is not None:
                self.connection.socket.settimeout(seconds)
                try:
                    message = self.connection.receive()
                except socket.timeout:
                    raise AssertionError("no answer") from None
            else:
                message = self.phone.receive(seconds)
            if message.status >= 200:
                return message

    def status(self, seconds: float = NOT_LONG) -> int:
        """Return the status of the next final answer; 0 if none comes."""
        try:
            return self.final(seconds).status
        except AssertionError:
            return 0

    def call(self, ear: Ear, change: Optional[Change] = None) -> int:
        """Send INVITE, and ACK if the answer is 200. Return the status of the answer."""
        self.send(self.phone.invite(ear.address), change)
        answer = self.final()
        if answer.status == 200:
            self.phone.to_tag = answer.to_tag
            self.send(self.phone.request("ACK"))
        return answer.status


class Ears:
    """Receivers of many calls: each call has a receiver of its own, with a name."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self._ears: dict[str, Ear] = {}

    def one(self, name: str) -> Ear:
        """Return a new receiver with the name ``name``."""
        return self._ears.setdefault(name, self.stack.enter_context(Ear("127.0.0.2")))

    def with_music(self) -> list[str]:
        """Wait until the music of the last receiver ends. Return the names of receivers that still get music."""
        *_, last = self._ears.values()
        last.falls_silent()
        for ear in self._ears.values():
            ear.waiting()
        last.falls_silent()
        return [name for name, ear in self._ears.items() if not ear.heard_nothing()]


@pytest.fixture
def ears() -> Iterator[Ears]:
    with ExitStack() as stack:
        yield Ears(stack)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, music_cache: Path) -> Iterator[Running]:
    """A server whose calls all share one stream."""
    with Running(tmp_path_factory.mktemp("shared"), music_cache, MOH_FFMPEG_CALLS="0") as running:
        yield running.ready()
        assert "Traceback" not in running.log, running.log


@BOTH
def test_a_malformed_field_that_is_not_needed_costs_no_call(shared: Running, transport: str, held: Ear) -> None:
    wrong = {}
    for name, change in {**NOT_NEEDED, **SEMICOLONS}.items():
        with Caller(shared, transport) as caller:
            statuses = [caller.call(held, change)]
            if statuses == [200]:
                held.packets(1)
                caller.send(caller.phone.request("BYE"))
                statuses.append(caller.status())
        if statuses != [200, 200]:
            wrong[name] = statuses
    assert wrong == {}
    assert held.falls_silent()


@BOTH
def test_a_bye_with_any_flaw_ends_the_music(shared: Running, transport: str, ears: Ears) -> None:
    wrong = {}
    for name, change in {**FLAWS, **UNANSWERABLE}.items():
        ear = ears.one(name)
        with Caller(shared, transport) as caller:
            assert caller.call(ear) == 200
            ear.packets(1)
            caller.send(caller.phone.request("BYE"), change)
            lost = name in UNANSWERABLE and (transport == "UDP" or not name.startswith("a top Via"))
            status = caller.status(0.05 if lost else NOT_LONG)
            if status != (0 if lost else 200):
                wrong[name] = status
                caller.send(caller.phone.request("BYE"))
                caller.status()
    assert wrong == {}
    assert ears.with_music() == []


@BOTH
def test_an_ack_with_any_flaw_acknowledges(shared: Running, transport: str, held: Ear) -> None:
    """By TCP, each ACK of the test has its whole body: the server would wait for the rest, which may be an answer."""
    flaws = {name: change for name, change in FLAWS.items() if transport == "UDP" or "Content-Length" not in name}
    rows = list(flaws.items())
    wrong = {}
    for first in range(0, len(rows), 40):
        with ExitStack() as stack:
            callers: dict[str, Caller] = {}
            for name, change in rows[first : first + 40]:
                caller = callers[name] = stack.enter_context(Caller(shared, transport))
                caller.send(caller.phone.invite(held.address))
                caller.phone.to_tag = caller.final().to_tag
                caller.send(caller.phone.request("ACK"), change)
            seconds = 1.0  # without the ACK the 200 is retransmitted after 0.5 s; the other calls have waited longer
            for name, caller in callers.items():
                if caller.status(seconds):
                    wrong[name] = "the 200 came again"
                seconds = 0.01
                caller.send(caller.phone.request("BYE"))
                caller.status()
    assert wrong == {}
    assert held.falls_silent()


@BOTH
def test_faults_of_fields_that_identify_or_route_stay_fatal(shared: Running, transport: str, held: Ear) -> None:
    wrong = {}
    framing = ("Content-Length that is no number", "Content-Length without value")
    for name, (change, status) in FATAL_FIRST.items():
        with Caller(shared, transport) as caller:
            got = caller.call(held, change)
            if got != status:
                wrong[name] = got
            if transport == "TCP" and name in framing:
                assert caller.connection is not None and not caller.connection.more(), "the connection ends"
    assert wrong == {}
    with Caller(shared, transport) as caller:
        assert caller.call(held) == 200
        for name, (change, status) in FATAL.items():
            caller.send(caller.phone.request("BYE"), change)
            assert caller.final().status == status, name
        assert held.packets(3)
        caller.send(caller.phone.request("BYE"))
        assert caller.final().status == 200
    assert held.falls_silent()


@BOTH
def test_a_via_that_cannot_be_read_gets_400(shared: Running, transport: str, held: Ear) -> None:
    for name, change in BROKEN_VIAS.items():
        with Caller(shared, transport) as caller:
            assert caller.call(held, change) == 400, name


ENGINE_FLAWS = ("a line without colon", "a Request-URI in brackets", "Content-Length of a body that is not there")


@BOTH
def test_a_call_with_an_ffmpeg_ends_with_such_a_bye(own_server: Running, transport: str, held: Ear) -> None:
    for name in ENGINE_FLAWS:
        with Caller(own_server, transport) as caller:
            assert caller.call(held, line("Nonsense")) == 200
            assert held.packets(2)
            caller.send(caller.phone.request("BYE"), FLAWS[name])
            assert caller.final().status == 200
            assert held.falls_silent(), name
    own_server.has_no_ffmpeg()


@BOTH
def test_a_hold_with_a_flaw_stops_the_music(shared: Running, transport: str, ears: Ears) -> None:
    wrong = {}
    callers: list[Caller] = []
    for name in (*NOT_NEEDED, "Contact with port 0", "Contact of 5,000 octets", "Contact with half a quote"):
        ear = ears.one(name)
        caller = ears.stack.enter_context(Caller(shared, transport))
        callers.append(caller)
        assert caller.call(ear) == 200
        ear.packets(1)
        caller.send(caller.phone.request("INVITE", body=offer(ear.address, "a=inactive")), FLAWS[name])
        status = caller.final().status
        caller.send(caller.phone.request("ACK"))
        if status != 200:
            wrong[name] = status
    playing = ears.with_music()
    for caller in callers:
        caller.send(caller.phone.request("BYE"))
        caller.status()
    assert (wrong, playing) == ({}, [])


@BOTH
@pytest.mark.parametrize("to", ["<sip:123@x>;tag=", "<sip:123@x>;tag", '<sip:123@x>;tag=""', "<sip:123@x>;"])
def test_an_empty_to_tag_is_replaced(shared: Running, transport: str, held: Ear, to: str) -> None:
    with Caller(shared, transport) as caller:
        caller.send(caller.phone.invite(held.address), field("To", to))
        answer = caller.final()
        assert answer.status == 200 and answer.get("to").count("tag") == 1 and answer.to_tag
        caller.phone.to_tag = answer.to_tag
        caller.send(caller.phone.request("ACK"))
        assert held.packets(2)
        caller.send(caller.phone.request("BYE"))
        assert caller.final().status == 200
    assert held.falls_silent()


@BOTH
@pytest.mark.parametrize(
    ("lines", "timer"),
    [(["Require: Timer"], "1800;refresher=uac"), (["Supported: TIMER", "x: 600;REFRESHER=Uas"], "600;refresher=uas")],
)
def test_tokens_ignore_case(shared: Running, transport: str, held: Ear, lines: list[str], timer: str) -> None:
    with Caller(shared, transport) as caller:
        caller.send(caller.phone.invite(held.address, *lines))
        answer = caller.final()
        assert (answer.status, answer.get("session-expires")) == (200, timer)
        caller.phone.to_tag = answer.to_tag.upper()
        caller.send(caller.phone.request("ACK"), field("Content-Type", "application / sdp"))
        caller.send(caller.phone.request("BYE"))
        assert caller.final().status == 200


@BOTH
def test_an_sdp_with_white_space_in_its_type_is_read(shared: Running, transport: str, held: Ear) -> None:
    with Caller(shared, transport) as caller:
        assert caller.call(held, field("Content-Type", "application / sdp")) == 200
        assert held.packets(2)
        caller.send(caller.phone.request("BYE"))
        assert caller.final().status == 200


@BOTH
def test_an_options_below_the_last_cseq_of_its_call_is_500(shared: Running, transport: str, held: Ear) -> None:
    with Caller(shared, transport) as caller:
        assert caller.call(held) == 200
        for number, status in ((9, 200), (8, 500), (10, 200)):
            caller.send(caller.phone.request("OPTIONS", cseq=number))
            assert caller.final().status == status
        caller.send(caller.phone.request("BYE", cseq=11))
        assert caller.final().status == 200
