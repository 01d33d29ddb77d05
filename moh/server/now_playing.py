"""Which tune new calls get: what the reloader has prepared is given to the engines and to the core, and logged."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Optional

from .. import __version__
from ..common.config import Settings
from ..common.tunes import Tune
from ..mastering.prepare import BUILTIN, Music
from ..mastering.reloader import ReloadResult, StandIn
from ..sip.user_agent import UserAgent
from .engines import Engines
from .wiring import dialled_uri, ready_lines

UNDECIDED = "callers hear the built-in piece, since the music is still being prepared"
"""The trouble while it is not known yet whether the owner's music plays. ``test_udp.py`` has the same text."""

log = logging.getLogger("moh")


class PlayedMusic(NamedTuple):
    """The music that new calls hear, its number, and the time from which on they hear it."""

    music: Music
    number: int
    since: float


class NowPlaying:
    """Has new calls hear what has been prepared. ``lock`` guards ``agent``, and ``drive`` takes it."""

    def __init__(
        self, settings: Settings, agent: UserAgent, lock: threading.Lock, drive: Callable[..., Any], engines: Engines
    ) -> None:
        self.failure = ""
        """Why the server cannot go on, in one line for the owner."""
        self.uri = ""
        """What the owner types into the phone; empty before it is logged."""
        self.advice: list[str] = []
        """How to find the address in it, where the server cannot know that."""
        self.music: Optional[PlayedMusic] = None
        """What new calls hear; ``None`` before the first music is ready."""
        self._stand_in: Optional[Music] = None
        """The built-in piece while it plays in place of the owner's music."""
        self._ready = False  # whether it has been logged what plays
        self._settings = settings
        self._agent = agent
        self._lock = lock
        self._drive = drive
        self._engines = engines

    def use(self, result: ReloadResult) -> None:
        """Have new calls hear the new music. If it cannot be played, what plays now goes on."""
        if isinstance(result, StandIn):
            self._stand_in = result.music
            self._set_trouble(UNDECIDED)  # before the agent is ready, so that no health check misses it
            self._play(result.music)
        elif isinstance(result, Music):
            first = not self._ready
            self._play(result)
            self._stand_in = None
            self._set_trouble("")
            log.info("%s %s", "music:" if first else "new music, for the next callers:", result.summary())
            if first and result.source == BUILTIN and not self._settings.music:
                why = "MOH_MUSIC is empty, and the server finds no /music.mp3 and no ./music.mp3"
                log.warning("no music was given, so the built-in piece plays: %s", why)
            self._log_ready(result)
        elif self._stand_in is not None:
            self._set_trouble(str(result))
            log.error("%s. The built-in piece plays until the server can play your music", result)
            self._log_ready(self._stand_in)
        elif self._agent.ready:
            log.error("the new music is refused, the former plays on: %s", result)
        elif not self.failure:
            self.failure = str(result)

    def _set_trouble(self, trouble: str) -> None:
        with self._lock:
            self._agent.health.trouble = trouble

    def _log_ready(self, music: Music) -> None:
        """Log once what the owner types into the phone, when it is known what plays."""
        if not self._ready:
            self._ready = True
            self.uri, self.advice = dialled_uri(self._settings)
            ready, *advice = ready_lines(self._settings, music)
            log.info("moh %s %s", __version__, ready)
            for line in advice:
                log.info("%s", line)

    def _play(self, music: Music) -> None:
        tune = self._engines.add_tune(Tune(music.paths, music.seconds, owner=music))
        self._drive(self._agent.music_ready, tune)
        self.music = PlayedMusic(music, tune, time.monotonic())
        with self._lock:
            tunes = self._agent.tunes
        self._engines.keep(tunes)
