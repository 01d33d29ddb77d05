"""The names that callers may dial, as the library describes them, and the tune of each. Pure data.

The law kept here: a name that has music keeps it until there is other music for it, whatever the library converts or
refuses meanwhile; and the same files never become a second tune.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from .named_music import NamedMusic, Ring

PIECE, FOLDER, RADIO = "piece", "folder", "radio"
WAITING, READY, FULL = "waiting", "ready", "full"
MOST_NAMES = 20_000
MOST_NOTES = 20
MOST_TEXT = 500


@dataclass
class RadioWish:
    """What the library says of a radio."""

    addresses: tuple[str, ...]
    lists: bool
    fallback: str
    """The name that plays while the radio is away; empty for the default."""


@dataclass
class Name:
    """One name."""

    name: str
    kind: str
    count: int = 1
    """Its pieces."""
    state: str = WAITING
    why: str = ""
    music: Optional[NamedMusic] = None
    """Its pieces, converted; those of a radio are its fallback."""
    wish: Optional[RadioWish] = None
    ring: Optional[Ring] = None
    added: object = None
    """The music or the ring that ``number`` is of."""
    number: Optional[int] = None
    """The number of its tune; ``None`` while it has none."""

    @property
    def playable(self) -> Optional[NamedMusic]:
        """What callers who dial the name hear; ``None`` for the default."""
        return self.music if self.ring is None else self.ring.music(self.name)


class NameTable:
    """All names of the library."""

    def __init__(self) -> None:
        self.names: dict[str, Name] = {}
        self.default: Optional[str] = None
        self.notes: list[str] = []
        self.folder = ""
        self.cache: Optional[dict[str, int]] = None
        self.is_known = False
        """Whether the library has said which names there are."""
        self._coming: dict[str, Name] = {}  # the names so far, of a message that comes in several parts

    def replace(self, message: Mapping[str, Any]) -> list[Name]:
        """Take the names of a message, or of the last part of one. Return those that are gone.

        A name that was there before keeps its music, until the library says what it is now.
        """
        for row in message["names"]:
            name, kind = str(row["name"]), str(row["kind"])
            known = self.names.get(name) or Name(name, kind)
            if known.kind != kind:
                known.state, known.why = WAITING, ""
            known.kind, known.count = kind, int(row.get("pieces") or 0)
            if len(self._coming) < MOST_NAMES:
                self._coming[name] = known
        if message.get("more"):
            return []
        former, self.names, self._coming = self.names, self._coming, {}
        default = message.get("default")
        self.default = None if default is None else str(default)
        self.notes = texts(message.get("notes") or ())
        self.folder = str(message.get("folder") or self.folder)
        self.is_known = True
        return [row for name, row in former.items() if name not in self.names]

    def begin_again(self) -> None:
        """Drop the part of a list that a process of the library sent before it ended: the next one sends it all."""
        self._coming = {}

    def note_state(self, message: Mapping[str, Any]) -> bool:
        """Note how far the library is with a name. Return whether the name has lost its music: the cache is full."""
        row = self.names.get(str(message["name"]))
        if row is None:
            return False
        row.state, row.why = str(message["state"]), str(message.get("why") or "")[:MOST_TEXT]
        if row.state != FULL or row.music is None:
            return False
        row.music = None
        return True

    def note_ready(self, music: NamedMusic) -> bool:
        """Note that the music of a name is ready. Return whether it is other music than before."""
        row = self.names.get(music.name)
        if row is None:
            return False
        row.state, row.why = READY, ""
        if music.is_same(row.music):
            return False
        row.music = music
        return True

    def note_radio(self, message: Mapping[str, Any]) -> None:
        """Note what the library says of a radio."""
        row = self.names.get(str(message["name"]))
        if row is not None:
            addresses = tuple(map(str, message["addresses"]))
            row.wish = RadioWish(addresses, bool(message.get("lists")), str(message.get("fallback") or ""))

    @property
    def default_row(self) -> Optional[Name]:
        """The name that is the default; ``None`` where the folder has no music."""
        return None if self.default is None else self.names.get(self.default)


def texts(found: Sequence[Any]) -> list[str]:
    """Notes, bounded in number and length."""
    return [str(each)[:MOST_TEXT] for each in found[:MOST_NOTES]]
