"""The cache as the library sees it: how much room its entries take, and which of them can go."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Container
from pathlib import Path
from typing import NamedTuple, Protocol

from ..mastering.cache import Lock

LAST_FREE = 100 << 20
"""Octets of the file system that stay free."""
ENTRY = re.compile(r"\w{12}-\w{12}-\w{12}")
"""The names of the folders of entries."""
TRY_AGAIN = 10.0
"""Seconds until an entry that was in use is tried again."""


class Room(Protocol):
    """What the librarian needs of the cache."""

    def missing(self, octets: int) -> tuple[int, str]:
        """How many octets have to be freed before so many more fit in, and why; 0 where they fit."""

    def free_up(self, octets: int, keep: Container[str], now: float) -> int:
        """Remove entries that are not in ``keep`` and not in use. Return how many octets that has freed."""

    def size_of(self, folder: str) -> int:
        """The octets of an entry."""


class _Known(NamedTuple):
    octets: int
    used_at: float


class Store:
    """The entries of one cache folder. An entry never changes, so each is measured once."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._known: dict[str, _Known] = {}
        self._in_use: dict[str, float] = {}  # until when an entry is not tried again
        self.free = LAST_FREE

    @property
    def used(self) -> int:
        """Octets of all entries."""
        return sum(known.octets for known in self._known.values())

    @property
    def entries(self) -> int:
        """How many entries there are."""
        return len(self._known)

    def measure(self) -> None:
        """See which entries there are, and how much of the disk is free."""
        found: dict[str, _Known] = {}
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    if ENTRY.fullmatch(entry.name):
                        known = self._known.get(entry.name)
                        used_at = entry.stat(follow_symlinks=False).st_mtime
                        found[entry.name] = _Known(known.octets if known else _octets(entry.path), used_at)
            self.free = shutil.disk_usage(self._folder).free
        except OSError:
            return  # an entry has gone meanwhile, or the folder: the conversion says what is wrong
        self._known = found

    def missing(self, octets: int) -> tuple[int, str]:
        """See ``Room``."""
        over = self.used + octets - self._limit
        short = LAST_FREE + octets - self.free
        if short > max(over, 0):
            return short, f"the disk of the cache is full ({self.free / 1e6:.0f} MB are free, and 100 MB stay free)"
        if over > 0:
            used = f"({self.used >> 20} of {self._limit >> 20} MB are used, MOH_CACHE_LIMIT)"
            needed = f": {-(-octets >> 20)} MB more do not fit in" if octets else ""
            return over, f"the cache is full{needed} {used}"
        return 0, ""

    def free_up(self, octets: int, keep: Container[str], now: float) -> int:
        """See ``Room``. Those that were used last stay the longest."""
        freed = 0
        for name in sorted(self._known, key=lambda name: self._known[name].used_at):
            if freed >= octets:
                break
            if name in keep or self._in_use.get(name, now) > now:
                continue
            if _remove(self._folder / name):
                freed += self._known.pop(name).octets
                self._in_use.pop(name, None)
            else:
                self._in_use[name] = now + TRY_AGAIN
        if freed:
            self.measure()
        return freed

    def size_of(self, folder: str) -> int:
        """See ``Room``."""
        return self._known[folder].octets if folder in self._known else 0

    def is_nearly_full(self) -> bool:
        """Whether the file system has only its last octets left; a conversion that runs then is given up."""
        try:
            self.free = shutil.disk_usage(self._folder).free
            return self.free < LAST_FREE
        except OSError:
            return False


def _octets(folder: str) -> int:
    with os.scandir(folder) as entries:
        return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)


def _remove(folder: Path) -> bool:
    """Remove an entry, unless it is in use."""
    try:
        lock = Lock(folder, exclusive=True)
        shutil.rmtree(folder)
        del lock
        return True
    except OSError:
        return False
