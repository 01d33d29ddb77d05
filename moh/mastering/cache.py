"""The cache of converted music. An entry is a folder: a WAV file for each sample rate, and a report of what was done.

The law kept here: an entry is whole, and it stays while a server plays it. It is made in a folder of another name,
which is renamed when it is complete. A server holds a shared lock (flock) on each entry that it plays, and only an
entry that can be locked exclusively is removed. The kernel drops the locks of a process that dies, so no age and no
process number has to be trusted, and any number of servers may share the cache.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import time
import wave
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Optional

FORMAT = "3"
"""Counts up when the same file would be converted differently than before."""
REPORT = "report.txt"
"""The file of an entry that holds what was done to the music, for the log."""
UNUSED_FOR = 30 * 86400.0
"""Seconds after its latest use until an entry is removed."""
UNFINISHED = "unfinished-"
"""How the names of folders of running conversions begin."""
UNLOCKED_FOR = 60.0
"""Seconds after which a folder of a conversion counts as left by a killed server, if it is not locked."""


class Lock:
    """A lock on a folder, while this object and its process live. Raises ``OSError`` where it cannot be had at once."""

    _handle = -1

    def __init__(self, folder: Path, exclusive: bool = False) -> None:
        self._handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._handle, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:  # a file system without locks: nothing can be locked exclusively, so nothing is removed
            if exclusive:
                raise
        if not os.path.samestat(os.fstat(self._handle), os.stat(folder)):
            raise FileNotFoundError(f"{folder} was removed before it was locked")

    def __del__(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)


class Found(NamedTuple):
    """What an entry holds. ``lock`` keeps it from being removed."""

    seconds: float
    report: str
    lock: Lock


class Entry(NamedTuple):
    """The music of one state of a file, converted with certain settings."""

    folder: Path
    rates: Sequence[int]

    @property
    def paths(self) -> dict[int, Path]:
        """The file for each sample rate."""
        return {rate: self.folder / f"{rate}.wav" for rate in self.rates}

    def find(self) -> Optional[Found]:
        """The entry, which counts as used now; ``None`` where there is none, or not all of it."""
        try:
            lock = Lock(self.folder)
            report = (self.folder / REPORT).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None
        lengths = {length_of(path) for path in self.paths.values()}
        if not report or len(lengths) != 1 or 0.0 in lengths:
            return None
        try:
            os.utime(self.folder)
        except OSError:
            pass  # a cache that this user may only read
        return Found(lengths.pop(), report, lock)

    @contextmanager
    def unfinished(self) -> Iterator[Entry]:
        """An entry to write the files of, alone in a locked folder with room for other files; removed at the end."""
        with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=self.folder.parent) as workshop:
            lock = Lock(Path(workshop))
            made = self._replace(folder=Path(workshop) / "entry")
            made.folder.mkdir()
            yield made
            del lock

    def keep(self, made: Entry, report: str) -> Found:
        """Put the finished files in place, all at once. If another server has done so meanwhile, use its files."""
        found = Found(length_of(next(iter(made.paths.values()))), report, Lock(made.folder))
        (made.folder / REPORT).write_text(report, encoding="utf-8")
        try:
            made.folder.rename(self.folder)
        except OSError:
            if (other := self.find()) is not None:
                return other
            self.folder.rename(made.folder.with_name("spoilt"))
            made.folder.rename(self.folder)
        return found

    def clean(self) -> None:
        """Remove what no server uses: former states of the same file, entries unused for long, broken conversions."""
        now = time.time()
        source, state, _ = self.folder.name.split("-")
        for folder in self.folder.parent.iterdir():
            try:
                age = now - folder.stat().st_mtime
                if name := re.fullmatch(r"(\w{12})-(\w{12})-\w{12}", folder.name):
                    former = name[1] == source and name[2] != state
                    stale = folder != self.folder and (former or age > UNUSED_FOR)
                else:
                    stale = folder.name.startswith(UNFINISHED) and age > UNLOCKED_FOR
                if stale:
                    lock = Lock(folder, exclusive=True)
                    shutil.rmtree(folder)
                    del lock
            except OSError:
                continue  # in use, removed by another server, or another user's


def entry_of(cache: Path, source: Path, facts: os.stat_result, settings: str, rates: Sequence[int]) -> Entry:
    """The entry of a file as it is now. ``settings`` are those that change the sound."""
    parts = (os.fsencode(source), f"{FORMAT} {facts.st_size} {facts.st_mtime_ns}".encode(), settings.encode())
    return Entry(cache / "-".join(hashlib.sha256(part).hexdigest()[:12] for part in parts), rates)


def length_of(path: Path) -> float:
    """How many seconds the WAV file plays; 0 where it cannot be read or is cut short."""
    try:
        with wave.open(str(path), "rb") as sound:
            whole = path.stat().st_size >= sound.getnframes() * sound.getsampwidth()
            return sound.getnframes() / sound.getframerate() if whole else 0.0
    except (OSError, wave.Error, EOFError, ZeroDivisionError):
        return 0.0
