"""New music without a restart: a thread watches the owner's file, and prepares new music while the former music plays.

The thread also finds the first music: that in the cache, or the built-in piece until the owner's file is converted.
``Reloader.drain`` hands the results to the server.
"""

from __future__ import annotations

import logging
import math
import queue
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, Optional, Union

from ..common.config import Settings
from ..common.errors import SettingsError
from ..common.faults import FaultLog
from ..ffmpeg.run import Progress
from .cache import UNFINISHED
from .file_watch import FileState, FileWatch, ends, poll_file
from .first_music import FirstMusic, first_music
from .owner_name import owner_name
from .prepare import Music, prepare
from .progress import ProgressLog

POLL_EVERY = 2.0
"""Seconds between two polls of the file."""
POLL_EVERY_AT_START = 0.2
"""The same until the first music is prepared."""
PATIENCE = 5.0
"""Seconds of waiting at the start, for a file that is being written, until the log says so."""

CLOSE_TIMEOUT = 1.0
"""Seconds that ``close`` waits for a conversion to be cancelled. Its ffmpeg dies with this process in any case."""

log = logging.getLogger("moh")


class Cancelled(Exception):
    """The conversion was cancelled, because the server is closing."""


class StandIn(NamedTuple):
    """What plays until the owner's music is prepared: the built-in piece."""

    music: Music


ReloadResult = Union[Music, StandIn, SettingsError]


class Reloader:
    """Prepares the music in a thread of its own: at the start, when the file has changed, and after ``check_now``."""

    def __init__(
        self,
        settings: Settings,
        prepare: Callable[[Settings, Progress], Music] = prepare,
        first_music: Callable[[Settings, Progress], Optional[FirstMusic]] = first_music,
        poll_every: float = POLL_EVERY,
        watch: Optional[FileWatch] = None,
    ) -> None:
        self.faults = FaultLog("the preparation of the music")
        self._settings = settings
        self._prepare = prepare
        self._first_music = first_music
        self._stand_in_plays = False  # and the log does not say so yet
        self._poll_every = poll_every
        self._watch = watch or FileWatch()
        self._playing: Optional[Music] = None
        self._failure: Optional[tuple[Optional[FileState], str]] = None  # the file's state and the error, if it failed
        self._results: queue.SimpleQueue[ReloadResult] = queue.SimpleQueue()
        self._first = threading.Event()  # set with the first result
        self._requested = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="music", daemon=True)
        self._thread.start()

    def check_now(self) -> None:
        """Prepare the music anew, whether the file has changed or not (SIGHUP)."""
        self._requested.set()

    def drain(self) -> list[ReloadResult]:
        """The music that has become ready since the last ``drain``, or the reasons why there is none."""
        results: list[ReloadResult] = []
        while not self._results.empty():
            results.append(self._results.get())
        return results

    def await_first(self, seconds: float) -> None:
        """Wait until ``drain`` has a first result to return, ``seconds`` at most."""
        self._first.wait(seconds)

    def close(self) -> None:
        """End the thread. A running conversion is cancelled and leaves no files."""
        self._closing = True
        self._requested.set()
        self._thread.join(CLOSE_TIMEOUT)

    def _run(self) -> None:
        self._begin()
        waiting_said = time.monotonic() + PATIENCE
        pause = 0.0
        while True:
            try:
                requested = self._requested.wait(pause)
                self._requested.clear()
                if self._closing:
                    return
                now = time.monotonic()
                state, age = poll_file(self._settings)
                if self._watch.poll(now, state, age, ends) or requested or self._is_lost():
                    self._watch.prepare(state)
                    self._prepare_once(state, requested)
                elif not self._watch.started and now >= waiting_said:
                    changing = "has changed in the last seconds, or its end is missing"
                    log.info("waiting for the music: %s %s", state and owner_name(state.source), changing)
                    waiting_said = math.inf
                pause = self._poll_every if self._watch.started else min(self._poll_every, POLL_EVERY_AT_START)
            except Exception as error:
                self.faults.report(error, time.monotonic())
                time.sleep(self._poll_every)

    def _begin(self) -> None:
        """Hand over what callers hear at once: the owner's music from the cache, or the stand-in for it."""
        try:
            first = self._first_music(self._settings, lambda share: self._report(None, share))
            if first is None:
                return
            if first.state is None:
                self._hand_over(StandIn(first.music))
                self._stand_in_plays = True
            else:
                self._watch.prepare(FileState(first.music.source, first.state))  # no need to read it again
                self._playing = first.music
                self._hand_over(first.music)
        except Cancelled:
            return
        except Exception as error:
            self.faults.report(error, time.monotonic())

    def _prepare_once(self, state: Optional[FileState], requested: bool) -> None:
        """Prepare the file in this state. A retry after a failure reports no progress, and no error that is known."""
        retry = not requested and self._failure is not None and self._failure[0] == state
        known = self._failure[1] if retry and self._failure else ""
        progress = None if retry else ProgressLog()
        began = time.monotonic()
        try:
            music = self._prepare(self._settings, lambda share: self._report(progress, share))
            if self._is_playing(music):
                log.info("the music is unchanged: %s", music.describe())
                self._warn_of_replaced(music)
            else:
                self._playing = music
                self._hand_over(music)
            self._failure = None
            self._stand_in_plays = False
        except Cancelled:
            return
        except Exception as error:
            now = time.monotonic()
            self._watch.failed(now, now - began)
            failure = error
            if not isinstance(failure, SettingsError):
                failure = SettingsError(f"Music cannot be prepared: {error!r}")
            if gist(failure) == known:
                log.debug("the music was tried again in vain: %s", failure)
            else:
                if failure is not error:
                    self.faults.report(error, now)
                self._hand_over(failure)
            self._failure = state, gist(failure)

    def _is_lost(self) -> bool:
        """Whether another program has removed the music from the cache. Then it is forgotten, so this is found once."""
        if self._playing is None or all(path.exists() for path in self._playing.paths.values()):
            return False
        self._playing = None
        return True

    def _hand_over(self, result: ReloadResult) -> None:
        self._results.put(result)
        self._first.set()

    def _is_playing(self, music: Music) -> bool:
        """Whether this is what is played already: the file was touched, or the owner asked for it (SIGHUP)."""
        return self._playing is not None and not music.took and music.paths == self._playing.paths

    def _warn_of_replaced(self, music: Music) -> None:
        """Warn if the file has no name any more: a container keeps the file that was bound when it started."""
        with suppress(OSError):
            if not music.source.stat().st_nlink:
                name = owner_name(music.source)
                log.warning("%s was replaced or removed; restart the container to play what is there now", name)

    def _report(self, progress: Optional[Progress], share: float) -> None:
        """Report how far the conversion is. Raise ``Cancelled`` when the server is closing, to end the conversion."""
        if self._closing:
            raise Cancelled
        if progress is None:
            return
        if self._stand_in_plays:
            self._stand_in_plays = False
            log.info("preparing the music; until it is ready, callers hear the built-in piece")
        progress(share)


def gist(error: SettingsError) -> str:
    """The error's text without what differs from one attempt to the next: numbers, and the names of folders."""
    return re.sub(rf"{UNFINISHED}\w+|\d+", "", str(error))
