"""Counts by reason, and lines for the log that stay few whatever comes."""

from __future__ import annotations

from moh.common.counters import AT_ONCE, MOST_SOURCES, Counters


def test_the_first_of_its_kind_is_told_at_once_and_the_rest_in_one_line() -> None:
    tally = Counters()
    assert tally.count_and_should_log("REGISTER 405", "192.0.2.1", now=100.0)
    assert not tally.count_and_should_log("REGISTER 405", "192.0.2.1", now=100.1)
    assert tally.count_and_should_log("INVITE 488", "192.0.2.1", now=100.2), "another kind"
    assert tally.count_and_should_log("REGISTER 405", "192.0.2.2", now=100.3), "another source"
    assert not tally.count_and_should_log("REGISTER 405", "192.0.2.2", now=101.0)
    assert tally.drain(now=105.0) == ""
    assert tally.drain(now=110.0) == "2 REGISTER 405 (last 192.0.2.2)"
    assert tally.drain(now=120.0) == ""
    assert tally.counts == {"REGISTER 405": 4, "INVITE 488": 1}
    assert tally.summary() == "4 REGISTER 405, 1 INVITE 488"


def test_after_ten_minutes_there_is_a_line_at_once_again() -> None:
    tally = Counters()
    assert [tally.count_and_should_log("a", "b", now) for now in (0.0, 599.0, 600.0)] == [True, False, True]


def test_of_a_thousand_sources_a_few_are_told_at_once() -> None:
    tally = Counters()
    told = sum(
        tally.count_and_should_log("OPTIONS 503", f"192.0.2.{number}", now=50.0 + number / 1000)
        for number in range(1000)
    )
    assert told == AT_ONCE
    assert tally.drain(now=60.0) == f"{1000 - AT_ONCE} OPTIONS 503 (last 192.0.2.999)"
    assert tally.count_and_should_log("OPTIONS 503", "192.0.2.2000", now=60.1), "and then a few more"


def test_what_is_remembered_is_bounded() -> None:
    tally = Counters()
    for number in range(3 * MOST_SOURCES):
        tally.count_and_should_log("a", str(number), now=10.0 * number)
        tally.drain(now=10.0 * number + 9.9)
    assert len(tally._told) == MOST_SOURCES
