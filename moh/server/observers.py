"""What looks on while the server serves: its state, the page, the trace, the watch of the music, the first check.

None of it decides anything, and no call depends on it.

The law kept here: an observer that fails costs neither a call nor the serve loop; its exception is reported.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Optional, Protocol

from ..common.actions import Flow
from ..common.codecs import Codec
from ..common.config import Settings
from ..common.faults import FaultLog
from ..net.state_client import state_name
from .music_watch import MusicWatch
from .now_playing import NowPlaying
from .page_process import PageProcess
from .start_check import StartCheck
from .state import Json, State
from .state_socket import StateSocket
from .statistics import Statistics
from .trace import Trace


class Observer(Protocol):
    """A part that looks on while calls go on."""

    def service(self, now: float) -> None:
        """Do what is due, in the main thread, which calls this up to 200 times a second. Never waits."""

    def close(self) -> None:
        """End, within a second."""


class Observers:
    """All that look on."""

    def __init__(self, settings: Settings) -> None:
        """Take what has to be there at the start, such as a port. Raises ``SettingsError`` where it is taken."""
        self.faults = FaultLog("what shows the server to its owner")
        self._settings = settings
        self._observers: list[Observer] = []
        self._page = PageProcess(settings)  # first: it raises, and then no trace begins
        self.trace = Trace(settings.trace, settings.trace_of, self.faults) if settings.trace else None
        """Where SIP messages are noted; ``None`` where the owner wants no trace."""

    def note_received(self, data: bytes, flow: Flow, comment: str = "") -> None:
        """Note a message for the trace, in any thread. ``comment`` says why it is not handled."""
        if self.trace is not None:
            self.trace.received(data, flow, comment)

    def begin(self, state: State) -> None:
        """Begin to look on. The server is complete, but serves nothing yet."""
        settings = self._settings
        self._add(lambda: StateSocket(state_name(settings.bind, settings.sip_port), state.read, self.faults))
        self._page.is_ready = lambda: state.has_music
        self._observers.append(self._page)

    def watch(self, state: State, codec: Codec, statistics: Statistics, now_playing: NowPlaying) -> None:
        """Watch whether music leaves the server, which encodes ``codec``, and check the set-up once."""
        settings = self._settings
        agent, lock, engines = statistics.agent, statistics.lock, statistics.engines

        def keep(findings: Callable[[Json], list[Json]]) -> None:
            state.findings = findings

        def tune() -> Optional[int]:
            return None if now_playing.music is None else now_playing.music.number

        self._add(lambda: MusicWatch(settings.bind, codec, agent, lock, engines, tune))
        self._add(lambda: StartCheck(settings, lambda: bool(now_playing.uri), keep, self.faults))

    def service(self, now: float) -> None:
        """Let each do what is due."""
        for observer in self._observers:
            self._safely(observer.service, now)

    def close(self) -> None:
        """End all, the latest first."""
        while self._observers:
            self._safely(self._observers.pop().close)
        if self.trace is not None:
            self._safely(self.trace.close)

    def _add(self, make: Callable[[], Observer]) -> None:
        self._safely(lambda: self._observers.append(make()))

    def _safely(self, step: Callable[..., object], *args: Any) -> None:
        try:
            step(*args)
        except Exception as error:
            self.faults.report(error, time.monotonic(), getattr(step, "__qualname__", ""))
