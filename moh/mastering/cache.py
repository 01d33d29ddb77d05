"""The cache of converted music. An entry is a folder: a WAV file for each sample rate, and a report of what was done.

An entry belongs to the content of a file, by its digest. Neither time nor size nor inode tell a content: ``cp -p``,
``rsync -t`` and a reproducible build keep the time, a container that starts again has another inode, and network file
systems make them up.

The law kept here: an entry is complete, and it stays while a server plays it. It is made in a folder of another name,
which is renamed when the entry is complete. A server holds a shared lock (flock) on each entry that it plays, and an
entry is removed only after it was locked exclusively. The kernel drops the locks of a process that dies. So the cache
needs to trust neither ages nor process numbers, and any number of servers may share it.

And: what another user could have written is no entry. Folder and files of an entry belong to this process's user or to
root, no other user may write to them, and they are no links, pipes or devices.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
import re
import shutil
import stat
import tempfile
import time
import wave
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, NamedTuple, Optional

from .cache_folder import is_ours_or_roots

FORMAT = "7"
"""The version of the conversion. Increase it when the same file would be converted differently than before."""
REPORT = "report.txt"
"""The file of an entry that says, for the log, what was done to the music."""
FIGURES = "figures.json"
"""The file of an entry with figures for other programs. An entry that a former version made has none."""
MOST_REPORT = 4096
"""Octets that the report may have: one line. The figures may have as many."""
PART = 1 << 20
"""Octets that are read at once for the digest of a file. 100 MB take 0.2 s."""
ENTRY = re.compile(r"(\w{12})-(\w{12})-\w{12}")
"""The name of an entry: digests of the file's path, of its content and of the settings."""
UNUSED_FOR = 30 * 86400.0
"""Seconds after its latest use until an entry is removed."""
UNFINISHED = "unfinished-"
"""The beginning of the names of folders in which conversions run."""
UNLOCKED_FOR = 60.0
"""Seconds after which such a folder, if it is not locked, counts as left behind by a killed server."""


SAFELY = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""How files of the cache are opened: no link is followed, and no pipe waits for its other end."""


class Lock:
    """A lock on a folder, held while this object and its process live.

    Raises ``OSError`` if the folder cannot be locked at once.
    """

    _handle = -1

    def __init__(self, folder: Path, exclusive: bool = False) -> None:
        self._handle = os.open(folder, os.O_DIRECTORY | SAFELY)
        try:
            fcntl.flock(self._handle, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:  # a file system without locks: no folder can be locked exclusively, so none is removed
            if exclusive:
                raise
        if not os.path.samestat(self.facts, os.lstat(folder)):
            raise FileNotFoundError(f"{folder} was removed before it was locked")

    @property
    def facts(self) -> os.stat_result:
        """Owner and mode of the folder."""
        return os.fstat(self._handle)

    @property
    def number(self) -> int:
        """The number of the open file: about as many files are open in this process."""
        return self._handle

    def __del__(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)


class Found(NamedTuple):
    """The content of an entry. ``lock`` keeps the entry from being removed."""

    seconds: float
    report: str
    lock: Lock
    figures: Mapping[str, float] = MappingProxyType({})


class Entry(NamedTuple):
    """The music of one content of a file, converted with certain settings."""

    folder: Path
    rates: Sequence[int]

    @property
    def paths(self) -> dict[int, Path]:
        """The file for each sample rate."""
        return {rate: self.folder / f"{rate}.wav" for rate in self.rates}

    def find(self) -> Optional[Found]:
        """Return the content of the entry, and mark it as used now.

        ``None`` if the entry is missing or incomplete, or if another user could have written it.
        """
        try:
            lock = Lock(self.folder)
            report = read_report(self.folder / REPORT) if is_ours_or_roots(lock.facts) else ""
        except (OSError, UnicodeDecodeError):
            return None
        lengths = {length_of(path) for path in self.paths.values()} if report else {0.0}
        if len(lengths) != 1 or 0.0 in lengths:
            return None
        try:
            os.utime(self.folder)
        except OSError:
            pass  # this user may only read the cache
        return Found(lengths.pop(), report, lock, read_figures(self.folder / FIGURES))

    @contextmanager
    def unfinished(self) -> Iterator[Entry]:
        """Yield a new entry for the files of a conversion, in a locked folder that may also hold other files.

        The folder is removed at the end.
        """
        with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=self.folder.parent) as workshop:
            lock = Lock(Path(workshop))
            made = self._replace(folder=Path(workshop) / "entry")
            made.folder.mkdir(mode=0o755)
            for path in made.paths.values():  # a umask of 002 would let the group write to what ffmpeg makes
                make_empty(path).close()
            yield made
            del lock

    def keep(self, made: Entry, report: str, figures: Mapping[str, float] = MappingProxyType({})) -> Found:
        """Put the finished files of ``made`` in place, all at once. If another server was faster, use its files."""
        found = Found(length_of(next(iter(made.paths.values()))), report, Lock(made.folder), figures)
        for name, text in ((REPORT, report), (FIGURES, json.dumps(dict(figures)))):
            with make_empty(made.folder / name) as file:
                file.write(text.encode())
        try:
            made.folder.rename(self.folder)
        except OSError:
            if (other := self.find()) is not None:
                return other
            spoilt = made.folder.parent.with_name(f"{made.folder.parent.name}-spoilt")
            self.folder.rename(spoilt)
            made.folder.rename(self.folder)
            remove(spoilt)
        return found

    def clean(self) -> None:
        """Remove folders that no server uses: former contents of the same file, old entries, broken conversions."""
        now = time.time()
        source, content, _ = self.folder.name.split("-")
        with os.scandir(self.folder.parent) as folders:
            for folder in folders:
                try:
                    age = now - folder.stat(follow_symlinks=False).st_mtime
                    if name := ENTRY.fullmatch(folder.name):
                        former = name[1] == source and name[2] != content
                        stale = folder.name != self.folder.name and (former or age > UNUSED_FOR)
                    else:
                        stale = folder.name.startswith(UNFINISHED) and age > UNLOCKED_FOR
                    if stale:
                        remove_unused(Path(folder.path))
                except OSError:
                    continue  # another server has removed it

    def clean_former(self) -> None:
        """Remove the former contents of the same file, if no server uses them. In a large cache it is faster."""
        source, content, _ = self.folder.name.split("-")
        for name in os.listdir(self.folder.parent):
            if name.startswith(source) and (entry := ENTRY.fullmatch(name)) and entry[2] != content:
                remove_unused(self.folder.with_name(name))


def digest_of(source: Path, tick: Callable[[], None] = lambda: None) -> str:
    """The digest of a file's content. ``tick`` is called for each part that is read, and may raise an exception."""
    digest = hashlib.sha256()
    with source.open("rb", buffering=0) as file:
        while part := file.read(PART):
            digest.update(part)
            tick()
    return digest.hexdigest()


