"""What the library does next, with literal clocks. Nothing is converted: each test says what a step has made."""

from __future__ import annotations

from moh.library.librarian import Librarian
from moh.library.listing import Listing
from moh.library.title import Arrange, Convert
from moh.mastering.form import Form
from tests.library.desk import Desk, FakeRoom, desk_with, what
from tests.library.folders import folder, listing

STREAM = b"http://radio.example/stream"


# -- order -----------------------------------------------------------------------------------------------------------


def test_the_names_are_sent_and_a_piece_becomes_ready() -> None:
    desk = Desk()
    (names,) = desk.scan(listing(jazz__mp3=1))
    assert names == {
        "what": "names", "names": [{"name": "jazz", "kind": "piece", "pieces": 1}], "default": "jazz", "notes": [],
        "folder": "/music",
    }  # fmt: skip
    step = desk.step()
    assert step == Convert("jazz", "jazz.mp3", Form.LOOP)
    desk.librarian.began(step)
    assert what(desk.messages()) == [("state", "jazz", "converting")]
    (ready,) = desk.finish(step)
    assert (ready["what"], ready["folders"]) == ("ready", ["/cache/jazz.mp3-"])
    assert desk.step() is None


def test_the_same_scan_again_sends_nothing() -> None:
    desk = desk_with(jazz__mp3=1)
    assert desk.scan(folder({"jazz.mp3": 1}, at=2000.0)) == []


def test_the_default_comes_first_then_dialled_names_then_the_others_by_name() -> None:
    desk = desk_with(b__mp3=1, default__mp3=1, c__mp3=1, d__mp3=1)
    desk.send("want", "d")
    assert desk.names == ["default", "d", "b", "c"]


def test_the_name_that_was_dialled_last_is_the_most_urgent() -> None:
    desk = desk_with(a__mp3=1, b__mp3=1, c__mp3=1, d__mp3=1)
    desk.send("want", "c")
    desk.send("want", "d")
    assert desk.names == ["a", "d", "c", "b"]


def test_names_from_the_wire_are_looked_up_in_the_list_only() -> None:
    desk = desk_with(jazz__mp3=1)
    for name in ("../jazz", "jazz/../../etc/passwd", "", "\0", "jazz.mp3", "x" * 70000, "Jazz", 7, None, ["jazz"]):
        desk.send("want", name)
        desk.send("heard", name)
        desk.librarian.receive({"do": "taken", "name": name, "folders": [name]}, 10.0)
        desk.librarian.receive({"do": "unknown", "name": name}, 10.0)
    assert desk.names == ["jazz"]


def test_a_name_that_is_gone_is_wanted_no_more() -> None:
    desk = desk_with(a__mp3=1, jazz__mp3=1)
    desk.send("want", "jazz")
    desk.scan(listing(a__mp3=1))
    assert desk.names == ["a"]


def test_the_note_about_the_folder_begins_with_its_name() -> None:
    """The server and the doctor know it by that. Compose passes the name as the owner wrote it."""
    librarian = Librarian(FakeRoom(10000), "./music")
    librarian.scanned(Listing(()), True, lambda path: True, "the server may not read the folder", 10.0)
    (names,) = (each for each in librarian.drain(10.0) if each["what"] == "names")
    assert (names["folder"], names["notes"]) == ("music", ["music: the server may not read the folder"])


def test_with_a_default_elsewhere_the_folder_has_none() -> None:
    desk = Desk(has_default=True)
    (names,) = desk.scan(listing(a__mp3=1, b__mp3=1))
    assert names["default"] is None
    desk.send("want", "b")
    assert desk.names == ["b", "a"]


# -- folders ---------------------------------------------------------------------------------------------------------


def test_a_folder_is_converted_piece_by_piece_and_put_together() -> None:
    desk = desk_with(folk=["2.mp3", "1.mp3", "announce.wav"])
    steps = desk.work()
    assert steps[:3] == [
        Convert("folk", "folk/announce.wav", Form.SPEECH), Convert("folk", "folk/1.mp3", Form.PIECE),
        Convert("folk", "folk/2.mp3", Form.PIECE),
    ]  # fmt: skip
    last = steps[3]
    assert isinstance(last, Arrange) and last.source == "folk"
    assert [part.source.name for part in last.parts] == ["1.mp3", "2.mp3"]
    assert last.announcement is not None and last.announcement.source.name == "announce.wav"
    assert len(steps) == 4


def test_a_folder_of_one_piece_is_a_loop() -> None:
    assert desk_with(folk=["1.mp3"]).work() == [Convert("folk", "folk/1.mp3", Form.LOOP)]


def test_a_piece_with_an_announcement_is_put_together_under_a_name_of_its_own() -> None:
    steps = desk_with(announce__wav=1, jazz__mp3=1, rock__mp3=1).work()
    arranged = [step.source for step in steps if isinstance(step, Arrange)]
    assert arranged == ["jazz.mp3 with its announcement", "rock.mp3 with its announcement"]


