"""What the doctor finds in the music folder itself, without a server: names, radios, files that cannot be played."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ..common.config import Settings
from ..common.errors import SettingsError
from ..library.listing import Item, Kind
from ..library.names import ANNOUNCE, NO_MUSIC, Selection, default_of, names_of, shown
from ..library.scan import Scanner
from ..mastering.completeness import lacks
from ..mastering.music_folder import music_folder
from ..mastering.owner_name import owner_name
from ..mastering.refusals import facts_of, refuse_other_kinds
from .finding import Finding, finding
from .music import converted_music, reason_of, truncated
from .names import MOST_ALONE, MOST_NAMED, alike_findings, in_a_row

MOST_READ = 500
"""Files of which the first octets are read, in a second at most."""


def folder_findings(settings: Settings) -> Iterator[Finding]:
    """What is in the folder, and what of it cannot be played; nothing where there is no folder."""
    folder = music_folder(settings)
    if folder is None:
        return
    listing = Scanner(folder).scan()
    if listing.fault:
        yield finding("folder-trouble", folder=owner_name(folder), reason=listing.fault)
        return
    found = names_of(listing, settings.shuffle)
    names = list(found.selections)
    if names:
        yield finding("folder", folder=owner_name(folder), count=len(names), names=in_a_row(names, len(names)))
    else:
        yield finding("folder-empty", folder=owner_name(folder))
    spoken = any(_is_announcement(item) for item in listing.items)
    if spoken and not any(each.kind == "piece" for each in found.selections.values()):
        yield finding("announce-alone", folder=owner_name(folder))
    yield from _files(folder, list(found.selections.values()))
    yield from alike_findings(names)
    for note in found.notes:
        yield finding("not-played", text=note)


def default_findings(settings: Settings) -> Iterator[Finding]:
    """Convert the default, if it is a single piece, as a start of the server would; nothing of it is kept."""
    folder = music_folder(settings)
    if folder is None:
        return
    selections = names_of(Scanner(folder).scan(), settings.shuffle).selections
    name = default_of(selections)
    if name is not None and selections[name].kind == "piece":
        for each in converted_music(replace(settings, music=str(folder / selections[name].pieces[0]))):
            yield each._replace(id="default-plays") if each.id == "music-plays" else each


def _is_announcement(item: Item) -> bool:
    stem, suffix = os.path.splitext(item.name)
    return item.kind is Kind.FILE and stem.casefold() == ANNOUNCE and suffix.casefold() not in NO_MUSIC


def _files(folder: Path, selections: list[Selection]) -> Iterator[Finding]:
    """What is wrong with the files by their first octets and their length."""
    refused: list[Finding] = []
    others: list[Finding] = []
    read: set[str] = set()  # a file may be the announcement of many names
    for each in selections:
        if each.fault:
            refused.append(finding("name-refused", name=shown(each.name), reason=each.fault))
        for path in filter(None, (*each.pieces, each.announcement)):
            if path in read or len(read) == MOST_READ:
                continue
            read.add(path)
            try:
                facts_of(folder / path)
                refuse_other_kinds(folder / path)
            except SettingsError as error:
                reason = f"{shown(path)}: {reason_of(str(error))}"
                if path == each.announcement or each.kind != "piece":
                    others.append(finding("not-played", text=reason))
                else:
                    refused.append(finding("name-refused", name=shown(each.name), reason=reason))
                continue
            if lacks(folder / path):
                others.append(truncated(folder / path))
    yield from refused[:MOST_ALONE]
    if more := [each.values["name"] for each in refused[MOST_ALONE:]]:
        yield finding("names-more", count=len(more), names=in_a_row(more, len(more)))
    yield from others[:MOST_NAMED]
