"""Which files of the music folder are complete. There is no clock here: each call brings the times.

The rules are those of ``moh.mastering.file_watch``: a file is complete after some seconds without a change, and later
if its own header says that its end is missing. One rule more is for folders: a file that was written to before the scan
that did not find it yet has been moved there, and is complete at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..mastering.file_watch import QUIET, QUIET_AT_START, QUIET_INCOMPLETE
from .listing import Facts, Item, Listing

MARGIN = 3.0
"""Seconds by which a network share may be late to say that a file was written to."""
EMPTY_FOR = 30.0
"""Seconds after which a folder that is suddenly empty is believed."""


class _Waiting(NamedTuple):
    """A file that is not complete yet."""

    facts: Facts
    since: float
    was_moved: bool
    """Whether it was moved here: then only its end may be missing."""
    was_there: bool
    """Whether it was there at the first scan."""


class Settling:
    """The state of each file, and since when it has been in it."""

    def __init__(self, ends: Callable[[str], bool]) -> None:
        self._ends = ends  # whether the file with this path has the end that its header promises
        self._complete: dict[str, Facts] = {}
        self._waiting: dict[str, _Waiting] = {}
        self._former_at = -math.inf
        self._first = True

    def poll(self, files: Mapping[str, Item], at: float, now: float) -> bool:
        """Take note of the files of a scan that began at the time ``at`` (since 1970). Return whether all are complete.

        ``now`` is the time by the monotonic clock.
        """
        waiting = {}
        for path, item in files.items():
            if self._complete.get(path) == item.facts:
                continue
            known = self._waiting.get(path) or _Waiting((), now, False, self._first)
            if known.facts != item.facts:
                was_moved = item.written < self._former_at - MARGIN
                known = _Waiting(item.facts, now, was_moved, known.was_there)
            if self._is_complete(path, known, now - known.since, at - item.written):
                self._complete[path] = item.facts
            else:
                waiting[path] = known
        self._waiting = waiting
        for path in self._complete.keys() - files.keys():
            del self._complete[path]
        self._former_at, self._first = at, False
        return not waiting

    def _is_complete(self, path: str, file: _Waiting, quiet: float, age: float) -> bool:
        enough, at_last = QUIET, QUIET_INCOMPLETE
        if file.was_there:
            quiet, enough, at_last = max(quiet, age), QUIET_AT_START, QUIET
        if not file.was_moved and quiet < enough:
            return False
        return quiet >= at_last or self._ends(path)

    def believe(self, files: Mapping[str, Item]) -> None:
        """Count all files as complete: the owner has said so (SIGHUP)."""
        self._complete = {path: item.facts for path, item in files.items()}
        self._waiting = {}

    def is_complete(self, path: str) -> bool:
        """Whether the file was complete at the latest ``poll``."""
        return path in self._complete and path not in self._waiting


class FolderWatch:
    """The latest listing that is believed. A folder that cannot be read, or is suddenly empty, keeps its names."""

    def __init__(self) -> None:
        self.listing = Listing(())
        self.fault = ""
        """Why the folder cannot be read now, or what else is odd about it."""
        self._empty_since = math.inf

    def poll(self, found: Listing, now: float) -> Listing:
        """Return the listing to go by."""
        self.fault = found.fault
        if found.fault:
            return self.listing
        if found.items or not self.listing.items:
            self._empty_since = math.inf
        else:
            if found.device != self.listing.device:  # a network share was here, and has left its mount point behind
                self.fault = "it is empty, and in another file system than before; its former names are kept"
                return self.listing
            self._empty_since = min(self._empty_since, now)
            if now - self._empty_since < EMPTY_FOR:
                self.fault = "it is empty; its former names are kept for a while"
                return self.listing
        self.listing = found
        return found
