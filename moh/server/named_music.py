"""The music of one name: converted pieces in the cache, or a live radio. Both become tunes of the engines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from ..common.tunes import Tune
from ..mastering.cache import Lock
from ..mastering.owner_name import owner_name
from ..mastering.prepare import Music

Files = dict[int, Path]
"""A file for each sample rate in Hz."""
MOST_PIECES, MOST_ANNOUNCEMENTS = 500, 200
"""As many of them are kept of what the library says."""


@dataclass(frozen=True)
class NamedMusic(Music):
    """Converted music of a name. ``lock`` holds the locks on all folders of the cache that it is in."""

    name: str = ""
    said: str = ""
    """The line for the log: what it is, how long, and what was done to it."""
    pieces: tuple[tuple[str, float], ...] = ()
    """The file of each piece, and when it begins in the loop."""
    tune: Tune = field(default_factory=lambda: Tune({}, 0.0))
    places: tuple[tuple[int, int], ...] = ()
    """Device and inode of each folder of the cache that is locked: one that was made again is another one."""

    def describe(self) -> str:
        """Name and length; of a row of pieces also their number."""
        if self.is_live:
            return f"the radio {self.name!r}"
        text = super().describe()
        return f"{text[:-1]}, {len(self.pieces)} pieces)" if len(self.pieces) > 1 else text

    def summary(self) -> str:
        """Name, length and report, as one line of text."""
        return self.said or (self.describe() if self.is_live else super().summary())

    @property
    def is_locked(self) -> bool:
        """Whether this process keeps its files in the cache."""
        return bool(self.lock)

    @property
    def is_live(self) -> bool:
        """Whether it is a radio."""
        return self.tune.began is not None

    def is_same(self, other: Optional[NamedMusic]) -> bool:
        """Whether the files are the same. An entry of the cache never changes, unless it is removed and made again."""
        if other is None or (self.places and other.places and self.places != other.places):
            return False
        return (self.paths, self.tune.plain) == (other.paths, other.tune.plain)


@dataclass(frozen=True)
class Ring:
    """What a radio is written into, round and round."""

    files: Files
    seconds: float
    began: float

    @property
    def tune(self) -> Tune:
        """The live tune of it."""
        return Tune(self.files, self.seconds, began=self.began)

    def music(self, name: str) -> NamedMusic:
        """It as the music of a name."""
        return NamedMusic(self.files, self.seconds, Path(name), name=name, tune=self.tune)


def music_of(message: Mapping[str, Any], most_handles: int = 1024) -> NamedMusic:
    """The music of a message "ready", with locks on its folders of the cache.

    Each lock is an open file. Where the number of one is above ``most_handles``, the music has none: then the library
    has to hold them, and calls keep the rest of the open files that the system permits.

    Raises ``OSError`` where a folder is not there any more, and ``KeyError``, ``TypeError`` or ``ValueError`` for a
    message that has another form.
    """
    locks = [Lock(Path(folder)) for folder in message["folders"]]
    if any(lock.number > most_handles for lock in locks):
        locks = []
    windows = tuple((float(begin), float(end)) for begin, end in message.get("announcements") or ())
    files = files_of(message["files"])
    tune = Tune(
        files, float(message["seconds"]), locks, files_of(message.get("plain") or {}),
        float(message.get("plain_for") or 0.0), windows[:MOST_ANNOUNCEMENTS],
    )  # fmt: skip
    if not files or not tune.seconds > 0:
        raise ValueError("music without a file, or without length")
    loudness = message.get("loudness")
    return NamedMusic(
        paths=files,
        seconds=tune.seconds,
        source=Path(message["source"]),
        report=str(message.get("report") or ""),
        lock=locks,
        loudness=None if loudness is None else float(loudness),
        name=str(message["name"]),
        said=str(message.get("summary") or ""),
        pieces=tuple((str(each["file"]), float(each["at"])) for each in (message.get("pieces") or ())[:MOST_PIECES]),
        tune=tune,
        places=tuple((each.facts.st_dev, each.facts.st_ino) for each in locks),
    )


def ring_of(message: Mapping[str, Any]) -> Ring:
    """The ring of a message "ring"."""
    ring = Ring(files_of(message["files"]), float(message["seconds"]), float(message["began"]))
    if not ring.files or not ring.seconds > 0:
        raise ValueError("a ring without a file, or without length")
    return ring


def files_of(found: Mapping[str, str]) -> Files:
    """Files as a message names them."""
    return {int(rate): Path(path) for rate, path in found.items()}


def as_message(files: Mapping[int, Path]) -> dict[str, str]:
    """Files as a message names them."""
    return {str(rate): str(path) for rate, path in files.items()}


def shown(path: Path) -> str:
    """The owner's name of a file or folder, quoted."""
    return repr(owner_name(path))
