"""A finding of the doctor: what was found, by its id, and the values that its text names. ``texts`` has the words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

LEVELS = ("error", "warning", "note", "ok")
"""The levels, in the order of the report."""

BUILTIN_PIECE = "the built-in piece"
"""The name of the music that comes with the server, as a value of a finding."""


class Finding(NamedTuple):
    """One finding. ``level`` is one of ``LEVELS``; empty means the usual level of its id."""

    id: str
    values: Mapping[str, str]
    level: str = ""


def finding(id_: str, level: str = "", **values: object) -> Finding:
    """A finding with these values. Nothing in a value can move the cursor of a terminal, whatever a phone has sent."""
    return Finding(id_, {name: printable(str(value)) for name, value in values.items()}, level)


def printable(text: str) -> str:
    """``text`` in one line, in which a question mark stands for each character that cannot be printed."""
    return "".join(each if each.isprintable() else "?" for each in " ".join(text.split()))


def duration(seconds: float) -> str:
    """A length of time in its two largest units, in letters that all languages know: ``2 h 5 min``."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next((number for number, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"


def megabytes(octets: float) -> str:
    """A number of octets in MB, with one digit behind the point below 10 MB."""
    return f"{octets / 1e6:.1f} MB" if octets < 1e7 else f"{octets / 1e6:.0f} MB"
