"""What the library does where the cache has no room, with literal clocks. Nothing is converted."""

from __future__ import annotations

import time

from moh.library.title import Arrange, Convert
from moh.mastering.form import Form
from tests.library.desk import Desk, desk_with, what
from tests.library.folders import folder, listing


def prepared(limit: int, *names: str) -> Desk:
    """A desk whose cache is full of the music of these names, which the server has taken."""
    desk = desk_with(limit, **{f"{name}__mp3": 1 for name in names})
    desk.work()
    return desk


def test_without_room_only_the_cache_is_searched_and_the_name_is_full() -> None:
    desk = prepared(20, "a", "b")
    desk.scan(listing(a__mp3=1, b__mp3=1, c__mp3=1))
    step = desk.step()
    assert step == Convert("c", "c.mp3", Form.LOOP, may_convert=False)
    assert desk.fail(step, "", "full") == []
    assert desk.step() is None
    assert what(desk.messages()) == [("state", "c", "full")]


def test_without_room_what_the_cache_has_is_found() -> None:
    desk = prepared(20, "a", "b")
    desk.scan(listing(a__mp3=1, b__mp3=1, c__mp3=1))
    step = desk.step()
    desk.room.entries.discard("b.mp3-")  # stands for an entry that is there in any case
    assert what(desk.finish(step)) == [("ready", "c")]


def test_music_that_another_program_has_removed_is_made_again() -> None:
    desk = prepared(100, "a", "b")
    desk.librarian.check_cache(lambda folder: True)
    assert (desk.step(), desk.messages()) == (None, [])
    desk.librarian.check_cache(lambda folder: not folder.endswith("b.mp3-"))
    assert what(desk.messages()) == [("state", "b", "waiting")]
    step = desk.step()
    assert step == Convert("b", "b.mp3", Form.LOOP)
    assert what(desk.finish(step)) == [("ready", "b")]


def test_leftovers_leave_first() -> None:
    desk = prepared(30, "a", "b")
    desk.room.entries.add("leftover")
    desk.scan(listing(a__mp3=1, b__mp3=1, c__mp3=1))
    desk.fail(desk.step(), "", "full")
    assert what(desk.finish(desk.step())) == [("ready", "c")]
    assert desk.room.entries == {"a.mp3-", "b.mp3-", "c.mp3-"}


def test_a_dialled_name_gets_the_room_of_the_one_that_was_not_heard_for_longest() -> None:
    desk = prepared(30, "a", "b", "c")
    desk.send("heard", "b")
    desk.now += 1000.0
    desk.send("heard", "a")
    desk.scan(listing(a__mp3=1, b__mp3=1, c__mp3=1, d__mp3=1))
    desk.send("want", "d")
    desk.fail(desk.step(), "", "full")
    assert desk.step() is None, "the server has to give it up"
    assert [(each["name"], each["why"]) for each in desk.messages()] == [
        ("c", "the cache is full: it made room for a name that was dialled")
    ]
    desk.now += 1.0
    step = desk.step()
    assert step == Convert("d", "d.mp3", Form.LOOP)
    assert "c.mp3-" not in desk.room.entries
    assert what(desk.finish(step)) == [("ready", "d")]


def test_a_name_that_is_full_gets_its_room_when_it_is_dialled() -> None:
    desk = prepared(20, "a", "b")
    desk.now += 1000.0
    desk.scan(listing(a__mp3=1, b__mp3=1, c__mp3=1))
    desk.fail(desk.step(), "", "full")
    assert desk.step() is None
    desk.now += 1.0
    desk.send("want", "c")
    assert desk.step() is None
    assert [each["name"] for each in desk.messages()] == ["c", "b"]
    desk.now += 1.0
    assert desk.step() == Convert("c", "c.mp3", Form.LOOP)


def test_ten_thousand_names_without_room_cost_little() -> None:
    desk = Desk(20)
    desk.scan(folder({f"{number}.mp3": 1 for number in range(10000)}))
    desk.finish(desk.step())
    desk.finish(desk.step())
    for name in list(desk.librarian._titles)[2:]:
        desk.librarian._titles[name].looked_up = True
    began = time.process_time()
    assert desk.step() is None
    assert time.process_time() - began < 5.0, "each name once, not each with each"
    assert len(desk.messages()) == 9998


def test_music_that_a_call_still_hears_is_waited_for_and_then_another_leaves() -> None:
    desk = prepared(30, "a", "b", "c")
    desk.now += 1000.0
    desk.scan(listing(a__mp3=1, b__mp3=1, c__mp3=1, d__mp3=1))
    desk.send("want", "d")
    desk.room.played = {"c.mp3-"}
    desk.fail(desk.step(), "", "full")
    assert desk.step() is None
    desk.now += 29.0
    assert desk.step() is None
    assert what(desk.messages()) == [("state", "c", "full")]
    desk.now += 1.0
    assert desk.step() is None
    assert what(desk.messages()) == [("state", "b", "full")]
    assert desk.step() == Convert("d", "d.mp3", Form.LOOP)


def test_the_default_and_what_is_heard_stay() -> None:
    desk = prepared(20, "a", "b")
    desk.scan(listing(a__mp3=1, b__mp3=1, c__mp3=1))
    desk.send("heard", "b")
    desk.send("want", "c")
    desk.fail(desk.step(), "", "full")
    assert desk.step() is None
    assert what(desk.messages()) == [("state", "c", "full")]


def test_a_result_that_does_not_fit_is_dropped_and_its_size_is_known_from_then_on() -> None:
    desk = prepared(25, "a", "b")
    desk.librarian._ratios.clear()
    desk.scan(listing(a__mp3=1, b__mp3=1, c__wav=1))
    assert what(desk.finish(desk.step())) == [("state", "c", "full")]
    desk.librarian.tidy(desk.now)
    assert desk.room.entries == {"a.mp3-", "b.mp3-"}
    desk.now += 60.0
    assert desk.step() == Convert("c", "c.wav", Form.LOOP, may_convert=False)


def test_without_room_for_a_changed_file_the_former_music_plays_on() -> None:
    desk = prepared(20, "a", "b")
    desk.scan(listing(a__mp3=1, b__mp3=2))
    desk.fail(desk.step(), "", "full")
    assert desk.step() is None
    (state,) = desk.messages()
    assert (state["name"], state["state"], state["why"]) == ("b", "waiting", "the cache is full")
    assert "b.mp3-" in desk.librarian.protected()
    desk.room.limit = 30
    desk.now += 60.0
    assert what(desk.finish(desk.step())) == [("ready", "b")]


def test_a_dialled_name_whose_result_does_not_fit_takes_the_room_of_another() -> None:
    desk = prepared(25, "a", "b")
    desk.librarian._ratios.clear()
    desk.now += 1000.0
    desk.scan(listing(a__mp3=1, b__mp3=1, c__wav=1))
    desk.send("want", "c")
    assert what(desk.finish(desk.step())) == [("state", "b", "full"), ("ready", "c")]


def test_room_for_an_arrangement_is_known_before_it_is_made() -> None:
    desk = desk_with(1000000, folk=["1.mp3", "2.mp3"])
    desk.finish(desk.step())
    desk.finish(desk.step())
    step = desk.step()
    assert isinstance(step, Arrange) and not step.may_convert, "200 s take 9.6 MB"
