"""What a scan of the music folder has found, as plain data."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

Facts = tuple[int, ...]
"""What tells one state of a file from another (``moh.mastering.prepare.state_of``)."""


class Kind(enum.Enum):
    """What an entry of a folder is, links followed."""

    FILE = "file"
    FOLDER = "folder"
    OTHER = "other"
    """No file: a device, a pipe, a socket, a link that leads nowhere. ``Item.fault`` says which."""


class Item(NamedTuple):
    """An entry of a folder."""

    name: str
    """As ``os.scandir`` has it: octets that are not UTF-8 are surrogates."""
    kind: Kind
    facts: Facts = ()
    written: float = 0.0
    """When a file was written to, by its own time, in seconds since 1970."""
    fault: str = ""
    """Why it cannot be read or played, in the owner's words."""


class Text(NamedTuple):
    """The content of a file that names a radio. One octet more than the limit shows that it is longer."""

    octets: bytes
    fault: str = ""


@dataclass(frozen=True)
class Listing:
    """The music folder. A path is relative to it: ``jazz.mp3``, ``jazz/01.mp3``."""

    items: tuple[Item, ...]
    inside: Mapping[str, tuple[Item, ...]] = field(default_factory=dict)
    """The entries of each folder in it that could be read."""
    texts: Mapping[str, Text] = field(default_factory=dict)
    """The content of the files that name a radio, by their path."""
    at: float = 0.0
    """When the scan began, in seconds since 1970."""
    fault: str = ""
    """Why the music folder cannot be read; then all other fields are empty."""
    device: int = 0
    """The number of the file system that the music folder is in."""

    def files(self) -> dict[str, Item]:
        """All files by their path."""
        found = {item.name: item for item in self.items if item.kind is Kind.FILE}
        for folder, items in self.inside.items():
            found.update({f"{folder}/{item.name}": item for item in items if item.kind is Kind.FILE})
        return found
