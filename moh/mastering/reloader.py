"""New music without a restart: the owner's file is watched, and a new one is prepared beside the one that plays.

One thread prepares, first of all the music of the start. What it has done it leaves in ``news``, for the shell to take.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Optional, Union

from ..common.config import Settings
from ..common.errors import SettingsError
from ..ffmpeg.run import Progress
from .prepare import Music, find_source, prepare
from .progress import ProgressLog

POLL = 2.0
"""Seconds between two looks at the file; one that still changes from look to look is left alone until it rests."""

PATIENCE = 1.0
"""Seconds that a conversion has at the end to be broken off; its ffmpeg dies with us in any case."""


class Closing(Exception):
    """The conversion is broken off, because nobody needs it any more."""


ReloadResult = Union[Music, SettingsError]
Signature = tuple[Path, int, int, int]


def signature(settings: Settings) -> Optional[Signature]:
    """What tells one content of the owner's file from another without reading it; ``None`` while there is no file."""
    try:
        source = find_source(settings)
        facts = source.stat()
    except (OSError, SettingsError):
        return None
    # with the path itself: pathlib has its parts in the interpreter's table of names for as long as one has them, and
    # that table grows with each new one
    return (source, facts.st_ino, facts.st_size, facts.st_mtime_ns)


class Reloader:
    """Prepares the music in a thread of its own: at the start, when the file has changed, and when asked to."""

    def __init__(
        self,
        settings: Settings,
        prepare: Callable[[Settings, Progress], Music] = prepare,
        poll: float = POLL,
    ) -> None:
        self._settings = settings
        self._prepare = prepare
        self._poll = poll
        self._news: queue.SimpleQueue[ReloadResult] = queue.SimpleQueue()
        self._asked = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="music", daemon=True)
        self._thread.start()

    def check_now(self) -> None:
        """Prepare anew now, whether the file looks changed or not (SIGHUP)."""
        self._asked.set()

    def drain(self) -> list[ReloadResult]:
        """The music that has become ready since the last time, or why there is none."""
        got: list[ReloadResult] = []
        while not self._news.empty():
            got.append(self._news.get())
        return got

    def close(self) -> None:
        """Prepare no more; what is being prepared is broken off and leaves nothing behind."""
        self._closing = True
        self._asked.set()
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        before = signature(self._settings)
        done = before
        self._do()
        while True:
            asked = self._asked.wait(self._poll)
            self._asked.clear()
            if self._closing:
                return
            now = signature(self._settings)
            if asked or (now is not None and now != done and now == before):
                done = now
                self._do()
            before = now

    def _do(self) -> None:
        try:
            progress = ProgressLog()
            self._news.put(self._prepare(self._settings, lambda share: self._report(progress, share)))
        except Closing:
            return
        except SettingsError as error:
            self._news.put(error)
        except Exception as error:  # a fault of ours: the music that plays goes on playing
            self._news.put(SettingsError(f"Music cannot be prepared: {error!r}"))

    def _report(self, progress: Progress, share: float) -> None:
        """Report how far the conversion is, or cancel it where the server is closing."""
        if self._closing:
            raise Closing
        progress(share)
