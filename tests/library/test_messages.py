"""The messages between the library and the server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from moh.library import messages
from moh.library.names import Selection
from moh.mastering.arrange import Arranged
from moh.mastering.prepare import Music


def sent(*found: messages.Message) -> list[dict[str, Any]]:
    return [json.loads(line) for line in messages.lines(found).splitlines()]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"jazz",
        b"[]",
        b"{}",
        b'{"do":1}',
        b'{"do":"want"',
        b"\xff\xfe",
        b"[" * 100000,
        b'"' + b"x" * 2000000,
    ],
)
def test_a_line_that_is_no_message(line: bytes) -> None:
    assert messages.decode(line) is None


def test_names_in_a_message_are_texts() -> None:
    message = messages.decode(b'{"do":"want","names":["jazz",1,null,["x"],"\\u0000","../x"]}\n')
    assert message is not None
    assert messages.names_in(message) == ["jazz", "\0", "../x"]
    assert messages.names_in({"do": "want"}) == messages.names_in({"do": "want", "names": "jazz"}) == []


def test_a_line_is_ascii_and_holds_any_name() -> None:
    line = messages.encode(messages.state_message("caf\u00e9\n\u2028", "refused", "\U0001f3b7"))
    assert line.isascii() and line.count(b"\n") == 1
    assert json.loads(line)["name"] == "caf\u00e9\n\u2028"


def test_a_long_list_of_names_comes_in_lines_of_two_hundred() -> None:
    selections = [Selection(str(number), "piece", ("x",)) for number in range(450)]
    found = sent(*messages.names_message(selections, "0", ["a note"], "/music"))
    assert [(len(each["names"]), each.get("more")) for each in found] == [(200, True), (200, True), (50, None)]
    assert found[2]["default"] == "0" and found[2]["notes"] == ["a note"] and found[2]["folder"] == "/music"
    assert sent(*messages.names_message([], None, [], "/music")) == [
        {"what": "names", "names": [], "default": None, "notes": [], "folder": "/music"}
    ]


def test_the_music_of_one_piece() -> None:
    cache = Path("/cache/entry")
    music = Music({8000: cache / "8000.wav"}, 183.2, Path("/music/jazz.mp3"), 1.0, "unchanged", None, -24.0)
    (found,) = sent(messages.ready_message("jazz", music))
    assert found == {
        "what": "ready", "name": "jazz", "files": {"8000": "/cache/entry/8000.wav"}, "plain": {}, "plain_for": 0.0,
        "seconds": 183.2, "report": "unchanged", "summary": music.summary(), "loudness": -24.0,
        "source": "/music/jazz.mp3", "announcements": [], "pieces": [{"file": "jazz.mp3", "at": 0.0}],
        "folders": ["/cache/entry"],
    }  # fmt: skip


def test_an_arrangement_with_more_pieces_than_are_shown() -> None:
    cache = Path("/cache/entry")
    pieces = tuple((Path(f"/music/folk/{number}.mp3"), float(number)) for number in range(600))
    spoken = tuple((float(number), number + 0.5) for number in range(300))
    arranged = Arranged(
        {8000: cache / "8000.wav"}, 600.0, {8000: cache / "plain.wav"}, 60.0, spoken, pieces, 1.0, "a row", cache
    )
    (found,) = sent(messages.ready_message("folk", arranged))
    assert found["plain"] == {"8000": "/cache/entry/plain.wav"} and found["plain_for"] == 60.0
    assert len(found["pieces"]) == 500 and found["pieces"][1] == {"file": "1.mp3", "at": 1.0}
    assert len(found["announcements"]) == 200 and found["announcements"][0] == [0.0, 0.5]
    assert found["source"] == "/music/folk" and found["folders"] == ["/cache/entry"]


def test_a_radio_and_what_plays_while_it_is_away() -> None:
    alone = Selection("live", "radio", addresses=("http://radio.example/",))
    assert messages.radio_message(alone)["fallback"] == ""
    with_music = Selection("live", "radio", ("x.mp3",), addresses=("http://a/",))
    assert messages.radio_message(with_music)["fallback"] == "live"
