"""The Japanese texts for reasons that the server gives in English: those of the page, so that both say the same."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

TEXTS_OF_PAGE = Path(__file__).parent.parent / "http" / "static" / "ja.json"
GROUPS = {
    ("name-refused", "reason"): "namewhys",
    ("name-full", "reason"): "namewhys",
    ("radio-away", "reason"): "namewhys",
    ("radio-inside", "reason"): "namewhys",
    ("not-played", "text"): "notes",
}
"""The group of the page's texts for a value of a finding, by the finding's id and the name of the value."""


def in_japanese(id_: str, name: str, value: str) -> str:
    """What the page says in Japanese for a value of a finding; the value itself where the page has nothing for it.

    In the patterns of the page, {} stands for any text.
    """
    for pattern, japanese in _patterns(GROUPS.get((id_, name), "")):
        if found := pattern.fullmatch(value):
            return re.sub(r"\{(\d)\}", lambda place: found[int(place[1])], japanese)
    return value


@cache
def _patterns(group: str) -> list[tuple[re.Pattern[str], str]]:
    try:
        texts = json.loads(TEXTS_OF_PAGE.read_text(encoding="utf-8")).get(group, {})
    except (OSError, ValueError):  # the doctor reports all else without the page
        return []
    return [(re.compile(re.escape(key).replace(r"\{\}", "(.*?)"), re.DOTALL), said) for key, said in texts.items()]
