"""Logs how far a conversion is: a line for each quarter of a conversion that takes long."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

SILENT_FOR = 2.0
"""Seconds of a conversion before its first line, so that a short file logs none."""
QUARTER = 25
"""Per cent from one line to the next."""

log = logging.getLogger("moh")


class ProgressLog:
    """Logs the progress of one conversion, which begins now: 25, 50 and 75 per cent."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._logged = 0

    def __call__(self, share: float) -> None:
        """Note that the conversion has come to ``share``, from 0 to 1. This is called several times a second."""
        percent = int(100 * share) // QUARTER * QUARTER
        late = self._clock() - self._began >= SILENT_FOR
        if late and self._logged < percent < 100:
            self._logged = percent
            log.info("converting the music: %d %%", percent)
