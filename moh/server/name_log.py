"""The log lines about the names of the music folder: some in a minute, whatever the folder holds."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Optional

from ..common.amounts import amount
from .name_table import FOLDER, PIECE, RADIO, NameTable
from .named_music import shown
from .radios import CONNECTING, PLAYS, Radio

MOST_LINES, LINES_IN = 20, 60.0
"""Lines about single names in so many seconds; the others are counted."""
LISTED_EVERY = 10.0
"""Seconds between two lines about all names."""
MOST_TEXT = 300

log = logging.getLogger("moh")


class NameLog:
    """Logs what is new of names."""

    def __init__(self) -> None:
        self._lines = 0
        self._lines_until = 0.0
        self._missing: Counter[str] = Counter()  # lines that were not logged, by what they are about
        self._refused: dict[str, str] = {}
        self._listed = ""
        self._listed_at = 0.0
        self._notes: set[str] = set()
        self._radios: dict[str, str] = {}  # the state of each radio that was logged last

    def ready(self, name: str, summary: str, now: float) -> None:
        """The music of a name is ready."""
        self._refused.pop(name, None)
        if self._has_room("ready", now):
            log.info("music %r: %s", name[:MOST_TEXT], summary)

    def state(self, name: str, state: str, why: str, now: float) -> None:
        """The library says how far it is with a name: a reason why it does not play is logged once."""
        if why and self._refused.get(name) != why:
            self._refused[name] = why
            if self._has_room("not played", now):
                log.warning("music %r: %s", name[:MOST_TEXT], why)

    def radios(self, radios: Mapping[str, Radio], now: float) -> None:
        """Log each radio that plays now or is away now, and was not before."""
        for name, radio in radios.items():
            if radio.state in (CONNECTING, self._radios.get(name)):
                continue
            self._radios[name] = radio.state
            if not self._has_room("changes of radios", now):
                continue
            if radio.state == PLAYS:
                log.info("radio %r plays: %s", name[:MOST_TEXT], radio.title or radio.address)
            else:
                log.warning("radio %r is away, so other music plays: %s", name[:MOST_TEXT], radio.why)
        for gone in self._radios.keys() - radios.keys():
            del self._radios[gone]

    def service(self, table: NameTable, now: float) -> None:
        """Log which names there are, if that is new."""
        if now >= self._lines_until and self._missing:
            more = ", ".join(f"{count} more {what}" for what, count in self._missing.items())
            log.info("music by name: %s", more)
            self._missing.clear()
        if table.is_known and now >= self._listed_at:
            text = listed(table)
            if text != self._listed:
                self._listed, self._listed_at = text, now + LISTED_EVERY
                log.info("%s", text)
            for note in table.notes:
                if note not in self._notes:
                    log.info("music by name: %s", note)
            self._notes = set(table.notes)
            if len(self._refused) > 2 * len(table.names):
                self._refused = {name: why for name, why in self._refused.items() if name in table.names}

    def _has_room(self, what: str, now: float) -> bool:
        if now >= self._lines_until:
            self._lines_until, self._lines = now + LINES_IN, 0
        self._lines += 1
        if self._lines > MOST_LINES:
            self._missing[what] += 1
        return self._lines <= MOST_LINES


def listed(table: NameTable) -> str:
    """All names in one line."""
    kinds = Counter(row.kind for row in table.names.values())
    words = {PIECE: "piece", FOLDER: "folder", RADIO: "radio"}
    found = ", ".join(amount(kinds[kind], word) for kind, word in words.items() if kinds[kind])
    default: Optional[str] = table.default
    text = f"music by name: {amount(len(table.names), 'name')} in {shown(Path(table.folder))}"
    if found:
        text += f" ({found})"
    return text if default is None else f"{text}; the default is {default[:MOST_TEXT]!r}"
