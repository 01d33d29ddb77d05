"""The lines of the log about the names of the music folder. Literal clocks."""

from __future__ import annotations

import logging

import pytest

from moh.server.name_log import MOST_LINES, NameLog
from moh.server.radios import Fallback, Radio
from tests.support.library import FolderWorld, entry, names


@pytest.fixture
def world(folder_world: FolderWorld) -> FolderWorld:
    return folder_world


def test_the_log_says_which_names_there_are_and_what_each_is(
    world: FolderWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    note = "jazz.wav is not played: jazz.mp3 has the same name"
    world.say(names("hold", "jazz", "bad", default="hold", notes=[note]), entry(world.cache, "jazz"))
    world.say({"what": "state", "name": "bad", "state": "refused", "why": "Cannot play 'bad.mp3': no music"}, after=5.0)
    world.say({"what": "state", "name": "bad", "state": "refused", "why": "Cannot play 'bad.mp3': no music"}, after=5.0)
    world.say(names("hold", "jazz", "bad", "fm radio", default="hold", notes=[note]), after=10.0)
    assert [each.getMessage() for each in caplog.records] == [
        "music 'jazz': jazz.mp3 (2 s): as it was",
        "music by name: 3 names in '/srv/music' (3 pieces); the default is 'hold'",
        f"music by name: {note}",
        "music 'bad': Cannot play 'bad.mp3': no music",
        "music by name: 4 names in '/srv/music' (3 pieces, 1 radio); the default is 'hold'",
    ]


def test_beside_a_bound_file_the_folder_has_no_default(world: FolderWorld, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world.say(names("hold", "jazz"), after=5.0)
    assert [each.getMessage() for each in caplog.records] == ["music by name: 2 names in '/srv/music' (2 pieces)"]


def test_a_radio_that_plays_and_goes_away_has_a_line_each_time(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    found = NameLog()
    news = Radio(("http://r.example/",), False, Fallback({}, 2.0, None))
    for now, state, why, title in (
        (1.0, "connecting", "", ""), (2.0, "plays", "", "Concert"), (3.0, "plays", "", "News"),
        (9.0, "away", "no such host: r.example", ""), (10.0, "connecting", "", ""), (20.0, "away", "it stalls", ""),
        (30.0, "plays", "", ""),
    ):  # fmt: skip
        news.state, news.why, news.title, news.address = state, why, title, "http://r.example/"
        found.radios({"news": news}, now)
    found.radios({}, 40.0)
    assert [(each.levelno, each.getMessage()) for each in caplog.records] == [
        (logging.INFO, "radio 'news' plays: Concert"),
        (logging.WARNING, "radio 'news' is away, so other music plays: no such host: r.example"),
        (logging.INFO, "radio 'news' plays: http://r.example/"),
    ]


def test_a_radio_that_comes_and_goes_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    found = NameLog()
    news = Radio(("http://r.example/",), False, Fallback({}, 2.0, None))
    for number in range(1000):
        news.state = ("plays", "away")[number % 2]
        found.radios({"news": news}, 0.05 * number)
    assert len(caplog.records) == MOST_LINES


def test_a_thousand_names_cost_some_lines(world: FolderWorld, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rows = [f"n{number}" for number in range(1000)]
    one = entry(world.cache, "one")
    world.say(names("hold", *rows, default="hold"), *[{**one, "name": name, "folders": []} for name in rows])
    for _ in range(30):
        world.say()
    assert len(caplog.records) == 21
    world.say(after=60.0)
    assert caplog.records[-1].getMessage() == "music by name: 980 more ready"


def test_a_default_whose_new_file_is_refused_plays_on(world: FolderWorld, caplog: pytest.LogCaptureFixture) -> None:
    world.say(names("hold", default="hold"), entry(world.cache, "hold"))
    world.say({"what": "state", "name": "hold", "state": "refused", "why": "Cannot play 'hold.mp3': no music"})
    assert [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING] == [
        "music 'hold': Cannot play 'hold.mp3': no music"
    ]
    assert world.plays(world.dial("x")).seconds == 2.0 and not world.agent.health.trouble
