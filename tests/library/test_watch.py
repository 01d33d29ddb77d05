"""Which files are complete, and which listing is believed."""

from __future__ import annotations

from dataclasses import replace

from moh.library.listing import Item, Listing
from moh.library.watch import FolderWatch, Settling
from tests.library.folders import file, listing


def settling(*without_end: str) -> Settling:
    return Settling(lambda path: path not in without_end)


def found(*items: Item) -> dict[str, Item]:
    return {item.name: item for item in items}


JAZZ = file("jazz.mp3", 1, written=500.0)


def test_an_old_file_is_complete_at_the_start() -> None:
    watch = settling()
    assert watch.poll(found(JAZZ), at=1000.0, now=10.0)
    assert watch.is_complete("jazz.mp3")
    assert not watch.is_complete("other.mp3")


def test_a_file_that_was_just_written_is_waited_for_two_seconds_at_the_start() -> None:
    watch = settling()
    fresh = found(file("jazz.mp3", 1, written=999.5))
    assert not watch.poll(fresh, at=1000.0, now=10.0)
    assert watch.poll(fresh, at=1002.0, now=12.0)


def test_a_file_without_its_end_is_waited_for_ten_seconds_at_the_start() -> None:
    watch = settling("jazz.mp3")
    fresh = found(file("jazz.mp3", 1, written=999.5))
    assert not watch.poll(fresh, at=1000.0, now=10.0)
    assert not watch.poll(fresh, at=1008.0, now=18.0)
    assert watch.poll(fresh, at=1010.0, now=20.0)


def test_a_file_that_is_copied_later_is_complete_after_ten_quiet_seconds() -> None:
    watch = settling()
    watch.poll({}, at=1000.0, now=10.0)
    assert not watch.poll(found(file("jazz.mp3", 1, written=1001.0)), at=1002.0, now=12.0)
    assert not watch.poll(found(file("jazz.mp3", 2, written=1003.0)), at=1004.0, now=14.0)
    assert not watch.poll(found(file("jazz.mp3", 2, written=1003.0)), at=1012.0, now=22.0)
    assert watch.poll(found(file("jazz.mp3", 2, written=1003.0)), at=1014.0, now=24.0)


def test_a_copied_file_without_its_end_is_complete_after_a_minute() -> None:
    watch = settling("jazz.mp3")
    watch.poll({}, at=1000.0, now=10.0)
    copied = found(file("jazz.mp3", 1, written=1001.0))
    assert not watch.poll(copied, at=1002.0, now=12.0)
    assert not watch.poll(copied, at=1060.0, now=70.0)
    assert watch.poll(copied, at=1062.0, now=72.0)


def test_a_file_that_was_moved_here_is_complete_at_once() -> None:
    watch = settling()
    watch.poll({}, at=1000.0, now=10.0)
    assert watch.poll(found(JAZZ), at=1002.0, now=12.0)


def test_a_file_that_was_moved_over_another_is_complete_at_once() -> None:
    watch = settling()
    watch.poll(found(JAZZ), at=1000.0, now=10.0)
    assert watch.poll(found(file("jazz.mp3", 2, written=900.0)), at=1002.0, now=12.0)


def test_a_file_that_was_moved_here_without_its_end_is_waited_for() -> None:
    watch = settling("jazz.mp3")
    watch.poll({}, at=1000.0, now=10.0)
    assert not watch.poll(found(JAZZ), at=1002.0, now=12.0)
    assert watch.poll(found(JAZZ), at=1062.0, now=72.0)


def test_a_file_of_a_clock_in_the_future_is_waited_for() -> None:
    watch = settling()
    watch.poll({}, at=1000.0, now=10.0)
    late = found(file("jazz.mp3", 1, written=9000.0))
    assert not watch.poll(late, at=1002.0, now=12.0)
    assert watch.poll(late, at=1012.0, now=22.0)


def test_a_complete_file_that_is_written_to_is_complete_no_more() -> None:
    watch = settling()
    watch.poll(found(JAZZ), at=1000.0, now=10.0)
    watch.poll(found(file("jazz.mp3", 2, written=1001.0)), at=1002.0, now=12.0)
    assert not watch.is_complete("jazz.mp3")


def test_a_file_that_goes_and_comes_back_is_a_new_one() -> None:
    watch = settling()
    watch.poll(found(JAZZ), at=1000.0, now=10.0)
    watch.poll({}, at=1002.0, now=12.0)
    assert not watch.is_complete("jazz.mp3")
    assert not watch.poll(found(file("jazz.mp3", 1, written=1003.5)), at=1004.0, now=14.0)


def test_the_owner_may_say_that_all_is_complete() -> None:
    watch = settling("jazz.mp3")
    copied = found(file("jazz.mp3", 1, written=1001.0))
    watch.poll(copied, at=1002.0, now=12.0)
    watch.believe(copied)
    assert watch.is_complete("jazz.mp3")
    assert watch.poll(copied, at=1002.0, now=12.0)


def test_a_folder_that_cannot_be_read_keeps_its_names() -> None:
    watch = FolderWatch()
    there = listing(jazz__mp3=1)
    assert watch.poll(there, 10.0) is there
    assert watch.poll(Listing((), fault="Stale file handle"), 12.0) is there
    assert watch.fault == "Stale file handle"
    assert watch.poll(Listing((), fault="Stale file handle"), 9999.0) is there
    back = listing(jazz__mp3=2)
    assert watch.poll(back, 10000.0) is back and watch.fault == ""


def test_a_folder_that_is_suddenly_empty_is_believed_after_half_a_minute() -> None:
    watch = FolderWatch()
    there, empty = listing(jazz__mp3=1), listing()
    watch.poll(there, 10.0)
    assert watch.poll(empty, 12.0) is there and "empty" in watch.fault
    assert watch.poll(there, 14.0) is there and watch.fault == ""
    assert watch.poll(empty, 16.0) is there
    assert watch.poll(empty, 45.0) is there
    assert watch.poll(empty, 46.0) is empty and watch.fault == ""


def test_a_network_share_that_was_unmounted_keeps_its_names_until_it_is_back() -> None:
    watch = FolderWatch()
    there = replace(listing(jazz__mp3=1), device=7)
    watch.poll(there, 10.0)
    assert watch.poll(Listing((), device=1), 12.0) is there and "another file system" in watch.fault
    assert watch.poll(Listing((), device=1), 9999.0) is there
    assert watch.poll(there, 10001.0) is there and watch.fault == ""
    assert watch.poll(replace(there, items=(), device=7), 10003.0) is there
    assert watch.poll(replace(there, items=(), device=7), 10033.0).items == ()


def test_a_folder_that_is_empty_at_the_start_is_believed() -> None:
    watch = FolderWatch()
    assert watch.poll(listing(), 10.0).items == () and watch.fault == ""
