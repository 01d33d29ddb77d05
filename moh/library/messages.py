"""The messages between the library and the server: one JSON object on each line, in ASCII."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Optional, Union

from ..mastering.arrange import Arranged
from ..mastering.prepare import Music
from .names import Selection, shown

NAMES_A_LINE = 200
"""Names in one line: the server reads a longer line in one go, and holds up its other threads meanwhile."""
LONGEST_ORDER = 1 << 20
"""Octets of a line from the server."""
MOST_PIECES, MOST_ANNOUNCEMENTS = 500, 200

Message = dict[str, Any]
Made = Union[Music, Arranged]
"""What is ready: the music of one piece, or an arrangement of several."""


def encode(message: Mapping[str, Any]) -> bytes:
    """The line of a message."""
    return json.dumps(message).encode("ascii") + b"\n"


def decode(line: bytes) -> Optional[Message]:
    """The message of a line; ``None`` where that is none."""
    try:
        message = json.loads(line) if len(line) <= LONGEST_ORDER else None
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) and isinstance(message.get("do"), str) else None


def names_in(message: Mapping[str, Any]) -> list[str]:
    """The names that a message lists; none where it lists what are no names."""
    names = message.get("names")
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def names_message(
    selections: Sequence[Selection], default: Optional[str], notes: Sequence[str], folder: str
) -> Iterator[Message]:
    """The whole list of names, in several messages: each has "more" but the last, which has the default and notes."""
    rows = [{"name": one.name, "kind": one.kind, "pieces": len(one.pieces)} for one in selections]
    while len(rows) > NAMES_A_LINE:
        yield {"what": "names", "names": rows[:NAMES_A_LINE], "more": True}
        del rows[:NAMES_A_LINE]
    yield {"what": "names", "names": rows, "default": default, "notes": [*notes], "folder": folder}


def state_message(name: str, state: str, why: str = "") -> Message:
    """What holds up a name, or that it is being converted."""
    return {"what": "state", "name": name, "state": state, "why": why}


def ready_message(name: str, made: Made) -> Message:
    """Music is ready."""
    if isinstance(made, Arranged):
        pieces = [{"file": shown(source.name), "at": at} for source, at in made.pieces[:MOST_PIECES]]
        more = {
            "plain": _files(made.plain), "plain_for": made.plain_for, "loudness": made.loudness, "pieces": pieces,
            "announcements": [[*window] for window in made.announcements[:MOST_ANNOUNCEMENTS]],
            "source": shown(str(made.pieces[0][0].parent)),
        }  # fmt: skip
    else:
        more = {
            "plain": {}, "plain_for": 0.0, "loudness": made.loudness, "announcements": [],
            "pieces": [{"file": shown(made.source.name), "at": 0.0}], "source": shown(str(made.source)),
        }  # fmt: skip
    return {
        "what": "ready", "name": name, "files": _files(made.paths), "seconds": made.seconds, "report": made.report,
        "summary": made.summary(), "folders": [str(made.folder)], **more,
    }  # fmt: skip


def radio_message(selection: Selection) -> Message:
    """A radio, and what plays while it is away: its own pieces, or the default."""
    return {
        "what": "radio", "name": selection.name, "addresses": [*selection.addresses], "lists": False,
        "fallback": selection.name if selection.pieces else "",
    }  # fmt: skip


def cache_message(used: int, limit: int, entries: int) -> Message:
    """How much of the disk the converted music takes."""
    return {"what": "cache", "used": used, "limit": limit, "entries": entries}


def lines(messages: Iterable[Mapping[str, Any]]) -> bytes:
    """The lines of several messages."""
    return b"".join(map(encode, messages))


def _files(paths: Mapping[int, Any]) -> dict[str, str]:
    return {str(rate): str(path) for rate, path in paths.items()}
