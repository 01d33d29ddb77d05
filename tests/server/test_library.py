"""Music by the dialled name: what the library says becomes tunes of the engines and names of the core.

No process, no thread, no socket. Literal clocks.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from moh.mastering.prepare import Music
from moh.server.now_playing import UNDECIDED
from tests.support.library import PIECE, FolderWorld, entry, names


@pytest.fixture
def world(folder_world: FolderWorld) -> FolderWorld:
    return folder_world


def texts(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno == level]


def is_locked(folder: str) -> bool:
    """Return whether a lock keeps the folder in the cache."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


# -- names and their music -----------------------------------------------------------------------------------------


def test_a_name_plays_its_music_and_another_one_the_default(
    world: FolderWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    jazz, hold = entry(world.cache, "jazz"), entry(world.cache, "hold")
    world.say(names("hold", "jazz", default="hold"), hold, jazz)
    assert world.plays(world.dial("jazz")).files[8000] == Path(jazz["files"]["8000"])
    assert world.plays(world.dial("hold")).files[8000] == Path(hold["files"]["8000"])
    assert world.plays(world.dial("123")).files[8000] == Path(hold["files"]["8000"])
    assert world.child.take_sent() == [
        {"do": "taken", "name": name, "folders": [str(world.cache / name)]} for name in ("hold", "jazz")
    ]
    assert texts(caplog, logging.INFO)[-2:] == [
        "music: hold.mp3 (2 s): as it was",
        "moh 0.1.0 ready: sip:123@192.0.2.9:5060, music hold.mp3 (2 s), RTP ports 10000-10100",
    ]


def test_until_its_default_is_ready_the_built_in_piece_plays(world: FolderWorld) -> None:
    world.say(names("hold", "jazz", default="hold"), entry(world.cache, "jazz"))
    assert world.plays(world.dial("jazz")).seconds == 2.0
    assert world.plays(world.dial("hold")).seconds == 48.0
    assert world.agent.health.trouble == UNDECIDED and not world.playing.uri
    assert world.child.take_sent()[-1] == {"do": "taken", "name": "jazz", "folders": [str(world.cache / "jazz")]}
    world.say()
    assert world.child.take_sent() == [{"do": "want", "names": ["hold"]}]
    world.say(entry(world.cache, "hold"))
    assert world.plays(world.dial("hold")).seconds == 2.0 and not world.agent.health.trouble
    assert world.engines.numbers == [0, 1, 2], "a call hears the built-in piece"


def test_music_in_the_cache_stays_as_long_as_a_call_hears_it(world: FolderWorld) -> None:
    jazz = entry(world.cache, "jazz")
    world.say(names("hold", "jazz", default="hold"), jazz, entry(world.cache, "hold"))
    call = world.dial("jazz")
    world.say(names("hold", default="hold"))
    assert world.plays(call).files[8000] == Path(jazz["files"]["8000"])
    assert is_locked(str(world.cache / "jazz"))
    assert world.plays(world.dial("jazz")).files[8000] == world.cache / "hold" / "8000.wav"
    world.agent.registry.calls.pop(call)
    world.say()
    assert not is_locked(str(world.cache / "jazz"))


def test_music_that_makes_room_is_given_up_when_no_call_hears_it(world: FolderWorld) -> None:
    world.say(names("hold", "jazz", default="hold"), entry(world.cache, "jazz"), entry(world.cache, "hold"))
    call = world.dial("jazz")
    world.say({"what": "state", "name": "jazz", "state": "full", "why": "the cache is full"})
    assert world.plays(call).files[8000] == world.cache / "jazz" / "8000.wav"
    assert world.plays(world.dial("jazz")).files[8000] == world.cache / "hold" / "8000.wav"
    assert is_locked(str(world.cache / "jazz"))
    world.agent.registry.calls.pop(call)
    world.say()
    assert not is_locked(str(world.cache / "jazz"))


def test_a_changed_file_is_for_the_next_callers(world: FolderWorld, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world.say(names("hold", default="hold"), entry(world.cache, "hold"))
    call = world.dial("hold")
    new = {**entry(world.cache, "new", 3.0), "name": "hold", "summary": "hold.mp3 (3 s): new"}
    world.say({"what": "state", "name": "hold", "state": "converting"})
    assert world.state()["listed"][0]["state"] == "converting"
    world.say(new)
    assert (world.plays(call).seconds, world.plays(world.dial("hold")).seconds) == (2.0, 3.0)
    assert texts(caplog, logging.INFO)[-1] == "new music, for the next callers: hold.mp3 (3 s): new"


def test_the_same_music_is_announced_again_after_the_process_died(world: FolderWorld) -> None:
    jazz, hold = entry(world.cache, "jazz"), entry(world.cache, "hold")
    world.say(names("hold", "jazz", default="hold"), hold, jazz)
    before = world.engines.numbers
    world.child.take_sent()
    world.child.messages.append(names("x", more=True))
    world.library.service(world.now)
    world.child.start_again()
    world.say()
    assert world.plays(world.dial("jazz")).seconds == 2.0, "what plays, plays on"
    world.say(names("hold", "jazz", default="hold"), {**hold, "report": "again"}, jazz)
    assert world.engines.numbers == before
    assert [each["do"] for each in world.child.take_sent()] == ["taken", "taken"]
    assert world.state()["by_state"] == {"ready": 2}


def test_music_that_was_removed_and_made_again_is_another_tune(world: FolderWorld) -> None:
    jazz, hold = entry(world.cache, "jazz"), entry(world.cache, "hold")
    world.say(names("hold", "jazz", default="hold"), hold, jazz)
    before = world.engines.numbers
    shutil.rmtree(world.cache / "jazz")
    world.say({"what": "state", "name": "jazz", "state": "waiting", "why": ""}, entry(world.cache, "jazz"))
    assert len(set(world.engines.numbers) - set(before)) == 1, "its loops and locks are of the new files"
    assert world.plays(world.dial("jazz")).seconds == 2.0
    assert world.state()["by_state"] == {"ready": 2}


def test_an_entry_that_was_removed_is_not_taken(world: FolderWorld) -> None:
    jazz = {**entry(world.cache, "jazz"), "folders": [str(world.cache / "missing")]}
    world.say(names("hold", "jazz", default="hold"), jazz)
    assert world.child.take_sent() == [] and world.plays(world.dial("jazz")).seconds == 48.0


def test_ten_thousand_names_come_in_small_steps(world: FolderWorld) -> None:
    rows = [f"n{number}" for number in range(10_000)]
    one = entry(world.cache, "one")
    messages = [names(*rows[begin : begin + 200], default="n0", more=begin < 9800) for begin in range(0, 10_000, 200)]
    messages += [{**one, "name": name, "files": {"8000": f"/{name}.wav"}, "folders": []} for name in rows[:2000]]
    world.child.messages += messages
    turns = 0
    while world.child.messages:
        turns += 1
        world.now += 0.005
        world.library.service(world.now)
    assert turns == 50 / 5 + 2000 / 50
    world.say()
    assert len(world.engines.numbers) == 2000 and world.engines.kept <= 4
    found = world.state()
    assert (found["count"], found["by_state"], len(found["listed"])) == (10_000, {"ready": 2000, "waiting": 8000}, 200)


# -- the default ---------------------------------------------------------------------------------------------------


def test_a_folder_without_music_leaves_the_built_in_piece(world: FolderWorld, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world.say(names(folder=str(world.cache)))
    why = f"Cannot play '{world.cache}': a folder without music; expected files such as jazz.mp3 in it, or folders "
    why += "with such files"
    assert texts(caplog, logging.ERROR) == [f"{why}. The built-in piece plays until the server can play your music"]
    assert world.agent.health.trouble == why and world.playing.uri
    world.say(names(folder=str(world.cache)))
    assert len(texts(caplog, logging.ERROR)) == 1
    world.say(names("hold", default="hold"), entry(world.cache, "hold"))
    assert not world.agent.health.trouble and world.plays(world.dial("1")).seconds == 2.0
    assert texts(caplog, logging.INFO)[-1] == "new music, for the next callers: hold.mp3 (2 s): as it was"


def test_a_folder_that_may_not_be_read_says_so(world: FolderWorld, caplog: pytest.LogCaptureFixture) -> None:
    world.say(names(folder="/srv/music", notes=["/srv/music: the server (user 5060) may not read the folder"]))
    why = "Cannot play '/srv/music': the server (user 5060) may not read the folder"
    assert world.agent.health.trouble == why
    assert texts(caplog, logging.ERROR) == [f"{why}. The built-in piece plays until the server can play your music"]


def test_a_default_that_is_refused_leaves_the_built_in_piece(world: FolderWorld) -> None:
    why = "Cannot play 'hold.mp3': it is almost silent; expected music"
    world.say(names("hold", "jazz", default="hold"), {"what": "state", "name": "hold", "state": "refused", "why": why})
    assert world.agent.health.trouble == why and world.playing.uri
    assert world.state()["listed"][0] == {
        "name": "hold", "kind": "piece", "state": "refused", "why": why, "seconds": None, "loudness": None, "pieces": 1,
        "announcements": 0, "calls": 0, "summary": "", "radio": None, "default": True, "files": {}, "number": None,
    }  # fmt: skip


def test_a_folder_whose_names_are_all_refused_leaves_the_built_in_piece(world: FolderWorld) -> None:
    world.say(names("x"))
    assert world.agent.health.trouble == UNDECIDED, "it may be a file that is being copied"
    world.say({"what": "state", "name": "x", "state": "refused", "why": "it is a text; expected music"})
    why = "nothing in it can be played (1 name, the first is 'x': it is a text; expected music)"
    assert world.agent.health.trouble == f"Cannot play '/srv/music': {why}"


def test_what_the_folder_says_waits_for_the_built_in_piece(world: FolderWorld, tmp_path: Path) -> None:
    world = FolderWorld(tmp_path, stand_in=False)
    world.say(names())
    assert not world.agent.health.trouble
    world.playing.use(PIECE)
    world.say()
    assert world.agent.health.trouble.startswith("Cannot play '/srv/music': a folder without music")


def test_the_library_may_be_faster_than_the_built_in_piece(world: FolderWorld, tmp_path: Path) -> None:
    world = FolderWorld(tmp_path, stand_in=False)
    world.say(names("hold", default="hold"), entry(world.cache, "hold"))
    world.playing.use(PIECE)
    world.say()
    assert world.plays(world.dial("x")).seconds == 2.0 and not world.agent.health.trouble


def test_a_default_that_is_gone_plays_on_where_nothing_is_left(
    world: FolderWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world.say(names("hold", default="hold"), entry(world.cache, "hold"))
    world.say(names())
    assert world.plays(world.dial("x")).seconds == 2.0 and not world.agent.health.trouble
    assert texts(caplog, logging.ERROR)[0].startswith("the folder's music is refused, the former plays on: Cannot play")
    assert world.state()["default"] is None


def test_a_bound_file_is_the_default(world: FolderWorld, tmp_path: Path) -> None:
    own = Music({8000: Path("/own/8000.wav")}, 192.0, Path("/music.mp3"), 1.0, "as it was")
    world.playing.use(own)
    world.say(names("hold", default="hold"), entry(world.cache, "hold"))
    assert world.plays(world.dial("x")).seconds == 192.0 and world.plays(world.dial("hold")).seconds == 2.0
    assert world.library.callers() == {"hold": 1}


# -- what the library is told --------------------------------------------------------------------------------------


def test_the_library_knows_each_minute_which_names_calls_hear(world: FolderWorld) -> None:
    world.say(names("hold", "jazz", default="hold"), entry(world.cache, "jazz"), entry(world.cache, "hold"))
    for name in ("jazz", "jazz", "other"):
        world.dial(name)
    world.child.take_sent()
    world.say(after=57.0)
    assert world.child.take_sent() == []
    world.say(after=4.0)
    (heard,) = world.child.take_sent()
    assert heard["do"] == "heard" and sorted(heard["names"]) == ["hold", "jazz"]
    assert [(row["name"], row["calls"]) for row in world.state()["listed"]] == [("hold", 1), ("jazz", 2)]
    assert [(each["name"], each["count"]) for each in world.state()["missing"]] == [("other", 1)]


def test_a_new_process_is_asked_again_for_what_was_dialled_in_vain(world: FolderWorld) -> None:
    world.say(names("hold", "jazz", "pop", default="hold"), entry(world.cache, "hold"))
    world.dial("jazz")
    world.dial("pop")
    world.say()
    assert world.child.take_sent()[-1] == {"do": "want", "names": ["jazz", "pop"]}
    world.say(entry(world.cache, "pop"))
    world.child.take_sent()
    world.child.start_again()
    world.say()
    assert [each for each in world.child.take_sent() if each["do"] == "want"] == [{"do": "want", "names": ["jazz"]}]


def test_sighup_has_the_folder_read_anew(world: FolderWorld) -> None:
    world.library.check_now()
    assert world.child.take_sent() == [{"do": "check"}]


@pytest.mark.parametrize(
    "bad",
    [
        {}, {"what": "names"}, {"what": "names", "names": [1]}, {"what": "state"}, {"what": "ready", "name": "hold"},
        {"what": "ready", "name": "hold", "folders": [], "files": {"x": 1}, "seconds": 1, "source": "x"},
        {"what": "ready", "name": "hold", "folders": [], "files": {}, "seconds": 1, "source": "x"},
        {"what": "ready", "name": "hold", "folders": ["/no\0"], "files": {"8000": "/x"}, "seconds": 1, "source": "x"},
        {"what": "radio", "name": "hold"}, {"what": "cache", "used": []}, {"what": "cache", "used": None},
    ],
)  # fmt: skip
def test_a_message_of_another_form_costs_a_line(world: FolderWorld, bad: dict[str, Any]) -> None:
    world.say(names("hold", default="hold"), bad, entry(world.cache, "hold"))
    assert world.library.faults.count == 1 and world.plays(world.dial("x")).seconds == 2.0


def test_what_is_new_in_a_later_version_is_ignored(world: FolderWorld) -> None:
    world.say({"what": "weather"}, {"what": "cache", "used": 5, "limit": 9, "entries": 1})
    assert world.library.faults.count == 0
    assert world.state()["cache"] == {"used": 5, "limit": 9}


def test_calls_keep_half_of_the_open_files(world: FolderWorld) -> None:
    world.library._most_handles = 0
    world.say(names("hold", default="hold"), entry(world.cache, "hold"))
    assert world.plays(world.dial("hold")).seconds == 2.0
    assert world.child.take_sent() == [], "the library goes on to hold it"
    assert not is_locked(str(world.cache / "hold"))
