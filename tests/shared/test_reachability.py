"""Receivers are dropped, paused, probed and resumed, by literal clocks."""

from __future__ import annotations

import pytest

from moh.common.actions import Address
from moh.rtp.liveness import BYE_RECEIVED, host_unreachable, port_unreachable
from moh.shared.fanout import Receiver
from moh.shared.feedback import FeedbackReport
from moh.shared.loop import LoopPair
from moh.shared.reachability import Action, ReachabilityTable, Step
from tests.support.shared import FakeLoop, a_fanout, fanout_key, receiver

NONE: frozenset[Address] = frozenset()
REMOTE, RTCP = Address("10.0.0.1", 4000), Address("10.0.0.1", 4001)
OTHER_PORT = Address("10.0.0.1", 9)


@pytest.fixture
def ann() -> Receiver:
    """A receiver that gets music at ``REMOTE``."""
    joined = receiver(1)
    a_fanout()[0].join(joined)
    return joined


@pytest.fixture
def table() -> ReachabilityTable:
    return ReachabilityTable()


def dropped(steps: list[Step], now: float) -> list[tuple[float, str]]:
    """Return when a receiver is dropped, and why."""
    assert all(step.action is Action.DROP for step in steps)
    return [(now, step.verdict.hopeless) for step in steps]


# -- errors that drop a receiver -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reports", "drops"),
    [
        ([0.0, 1.0, 1.99], []),
        ([0.0, 1.0, 2.0], [2.0]),
        ([0.0, 2.9], [2.9]),
        ([0.0, 3.1, 5.0], []),
        ([0.0, 3.1, 5.2], [5.2]),
    ],
)
def test_a_receiver_is_dropped_after_two_seconds_of_port_unreachable(
    table: ReachabilityTable, ann: Receiver, reports: list[float], drops: list[float]
) -> None:
    found = []
    for now in reports:
        report = FeedbackReport(frozenset({REMOTE, OTHER_PORT}), NONE, NONE)
        found += dropped(table.feedback(report, [ann], now), now)
    assert found == [(now, "port unreachable") for now in drops]


@pytest.mark.parametrize(
    ("reports", "drops"),
    [
        ([each * 7.5 for each in range(4)], []),
        ([each * 7.5 for each in range(5)], [30.0]),
        ([0.0, 7.0, 15.1, 22.0, 29.0, 37.0, 45.0], []),
        ([0.0, 7.0, 15.1, 22.0, 29.0, 37.0, 45.0, 45.1], [45.1]),
    ],
)
def test_a_receiver_is_dropped_after_thirty_seconds_of_host_unreachable(
    table: ReachabilityTable, ann: Receiver, reports: list[float], drops: list[float]
) -> None:
    """Errors of another port of the receiver's host do not count."""
    found = []
    for now in reports:
        for address, when in ((REMOTE, now), (OTHER_PORT, now + 3.0)):
            report = FeedbackReport(NONE, NONE, NONE, host_unreachable=frozenset({address}))
            found += dropped(table.feedback(report, [ann], when), when)
    assert found == [(now, "host unreachable") for now in drops]


@pytest.mark.parametrize(
    ("checks", "drops"),
    [
        ([each / 2 for each in range(60)], []),
        ([each / 2 for each in range(61)], [30.0]),
        ([each * 1.5 for each in range(21)], [30.0]),
        ([*(each / 2 for each in range(59)), 30.6, 32.0], []),
    ],
)
def test_a_receiver_is_dropped_after_thirty_seconds_without_a_route(
    table: ReachabilityTable, ann: Receiver, checks: list[float], drops: list[float]
) -> None:
    found = []
    for now in checks:
        found += dropped(table.no_route([ann], now), now)
    assert found == [(now, "host unreachable") for now in drops]


def test_the_kinds_of_errors_have_streaks_of_their_own(table: ReachabilityTable, ann: Receiver) -> None:
    for now in (0.0, 1.5):
        assert table.no_route([ann], now) == []
    assert table.feedback(FeedbackReport(frozenset({REMOTE}), NONE, NONE), [ann], 2.0) == []
    assert table.feedback(FeedbackReport(frozenset({REMOTE}), NONE, NONE), [ann], 4.0) == [
        Step(Action.DROP, ann, port_unreachable(REMOTE, 2.0))
    ]


def test_errors_before_the_receiver_was_moved_do_not_count(table: ReachabilityTable, ann: Receiver) -> None:
    report = FeedbackReport(frozenset({REMOTE}), NONE, NONE)
    assert table.feedback(report, [ann], 0.0) == []
    assert table.forget(ann) is None
    assert len(table) == 0
    assert table.feedback(report, [ann], 2.0) == []


