"""A ring: WAV files of fixed length that a radio is written into, round and round, ahead of all readers.

Position ``p`` of the endless tune is in the files at ``p % SECONDS``, and second ``p`` is played at ``began + p`` by
the monotonic clock.

A ring has a folder of its own in the cache. The law kept here: the folder has one writer, which holds an exclusive lock
on it; the kernel drops the lock of a writer that dies. So a ring without a lock is either taken over by the next
process, or removed after ``UNLOCKED_FOR`` seconds.
"""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import struct
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Optional

from ..mastering.cache import UNLOCKED_FOR, Lock, make_empty
from ..mastering.cache_folder import is_only_ours
from .samples import FRAMES, RATES, Sound, octets_of

SECONDS = 120
"""The length of a ring."""
PREFIX = "radio-"
"""The beginning of the names of the folders."""
WRITTEN = "written"
"""The file that says how far the endless tune is written, in frames."""
HEADER = 44
"""Octets of a WAV file before its samples."""
FRESHENED_EVERY = 20.0
"""Seconds between two changes of the folder's time, by which another process sees that the ring was in use."""


class NoRing(Exception):
    """A ring cannot be made, or cannot be taken over. The text says why."""


class Ring:
    """The files of one ring, for its writer. Use ``make`` or ``take_over``."""

    def __init__(self, folder: Path, lock: Lock, began: float) -> None:
        self.began = began
        self._folder, self._lock = folder, lock
        self.files = {rate: folder / f"{rate}.wav" for rate in RATES}
        self._maps = {rate: _mapped(path, HEADER + _size(rate)) for rate, path in self.files.items()}
        self._written = _mapped(folder / WRITTEN, 8)
        self._freshened = time.monotonic()

    @classmethod
    def make(cls, cache: Path, now: float) -> Ring:
        """Make a ring in the folder ``cache``. Its tune begins now. Raises ``NoRing``."""
        folder: Optional[Path] = None
        try:
            folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=cache))
            folder.chmod(0o755)
            lock = Lock(folder, exclusive=True)
            for rate in RATES:
                _make_file(folder / f"{rate}.wav", _header(rate), HEADER + _size(rate))
            _make_file(folder / WRITTEN, bytes(8), 8)
            return cls(folder, lock, now)
        except OSError as error:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
            needed = sum(map(_size, RATES)) / 1e6
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoRing(f"the cache has no room for the {needed:.1f} MB of a radio") from None
            raise NoRing(f"the cache does not take the files of a radio: {error.strerror or error}") from None

    @classmethod
    def take_over(cls, cache: Path, files: Mapping[int, Path], began: float) -> Ring:
        """Go on with the ring of a process that has ended. Raises ``NoRing``."""
        folder = next(iter(files.values())).parent
        try:
            if folder.parent != cache or not folder.name.startswith(PREFIX):
                raise NoRing(f"{str(folder)!r} is no ring in {str(cache)!r}")
            lock = Lock(folder, exclusive=True)
            if not is_only_ours(lock.facts):
                raise NoRing(f"{str(folder)!r} is not a folder of this user alone")
            return cls(folder, lock, began)
        except (OSError, ValueError) as error:
            raise NoRing(f"the ring in {str(folder)!r} cannot be taken over: {error}") from None

    @property
    def written(self) -> int:
        """How far the endless tune is written, in frames."""
        return int(struct.unpack("<q", self._written[:8])[0])

    @written.setter
    def written(self, frames: int) -> None:
        self._written[:8] = struct.pack("<q", frames)

    def read(self, position: int, frames: int) -> dict[int, bytes]:
        """The sound at ``position``, which is in frames."""
        sound = {}
        for rate, octets in self._maps.items():
            begin, size = octets_of(position, rate) % _size(rate), octets_of(frames, rate)
            first = octets[HEADER + begin : HEADER + min(_size(rate), begin + size)]
            sound[rate] = first + octets[HEADER : HEADER + size - len(first)]
        return sound

    def write(self, position: int, sound: Sound) -> None:
        """Write ``sound`` at ``position``. It is shorter than the ring."""
        for rate, octets in self._maps.items():
            begin, new = octets_of(position, rate) % _size(rate), sound[rate]
            fits = min(len(new), _size(rate) - begin)
            octets[HEADER + begin : HEADER + begin + fits] = new[:fits]
            octets[HEADER : HEADER + len(new) - fits] = new[fits:]

    def freshen(self, now: float) -> None:
        """Mark the folder as in use, now and then."""
        if now - self._freshened >= FRESHENED_EVERY:
            self._freshened = now
            try:
                os.utime(self._folder)
            except OSError:
                pass  # the folder was removed; readers and the writer keep their files

    def remove(self) -> None:
        """Remove the files. Those that have them open read on; this ring can be written no more."""
        shutil.rmtree(self._folder, ignore_errors=True)
        for octets in (*self._maps.values(), self._written):
            octets.close()


def clean(cache: Path) -> None:
    """Remove the rings of processes that were killed."""
    now = time.time()
    for folder in cache.glob(f"{PREFIX}*"):
        try:
            if now - folder.lstat().st_mtime > UNLOCKED_FOR:
                lock = Lock(folder, exclusive=True)
                shutil.rmtree(folder)
                del lock
        except OSError:
            continue  # the ring is in use, or was removed by another process


def _size(rate: int) -> int:
    return octets_of(SECONDS * FRAMES, rate)


def _header(rate: int) -> bytes:
    size = _size(rate)
    parts = (b"RIFF", HEADER - 8 + size, b"WAVEfmt ", 16, 1, 1, rate, 2 * rate, 2, 16, b"data", size)
    return struct.pack("<4sI8sIHHIIHH4sI", *parts)


def _make_file(path: Path, beginning: bytes, size: int) -> None:
    """Make a file of ``size`` octets, all of which have their place on the disk: a full disk would kill the writer."""
    with make_empty(path) as file:
        file.write(beginning)
        file.flush()
        os.posix_fallocate(file.fileno(), 0, size)


def _mapped(path: Path, size: int) -> mmap.mmap:
    handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(handle).st_size != size:
            raise ValueError(f"{str(path)!r} has {os.fstat(handle).st_size} octets; expected {size}")
        return mmap.mmap(handle, size)
    finally:
        os.close(handle)