def test_a_dialled_name_comes_between_the_pieces_of_a_folder() -> None:
    desk = desk_with(a__mp3=1, folk=["1.mp3", "2.mp3"], jazz__mp3=1)
    desk.finish(desk.step())
    desk.finish(desk.step())  # the first piece of folk
    desk.send("want", "jazz")
    steps = desk.work()
    assert steps[0].name == "jazz"
    assert steps[1] == Convert("folk", "folk/2.mp3", Form.PIECE), "what is converted is not converted again"


def test_a_piece_that_is_refused_is_noted_and_the_others_play() -> None:
    desk = desk_with(folk=["1.mp3", "2.mp3", "3.mp3"])
    desk.finish(desk.step())
    (names,) = desk.fail(desk.step())
    assert names["notes"] == ["folk/2.mp3 is not played: it is a text"]
    steps = desk.work()
    assert isinstance(steps[-1], Arrange) and [part.source.name for part in steps[-1].parts] == ["1.mp3", "3.mp3"]
    assert desk.step() is None


def test_a_folder_of_which_one_piece_is_left_is_a_loop() -> None:
    desk = desk_with(folk=["1.mp3", "2.mp3"])
    desk.fail(desk.step())
    assert desk.work() == [Convert("folk", "folk/2.mp3", Form.LOOP)]


def test_an_announcement_that_is_refused_is_noted_and_the_music_plays_without_it() -> None:
    desk = desk_with(announce__wav=1, jazz__mp3=1)
    (names,) = desk.fail(desk.step())
    assert names["notes"] == ["announce.wav is not played: it is a text"]
    assert desk.work() == [Convert("jazz", "jazz.mp3", Form.LOOP)]


def test_a_folder_of_which_all_pieces_are_refused_is_refused() -> None:
    desk = desk_with(a__mp3=1, folk=["1.mp3", "2.mp3"])
    desk.finish(desk.step())
    desk.fail(desk.step())
    assert ("state", "folk", "refused") in what(desk.fail(desk.step()))
    assert desk.step() is None


def test_a_folder_longer_than_an_hour_gets_its_next_hour_when_it_was_heard() -> None:
    desk = desk_with(a__mp3=1, folk=["1.mp3", "2.mp3", "3.mp3"])
    steps = desk.work(seconds=1500.0)
    assert [step.path for step in steps if isinstance(step, Convert)][1:] == ["folk/1.mp3", "folk/2.mp3", "folk/3.mp3"]
    assert isinstance(steps[-1], Arrange) and [part.source.name for part in steps[-1].parts] == ["1.mp3", "2.mp3"]
    desk.now += 3700.0
    assert desk.work() == [], "no caller has heard it"
    desk.send("heard", "folk")
    last = desk.work(seconds=1500.0)[-1]
    assert isinstance(last, Arrange) and [part.source.name for part in last.parts] == ["3.mp3", "1.mp3"]
    desk.now += 100.0
    desk.send("heard", "folk")
    assert desk.work() == []


def test_a_shuffled_folder_has_another_order_each_hour() -> None:
    desk = desk_with(folk=[".shuffle", *(f"{number}.mp3" for number in range(9))])
    first = desk.work()[-1]
    desk.now += 3600.0
    desk.hour = "2"
    last = desk.work()[-1]
    assert isinstance(first, Arrange) and isinstance(last, Arrange)
    orders = [[part.source.name for part in step.parts] for step in (first, last)]
    assert sorted(orders[0]) == sorted(orders[1]) and orders[0] != orders[1]


# -- changes ---------------------------------------------------------------------------------------------------------


def test_a_changed_file_is_converted_and_the_former_music_plays_meanwhile() -> None:
    desk = desk_with(jazz__mp3=1)
    desk.work()
    desk.scan(listing(jazz__mp3=2))
    step = desk.step()
    assert step is not None
    desk.librarian.began(step)
    assert desk.messages() == []


def test_a_changed_file_with_the_same_content_is_not_announced_again() -> None:
    desk = desk_with(jazz__mp3=1)
    desk.work()
    desk.scan(listing(jazz__mp3=2))
    assert desk.finish(desk.step()) == []


def test_a_changed_file_that_is_refused_is_reported_and_then_is_ready_again() -> None:
    desk = desk_with(jazz__mp3=1)
    desk.work()
    desk.scan(listing(jazz__mp3=2))
    assert what(desk.fail(desk.step())) == [("state", "jazz", "refused")]
    desk.scan(listing(jazz__mp3=3))
    assert what(desk.finish(desk.step())) == [("ready", "jazz")]


def test_the_result_of_a_step_whose_name_has_gone_is_dropped() -> None:
    desk = desk_with(jazz__mp3=1)
    step = desk.step()
    desk.scan(listing(folk__mp3=1))
    assert desk.finish(step) == [] and desk.fail(step) == []


