"""What the state says of music by name: the names, how far each is, and how many calls hear it."""

from __future__ import annotations

import heapq
import threading
from collections import Counter
from pathlib import Path
from typing import Any, Optional

from ..mastering.owner_name import owner_name
from ..sip.user_agent import UserAgent
from .library import Library
from .name_table import RADIO, READY, WAITING, Name
from .named_music import as_message
from .radios import CONNECTING, PLAYS, Radio

MOST_LISTED = 200
"""Names that are listed: those that callers hear, then those with a fault, then by name."""
FAULTY = ("refused", "away", "full")
"""The states that the owner may want to mend."""

Json = dict[str, Any]


class NamesState:
    """Reads the names. Only one thread at a time may call ``read``."""

    def __init__(self, library: Library, agent: UserAgent, lock: threading.Lock) -> None:
        self._library = library
        self._agent = agent
        self._lock = lock
        self._folder = ("", "")  # as it is in this process, and the owner's name of it, which takes a file to be read

    def read(self, epoch: float) -> Json:
        """The names now. ``epoch`` is the Unix time at which the monotonic clock was 0."""
        table = self._library.table
        calls = self._library.callers()
        with self._lock:
            missing = list(self._agent.missing_names)
        names = list(table.names.values())
        states = {row.name: self._state(row) for row in names}

        def rank(row: Name) -> tuple[bool, bool, str]:
            return (not calls.get(row.name), states[row.name] not in FAULTY, row.name)

        if self._folder[0] != table.folder:
            self._folder = (table.folder, owner_name_of(table.folder))
        listed = heapq.nsmallest(MOST_LISTED, names, key=rank)
        return {
            "folder": self._folder[1],
            "count": len(names),
            "by_state": dict(Counter(states.values())),
            "default": table.default,
            "notes": table.notes,
            "cache": table.cache,
            "listed": [self._row(row, states[row.name], calls.get(row.name, 0), epoch) for row in listed],
            "missing": [{"name": each.name, "count": each.calls, "at": epoch + each.at} for each in missing],
        }

    def _radio(self, row: Name) -> Optional[Radio]:
        return self._library.radios.radios.get(row.name) if row.kind == RADIO else None

    def _state(self, row: Name) -> str:
        if row.kind != RADIO:
            return WAITING if row.state == READY and row.number is None else row.state  # its tune is added within 1 s
        radio = self._radio(row)
        if radio is not None:
            return radio.state
        return row.state if row.state in FAULTY else CONNECTING

    def _row(self, row: Name, state: str, calls: int, epoch: float) -> Json:
        radio, music = self._radio(row), row.music
        plays_recorded = music is not None and row.kind != RADIO
        return {
            "name": row.name,
            "kind": row.kind,
            "state": state,
            "why": row.why if radio is None else radio.why,
            "seconds": music.seconds if music is not None and plays_recorded else None,
            "loudness": None if music is None else music.loudness,
            "pieces": row.count,
            "announcements": 0 if music is None else len(music.tune.announcements),
            "calls": calls,
            "summary": "" if music is None else music.summary(),
            "radio": None if radio is None else radio_row(radio, epoch),
            "default": row.name == self._library.table.default,
            "files": as_message(music.paths) if music is not None and plays_recorded else {},
            "number": row.number,
        }


def radio_row(radio: Radio, epoch: float) -> Json:
    """What is known of a radio."""
    return {
        "address": radio.address,
        "title": radio.title,
        "since": epoch + radio.since,
        "connected": radio.state == PLAYS,
        "reconnects": radio.reconnects,
    }


def owner_name_of(folder: str) -> str:
    """The folder as the owner wrote it."""
    return owner_name(Path(folder)) if folder else ""
