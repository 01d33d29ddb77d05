"""All music of the server: the owner's file or the built-in piece, and with a folder what callers dial by name."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Optional

from ..common.config import Settings
from ..common.faults import FaultLog
from ..ffmpeg.run import Progress
from ..mastering.music_folder import music_folder
from ..mastering.prepare import Music, prepare
from ..mastering.reloader import Reloader
from ..sip.user_agent import UserAgent
from .engines import Engines
from .library import Library
from .now_playing import NowPlaying

PATHS = ("MOH_MUSIC", "MOH_CACHE", "XDG_CACHE_HOME")
"""The variables that name paths which the children use."""


class MusicSources:
    """Has new calls hear what is ready. Only the main thread uses it."""

    def __init__(
        self, settings: Settings, agent: UserAgent, lock: threading.Lock, drive: Callable[..., Any], engines: Engines
    ) -> None:
        folder = music_folder(settings)
        self.now_playing = NowPlaying(settings, agent, lock, drive, engines, folder)
        self.library: Optional[Library] = None
        """What plays by name; ``None`` where the owner has no folder."""
        if folder is not None:
            environment = environment_of_children(os.environ)
            self.library = Library(folder, agent, lock, drive, engines, self.now_playing, environment)
        self._reloader = Reloader(settings, self._prepare)

    @property
    def faults(self) -> list[FaultLog]:
        """The fault logs of all parts."""
        library = [] if self.library is None else [self.library.faults, self.library.radios.faults]
        return [self._reloader.faults, *library]

    def _prepare(self, settings: Settings, progress: Progress) -> Music:
        """Prepare the default. Of the built-in piece that plays until the folder's is ready, no progress is logged."""
        return prepare(settings, (lambda share: progress(0.0)) if self.now_playing.takes_default else progress)

    def await_first(self, seconds: float) -> None:
        """Wait for music that the cache has, ``seconds`` at most: it is there within milliseconds."""
        self._reloader.await_first(seconds)

    def service(self, now: float) -> None:
        """Have new calls hear what has become ready. Never waits. No failure of the library disturbs the serve loop."""
        for result in self._reloader.drain():
            self.now_playing.use(result)
        if self.library is not None:
            try:
                self.library.service(now)
            except Exception as error:
                self.library.faults.report(error, now)

    def check_now(self) -> None:
        """Look for other music at once (SIGHUP)."""
        if self.library is not None:
            self.library.check_now()
        if not self.now_playing.takes_default:  # otherwise it has the built-in piece alone
            self._reloader.check_now()

    def end(self) -> None:
        """Have the processes end soon, while other parts end. This never waits."""
        if self.library is not None:
            self.library.end()

    def close(self) -> None:
        """End all that prepares music, within some seconds. What plays is not touched."""
        self.end()
        self._reloader.close()
        if self.library is not None:
            self.library.close()


def environment_of_children(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of the library and the radios: relative paths begin at this process's folder, not at theirs."""
    found = dict(environment)
    for name in PATHS:
        path = found.get(name, "").strip()
        if path and not path.startswith("~"):
            found[name] = str(Path(path).absolute())
    return found
