"""The words of all findings, in English and Japanese.

The placeholders in a text are the values of its finding. ``docs/doctor.md`` lists the ids and levels, and a test keeps
both lists equal.
"""

from __future__ import annotations

from typing import Any

from .call_texts import CALL_TEXTS
from .finding import Finding
from .machine_texts import MACHINE_TEXTS
from .set_up_texts import SET_UP_TEXTS
from .words import Text, Words

TEXTS: dict[str, Text] = {**SET_UP_TEXTS, **MACHINE_TEXTS, **CALL_TEXTS}
"""The text of each finding, by its id."""
LANGUAGES = ("en", "ja")


def level(found: Finding) -> str:
    """The level of a finding: its own, or the usual one of its id."""
    return found.level or TEXTS[found.id].level


def words(found: Finding, language: str) -> Words:
    """What was found, why it matters and what to do, in English ("en") or Japanese ("ja")."""
    text = TEXTS[found.id]
    return Words(*(part.format_map(found.values) for part in (text.ja if language == "ja" else text.en)))


def sentence(found: Finding) -> str:
    """A finding in one line of English, for the log."""
    what, _, do = words(found, "en")
    return f"{what.rstrip('.')}. {do}".strip()


def as_data(found: Finding) -> dict[str, Any]:
    """A finding as data for JSON, in both languages."""
    texts = {language: words(found, language)._asdict() for language in LANGUAGES}
    return {"id": found.id, "level": level(found), **texts}
