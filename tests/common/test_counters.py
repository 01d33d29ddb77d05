"""Counters by reason, and a bounded number of log lines for the events."""

from __future__ import annotations

from moh.common.counters import MAX_LINES, MAX_PAIRS, MOST_TEXT, SAME_SOURCE_AFTER, Counters, Latest


def test_the_first_event_of_a_reason_and_source_is_logged_at_once_and_the_rest_in_one_line() -> None:
    counters = Counters()
    assert counters.count_and_should_log("REGISTER 405", "192.0.2.1", now=100.0)
    assert not counters.count_and_should_log("REGISTER 405", "192.0.2.1", now=100.1)
    assert counters.count_and_should_log("INVITE 488", "192.0.2.1", now=100.2), "another reason"
    assert counters.count_and_should_log("REGISTER 405", "192.0.2.2", now=100.3), "another source"
    assert not counters.count_and_should_log("REGISTER 405", "192.0.2.2", now=101.0)
    assert counters.drain(now=105.0) == ""
    assert counters.drain(now=110.0) == "2 x 'REGISTER 405' (the last from 192.0.2.2)"
    assert counters.drain(now=120.0) == ""
    assert counters.counts == {"REGISTER 405": 4, "INVITE 488": 1}


def test_after_ten_minutes_the_same_source_is_logged_at_once_again() -> None:
    counters = Counters()
    assert [counters.count_and_should_log("a", "b", now) for now in (0.0, 599.0, 600.0)] == [True, False, True]


def test_of_a_thousand_sources_a_few_are_logged_at_once() -> None:
    counters = Counters()
    logged = sum(
        counters.count_and_should_log("OPTIONS 503", f"192.0.2.{number}", now=50.0 + number / 1000)
        for number in range(1000)
    )
    assert logged == MAX_LINES
    assert counters.drain(now=60.0) == f"{1000 - MAX_LINES} x 'OPTIONS 503' (the last from 192.0.2.999)"
    assert counters.count_and_should_log("OPTIONS 503", "192.0.2.2000", now=60.1), "the next ones have lines again"


def test_the_pairs_that_are_kept_are_bounded() -> None:
    counters = Counters()
    for number in range(3 * MAX_PAIRS):
        counters.count_and_should_log("a", str(number), now=10.0 * number)
        counters.drain(now=10.0 * number + 9.9)
    assert len(counters._logged) == MAX_PAIRS


def test_an_event_that_is_counted_elsewhere_may_be_logged_once_and_is_in_no_summary() -> None:
    counters = Counters()
    assert counters.should_log("no ACK", "192.0.2.1", now=0.0)
    assert not counters.should_log("no ACK", "192.0.2.1", now=1.0)
    assert counters.should_log("no ACK", "192.0.2.2", now=1.0)
    assert counters.should_log("no ACK", "192.0.2.1", now=SAME_SOURCE_AFTER)
    assert counters.counts == {} and counters.drain(now=2 * SAME_SOURCE_AFTER) == ""


def test_the_latest_event_of_each_reason_is_kept_with_its_source_time_and_line() -> None:
    counters = Counters()
    counters.count_and_should_log(
        "INVITE 488", "192.0.2.1", 100.0, "refused 'INVITE' from 192.0.2.1:5060: 488 No stream"
    )
    counters.count_and_should_log("INVITE 488", "192.0.2.2", 101.0, "x" * 1000)
    counters.count_and_should_log("not in MOH_ALLOW", "192.0.2.3", 102.0)
    counters.count("ended by BYE")
    assert counters.latest == {
        "INVITE 488": Latest(101.0, "192.0.2.2", "x" * MOST_TEXT),
        "not in MOH_ALLOW": Latest(102.0, "192.0.2.3", ""),
    }