def test_a_piece_that_becomes_a_radio_is_announced_anew() -> None:
    desk = desk_with(live__mp3=1)
    desk.work()
    found = desk.scan(folder({"live.mp3": 1, "live.url": STREAM}))
    assert what(found) == [("names",), ("radio", "live")] and found[1]["fallback"] == "live"
    assert what(desk.finish(desk.step())) == [("ready", "live")]
    assert what(desk.scan(folder({"live.mp3": 1, "live.url": b"http://other.example/"}))) == [("radio", "live")]


def test_a_radio_that_is_refused_says_why() -> None:
    desk = Desk()
    found = desk.scan(folder({"live.m3u": b"live.m3u"}))
    assert what(found) == [("names",), ("state", "live", "refused")]
    assert "'live.m3u' is the name of a file" in found[1]["why"]
    assert what(desk.scan(folder({"live.m3u": STREAM}))) == [
        ("names",),
        ("radio", "live"),
        ("state", "live", "waiting"),
    ]


def test_a_default_that_is_refused_is_replaced_by_the_next_name() -> None:
    desk = desk_with(a__mp3=1, b__mp3=1)
    found = desk.fail(desk.step())
    assert what(found) == [("state", "a", "refused"), ("names",)]
    assert found[1]["default"] == "b"


def test_a_folder_of_files_that_are_being_copied_waits_for_a_minute() -> None:
    desk = Desk()
    desk.incomplete = {"folk/2.mp3"}
    given = listing(folk=["1.mp3", "2.mp3", "3.mp3"])
    desk.scan(given)
    assert desk.step() is None
    desk.now += 59.0
    desk.scan(given)
    assert desk.step() is None
    desk.now += 1.0
    desk.scan(given)
    assert [step.path for step in desk.work() if isinstance(step, Convert)] == ["folk/1.mp3", "folk/3.mp3"]
    desk.incomplete = set()
    desk.scan(given)
    assert isinstance(desk.work()[-1], Arrange)


def test_a_folder_that_cannot_be_read_is_noted() -> None:
    desk = desk_with(jazz__mp3=1)
    (names,) = desk.scan(listing(jazz__mp3=1), "Stale file handle")
    assert names["notes"] == ["/music: Stale file handle"] and len(names["names"]) == 1


def test_while_the_folder_is_away_nothing_is_converted_and_then_all_is_tried_again() -> None:
    desk = desk_with(jazz__mp3=1)
    step = desk.step()
    desk.scan(listing(jazz__mp3=1), "No such file or directory")
    desk.fail(step, "it is not there any more")
    assert desk.step() is None
    desk.scan(listing(jazz__mp3=1))
    assert desk.step() == step


# -- failures --------------------------------------------------------------------------------------------------------


def test_what_has_failed_is_tried_again_after_growing_pauses() -> None:
    desk = desk_with(jazz__mp3=1)
    assert what(desk.fail(desk.step())) == [("state", "jazz", "refused"), ("names",)]
    for pause in (60.0, 120.0, 240.0):
        desk.now += pause - 1
        assert desk.step() is None
        desk.now += 1
        assert desk.fail(desk.step()) == [], "the same reason is told once"


def test_a_check_tries_again_at_once() -> None:
    desk = desk_with(jazz__mp3=1)
    desk.fail(desk.step())
    desk.librarian.check()
    assert what(desk.finish(desk.step())) == [("ready", "jazz")]
    desk.now += 2.0
    assert what(desk.messages()) == [("names",)]


def test_a_check_leaves_alone_what_is_ready() -> None:
    desk = desk_with(jazz__mp3=1)
    desk.work()
    desk.librarian.check()
    assert desk.step() is None


def test_music_that_the_server_does_not_take_stops_the_conversions() -> None:
    desk = Desk()
    desk.scan(folder({f"{number}.mp3": 1 for number in range(300)}))
    for _ in range(200):
        desk.finish(desk.step())
    assert desk.step() is None
    desk.send("taken", name="0", folders=["/cache/0.mp3-"])
    assert desk.step() is not None


def test_ten_thousand_names_cost_little_while_nothing_changes() -> None:
    desk = Desk()
    found = folder({f"{number}.mp3": 1 for number in range(10000)})
    assert len(desk.scan(found)) == 50
    assert desk.step() is not None
    assert desk.scan(found) == []


def test_many_names_that_are_refused_send_the_list_every_two_seconds_at_most() -> None:
    desk = Desk()
    desk.scan(folder({f"{number}.mp3": 1 for number in range(1000)}))
    found = []
    for number in range(100):
        desk.now = 10.0 + number * 0.1
        found += desk.fail(desk.step())
    assert len([message for message in found if message["what"] == "state"]) == 100
    assert len([message for message in found if message["what"] == "names"]) == 5 * 5, "1,000 names are five lines"