def entry_of(cache: Path, source: Path, digest: str, settings: str, rates: Sequence[int]) -> Entry:
    """The entry for a content of the file. ``settings`` is a text of the settings that change the sound."""
    parts = (os.fsencode(source), f"{FORMAT} {digest}".encode(), settings.encode())
    return Entry(cache / "-".join(hashlib.sha256(part).hexdigest()[:12] for part in parts), rates)


def make_empty(path: Path) -> BinaryIO:
    """A new file that no other user may write to, whatever the umask."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644), "wb")


def open_ours(path: Path) -> BinaryIO:
    """Open a regular file that no other user can have written. Raises ``OSError`` for any other, and never waits."""
    handle = os.open(path, SAFELY)
    facts = os.fstat(handle)
    if not (stat.S_ISREG(facts.st_mode) and is_ours_or_roots(facts)):
        os.close(handle)
        raise PermissionError(f"{str(path)!r} is not a file of this user alone")
    return os.fdopen(handle, "rb")


def read_report(path: Path) -> str:
    """The report, in one line that can be printed; empty where it is none."""
    with open_ours(path) as file:
        octets = file.read(MOST_REPORT + 1)
    text = octets.decode("utf-8") if len(octets) <= MOST_REPORT else ""
    return text if text.isprintable() else repr(text)


def read_figures(path: Path) -> dict[str, float]:
    """The figures of an entry, by name; none where the file is missing or spoilt."""
    try:
        with open_ours(path) as file:
            read = json.loads(file.read(MOST_REPORT + 1).decode("utf-8"))
        return {str(name): float(value) for name, value in read.items() if math.isfinite(value)}
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return {}


def remove_unused(folder: Path) -> None:
    """Remove an entry, unless it is in use, or belongs to another user."""
    try:
        lock = Lock(folder, exclusive=True)
        shutil.rmtree(folder)
        del lock
    except OSError:
        pass  # another process plays it or has removed it


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, as far as that is possible."""
    try:
        path.unlink()
    except OSError:
        shutil.rmtree(path, ignore_errors=True)


def length_of(path: Path) -> float:
    """The length of the WAV file in seconds; 0 where the file cannot be read or trusted, or is cut short."""
    try:
        with open_ours(path) as file, wave.open(file) as sound:
            whole = os.fstat(file.fileno()).st_size >= sound.getnframes() * sound.getsampwidth()
            return sound.getnframes() / sound.getframerate() if whole else 0.0
    except (OSError, wave.Error, EOFError, ZeroDivisionError):
        return 0.0
