"""The words of all findings, in English and Japanese.

The placeholders in a text are the values of its finding. ``docs/doctor.md`` lists the ids and levels, and a test keeps
both lists equal.
"""

from __future__ import annotations

import re
from typing import Any

from .call_texts import CALL_TEXTS
from .finding import BUILTIN_PIECE, Finding
from .machine_texts import MACHINE_TEXTS
from .name_texts import NAME_TEXTS
from .reasons import in_japanese
from .set_up_texts import SET_UP_TEXTS
from .words import Text, Words

TEXTS: dict[str, Text] = {**SET_UP_TEXTS, **NAME_TEXTS, **MACHINE_TEXTS, **CALL_TEXTS}
"""The text of each finding, by its id."""
LANGUAGES = ("en", "ja")
DURATIONS = ("ago", "since")
"""The values that are lengths of time, as ``duration`` writes them."""
UNITS = {"d": "日", "h": "時間", "min": "分", "s": "秒"}
"""The units of ``duration`` in Japanese."""

NAMES = {BUILTIN_PIECE: "内蔵の曲"}
"""Values that have a name in Japanese."""


def level(found: Finding) -> str:
    """The level of a finding: its own, or the usual one of its id."""
    return found.level or TEXTS[found.id].level


def words(found: Finding, language: str) -> Words:
    """What was found, why it matters and what to do, in English ("en") or Japanese ("ja")."""
    text = TEXTS[found.id]
    if language != "ja":
        return Words(*(part.format_map(found.values) for part in text.en))
    values = {
        name: _japanese(value) if name in DURATIONS else NAMES.get(value) or in_japanese(found.id, name, value)
        for name, value in found.values.items()
    }
    return Words(*(_close(part.format_map(values)) for part in text.ja))


def _close(text: str) -> str:
    """``text`` without the spaces around Japanese names; the texts have them for Latin ones."""
    for name in NAMES.values():
        text = text.replace(f" {name} ", name)
    return text


def _japanese(length: str) -> str:
    """A length of time in Japanese: 2 時間 5 分."""
    return re.sub(r"(\d+) (\w+)", lambda part: f"{part[1]} {UNITS.get(part[2], part[2])}", length)


def sentence(found: Finding) -> str:
    """A finding in one line of English, for the log."""
    what, _, do = words(found, "en")
    return f"{what.rstrip('.')}. {do}".strip()


def as_data(found: Finding) -> dict[str, Any]:
    """A finding as data for JSON, in both languages."""
    texts = {language: words(found, language)._asdict() for language in LANGUAGES}
    return {"id": found.id, "level": level(found), **texts}
