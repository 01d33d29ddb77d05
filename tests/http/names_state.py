"""The names of a music folder, as the state of the server has them."""

from __future__ import annotations

from typing import Any, Optional

NOW = 1_790_000_000.0


def row(name: str, number: Optional[int] = 7, **changed: Any) -> dict[str, Any]:
    """One name that is ready; ``changed`` are the fields in which it differs."""
    return {
        "name": name, "kind": "piece", "state": "ready", "why": "", "seconds": 183.2, "loudness": -24.0, "pieces": 1,
        "announcements": 0, "calls": 0, "summary": "", "radio": None, "default": False, "number": number,
        "files": {"8000": f"/tmp/moh/{number}/8000.wav", "16000": f"/tmp/moh/{number}/16000.wav"},
    } | changed  # fmt: skip


def radio(name: str, state: str, why: str = "", **changed: Any) -> dict[str, Any]:
    """A radio, which has no files."""
    station = {"address": "http://radio.example/stream", "title": "", "since": NOW - 3600, "reconnects": 2}
    about = {"kind": "radio", "state": state, "why": why, "seconds": None, "loudness": None, "number": None}
    return row(name, **{**about, "files": {}, "radio": {**station, **changed.pop("station", {})}, **changed})


def names_state(more: int = 0, **changed: Any) -> dict[str, Any]:
    """Names of all kinds and states, and ``more`` that are not converted yet."""
    listed = [
        row("jazz", calls=3, kind="folder", pieces=12, announcements=4, seconds=2400.0),
        radio("news", "plays", calls=2, station={"title": "News at ten"}),
        radio("shop", "away", "the address answers with a web page", station={"address": "http://shop.example/live"}),
        row("fax", number=None, files={}, state="refused", why="it is almost silent", seconds=None, loudness=None),
        row("big", number=None, files={}, state="full", why="the cache is full (2.0 GB)", seconds=None, loudness=None),
        row("default", number=8, default=True),
        row("受付 1", number=9),
        *(row(f"name-{each:03}", number=None, files={}, state="waiting", seconds=None, loudness=None)
          for each in range(more)),
    ]  # fmt: skip
    by_state = {"ready": 3, "plays": 1, "away": 1, "refused": 1, "full": 1, "waiting": more}
    return {
        "folder": "/music", "count": len(listed), "by_state": by_state, "default": "default",
        "notes": ["jazz.wav is not played: jazz.mp3 has the same name"],
        "cache": {"used": 1_234_000_000, "limit": 2 << 30}, "listed": listed,
        "missing": [{"name": "jaz", "count": 4, "at": NOW - 120}, {"name": "123", "count": 9, "at": NOW - 5}],
        **changed,
    }  # fmt: skip
