"""The file of the trace, and the one that it was before: bounded in size, readable for its owner only.

The law kept here: only an earlier trace is overwritten or renamed, and each block in the file is whole.
"""

from __future__ import annotations

import os
import stat
from typing import Optional

from .pcapng import MAGIC

MOST_OCTETS = 20 * 1000 * 1000
"""Octets of one file at most. The file that is full becomes ``FILE.1``, and the next one begins."""
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFLNK: "a link",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


class Unusable(Exception):
    """Why the trace cannot be written to the file, in one line for the owner."""


class TraceFile:
    """The file at ``path``. ``header`` is what each file begins with. One thread uses it."""

    def __init__(self, path: str, header: bytes, most_octets: int = MOST_OCTETS) -> None:
        self._path, self._former = path, f"{path}.1"
        self._header = header
        self._most = most_octets
        self._descriptor: Optional[int] = None
        self._size = 0

    def write(self, octets: bytes) -> None:
        """Add whole blocks. Raises ``Unusable``, and then none of the blocks is in the file."""
        try:
            if self._descriptor is None or not self._is_as_it_was() or self._size + len(octets) > self._most:
                self._begin()
            self._append(octets)
        except OSError as error:
            raise Unusable(f"{error.strerror}") from None

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def _begin(self) -> None:
        """Begin a new file; the present one becomes the former one."""
        self.close()
        for path in (self._path, self._former):
            _check(path)
        if _size(self._path) > len(self._header):  # a trace without messages replaces no former one
            os.replace(self._path, self._former)
        elif os.path.lexists(self._path):
            os.unlink(self._path)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o600)
        self._size = 0
        self._append(self._header)

    def _append(self, octets: bytes) -> None:
        assert self._descriptor is not None
        rest = octets
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            os.ftruncate(self._descriptor, self._size)  # half a block would make all later ones unreadable
            if not self._size:
                self.close()
            raise
        self._size += len(octets)

    def _is_as_it_was(self) -> bool:
        """Whether the path still leads to the file that is open, and no other program has changed its length."""
        assert self._descriptor is not None
        try:
            now, open_file = os.lstat(self._path), os.fstat(self._descriptor)
        except FileNotFoundError:
            return False
        return (now.st_dev, now.st_ino, now.st_size) == (open_file.st_dev, open_file.st_ino, self._size)


def _check(path: str) -> None:
    """Raises ``Unusable`` if there is something at ``path`` that is no trace."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        kind = KINDS.get(stat.S_IFMT(mode), "no file")
        raise Unusable(f"{path!r} is {kind}; expected the name of a new file, or of an earlier trace")
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        begins = os.read(descriptor, 4)
    finally:
        os.close(descriptor)
    if begins not in (b"", MAGIC.to_bytes(4, "little")):
        raise Unusable(f"the file {path!r} is no trace and is kept; expected the name of a new file")


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:
        return 0