def test_a_receiver_that_gets_no_music_yet_is_left_out(table: ReachabilityTable) -> None:
    waiting = receiver(1)
    report = FeedbackReport(frozenset({REMOTE}), NONE, NONE, frozenset({REMOTE.host}))
    assert table.feedback(report, [waiting], 0.0) == []
    assert len(table) == 0


# -- RTCP BYE --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ladder", "drops"),
    [
        ([("bye", 0.0), ("report due", 6.9)], []),
        ([("bye", 0.0), ("report due", 7.0)], [7.0]),
        ([("bye", 0.0), ("bye", 3.0), ("report due", 7.0)], [7.0]),
        ([("bye", 0.0), ("rtcp", 3.0), ("report due", 9.0)], []),
        ([("rtcp", 0.0), ("report due", 9.0)], []),
    ],
)
def test_a_receiver_is_dropped_seven_seconds_after_its_bye_unless_it_sends_more_rtcp(
    table: ReachabilityTable, ann: Receiver, ladder: list[tuple[str, float]], drops: list[float]
) -> None:
    found = []
    for what, now in ladder:
        if what == "report due":
            found += [now] * (table.bye_verdict(ann, now) == BYE_RECEIVED)
        else:
            source = frozenset({RTCP})
            report = FeedbackReport(NONE, source if what == "bye" else NONE, source if what == "rtcp" else NONE)
            assert table.feedback(report, [ann], now) == []
    assert found == drops


# -- silent neighbours -----------------------------------------------------------------------------------------------

SILENT = FeedbackReport(NONE, NONE, NONE, frozenset({REMOTE.host}))


def paused(table: ReachabilityTable, ann: Receiver, now: float = 100.0) -> FakeLoop:
    """Pause the receiver ``ann`` as the pacer does. Return the loop of its music."""
    assert table.feedback(SILENT, [ann], now) == [Step(Action.PAUSE, ann)]
    loop = FakeLoop()
    assert ann.fanout is not None
    ann.fanout.leave(ann)
    table.pause(ann, fanout_key(), LoopPair(loop), now)
    assert table.has_paused
    return loop


def test_a_silent_host_pauses_its_receivers_and_no_others(table: ReachabilityTable, ann: Receiver) -> None:
    bob, cat = receiver(2), receiver(3)
    a_fanout()[0].join(bob)
    assert table.feedback(SILENT, [bob, ann, cat], 100.0) == [Step(Action.PAUSE, ann)]


def test_a_paused_receiver_is_probed_every_two_seconds_and_resumed_when_it_answers_arp(
    table: ReachabilityTable, ann: Receiver
) -> None:
    loop = paused(table, ann)
    assert table.check({REMOTE.host: False}, 101.9) == []
    assert table.check({REMOTE.host: False}, 102.0) == [Step(Action.PROBE, ann)]
    assert table.check({REMOTE.host: False}, 103.9) == []
    assert table.check({REMOTE.host: False}, 104.0) == [Step(Action.PROBE, ann)]
    assert table.check({REMOTE.host: True}, 104.5) == [Step(Action.RESUME, ann)]
    before = table.forget(ann)
    assert before is not None and (before.key, before.pair.loop) == (fanout_key(), loop)
    assert not table.has_paused


def test_a_paused_receiver_without_an_arp_entry_is_resumed_after_five_seconds_without_an_error(
    table: ReachabilityTable, ann: Receiver
) -> None:
    paused(table, ann)
    assert table.feedback(SILENT, [ann], 103.0) == [], "one more error"
    assert table.check({}, 107.9) == [Step(Action.PROBE, ann)]
    assert table.check({}, 108.0) == [Step(Action.RESUME, ann)]


def test_a_receiver_paused_for_thirty_seconds_is_dropped(table: ReachabilityTable, ann: Receiver) -> None:
    paused(table, ann)
    assert [step.action for step in table.check({REMOTE.host: False}, 129.9)] == [Action.PROBE]
    assert table.check({REMOTE.host: False}, 130.0) == [Step(Action.DROP, ann, host_unreachable(REMOTE))]


def test_a_paused_receiver_ends_when_its_loop_fails(table: ReachabilityTable, ann: Receiver) -> None:
    loop = paused(table, ann)
    loop.failure = "the disk is full"
    ((action, _, verdict),) = table.check({}, 100.5)
    assert (action, tuple(verdict)) == (Action.DROP, ("the disk is full", ""))
