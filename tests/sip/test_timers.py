"""Time in SIP (RFC 3261 table 4), and what falls due when."""

from __future__ import annotations

from moh.sip.timers import T1, T2, T4, TRANSACTION_LIFE, Schedule, retransmit_times


def test_the_constants_are_those_of_table_4() -> None:
    assert (T1, T2, T4, TRANSACTION_LIFE) == (0.5, 4.0, 5.0, 32.0)


def test_retransmission_intervals_double_up_to_t2_until_64_t1() -> None:
    assert list(retransmit_times(0.0)) == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert next(retransmit_times(100.0)) == 100.5


def test_the_earliest_timer_expires_first() -> None:
    schedule = Schedule[str]()
    schedule.set("late", 3.0)
    schedule.set("early", 1.0)
    schedule.set("never", 9.0)
    assert schedule.next_due == 1.0
    assert list(schedule.due(3.0)) == ["early", "late"]
    assert (schedule.next_due, len(schedule)) == (9.0, 1)


def test_a_timer_expires_once_and_not_early() -> None:
    schedule = Schedule[str]()
    schedule.set("a", 1.0)
    assert list(schedule.due(0.999)) == []
    assert list(schedule.due(1.0)) == ["a"]
    assert list(schedule.due(1.0)) == []
    assert schedule.next_due is None


def test_equal_timers_expire_in_the_order_they_were_set() -> None:
    schedule = Schedule[object]()
    first, second = object(), object()  # which cannot be compared
    schedule.set(first, 1.0)
    schedule.set(second, 1.0)
    assert list(schedule.due(1.0)) == [first, second]


def test_setting_a_timer_again_moves_it() -> None:
    schedule = Schedule[str]()
    schedule.set("a", 1.0)
    schedule.set("a", 5.0)
    assert (schedule.next_due, len(schedule)) == (5.0, 1)
    assert list(schedule.due(4.0)) == []
    schedule.set("a", 2.0)
    assert list(schedule.due(9.0)) == ["a"]


def test_none_removes_a_timer() -> None:
    schedule = Schedule[str]()
    schedule.set("a", 1.0)
    schedule.set("a", None)
    schedule.set("b", None)
    assert (schedule.next_due, len(schedule), list(schedule.due(9.0))) == (None, 0, [])


def test_a_timer_that_is_moved_there_and_back_expires_once() -> None:
    schedule = Schedule[str]()
    for when in (1.0, 2.0, 1.0):
        schedule.set("a", when)
    assert list(schedule.due(9.0)) == ["a"]


def test_a_timer_that_is_set_while_others_expire_is_seen() -> None:
    schedule = Schedule[str]()
    schedule.set("a", 1.0)
    schedule.set("b", 2.0)
    woken = []
    for key in schedule.due(3.0):
        woken.append(key)
        schedule.set("b", 7.0)
        if key == "a":
            schedule.set("c", 3.0)
    assert woken == ["a", "c"]
    assert schedule.next_due == 7.0


def test_a_timer_that_is_moved_a_thousand_times_takes_no_memory() -> None:
    schedule = Schedule[str]()
    for step in range(1000):
        schedule.set("a", float(step))
        schedule.set("b", 5000.0 + step % 2)
    assert len(schedule) == 2
    assert len(schedule._heap) <= 2 * 2 + 64
    assert list(schedule.due(9999.0)) == ["a", "b"]
