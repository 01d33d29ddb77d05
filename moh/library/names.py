"""Which names a music folder has, and what is behind each (docs/names.md), from plain lists of folder entries.

The law kept here: a name is a key of this list and nothing else. No name that a caller has dialled becomes a path.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Optional

from .addresses import SUFFIXES, radio_of
from .listing import Item, Kind, Listing
from .order import natural

ANNOUNCE = "announce"
"""The stem of the file that is spoken over the music of its folder."""
DEFAULT = "default"
"""The name that plays for all names that are not there."""
SHUFFLE = ".shuffle"
"""A folder with a file of this name plays shuffled."""
MOST_RADIOS = 8
MOST_NOTES = 20
NO_UTF_8 = "its name is not UTF-8; expected another name"
"""Why a file of such a name is not played: callers cannot dial it, and ffmpeg is not started with it."""
NO_MUSIC = frozenset(
    (
        ".txt", ".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".svg", ".nfo", ".cue", ".log",
        ".ini", ".db", ".html", ".htm", ".pdf", ".zip", ".md", ".json", ".xml", ".lrc", ".srt", ".sfv", ".md5",
        ".sha256", ".sh", ".py", ".yml", ".yaml", ".csv", ".doc", ".docx", ".lnk", ".torrent", ".tmp", ".temp",
        ".part", ".partial", ".filepart", ".crdownload", ".download", ".bak"
    )
)  # fmt: skip
"""The endings of files that are evidently no music, or not there yet: they are ignored."""
NO_FOLDERS = frozenset(("lost+found", "@eadir", "#recycle", "$recycle.bin", "system volume information", "__macosx"))
"""Folders that file systems and storage boxes make, in small letters."""


@dataclass(frozen=True)
class Selection:
    """What is behind a name. The paths are relative to the music folder."""

    name: str
    kind: str
    """``piece``, ``folder`` or ``radio``."""
    pieces: tuple[str, ...] = ()
    """The pieces in their order; those of a radio play while it is away."""
    announcement: str = ""
    shuffled: bool = False
    addresses: tuple[str, ...] = ()
    """The addresses of a radio."""
    fault: str = ""
    """Why a radio is not played."""


@dataclass(frozen=True)
class Names:
    """All names of a music folder."""

    selections: Mapping[str, Selection] = field(default_factory=dict)
    """By name, in their order."""
    notes: tuple[str, ...] = ()
    """What is not played and why, a line each."""


def default_of(selections: Mapping[str, Selection], refused: Container[str] = ()) -> Optional[str]:
    """The name that plays for names that are not there.

    It is ``default``; without that the first name that is no radio, and where all names are radios the first of them.

    ``refused`` are names that cannot be played; they are the default only under the name ``default``.
    """
    if DEFAULT in selections:
        return DEFAULT
    usable = [name for name in selections if name not in refused]
    return next((name for name in usable if selections[name].kind != "radio"), next(iter(usable), None))


def shown(name: str) -> str:
    """A file name in a line for people: what cannot be printed is written as an escape."""
    text = name.encode("utf-8", "backslashreplace").decode()
    return text if text.isprintable() else repr(text)[1:-1]


def names_of(listing: Listing, shuffle: bool) -> Names:
    """The names of the folder. ``shuffle`` is the setting that shuffles all folders."""
    reader = _Reader(listing, shuffle)
    return Names(reader.selections(), bounded(reader.notes))


def bounded(notes: Sequence[str]) -> tuple[str, ...]:
    """The notes, as far as the list of names shows them."""
    if len(notes) <= MOST_NOTES:
        return tuple(notes)
    kept = MOST_NOTES - 1
    return (*notes[:kept], f"and {len(notes) - kept} more")


class _Reader:
    """Reads one listing. ``notes`` fills meanwhile."""

    def __init__(self, listing: Listing, shuffle: bool) -> None:
        self.notes: list[str] = []
        self._listing = listing
        self._shuffle = shuffle
        self._radios = 0

    def selections(self) -> dict[str, Selection]:
        files, folders, radios, announcement = self._sorted()
        found = {}
        for name in sorted({*files, *folders, *radios}, key=natural):
            folder = self._folder(name, folders[name]) if name in folders else Selection(name, "folder")
            stations = [*radios.get(name, ()), *folder.addresses]
            if folder.pieces:
                self._not_played(files.get(name, ()), f"the folder {shown(name)} has the same name")
                selection = folder
            elif name in files:
                first, *others = files[name]
                self._not_played(others, f"{shown(first)} has the same name")
                selection = Selection(name, "piece", (first,), announcement)
            else:
                selection = Selection(name, "folder")
            if stations:
                selection = self._radio(selection, stations)
            elif not selection.pieces:
                self.notes.append(f"{shown(name)} is not played: the folder has no music")
            if selection.pieces or stations:
                found[name] = selection
        return found

    def _sorted(self) -> tuple[dict[str, list[str]], dict[str, str], dict[str, list[str]], str]:
        """The files, the folders and the radios of the music folder by their names, and its announcement."""
        files: dict[str, list[str]] = {}
        radios: dict[str, list[str]] = {}
        folders: dict[str, str] = {}
        announcements: list[str] = []
        for item in _in_order(self._listing.items):
            stem, suffix = os.path.splitext(item.name)
            folder = item.kind is Kind.FOLDER
            if item.name.casefold() in NO_FOLDERS if folder else suffix.casefold() in NO_MUSIC:
                continue
            name = unicodedata.normalize("NFC", item.name if folder else stem)
            if not _is_utf_8(item.name):
                self.notes.append(f"{shown(item.name)} is not played: {NO_UTF_8}")
            elif item.fault:
                self.notes.append(f"{shown(item.name)} is not played: {item.fault}")
            elif folder:
                if name in folders:
                    self._not_played([item.name], f"the folder {shown(folders[name])} has the same name")
                folders.setdefault(name, item.name)
            elif suffix.casefold() in SUFFIXES:
                radios.setdefault(name, []).append(item.name)
            elif name.casefold() == ANNOUNCE:
                announcements.append(item.name)
            else:
                files.setdefault(name, []).append(item.name)
        return files, folders, radios, self._announcement(announcements)

    def _folder(self, name: str, folder: str) -> Selection:
        """The pieces of a folder. ``addresses`` are the files in it that name a radio, not yet read."""
        pieces, radios, announcements, inner = [], [], [], 0
        items = self._listing.inside.get(folder, ())
        for item in _in_order(items):
            stem, suffix = os.path.splitext(item.name)
            path = f"{folder}/{item.name}"
            if item.kind is Kind.FOLDER:
                inner += item.name.casefold() not in NO_FOLDERS
            elif suffix.casefold() in NO_MUSIC:
                continue
            elif not _is_utf_8(item.name):
                self.notes.append(f"{shown(path)} is not played: {NO_UTF_8}")
            elif item.fault:
                self.notes.append(f"{shown(path)} is not played: {item.fault}")
            elif suffix.casefold() in SUFFIXES:
                radios.append(path)
            elif stem.casefold() == ANNOUNCE:
                announcements.append(path)
            else:
                pieces.append(path)
        if inner:
            self.notes.append(f"folders in {shown(folder)} are not played: only the files directly in it are")
        shuffled = len(pieces) > 1 and (self._shuffle or any(item.name == SHUFFLE for item in items))
        return Selection(
            name, "folder", tuple(pieces), self._announcement(announcements), shuffled, addresses=tuple(radios)
        )

    def _radio(self, selection: Selection, stations: Sequence[str]) -> Selection:
        """The radio that the first of the files ``stations`` names, with the pieces of ``selection``."""
        path, *others = stations
        self._not_played(others, f"{shown(path)} has the same name")
        text = self._listing.texts.get(path)
        radio = radio_of(text.octets) if text else None
        fault = (text.fault if text else "it cannot be read") or (radio.fault if radio else "")
        if not fault:
            self._radios += 1
            if self._radios > MOST_RADIOS:
                fault = f"there are {MOST_RADIOS} radios before it; no more are connected"
        pieces, announcement, shuffled = selection.pieces, selection.announcement, selection.shuffled
        if fault:
            if pieces:  # which play as if there were no radio
                self.notes.append(f"{shown(path)} is not played: {fault}")
                return Selection(selection.name, selection.kind, pieces, announcement, shuffled)
            return Selection(selection.name, "radio", fault=f"{shown(path)}: {fault}")
        assert radio is not None
        return Selection(selection.name, "radio", pieces, announcement, shuffled, radio.addresses)

    def _announcement(self, found: Sequence[str]) -> str:
        if not found:
            return ""
        self._not_played(found[1:], f"{shown(found[0])} is the announcement")
        return found[0]

    def _not_played(self, files: Sequence[str], why: str) -> None:
        self.notes += [f"{shown(file)} is not played: {why}" for file in files]


def _is_utf_8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _in_order(items: Sequence[Item]) -> list[Item]:
    """The items by name, without those that are hidden."""
    return sorted((item for item in items if not item.name.startswith(".")), key=lambda item: natural(item.name))
