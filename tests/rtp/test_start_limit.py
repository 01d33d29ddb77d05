"""How many streams may start at once, with literal clocks."""

from __future__ import annotations

from moh.rtp.start_limit import StartLimit


def test_without_a_limit_there_is_always_room() -> None:
    starts = StartLimit()
    for number in range(100):
        starts.note(f"call {number}", starting=True)
    assert starts.has_room(0.0, at_once=True) and starts.has_room(0.0, at_once=False)


def test_a_stream_counts_from_its_start_until_it_plays() -> None:
    starts = StartLimit(2)
    starts.note("ann", starting=True)
    starts.note("ann", starting=True)
    assert starts.has_room(0.0, at_once=True)
    starts.note("bob", starting=True)
    assert not starts.has_room(0.0, at_once=True)
    starts.note("ann", starting=False)
    assert starts.has_room(0.0, at_once=True)


def test_a_call_that_is_gone_does_not_count() -> None:
    starts = StartLimit(1)
    starts.note("ann", starting=True)
    starts.await_ack("ann", 0.0)
    starts.forget("ann")
    starts.forget("ann")
    assert starts.has_room(0.0, at_once=False) and not len(starts)


def test_a_call_that_waits_for_its_ack_counts_for_a_second_among_others_that_wait() -> None:
    starts = StartLimit(2)
    starts.await_ack("ann", 10.0)
    starts.await_ack("bob", 10.5)
    assert not starts.has_room(10.9, at_once=False)
    assert starts.has_room(11.0, at_once=False)


def test_calls_that_wait_for_their_ack_keep_no_place_from_music_that_starts_at_once() -> None:
    starts = StartLimit(1)
    starts.await_ack("ann", 10.0)
    assert starts.has_room(10.0, at_once=True)


def test_an_ack_turns_a_waiting_call_into_a_starting_one() -> None:
    starts = StartLimit(2)
    starts.await_ack("ann", 10.0)
    starts.note("ann", starting=False)
    starts.note("ann", starting=True)
    assert len(starts) == 1
    starts.note("ann", starting=False)
    assert not len(starts)
