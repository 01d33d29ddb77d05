"""Listings of music folders, for tests: as plain data, without a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Union

from moh.library.listing import Item, Kind, Listing, Text

Content = Union[int, bytes, Sequence[str]]
"""What is in a folder: the state of a file, as a number; the content of a list; or the names in an inner folder."""


def file(name: str, state: int = 1, octets: int = 1000, written: float = 0.0) -> Item:
    return Item(name, Kind.FILE, (1, state, octets, state, state), written)


def listing(**given: Content) -> Listing:
    """As ``folder``, for names that are words; a double underline stands for a dot."""
    return folder({name.replace("__", "."): content for name, content in given.items()})


def folder(given: Mapping[str, Content], at: float = 1000.0) -> Listing:
    items, inside, texts = [], {}, {}
    for name, content in given.items():
        if isinstance(content, bytes):
            items.append(file(name))
            texts[name] = Text(content)
        elif isinstance(content, int):
            items.append(file(name, content))
        else:
            items.append(Item(name, Kind.FOLDER))
            inside[name] = tuple(file(inner) for inner in content)
    return Listing(tuple(items), inside, texts, at)
