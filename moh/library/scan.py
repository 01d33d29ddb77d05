"""Reads the music folder. A link is followed, folders in folders are not entered, and no file is opened but lists."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Optional

from ..mastering.prepare import state_of
from .addresses import MOST_OCTETS, SUFFIXES
from .listing import Facts, Item, Kind, Listing, Text

READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
"""How a list is opened: a pipe that takes the place of a file does not wait for its other end."""


class Scanner:
    """Scans one folder again and again. What has not changed is not read again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._texts: dict[str, tuple[Facts, Text]] = {}

    def scan(self) -> Listing:
        """What is in the folder now. No error is raised: ``fault`` says what is wrong."""
        at = time.time()
        try:
            items, device = _entries(self._folder), self._folder.stat().st_dev
        except OSError as error:
            return Listing((), at=at, fault=_folder_fault(error))
        inside: dict[str, tuple[Item, ...]] = {}
        for number, item in enumerate(items):
            if item.kind is Kind.FOLDER and not item.name.startswith("."):
                try:
                    inside[item.name] = tuple(_entries(self._folder / item.name))
                except OSError as error:
                    items[number] = item._replace(fault=_folder_fault(error))
        listing = Listing(tuple(items), inside, at=at)
        lists = {path: item for path, item in listing.files().items() if path.casefold().endswith(SUFFIXES)}
        self._texts = {path: (item.facts, self._text(path, item.facts)) for path, item in lists.items()}
        return Listing(listing.items, inside, {path: text for path, (_, text) in self._texts.items()}, at, "", device)

    def _text(self, path: str, facts: Facts) -> Text:
        known = self._texts.get(path)
        return known[1] if known and known[0] == facts and not known[1].fault else _read(self._folder / path)


def _entries(folder: Path) -> list[Item]:
    """The entries of a folder by name. Raises ``OSError``."""
    with os.scandir(folder) as entries:
        return sorted(_item(entry) for entry in entries)


def _item(entry: os.DirEntry[str]) -> Item:
    try:
        facts = entry.stat()
    except OSError as error:
        return Item(entry.name, Kind.OTHER, fault=_link_fault(entry, error))
    if stat.S_ISREG(facts.st_mode):
        return Item(entry.name, Kind.FILE, state_of(facts), facts.st_mtime)
    if stat.S_ISDIR(facts.st_mode):
        return Item(entry.name, Kind.FOLDER)
    return Item(entry.name, Kind.OTHER, fault="it is a device, a pipe or a socket")


def _link_fault(entry: os.DirEntry[str], error: OSError) -> str:
    target: Optional[str] = None
    if entry.is_symlink():
        try:
            target = os.readlink(entry.path)
        except OSError:
            pass
    if target is None:
        return error.strerror or str(error)
    why = "which does not exist" if isinstance(error, FileNotFoundError) else f"which leads nowhere ({error.strerror})"
    return f"it is a link to {target!r}, {why}"


def _folder_fault(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f"the server (user {os.geteuid()}) may not read the folder. Run chmod a+rx on it"
    return error.strerror or str(error)


def _read(path: Path) -> Text:
    try:
        handle = os.open(path, READ)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return Text(b"", "it is no file any more")
            return Text(os.read(handle, MOST_OCTETS + 1))
        finally:
            os.close(handle)
    except PermissionError:
        return Text(b"", f"the server (user {os.geteuid()}) may not read the file. Run chmod a+r on it")
    except OSError as error:
        return Text(b"", f"it cannot be read ({error.strerror})")
