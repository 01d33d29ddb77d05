"""Which names a folder has, and what is behind each."""

from __future__ import annotations

import os

import pytest

from moh.library.listing import Item, Kind, Listing, Text
from moh.library.names import Names, Selection, default_of, names_of
from tests.library.folders import Content, folder, listing

STREAM = b"http://radio.example/stream"


def read(shuffle: bool = False, **given: Content) -> Names:
    return names_of(listing(**given), shuffle)


def of(name: str, content: dict[str, Content]) -> Selection:
    return names_of(folder(content), False).selections[name]


def test_a_file_is_a_piece_and_a_folder_a_row_of_pieces_in_natural_order() -> None:
    found = read(jazz__mp3=1, folk=["10.ogg", "2.mp3", "1.mp3"])
    assert [*found.selections.values()] == [
        Selection("folk", "folder", ("folk/1.mp3", "folk/2.mp3", "folk/10.ogg")),
        Selection("jazz", "piece", ("jazz.mp3",)),
    ]
    assert found.notes == ()


def test_an_empty_folder_has_no_name_and_no_default() -> None:
    found = read()
    assert found == Names({}, ())
    assert default_of(found.selections) is None


def test_a_folder_without_music_has_a_note() -> None:
    found = read(jazz=["cover.jpg"], folk=[])
    assert found.selections == {}
    assert found.notes == ("folk is not played: the folder has no music", "jazz is not played: the folder has no music")


def test_files_that_are_evidently_no_music_are_ignored() -> None:
    found = read(readme__txt=1, cover__JPG=1, Thumbs__db=1, a__cue=1, __hidden__mp3=1, x__part=1, jazz__wav=1)
    assert list(found.selections) == ["jazz"] and found.notes == ()
    assert list(names_of(folder({"lost+found": [], "@eaDir": ["x.mp3"], ".git": ["x.mp3"]}), False).selections) == []


def test_the_folder_comes_before_the_piece_of_the_same_name() -> None:
    found = read(jazz__mp3=1, jazz=["1.mp3"])
    assert found.selections["jazz"].pieces == ("jazz/1.mp3",)
    assert found.notes == ("jazz.mp3 is not played: the folder jazz has the same name",)


def test_of_two_pieces_with_one_stem_the_first_by_name_plays() -> None:
    found = read(jazz__wav=1, jazz__mp3=1)
    assert found.selections["jazz"].pieces == ("jazz.mp3",)
    assert found.notes == ("jazz.wav is not played: jazz.mp3 has the same name",)


def test_names_that_differ_by_case_are_two_names() -> None:
    assert set(read(jazz__mp3=1, Jazz__mp3=1).selections) == {"jazz", "Jazz"}


def test_names_that_differ_by_their_unicode_form_are_one_name() -> None:
    found = names_of(folder({"cafe\u0301.mp3": 1, "caf\u00e9.ogg": 1}), False)
    assert list(found.selections) == ["caf\u00e9"]
    assert len(found.notes) == 1 and "has the same name" in found.notes[0]


def test_two_folders_that_differ_by_their_unicode_form_are_one_name() -> None:
    found = names_of(folder({"cafe\u0301": ["1.mp3"], "caf\u00e9": ["2.mp3"]}), False)
    assert list(found.selections) == ["caf\u00e9"]
    assert len(found.selections["caf\u00e9"].pieces) == 1
    assert len(found.notes) == 1


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("Summer time.mp3", "Summer time"),
        ("a.b.mp3", "a.b"),
        ("..jazz", None),
        ("\U0001f3b7.mp3", "\U0001f3b7"),
        ("x" * 251 + ".mp3", "x" * 251),
        ("-rf.mp3", "-rf"),
        ("jazz", "jazz"),
        ("%2e%2e%2f.mp3", "%2e%2e%2f"),
        ("a\nb.mp3", "a\nb"),
    ],
)
def test_odd_names_are_names(file: str, name: str) -> None:
    assert list(names_of(folder({file: 1}), False).selections) == ([name] if name else [])


def test_a_name_that_is_not_utf_8_cannot_be_dialled_and_has_a_note_that_can_be_printed() -> None:
    found = names_of(folder({os.fsdecode(b"caf\xe9.mp3"): 1}), False)
    assert found.selections == {}
    assert found.notes == ("caf\\udce9.mp3 is not played: its name is not UTF-8; expected another name",)
    found = names_of(folder({"jazz": [os.fsdecode(b"\xe9.mp3"), "2.mp3"]}), False)
    assert found.selections["jazz"].pieces == ("jazz/2.mp3",)
    assert found.notes == ("jazz/\\udce9.mp3 is not played: its name is not UTF-8; expected another name",)


def test_what_is_no_file_has_a_note() -> None:
    items = (Item("a.mp3", Kind.OTHER, fault="it is a device"), Item("b", Kind.FOLDER, fault="no permission"))
    found = names_of(Listing(items), False)
    assert found.selections == {}
    assert found.notes == ("a.mp3 is not played: it is a device", "b is not played: no permission")


