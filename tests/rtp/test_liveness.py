"""How long it is waited until a listener counts as gone; with literal clocks."""

from __future__ import annotations

from moh.common.actions import Address
from moh.rtp.liveness import RARE, Streak, Unreachable, deaf, no_way

WHO = Address("192.0.2.1", 4000)


def test_what_is_said_again_and_again_counts_from_the_first_time() -> None:
    refusals = Streak(10.0)
    assert [refusals.repeat(now) for now in (10.5, 13.5, 16.25)] == [0.5, 3.5, 6.25]


def test_after_silence_it_begins_anew() -> None:
    refusals, rare = Streak(10.0), Streak(10.0, RARE)
    assert [refusals.repeat(13.25), refusals.repeat(14.0)] == [0.0, 0.75]
    assert [rare.repeat(18.0), rare.repeat(26.25)] == [8.0, 0.0]


def test_a_lost_listener_is_back_five_seconds_after_the_last_word() -> None:
    lost = Unreachable(10.0)
    assert [lost.is_back(None, now) for now in (10.0, 14.9)] == [False, False]
    lost.repeat(14.5)
    assert [lost.is_back(None, now) for now in (15.0, 19.25, 19.5)] == [False, False, True]


def test_one_who_did_not_answer_arp_is_back_as_soon_as_he_does() -> None:
    lost = Unreachable(10.0)
    assert lost.is_back(True, 10.5) is False, "he answered all the time: the word came from beyond him"
    assert lost.is_back(False, 11.0) is False
    assert lost.is_back(True, 11.5) is True


def test_while_one_does_not_answer_arp_he_is_not_back() -> None:
    lost = Unreachable(10.0)
    assert [lost.is_back(False, now) for now in (12.0, 15.0, 20.0)] == [False] * 3
    assert [lost.is_back(None, now) for now in (24.5, 25.0)] == [False, True], "his neighbour's entry is no more"


def test_the_way_is_tried_each_two_seconds() -> None:
    lost = Unreachable(10.0)
    assert [now for now in (10.5, 11.0, 12.0, 12.5, 13.9, 14.0, 14.1) if lost.probe_due(now)] == [12.0, 14.0]


def test_after_thirty_seconds_it_is_over() -> None:
    lost = Unreachable(10.0)
    lost.repeat(38.0)
    assert [lost.expired(now) for now in (39.9, 40.0)] == [False, True]


def test_the_verdicts_say_where_and_are_counted_by_two_words() -> None:
    assert deaf(WHO, 2.3) == ("nobody listens at 192.0.2.1:4000: ICMP port unreachable for 2 s", "nobody listens")
    assert no_way(WHO) == ("no way to 192.0.2.1:4000: the network says so for 30 s", "no way")
