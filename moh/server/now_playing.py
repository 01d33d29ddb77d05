"""Which tune new calls get: what the reloader has prepared is given to the engines and to the core, and logged."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Optional

from .. import __version__
from ..common.config import Settings
from ..common.errors import SettingsError
from ..common.tunes import Tune
from ..mastering.cache_folder import absolute
from ..mastering.owner_name import owner_name
from ..mastering.prepare import BUILTIN, Music, find_source
from ..mastering.reloader import ReloadResult, StandIn
from ..sip.user_agent import UserAgent
from .engines import Engines
from .named_music import NamedMusic
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
        self, settings: Settings, agent: UserAgent, lock: threading.Lock, drive: Callable[..., Any], engines: Engines,
        folder: Optional[Path] = None,
    ) -> None:  # fmt: skip
        """``folder`` is the owner's music folder, if there is one: then the default may come from there."""
        self.failure = ""
        """Why the server cannot go on, in one line for the owner."""
        self.uri = ""
        """What the owner types into the phone; empty before it is logged."""
        self.advice: list[str] = []
        """How to find the address in it, where the server cannot know that."""
        self.music: Optional[PlayedMusic] = None
        """What new calls hear; ``None`` before the first music is ready."""
        self.recorded: Optional[Music] = None
        """What new calls hear, or heard last before a radio."""
        self.takes_default = folder is not None and find_source(settings) == BUILTIN
        """Whether the default comes from the folder: no file is bound in front of it."""
        self.wants_default = False
        """Whether ``use_default`` or ``miss_default`` is to be called anew. The caller resets it."""
        self._folder = folder
        self._missed = ""  # why the folder has no default, as it was logged last
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
        if isinstance(result, Music) and self._is_new_folder(result):
            where = owner_name(absolute("MOH_MUSIC", self._settings.music))
            result = SettingsError(f"{where!r} is a folder now; restart the server to play what is in it")
        if self._folder is not None and isinstance(result, Music):
            self.takes_default, self.wants_default = result.source == BUILTIN, True
            if self.takes_default:
                if self._ready:
                    return  # the folder's default plays already, or the stand-in with the reason why
                result = StandIn(result)
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

    def _is_new_folder(self, result: Music) -> bool:
        """Whether a folder has come where the owner's file was at the start: then the built-in piece is found."""
        named = self._settings.music
        return self._folder is None and bool(named) and result.source == BUILTIN != absolute("MOH_MUSIC", named)

    def use_default(self, music: Music, tune: int) -> None:
        """Have new calls hear the folder's default, which the engines have as ``tune``."""
        if self.music is not None and self.music.number == tune:
            return
        first = not self._ready
        self._set(music, tune)
        self._stand_in, self._missed = None, ""
        self._set_trouble("")
        log.info("%s %s", "music:" if first else "new music, for the next callers:", music.summary())
        self._log_ready(music)

    def miss_default(self, why: str) -> None:
        """Note why the folder has no default. What plays goes on; it may be the stand-in for it."""
        if why == self._missed or self.music is None:
            return
        self._missed = why
        if self._stand_in is None:
            log.error("the folder's music is refused, the former plays on: %s", why)
            return
        self._set_trouble(why)
        log.error("%s. The built-in piece plays until the server can play your music", why)
        self._log_ready(self._stand_in)

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
        self._set(music, self._engines.add_tune(Tune(music.paths, music.seconds, owner=music)))
        with self._lock:
            tunes = self._agent.tunes
        self._engines.keep(tunes)

    def _set(self, music: Music, tune: int) -> None:
        self._drive(self._agent.music_ready, tune)
        self.music = PlayedMusic(music, tune, time.monotonic())
        if not (isinstance(music, NamedMusic) and music.is_live):
            self.recorded = music
