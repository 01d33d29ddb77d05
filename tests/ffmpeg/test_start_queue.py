"""The queue of calls that wait for their ffmpeg, by literal clocks."""

from __future__ import annotations

from moh.common.actions import Address, StartStream, Target
from moh.common.codecs import PCMU
from moh.ffmpeg.start_queue import PendingStart, StartQueue


def order(call: str, serial: int = 1) -> StartStream:
    here = Address("127.0.0.1", 4000)
    return StartStream(call, serial, Target(here, here, here, PCMU, 0, 20), 0.0)


def started(starts: StartQueue, now: float, *busy: str) -> list[tuple[str, int]]:
    """Return call and serial number of all starts that are due at ``now``, in their order. ``busy`` calls wait."""
    found = []
    while (start := starts.pop(now, busy)) is not None:
        found.append((start.order.call, start.order.serial))
    return found


def test_first_come_first_served() -> None:
    starts = StartQueue()
    for call in ("ann", "bob", "cid"):
        starts.put(order(call))
    assert starts.next_due([]) == 0.0
    assert started(starts, 10.0) == [("ann", 1), ("bob", 1), ("cid", 1)]
    assert not starts and starts.next_due([]) is None


def test_the_latest_start_counts_and_keeps_the_place() -> None:
    starts = StartQueue()
    for call, serial in (("ann", 1), ("bob", 1), ("ann", 2)):
        starts.put(order(call, serial))
    assert started(starts, 10.0) == [("ann", 2), ("bob", 1)]


def test_a_dropped_start_is_not_started() -> None:
    starts = StartQueue()
    assert starts.drop("ann") is None
    starts.put(order("ann"))
    assert "ann" in starts and list(starts) == ["ann"]
    assert starts.drop("ann") == order("ann")
    assert "ann" not in starts and started(starts, 10.0) == []


def test_a_call_whose_port_is_busy_does_not_delay_others() -> None:
    starts = StartQueue()
    starts.put(order("ann"))
    assert starts.next_due(["ann"]) is None
    starts.put(order("bob"))
    assert started(starts, 10.0, "ann") == [("bob", 1)]
    assert started(starts, 10.0) == [("ann", 1)]


def test_two_starts_of_one_call_are_half_a_second_apart() -> None:
    starts = StartQueue()
    starts.put(order("ann"))
    assert started(starts, 10.0) == [("ann", 1)]
    for serial in (2, 3):
        starts.put(order("ann", serial))
    starts.put(order("bob"))
    assert started(starts, 10.25) == [("bob", 1)]
    assert starts.next_due([]) == 10.5
    assert started(starts, 10.5) == [("ann", 3)]
    starts.put(order("ann", 4))
    assert starts.drop("ann") == order("ann", 4)
    starts.put(order("ann", 5))
    assert started(starts, 10.75) == [], "a stop in between makes no difference"
    assert started(starts, 11.0) == [("ann", 5)]


def test_a_start_a_second_later_is_not_delayed() -> None:
    starts = StartQueue()
    for now in (10.0, 11.0, 12.0):
        starts.put(order("ann"))
        assert started(starts, now) == [("ann", 1)]


def test_a_start_that_is_put_back_has_its_own_due_time() -> None:
    starts = StartQueue()
    starts.put(order("ann"))
    assert started(starts, 10.0) == [("ann", 1)]
    starts.put_back(PendingStart(order("ann"), 0.0, 0.0))
    assert started(starts, 10.0) == [("ann", 1)]
    starts.put_back(PendingStart(order("ann"), 13.0, 7.0))
    assert started(starts, 12.75) == []
    assert starts.pop(13.0, []) == PendingStart(order("ann"), 13.0, 7.0)


def test_nothing_is_kept_of_starts_of_long_ago() -> None:
    starts = StartQueue()
    for number in range(100):
        starts.put(order(f"call {number}"))
        assert started(starts, number * 0.25)
    assert len(starts._started) == 2
