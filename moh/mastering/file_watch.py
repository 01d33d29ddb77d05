"""When the owner's file is to be prepared: at the start, when it has changed and counts as complete, after a failure.

No poll of a file can tell a copy that is complete from one that pauses, as a slow network makes it pause. So a changed
file counts as complete after ``QUIET`` seconds without a further change. If its own header says that its end is
missing, it is given more time. Neither the file's times nor the wall clock are asked for that: ``cp -p`` sets the time
of the original, and the clock of a network share may be wrong.

At the start the caller waits for music, so the file is asked when it was written to: most files are old, and are
prepared at once.

The cause of a failure may lie outside the file: a full disk, a missing ffmpeg, a lack of memory. No change of the file
tells that it is gone. So a file whose preparation failed is prepared again from time to time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Optional

from ..common.config import Settings
from ..common.errors import SettingsError
from .completeness import lacks
from .prepare import find_source, state_of

QUIET = 10.0
"""Seconds without a change after which a changed file counts as complete."""
QUIET_INCOMPLETE = 60.0
"""The same for a file that is shorter than its own header says: it is played as far as it goes."""
QUIET_AT_START = 2.0
"""Seconds since the last change after which a file counts as complete at the start; ``QUIET`` if its end is missing."""
RETRY_EVERY = 60.0
"""Seconds after a failure until the same file is prepared again."""
RETRY_SHARE = 20.0
"""The same, in lengths of the failed attempt, if that is longer: a file that is no music takes little of the processor,
however long it is."""


class FileState(NamedTuple):
    """What tells one state of the owner's file from another, without reading the file."""

    source: Path
    facts: tuple[int, ...]


def poll_file(settings: Settings) -> tuple[Optional[FileState], float]:
    """The state of the owner's file, and the seconds since it was written to; ``None`` and infinity without a file."""
    try:
        source = find_source(settings)
        facts = source.stat()
    except (OSError, SettingsError):
        return None, math.inf
    return FileState(source, state_of(facts)), time.time() - facts.st_mtime


class FileWatch:
    """Decides at each poll whether the file is to be prepared now. It has no clock: each poll brings the time."""

    def __init__(
        self,
        quiet: float = QUIET,
        quiet_incomplete: float = QUIET_INCOMPLETE,
        quiet_at_start: float = QUIET_AT_START,
        retry_every: float = RETRY_EVERY,
        retry_share: float = RETRY_SHARE,
    ) -> None:
        self._quiet = quiet
        self._quiet_incomplete = quiet_incomplete
        self._quiet_at_start = quiet_at_start
        self._retry_every = retry_every
        self._retry_share = retry_share
        self._retry_at = math.inf
        self._latest: Optional[FileState] = None
        self._since = -math.inf
        self._prepared: Optional[FileState] = None
        self.started = False
        """Whether the file has been prepared once."""

    def poll(self, now: float, state: Optional[FileState], age: float, ends: Callable[[FileState], bool]) -> bool:
        """Whether the file, which is in ``state`` at the time ``now``, is to be prepared now.

        ``age`` is how many seconds ago the file was written to, by its own time; a file without a state is old.
        ``ends`` says whether a file has the end that its header promises.
        """
        if state != self._latest:
            self._latest, self._since = state, now
        if self.started and (state is None or (state == self._prepared and now < self._retry_at)):
            return False
        quiet = now - self._since
        enough, at_last = self._quiet, self._quiet_incomplete
        if not self.started:
            quiet = max(quiet, age)
            enough, at_last = self._quiet_at_start, self._quiet
        if quiet < enough or (quiet < at_last and state is not None and not ends(state)):
            return False
        self.prepare(state)
        return True

    def prepare(self, state: Optional[FileState]) -> None:
        """Take note that the file is being prepared in this state."""
        self._prepared = state
        self._retry_at = math.inf
        self.started = True

    def failed(self, now: float, took: float) -> None:
        """Take note that the preparation failed at the time ``now``, after ``took`` seconds."""
        self._retry_at = now + max(self._retry_every, self._retry_share * took)


def ends(state: FileState) -> bool:
    """Whether a file has the end that its header promises."""
    return not lacks(state.source)
