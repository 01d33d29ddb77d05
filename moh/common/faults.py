"""Unexpected exceptions in a loop that has to go on: each is counted, and the log shows its traceback.

The law kept here: no exception vanishes. The log has one traceback in each ``PERIOD``, so a loop that fails at every
turn cannot fill it. ``MemoryError`` is counted and not logged, because the log needs memory itself.
"""

from __future__ import annotations

import logging

PERIOD = 10.0
"""Seconds between two tracebacks of one loop."""

log = logging.getLogger("moh")


class FaultLog:
    """The faults of one loop. ``place`` names the loop in the log. ``report`` may be called from any thread."""

    def __init__(self, place: str) -> None:
        self.count = 0
        """How many exceptions were reported, those without a line in the log included."""
        self._place = place
        self._quiet_until = float("-inf")
        self._unlogged = 0

    def report(self, error: BaseException, now: float, about: str = "") -> None:
        """Count ``error`` and log its traceback, unless one was logged less than ``PERIOD`` seconds before ``now``.

        ``about`` says what the loop was working on. Never raises: where the log fails, the next report logs again.
        """
        self.count += 1
        if isinstance(error, MemoryError) or now < self._quiet_until:
            self._unlogged += 1
            return
        try:
            more = f" ({self._unlogged} more were not logged)" if self._unlogged else ""
            log.error("unexpected error in %s%s%s", self._place, f": {about}" if about else "", more, exc_info=error)
        except Exception:  # the log failed: the loop must go on, and the next report tries again
            self._unlogged += 1
        else:
            self._quiet_until, self._unlogged = now + PERIOD, 0
