"""The errors and times after which a receiver counts as gone, with literal clocks."""

from __future__ import annotations

from moh.common.actions import Address
from moh.rtp.liveness import HOST_ERROR_GAP, Streak, Unreachable, host_unreachable, port_unreachable

RECEIVER = Address("192.0.2.1", 4000)


def test_a_streak_counts_from_its_first_error() -> None:
    errors = Streak(10.0)
    assert [errors.extend(now) for now in (10.5, 13.5, 16.25)] == [0.5, 3.5, 6.25]


def test_a_long_gap_starts_a_streak_again() -> None:
    port_errors, host_errors = Streak(10.0), Streak(10.0, HOST_ERROR_GAP)
    assert [port_errors.extend(13.25), port_errors.extend(14.0)] == [0.0, 0.75]
    assert [host_errors.extend(18.0), host_errors.extend(26.25)] == [8.0, 0.0]


def test_an_unreachable_receiver_is_reachable_five_seconds_after_the_last_error() -> None:
    receiver = Unreachable(10.0)
    assert [receiver.is_reachable(None, now) for now in (10.0, 14.9)] == [False, False]
    receiver.note_error(14.5)
    assert [receiver.is_reachable(None, now) for now in (15.0, 19.25, 19.5)] == [False, False, True]


def test_a_host_without_arp_answer_is_reachable_as_soon_as_it_answers() -> None:
    receiver = Unreachable(10.0)
    assert receiver.is_reachable(True, 10.5) is False, "it answered ARP all the time: the error came from farther away"
    assert receiver.is_reachable(False, 11.0) is False
    assert receiver.is_reachable(True, 11.5) is True


def test_a_host_is_unreachable_while_it_does_not_answer_arp() -> None:
    receiver = Unreachable(10.0)
    assert [receiver.is_reachable(False, now) for now in (12.0, 15.0, 20.0)] == [False] * 3
    assert [receiver.is_reachable(None, now) for now in (24.5, 25.0)] == [False, True], "its ARP entry has gone"


def test_a_probe_is_due_every_two_seconds() -> None:
    receiver = Unreachable(10.0)
    assert [now for now in (10.5, 11.0, 12.0, 12.5, 13.9, 14.0, 14.1) if receiver.probe_due(now)] == [12.0, 14.0]


def test_an_unreachable_receiver_times_out_after_thirty_seconds() -> None:
    receiver = Unreachable(10.0)
    receiver.note_error(38.0)
    assert [receiver.timed_out(now) for now in (39.9, 40.0)] == [False, True]


def test_a_verdict_is_a_sentence_with_the_address_and_two_words_for_the_counter() -> None:
    assert port_unreachable(RECEIVER, 2.3) == ("port unreachable at 192.0.2.1:4000 for 2 s (ICMP)", "port unreachable")
    why, counted_as = host_unreachable(RECEIVER)
    assert why == "host unreachable at 192.0.2.1:4000 for 30 s (ICMP, ARP or no route)"
    assert counted_as == "host unreachable"
