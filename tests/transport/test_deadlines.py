"""The deadlines of a connection, with literal clocks."""

from __future__ import annotations

import math

from moh.transport.deadlines import IDLE_TIMEOUT, MESSAGE_TIMEOUT, Deadlines


def silent_at(deadlines: Deadlines, *times: float) -> list[bool]:
    """Return for each of ``times`` whether the other side has been silent for too long."""
    found = []
    for now in times:
        deadlines.advance(now, held=False)
        found.append(deadlines.silent)
    return found


def test_the_first_message_has_to_come_in_time() -> None:
    deadlines = Deadlines(100.0, math.inf)
    assert deadlines.timeout(held=False) == MESSAGE_TIMEOUT == 10.0
    assert silent_at(deadlines, 109.9, 110.0) == [False, True]


def test_after_a_whole_message_the_connection_may_be_idle() -> None:
    deadlines = Deadlines(100.0, math.inf)
    deadlines.advance(105.0, held=False)
    deadlines.note_read(1, was_partial=False, is_partial=False)
    assert deadlines.timeout(held=False) == IDLE_TIMEOUT == 600.0
    assert silent_at(deadlines, 704.9, 705.0) == [False, True]


def test_a_read_that_completes_nothing_does_not_extend_the_deadline_of_a_partial_message() -> None:
    deadlines = Deadlines(100.0, math.inf)
    deadlines.advance(200.0, held=False)
    deadlines.note_read(0, was_partial=False, is_partial=True)
    for now in (201.0, 205.0, 209.0):
        deadlines.advance(now, held=False)
        deadlines.note_read(0, was_partial=True, is_partial=True)
    assert silent_at(deadlines, 209.9, 210.0) == [False, True]


def test_a_message_with_the_start_of_the_next_one_sets_a_new_deadline_for_the_next_one() -> None:
    deadlines = Deadlines(100.0, math.inf)
    deadlines.advance(105.0, held=False)
    deadlines.note_read(1, was_partial=True, is_partial=True)
    assert silent_at(deadlines, 114.9, 115.0) == [False, True]


def test_an_idle_connection_that_a_call_uses_is_idle_again() -> None:
    deadlines = Deadlines(100.0, math.inf)
    assert silent_at(deadlines, 110.0) == [True]
    deadlines.note_use()
    assert silent_at(deadlines, 709.9, 710.0) == [False, True]


def test_a_held_message_waits_for_its_rate_and_the_silence_of_the_other_side_does_not_count() -> None:
    deadlines = Deadlines(100.0, math.inf)
    deadlines.hold(0.5, now=100.0)
    assert deadlines.timeout(held=True) == 0.5 and not deadlines.may_handle
    deadlines.advance(100.4, held=True)
    assert not deadlines.may_handle
    deadlines.advance(100.5, held=True)
    assert deadlines.may_handle
    deadlines.hold(3600.0, now=100.5)
    deadlines.advance(3700.5, held=True)
    assert deadlines.may_handle and not deadlines.silent
    assert silent_at(deadlines, 3710.4, 3710.5) == [False, True], "10 s without the 3600.5 s of holding back"


def test_a_closing_connection_has_ten_seconds_to_send_waiting_octets() -> None:
    deadlines = Deadlines(100.0, math.inf)
    deadlines.note_use()
    deadlines.advance(200.0, held=False)
    deadlines.note_closing()
    deadlines.advance(205.0, held=False)
    deadlines.note_closing()
    assert silent_at(deadlines, 209.9, 210.0) == [False, True], "a later turn does not extend it"


def test_an_outbound_connection_expires_even_if_messages_come() -> None:
    deadlines = Deadlines(100.0, lifetime=32.0)
    deadlines.note_use()
    assert deadlines.timeout(held=False) == 32.0
    deadlines.hold(100.0, now=100.0)
    assert deadlines.timeout(held=True) == 32.0
    deadlines.advance(131.9, held=False)
    assert not deadlines.expired
    deadlines.advance(132.0, held=False)
    assert deadlines.expired and deadlines.timeout(held=False) == 0.0
