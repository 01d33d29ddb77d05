"""The report for a terminal of 80 columns, in English or Japanese."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from unicodedata import east_asian_width

from .finding import LEVELS, Finding
from .texts import level, words

COLUMNS = 80
INDENT = 10
"""The columns in front of each text; the level of a finding stands there."""
MARKS = {
    "en": {"error": "ERROR", "warning": "WARNING", "note": "note", "ok": "ok"},
    "ja": {"error": "エラー", "warning": "警告", "note": "参考", "ok": "正常"},
}
LABELS = {"en": ("", "Do: "), "ja": ("", "対処：")}
"""What stands before the reason, and before the cure."""
ENDS = {
    "en": ("All is well.", "Errors: {errors}, warnings: {warnings}."),
    "ja": ("問題は見つかりませんでした。", "エラー {errors} 件、警告 {warnings} 件です。"),
}
NEVER_FIRST = "、。）」』・ー？！ぁぃぅぇぉっゃゅょァィゥェォッャュョ"
"""Characters that no line begins with."""
NEVER_LAST = "（「『"
"""Characters that no line ends with."""


def language_of(environment: Mapping[str, str]) -> str:
    """The language for a terminal: "ja" where the locale of messages is Japanese, otherwise "en"."""
    names = (environment.get(name, "") for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    return "ja" if next(filter(None, names), "").lower().startswith("ja") else "en"


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """The findings, errors first. Those of one level stay in their order."""
    return sorted(findings, key=lambda each: LEVELS.index(level(each)))


def lines(findings: Sequence[Finding], language: str) -> Iterator[str]:
    """The whole report."""
    for each in in_order(findings):
        what, why, do = words(each, language)
        mark = MARKS[language][level(each)]
        yield from wrapped(what, mark + " " * (INDENT - width(mark)))
        for label, text in zip(LABELS[language], (why, do)):
            if text:
                yield from wrapped(label + text, " " * INDENT)
    errors, warnings = (sum(level(each) == name for each in findings) for name in ("error", "warning"))
    fine, bad = ENDS[language]
    yield bad.format(errors=errors, warnings=warnings) if errors or warnings else fine


def wrapped(text: str, start: str) -> Iterator[str]:
    """``text`` in lines of ``COLUMNS`` at most; the first line begins with ``start``. A long word is not cut."""
    line, indent = start, " " * INDENT
    for piece in pieces(text):
        if width(line + piece.rstrip()) > COLUMNS and line.strip() and line != start:
            yield line.rstrip()
            line, piece = indent, piece.lstrip()
        line += piece
    yield line.rstrip()


def pieces(text: str) -> Iterator[str]:
    """The parts of ``text`` between which a line may end: words with the space behind them, and wide characters."""
    piece = ""
    for character in text:
        wide = east_asian_width(character) in "WF"
        stays = not piece or character in NEVER_FIRST or character == " " or piece[-1] in NEVER_LAST
        if not stays and (wide or piece[-1] == " " or width(piece[-1]) > 1):
            yield piece
            piece = ""
        piece += character
    if piece:
        yield piece


def width(text: str) -> int:
    """The columns that ``text`` takes: two for a wide character."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)
