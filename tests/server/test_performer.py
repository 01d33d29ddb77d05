"""The actions of one turn: messages leave before streams start, and an action that fails stops no other."""

from __future__ import annotations

import logging
import threading
from typing import cast

import pytest

from moh.common.actions import Action, Address, Fault, Note, Resolve, Send, StartStream, StopStream, Trust
from moh.common.faults import FaultLog
from moh.server.engines import Engines
from moh.server.outbox import Outbox
from moh.server.performer import Performer, Turn
from moh.transport.resolver import Resolver
from tests.support.crowd import target
from tests.support.ladder import FLOW

PHONE = Address("192.0.2.1", 5060)
RINGING, OK, BYE = Send(b"180", PHONE, FLOW), Send(b"200", PHONE, FLOW), Send(b"BYE", PHONE, FLOW)
START, STOP = StartStream("ann", 7, target(Address("192.0.2.1", 4000), 10000), 0.0), StopStream("bob")
LOOK_UP = Resolve("moh.example", "", Trust.TRUSTED)


class Parts:
    """Stand-ins for outbox, engines, resolver and core, which record what they are asked for; some requests fail."""

    def __init__(self, failing: tuple[Action, ...] = ()) -> None:
        self.done: list[object] = []
        self._failing = failing
        self._waiting: list[Action] = []

    def add(self, send: Send) -> None:
        self._check(send)
        self._waiting.append(send)

    def flush(self) -> None:
        self.done += self._waiting
        self._waiting = []

    def order(self, order: Action) -> None:
        self._check(order)
        self.done.append(order)

    request = order

    def gone(self, order: StartStream, why: str) -> list[Action]:
        self.done.append((order.call, order.serial, why))
        return [BYE]

    def _check(self, action: Action) -> None:
        if action in self._failing:
            raise OSError("no file is left")


def performer(parts: Parts, faults: FaultLog) -> Performer:
    outbox, engines, resolver = cast(Outbox, parts), cast(Engines, parts), cast(Resolver, parts)
    return Performer(outbox, engines, resolver, faults, parts.gone)


def test_the_answers_of_a_turn_leave_before_its_streams_start_and_stop() -> None:
    parts = Parts()
    performs = performer(parts, FaultLog("the test"))
    performs.perform([RINGING, OK, START])
    performs.perform([STOP, OK, LOOK_UP])
    assert parts.done == [LOOK_UP]
    performs.finish()
    assert parts.done == [LOOK_UP, RINGING, OK, OK, START, STOP]
    performs.finish()
    assert len(parts.done) == 6


def test_an_action_that_fails_keeps_no_other_from_being_performed(caplog: pytest.LogCaptureFixture) -> None:
    parts, faults = Parts(failing=(RINGING, STOP)), FaultLog("the test")
    performs = performer(parts, faults)
    performs.perform([RINGING, OK, STOP, START])
    performs.finish()
    assert parts.done == [OK, START]
    assert faults.count == 2
    assert "unexpected error in the test: action Send" in caplog.text and "no file is left" in caplog.text


def test_a_stream_that_cannot_be_ordered_is_reported_to_the_core_as_ended() -> None:
    parts = Parts(failing=(START,))
    performs = performer(parts, FaultLog("the test"))
    performs.perform([OK, START, STOP])
    performs.finish()
    why = "unexpected error in the server: OSError('no file is left')"
    assert parts.done == [OK, ("ann", 7, why), BYE, STOP]


def test_notes_and_faults_of_the_core_are_logged_at_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    faults = FaultLog("the test")
    fault = Fault(LookupError("a plain bug"), "a timer")
    performer(Parts(), faults).perform(
        [Note(logging.INFO, "0123456789", "the call begins"), Note(logging.WARNING, "", "x"), fault]
    )
    assert [record.getMessage() for record in caplog.records[:2]] == ["[01234567] the call begins", "x"]
    assert faults.count == 1 and "LookupError: a plain bug" in caplog.text


def test_a_turn_holds_the_lock_until_all_is_performed_also_after_an_exception() -> None:
    parts, lock = Parts(), threading.Lock()
    performs = performer(parts, FaultLog("the test"))
    turn = Turn(lock, performs)
    with pytest.raises(LookupError), turn:
        assert lock.locked()
        performs.perform([OK, START])
        raise LookupError("a plain bug")
    assert parts.done == [OK, START] and not lock.locked()


def test_a_turn_whose_end_fails_releases_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    parts, lock = Parts(), threading.Lock()

    def fails() -> None:
        raise MemoryError

    monkeypatch.setattr(parts, "flush", fails)
    with pytest.raises(MemoryError), Turn(lock, performer(parts, FaultLog("the test"))):
        pass
    assert not lock.locked()
