"""New music without a restart: a thread watches the owner's file, and prepares new music while the former music plays.

The thread also prepares the first music, and before it the built-in piece where the first music needs a conversion.
``Reloader.drain`` hands the results to the server.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Optional, Union

from ..common.config import Settings
from ..common.errors import SettingsError
from ..common.faults import FaultLog
from ..ffmpeg.run import Progress
from .prepare import Music, find_source, prepare, stand_in
from .progress import ProgressLog

POLL_EVERY = 2.0
"""Seconds between two polls of the file. A changed file is read when two polls in a row see no further change."""

CLOSE_TIMEOUT = 1.0
"""Seconds that ``close`` waits for a conversion to be cancelled. Its ffmpeg dies with this process in any case."""

log = logging.getLogger("moh")


class Cancelled(Exception):
    """The conversion was cancelled, because the server is closing."""


class StandIn(NamedTuple):
    """What plays until the owner's music is prepared: the built-in piece."""

    music: Music


ReloadResult = Union[Music, StandIn, SettingsError]
Signature = tuple[Path, int, int, int, int]


def signature(settings: Settings) -> Optional[Signature]:
    """A value that changes when the owner's file changes, found without reading the file; ``None`` without a file.

    Its last part changes also with the owner and the mode of the file.
    """
    try:
        source = find_source(settings)
        facts = source.stat()
    except (OSError, SettingsError):
        return None
    # keep the same path: each new Path of the same file would add its parts to the interpreter's table of names
    return (source, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


class Reloader:
    """Prepares the music in a thread of its own: at the start, when the file has changed, and after ``check_now``."""

    def __init__(
        self,
        settings: Settings,
        prepare: Callable[[Settings, Progress], Music] = prepare,
        stand_in: Callable[[Settings, Progress], Optional[Music]] = stand_in,
        poll_every: float = POLL_EVERY,
    ) -> None:
        self.faults = FaultLog("the preparation of the music")
        self._settings = settings
        self._prepare = prepare
        self._stand_in = stand_in
        self._stand_in_plays = False  # and the log does not say so yet
        self._refused = False  # whether the file as it was last could not be played
        self._poll_every = poll_every
        self._results: queue.SimpleQueue[ReloadResult] = queue.SimpleQueue()
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

    def close(self) -> None:
        """End the thread. A running conversion is cancelled and leaves no files."""
        self._closing = True
        self._requested.set()
        self._thread.join(CLOSE_TIMEOUT)

    def _run(self) -> None:
        latest: Optional[Signature] = None
        prepared: Optional[Signature] = None
        self._prepare_stand_in()
        self._requested.set()  # for the music of the start
        while True:
            try:
                requested = self._requested.wait(self._poll_every)
                self._requested.clear()
                if self._closing:
                    return
                now = signature(self._settings)
                if requested or (now is not None and now == latest and self._differs(now, prepared)):
                    prepared = now
                    self._prepare_once()
                latest = now
            except Exception as error:
                self.faults.report(error, time.monotonic())
                time.sleep(self._poll_every)

    def _differs(self, now: Signature, prepared: Optional[Signature]) -> bool:
        """Whether the file has to be read again. ``chmod`` changes no music, but may cure a file that was refused."""
        return now != prepared if self._refused or prepared is None else now[:-1] != prepared[:-1]

    def _prepare_stand_in(self) -> None:
        try:
            music = self._stand_in(self._settings, lambda share: self._report(None, share))
            if music is not None:
                self._results.put(StandIn(music))
                self._stand_in_plays = True
        except Cancelled:
            return
        except Exception as error:
            self.faults.report(error, time.monotonic())

    def _prepare_once(self) -> None:
        progress = ProgressLog()
        self._refused = True
        try:
            self._results.put(self._prepare(self._settings, lambda share: self._report(progress, share)))
            self._refused = False
        except Cancelled:
            return
        except SettingsError as error:
            self._results.put(error)
        except Exception as error:
            self.faults.report(error, time.monotonic())
            self._results.put(SettingsError(f"Music cannot be prepared: {error!r}"))

    def _report(self, progress: Optional[Progress], share: float) -> None:
        """Report how far the conversion is. Raise ``Cancelled`` when the server is closing, to end the conversion."""
        if self._closing:
            raise Cancelled
        if progress is None:
            return
        if self._stand_in_plays:
            self._stand_in_plays = False
            log.info("converting the music; until it is ready, callers hear the built-in piece")
        progress(share)
