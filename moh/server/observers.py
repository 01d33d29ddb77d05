"""What looks on while the server serves: its state, the page, and the trace. No call depends on it.

The law kept here: an observer that fails costs neither a call nor the serve loop; its exception is reported.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from ..common.actions import Flow
from ..common.config import Settings
from ..common.faults import FaultLog
from ..net.state_client import state_name
from .page_process import PageProcess
from .state import State
from .state_socket import StateSocket
from .trace import Trace


class Observer(Protocol):
    """One that looks on."""

    def service(self, now: float) -> None:
        """Do what is due, in the main thread, which calls this up to 200 times a second. Never waits."""

    def close(self) -> None:
        """End, within a second."""


class Observers:
    """All that look on."""

    def __init__(self, settings: Settings) -> None:
        """Take what has to be there at the start, such as a port. Raises ``SettingsError`` where it is taken."""
        self.faults = FaultLog("what shows the server to its owner")
        self.trace = Trace(settings.trace, settings.trace_of, self.faults) if settings.trace else None
        """Where SIP messages are noted; ``None`` where the owner wants no trace."""
        self._settings = settings
        self._observers: list[Observer] = []
        self._page = PageProcess(settings)

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
