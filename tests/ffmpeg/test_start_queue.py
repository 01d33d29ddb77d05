"""Which call is the next to get its ffmpeg: by literal clocks."""

from __future__ import annotations

from moh.common.actions import Address, StartStream, Target
from moh.common.codecs import PCMU
from moh.ffmpeg.start_queue import PendingStart, StartQueue


def wanted(call: str, serial: int = 1) -> StartStream:
    here = Address("127.0.0.1", 4000)
    return StartStream(call, serial, Target(here, here, here, PCMU, 0, 20), 0.0)


def taken(starts: StartQueue, now: float, *busy: str) -> list[tuple[str, int]]:
    """All that may be started at that time, in this order."""
    found = []
    while (waiting := starts.pop(now, busy)) is not None:
        found.append((waiting.order.call, waiting.order.serial))
    return found


def test_first_come_first_served() -> None:
    starts = StartQueue()
    for call in ("ann", "bob", "cid"):
        starts.put(wanted(call))
    assert starts.next_due([]) == 0.0
    assert taken(starts, 10.0) == [("ann", 1), ("bob", 1), ("cid", 1)]
    assert not starts and starts.next_due([]) is None


def test_the_latest_start_counts_and_keeps_the_place() -> None:
    starts = StartQueue()
    for call, serial in (("ann", 1), ("bob", 1), ("ann", 2)):
        starts.put(wanted(call, serial))
    assert taken(starts, 10.0) == [("ann", 2), ("bob", 1)]


def test_who_is_dropped_is_not_started() -> None:
    starts = StartQueue()
    assert starts.drop("ann") is None
    starts.put(wanted("ann"))
    assert "ann" in starts and list(starts) == ["ann"]
    assert starts.drop("ann") == wanted("ann")
    assert "ann" not in starts and taken(starts, 10.0) == []


def test_whose_port_is_busy_holds_up_nobody() -> None:
    starts = StartQueue()
    starts.put(wanted("ann"))
    assert starts.next_due(["ann"]) is None
    starts.put(wanted("bob"))
    assert taken(starts, 10.0, "ann") == [("bob", 1)]
    assert taken(starts, 10.0) == [("ann", 1)]


def test_two_starts_of_one_call_are_half_a_second_apart() -> None:
    starts = StartQueue()
    starts.put(wanted("ann"))
    assert taken(starts, 10.0) == [("ann", 1)]
    for serial in (2, 3):
        starts.put(wanted("ann", serial))
    starts.put(wanted("bob"))
    assert taken(starts, 10.25) == [("bob", 1)]
    assert starts.next_due([]) == 10.5
    assert taken(starts, 10.5) == [("ann", 3)]
    starts.put(wanted("ann", 4))
    assert starts.drop("ann") == wanted("ann", 4)
    starts.put(wanted("ann", 5))
    assert taken(starts, 10.75) == [], "to be stopped in between makes no difference"
    assert taken(starts, 11.0) == [("ann", 5)]


def test_a_start_a_second_later_is_not_delayed() -> None:
    starts = StartQueue()
    for now in (10.0, 11.0, 12.0):
        starts.put(wanted("ann"))
        assert taken(starts, now) == [("ann", 1)]


def test_who_begins_again_has_a_time_of_its_own() -> None:
    starts = StartQueue()
    starts.put(wanted("ann"))
    assert taken(starts, 10.0) == [("ann", 1)]
    starts.put_back(PendingStart(wanted("ann"), 0.0, 0.0))
    assert taken(starts, 10.0) == [("ann", 1)]
    starts.put_back(PendingStart(wanted("ann"), 13.0, 7.0))
    assert taken(starts, 12.75) == []
    assert starts.pop(13.0, []) == PendingStart(wanted("ann"), 13.0, 7.0)


def test_of_those_who_were_started_long_ago_nothing_is_kept() -> None:
    starts = StartQueue()
    for number in range(100):
        starts.put(wanted(f"call {number}"))
        assert taken(starts, number * 0.25)
    assert len(starts._begun) == 2
