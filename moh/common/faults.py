"""Unexpected exceptions in a loop that has to go on: each is counted, and the log shows its traceback.

The law kept here: no exception vanishes. The log gets one traceback in ``TRACEBACK_EVERY`` seconds, so a loop that
fails at each turn cannot fill it. ``MemoryError`` is counted and not logged, because logging needs memory itself.
"""

from __future__ import annotations

import logging
from collections import deque

TRACEBACK_EVERY = 10.0
"""Seconds between two tracebacks of one loop."""

log = logging.getLogger("moh")


class FaultLog:
    """The faults of one loop. ``place`` names the loop in the log. ``report`` may be called from any thread."""

    def __init__(self, place: str) -> None:
        self.count = 0
        """How many exceptions were reported, including those that the log does not show."""
        self._place = place
        self._quiet_until = float("-inf")
        self._unlogged = 0
        self._permit = deque([None])  # empty while a thread writes to the log

    def report(self, error: BaseException, now: float, about: str = "") -> None:
        """Count ``error``. Log its traceback, unless a traceback was logged in the last ``TRACEBACK_EVERY`` seconds.

        ``about`` names the work that failed. This method raises nothing. If the log fails, the next report tries again.
        """
        self._log(error, now, about)
        self.count += 1  # after the log, so that a counted error can be read there

    def _log(self, error: BaseException, now: float, about: str) -> None:
        if isinstance(error, MemoryError):
            self._unlogged += 1
            return
        try:
            self._permit.pop()
        except IndexError:  # another thread is writing a traceback of this loop
            self._unlogged += 1
            return
        try:
            if now < self._quiet_until:
                self._unlogged += 1
                return
            more = f" ({self._unlogged} more were not logged)" if self._unlogged else ""
            log.error("unexpected error in %s%s%s", self._place, f": {about}" if about else "", more, exc_info=error)
            self._quiet_until, self._unlogged = now + TRACEBACK_EVERY, 0
        except Exception:  # the log failed: the caller must go on, and the next report tries again
            self._unlogged += 1
        finally:
            self._permit.append(None)
