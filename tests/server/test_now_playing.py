"""Which tune new calls get, and what the log and the health check say of it. No thread, no socket and no ffmpeg."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any, Optional

import pytest

from moh.common.config import Settings
from moh.common.errors import SettingsError
from moh.common.tunes import Tune
from moh.mastering.prepare import BUILTIN, Music
from moh.mastering.reloader import StandIn
from moh.server.now_playing import UNDECIDED, NowPlaying
from tests.support.ladder import make_agent

OWN = Music({}, 192.0, Path("/srv/hold.mp3"), 2.1, "as it was")
OTHER = Music({}, 60.0, Path("/srv/hold.mp3"), 1.0, "as it was")
PIECE = Music({}, 48.0, BUILTIN, 0.5, "as it was")
BAD = SettingsError("Cannot play 'hold.mp3': it is almost silent; expected music")


class Engines:
    """A stand-in for the engines that counts the tunes."""

    def __init__(self) -> None:
        self.tunes: list[Music] = []
        self.kept: set[int] = set()

    def add_tune(self, tune: Tune) -> int:
        assert isinstance(tune.owner, Music)
        self.tunes.append(tune.owner)
        return len(self.tunes) - 1

    def keep(self, tunes: set[int]) -> None:
        self.kept = tunes


class World:
    """What plays, in a server that has just started."""

    def __init__(self, music: str = "/srv/hold.mp3") -> None:
        self.agent = make_agent(music=False)
        self.engines = Engines()
        settings = Settings.from_environment({"MOH_MUSIC": music, "MOH_BIND": "192.0.2.9"})
        self.now_playing = NowPlaying(settings, self.agent, threading.Lock(), self.drive, self.engines)  # type: ignore[arg-type]

    def drive(self, step: Any, *args: Any) -> None:
        step(*args, now=0.0)

    @property
    def plays(self) -> Optional[Music]:
        """What a new call gets."""
        return self.engines.tunes[max(self.agent.tunes)] if self.agent.ready else None


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "moh")
    return caplog


def texts(lines: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    return [line.getMessage() for line in lines.records if line.levelno == level]


READY = "moh 0.1.0 ready: sip:123@192.0.2.9:5060, music"


def test_the_owners_music_plays_at_once(lines: pytest.LogCaptureFixture) -> None:
    world = World()
    world.now_playing.use(OWN)
    assert world.plays is OWN and not world.agent.health.trouble
    assert texts(lines) == [
        "music: hold.mp3 (3 min 12 s), converted in 2.1 s: as it was",
        f"{READY} hold.mp3 (3 min 12 s), RTP ports 10000-10100",
    ]


def test_while_the_music_is_converted_the_built_in_piece_plays(lines: pytest.LogCaptureFixture) -> None:
    world = World()
    world.now_playing.use(StandIn(PIECE))
    assert world.plays is PIECE and world.agent.health.trouble == UNDECIDED
    assert texts(lines) == [], "ready is logged when it is known what plays"
    world.now_playing.use(OWN)
    assert world.plays is OWN and not world.agent.health.trouble
    assert texts(lines)[0].startswith("music: hold.mp3") and texts(lines)[1].startswith(f"{READY} hold.mp3")


def test_music_that_cannot_be_played_at_the_start_leaves_the_built_in_piece(lines: pytest.LogCaptureFixture) -> None:
    world = World()
    world.now_playing.use(StandIn(PIECE))
    world.now_playing.use(BAD)
    assert world.plays is PIECE and not world.now_playing.failure
    assert world.agent.health.trouble == str(BAD)
    assert texts(lines, logging.ERROR) == [f"{BAD}. The built-in piece plays until the server can play your music"]
    assert texts(lines) == [f"{READY} the built-in piece (48 s), RTP ports 10000-10100"]

    world.now_playing.use(BAD)
    assert len(texts(lines, logging.ERROR)) == 2, "the owner has changed the file in vain"
    assert len(texts(lines)) == 1

    world.now_playing.use(OWN)
    assert world.plays is OWN and not world.agent.health.trouble
    assert texts(lines)[1:] == ["new music, for the next callers: hold.mp3 (3 min 12 s), converted in 2.1 s: as it was"]


def test_music_that_goes_bad_later_leaves_the_former_music_and_good_health(
    lines: pytest.LogCaptureFixture,
) -> None:
    world = World()
    world.now_playing.use(StandIn(PIECE))
    world.now_playing.use(OWN)
    world.now_playing.use(BAD)
    assert world.plays is OWN and not world.agent.health.trouble and not world.now_playing.failure
    assert texts(lines, logging.ERROR) == [f"the new music is refused, the former plays on: {BAD}"]
    world.now_playing.use(OTHER)
    assert world.plays is OTHER


def test_where_nothing_can_be_played_the_start_fails() -> None:
    world = World()
    world.now_playing.use(BAD)
    assert world.plays is None and world.now_playing.failure == str(BAD)
    world.now_playing.use(SettingsError("another"))
    assert world.now_playing.failure == str(BAD), "the first reason"


def test_the_log_says_that_no_music_was_given(lines: pytest.LogCaptureFixture) -> None:
    world = World(music="")
    world.now_playing.use(PIECE)
    assert not world.agent.health.trouble, "the health check waits for nothing"
    why = "MOH_MUSIC is empty, and the server finds no /music.mp3 and no ./music.mp3"
    assert texts(lines, logging.WARNING) == [f"no music was given, so the built-in piece plays: {why}"]
    lines.clear()
    World(music=str(BUILTIN)).now_playing.use(PIECE)
    assert texts(lines, logging.WARNING) == []


def test_a_folder_in_the_place_of_the_file_needs_a_restart(lines: pytest.LogCaptureFixture) -> None:
    world = World()
    world.now_playing.use(OWN)
    world.now_playing.use(PIECE)
    assert world.plays is OWN
    assert texts(lines, logging.ERROR) == [
        "the new music is refused, the former plays on: '/srv/hold.mp3' is a folder now; restart the server to play "
        "what is in it"
    ]
