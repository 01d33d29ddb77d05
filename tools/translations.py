#!/usr/bin/env python3
"""Says which sections of the English pages changed since their Japanese translation was checked.

    python3 tools/translations.py                        lists them; exit status 1 if there are any
    python3 tools/translations.py --checked PAGE...      records that the Japanese PAGEs say what the English ones say

A Japanese page ends in a comment with a digest of each section of its English page. Line breaks do not count.
"""

from __future__ import annotations

import re
import sys
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
JAPANESE = ROOT / "docs" / "ja"
GLOSSARY = JAPANESE / "README.md"
RECORD = "<!-- The English sections that this page says in Japanese; tools/translations.py compares and writes them."
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def pairs() -> dict[Path, Path]:
    """Return each Japanese page with its English one. The glossary has none."""
    pages = sorted(page for page in JAPANESE.glob("*.md") if page != GLOSSARY)
    return {ROOT / "README.ja.md": ROOT / "README.md", **{page: ROOT / "docs" / page.name for page in pages}}


def without_record(text: str) -> str:
    """Return the text of a page without the record at its end."""
    return text.partition(RECORD)[0].rstrip() + "\n"


def sections(text: str) -> list[tuple[str, str]]:
    """Return the headings of a page, with their ``#``, and what stands below each until the next heading."""
    blanked = FENCED.sub(lambda block: re.sub(r"[^\n]", " ", block[0]), text)  # a `#` in a block of code is no heading
    starts = [match.start() for match in re.finditer(r"^#+ ", blanked, re.MULTILINE)] + [len(text)]
    found = [text[start:end] for start, end in zip(starts, starts[1:])]
    return [(heading, body) for heading, _, body in (section.partition("\n") for section in found)]


def digests(english: str) -> list[str]:
    """Return a line with the digest and the heading of each section of an English page."""
    return [
        f"{sha256(' '.join((heading + ' ' + body).split()).encode()).hexdigest()[:8]} {heading}"
        for heading, body in sections(english)
    ]


def recorded(japanese: str) -> list[str]:
    """Return the lines of the record in a Japanese page."""
    return re.findall(r"^[0-9a-f]{8} #+ .*$", japanese.partition(RECORD)[2], re.MULTILINE)


def changed(japanese: str, english: str) -> list[str]:
    """Return the headings of the English sections whose translation has to be looked at."""
    known = recorded(japanese)
    return [line[9:] for line in digests(english) if line not in known]


def with_record(japanese: str, english: str) -> str:
    """Return the Japanese page with a record of the English page as it is now."""
    return without_record(japanese) + "\n" + "\n".join([RECORD, *digests(english), "-->"]) + "\n"


def main(arguments: list[str]) -> int:
    """List the changed sections, or record the pages that were checked."""
    if arguments[:1] == ["--checked"] and arguments[1:]:
        known = pairs()
        for page in (Path(name).resolve() for name in arguments[1:]):
            if page not in known:
                raise SystemExit(f"{page} is not a Japanese page; expected README.ja.md or a page in docs/ja")
            texts = (each.read_text(encoding="utf-8") for each in (page, known[page]))
            page.write_text(with_record(*texts), encoding="utf-8")
        return 0
    if arguments:
        raise SystemExit(__doc__)
    found = False
    for page, english in pairs().items():
        for heading in changed(page.read_text(encoding="utf-8"), english.read_text(encoding="utf-8")):
            print(f"{english.relative_to(ROOT)}, {heading!r}: changed; look at {page.relative_to(ROOT)}")
            found = True
    return int(found)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
