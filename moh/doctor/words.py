"""The form of the texts of findings."""

from __future__ import annotations

from typing import NamedTuple


class Words(NamedTuple):
    """What was found, why it matters, and what to do. The last two are empty where all is well."""

    what: str
    why: str = ""
    do: str = ""


class Text(NamedTuple):
    """The usual level of a finding, and its words in both languages."""

    level: str
    en: Words
    ja: Words