def test_a_folder_in_a_folder_is_noted_once() -> None:
    items = (Item("jazz", Kind.FOLDER),)
    inner = (Item("1.mp3", Kind.FILE), Item("cd1", Kind.FOLDER), Item("cd2", Kind.FOLDER))
    found = names_of(Listing(items, {"jazz": inner}), False)
    assert found.selections["jazz"].pieces == ("jazz/1.mp3",)
    assert found.notes == ("folders in jazz are not played: only the files directly in it are",)


def test_of_many_notes_twenty_are_kept() -> None:
    found = names_of(folder({f"{number}": [] for number in range(30)}), False)
    assert len(found.notes) == 20 and found.notes[-1] == "and 11 more"


def test_shuffle_by_a_file_in_the_folder_or_by_the_setting() -> None:
    assert read(jazz=["1.mp3", "2.mp3", ".shuffle"]).selections["jazz"].shuffled
    assert not read(jazz=["1.mp3", "2.mp3"]).selections["jazz"].shuffled
    assert read(True, jazz=["1.mp3", "2.mp3"]).selections["jazz"].shuffled
    assert not read(True, jazz=["1.mp3"]).selections["jazz"].shuffled


def test_announcements_of_the_music_folder_are_for_single_pieces_and_those_of_a_folder_for_it() -> None:
    found = read(announce__wav=1, jazz__mp3=1, folk=["1.mp3", "Announce.MP3", "announce.wav"], rock=["1.mp3"])
    assert list(found.selections) == ["folk", "jazz", "rock"]
    assert found.selections["jazz"].announcement == "announce.wav"
    assert found.selections["folk"].announcement == "folk/Announce.MP3"
    assert found.selections["rock"].announcement == ""
    assert found.notes == ("folk/announce.wav is not played: folk/Announce.MP3 is the announcement",)


def test_a_radio_and_its_fallback() -> None:
    station = ("http://radio.example/stream",)
    assert of("live", {"live.url": STREAM}) == Selection("live", "radio", addresses=station)
    both: dict[str, Content] = {"live.url": STREAM, "live.mp3": 1}
    assert of("live", both) == Selection("live", "radio", ("live.mp3",), addresses=station)
    folders: dict[str, Content] = {"live.M3U": STREAM, "live": ["2.mp3", "1.mp3"]}
    found = names_of(folder(folders), False)
    assert found.selections["live"].pieces == ("live/1.mp3", "live/2.mp3")


def test_an_address_in_a_folder_makes_it_a_radio() -> None:
    given = folder({"live": ["1.mp3", "x.pls"]})
    found = names_of(Listing(given.items, given.inside, {"live/x.pls": Text(STREAM)}), False)
    assert found.selections["live"] == Selection(
        "live", "radio", ("live/1.mp3",), addresses=("http://radio.example/stream",)
    )


def test_of_two_addresses_the_first_by_name_plays() -> None:
    found = names_of(folder({"live.url": STREAM, "live.m3u": b"http://other.example/"}), False)
    assert found.selections["live"].addresses == ("http://other.example/",)
    assert found.notes == ("live.url is not played: live.m3u has the same name",)


def test_a_list_that_names_itself_is_refused_and_its_pieces_play() -> None:
    found = names_of(folder({"live.m3u": b"live.m3u"}), False).selections["live"]
    assert found.kind == "radio" and found.addresses == ()
    assert found.fault.startswith("live.m3u: 'live.m3u' is the name of a file")
    names = names_of(folder({"live.m3u": b"live.m3u", "live.mp3": 1}), False)
    assert names.selections["live"] == Selection("live", "piece", ("live.mp3",))
    assert names.notes[0].startswith("live.m3u is not played: 'live.m3u' is the name of a file")


def test_eight_radios_are_connected_and_the_others_are_refused() -> None:
    given: dict[str, Content] = {f"{number}.url": STREAM for number in range(10)}
    given["3.url"] = b"broken"
    found = names_of(folder(given), False).selections
    assert [name for name, one in found.items() if one.fault] == ["3", "9"]
    assert found["9"].fault == "9.url: there are 8 radios before it; no more are connected"


def test_the_default() -> None:
    assert default_of(read(jazz__mp3=1, default__ogg=1).selections) == "default"
    assert default_of(read(jazz__mp3=1, folk=["1.mp3"]).selections) == "folk"
    radios = names_of(folder({"a.url": STREAM, "b.mp3": 1}), False).selections
    assert default_of(radios) == "b"
    assert default_of(radios, {"b"}) == "a", "a name that is refused is none"
    assert default_of(names_of(folder({"b.url": STREAM, "a.url": STREAM}), False).selections) == "a"
    assert default_of(read(default__mp3=1, jazz__mp3=1).selections, {"default"}) == "default"
    assert default_of(read(jazz__mp3=1).selections, {"jazz"}) is None


def test_ten_thousand_files() -> None:
    found = names_of(folder({f"{number}.mp3": 1 for number in range(10000)}), False)
    assert list(found.selections)[:3] == ["0", "1", "2"] and len(found.selections) == 10000
