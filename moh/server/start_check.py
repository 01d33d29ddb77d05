"""The check at the start: what the doctor can see without a call, once, when the server has begun to serve.

A thread does it, and imports the doctor only then: no call waits for it. Its priority is that of all threads: with a
lower one, it would keep the interpreter's lock for seconds while other processes keep all cores busy.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Optional

from ..common.config import Settings
from ..common.faults import FaultLog
from ..net.state_client import NoState, read_state
from ..net.threads import Thread

AFTER = 1.0
"""Seconds from the line ``ready:`` to the check."""
Findings = Callable[[dict[str, Any]], list[Any]]
"""Makes the findings of a state, as data for JSON: those of the start, and those about its calls."""

log = logging.getLogger("moh")


class StartCheck:
    """Checks once."""

    def __init__(
        self, settings: Settings, is_ready: Callable[[], bool], keep: Callable[[Findings], None], faults: FaultLog
    ) -> None:
        """``is_ready``: the line ``ready:`` has been logged. ``keep`` is handed what makes findings of a state."""
        self._settings = settings
        self._is_ready = is_ready
        self._keep = keep
        self._faults = faults
        self._due: Optional[float] = None
        self._thread: Optional[threading.Thread] = None

    def service(self, now: float) -> None:
        """Begin the check when it is due."""
        if self._due is None:
            self._due = now + AFTER if self._is_ready() else None
        elif now >= self._due:
            self._due = math.inf
            self._thread = Thread(self._run, "check")
            self._thread.start()

    def close(self) -> None:
        """The thread ends by itself, within a second."""
        if self._thread is not None:
            self._thread.join(1.0)

    def _run(self) -> None:
        try:
            from ..doctor.at_start import examine_at_start, in_calls, lines_of
            from ..doctor.texts import as_data

            try:
                state = read_state(self._settings.bind, self._settings.sip_port)
            except NoState:  # its socket has logged why
                state = {"pid": os.getpid()}
            found = examine_at_start(self._settings, state)
            at_start = [as_data(each) for each in found]

            def findings(state: dict[str, Any]) -> list[Any]:
                try:
                    return at_start + [as_data(each) for each in in_calls(self._settings, state)]
                except Exception as error:
                    self._faults.report(error, time.monotonic(), "the findings in the state")
                    return at_start

            self._keep(findings)
            for line in lines_of(found):
                log.warning("%s", line)
        except Exception as error:
            self._faults.report(error, time.monotonic(), "the check at the start")
