"""README.ja.md and docs/ja say what the English pages say: headings, tables, commands, links, numbers, words.

``tools/translations.py`` keeps, for each English section, which text was translated.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from moh.common.config import Settings
from tests.support.pages import anchors, blocks, code, items, links, prose, tables
from tools import translations
from tools.translations import GLOSSARY, ROOT, changed, digests, pairs, recorded, sections, with_record, without_record

PAIRS = pairs()
KANA = "ぁ-んァ-ヶー"
JAPANESE = KANA + "一-鿿々"
LATIN = "A-Za-z0-9`"


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def read(page: Path) -> str:
    return without_record(page.read_text(encoding="utf-8"))


def both() -> Iterator[tuple[str, str, str]]:
    """Return, for each section, a name, the Japanese and the English text. Pages of unlike length are cut short."""
    for page, english in PAIRS.items():
        for (heading, body), (theirs, text) in zip(sections(read(page)), sections(read(english))):
            yield f"{name_of(page)}, {heading!r} ({theirs!r})", body, text


SECTIONS = list(both())


@pytest.mark.parametrize("page", PAIRS, ids=name_of)
def test_a_japanese_page_has_the_headings_of_the_english_one(page: Path) -> None:
    japanese, english = ([heading for heading, _ in sections(read(each))] for each in (page, PAIRS[page]))
    levels = [[heading.split(" ")[0] for heading in headings] for headings in (japanese, english)]
    assert levels[0] == levels[1], f"{name_of(page)}: {japanese}; expected the headings {english}"


@pytest.mark.parametrize("page", PAIRS, ids=name_of)
def test_both_pages_link_to_each_other_in_their_first_lines(page: Path) -> None:
    for here, there in ((page, PAIRS[page]), (PAIRS[page], page)):
        first = "\n".join(read(here).splitlines()[:6])
        assert there in [(here.parent / link).resolve() for link in links(first)], f"{name_of(here)}: {first}"


def test_each_section_has_the_tables_of_the_english_one() -> None:
    """Rows, columns, and in each cell the same code. The first column of a table of settings is code."""
    for name, japanese, english in SECTIONS:
        ours, theirs = tables(japanese), tables(english)
        sizes = [[[len(row) for row in table] for table in each] for each in (ours, theirs)]
        assert sizes[0] == sizes[1], f"{name}: cells of each row"
        for table, other in zip(ours, theirs):
            for row, same in zip(table, other):
                assert [code(cell) for cell in row] == [code(cell) for cell in same], f"{name}: {row[0]}"


def test_each_section_has_the_commands_and_code_of_the_english_one() -> None:
    for name, japanese, english in SECTIONS:
        ours, theirs = blocks(japanese), blocks(english)
        assert [same if in_kana(block) else block for block, same in zip(ours, theirs)] == theirs, name
        assert len(ours) == len(theirs), name
        lacking, more = code(english) - code(japanese), code(japanese) - code(english)
        assert not lacking | more, f"{name}: lacks {lacking or 'nothing'}, has {more or 'nothing'} besides"
        assert items(japanese) == items(english), f"{name}: the items of its lists"


def in_kana(block: str) -> bool:
    """Whether a block is what a program prints in Japanese; such a block differs from the English one."""
    return block.startswith("```text\n") and bool(re.search(f"[{KANA}]", block))


def test_each_section_has_the_numbers_of_the_english_one() -> None:
    """A number in words, such as three, is often a figure in Japanese; so the Japanese page may have more."""
    for name, japanese, english in SECTIONS:
        missing = numbers(english) - numbers(japanese)
        assert not missing, f"{name} lacks {sorted(missing)}"


def numbers(text: str) -> set[str]:
    return set(re.findall(r"\d+(?:[.,]\d+)*", re.sub(r"\]\([^)]*\)", "", prose(text))))


def test_each_section_has_the_links_of_the_english_one() -> None:
    """A link leads to the Japanese page or picture where there is one, and to the same heading there."""
    for page, english in PAIRS.items():
        for (heading, body), (_, text) in zip(sections(read(page))[1:], sections(read(english))[1:]):
            expected = sorted(in_japanese(english, target) for target in links(text))
            found = sorted(absolute(page, target) for target in links(body))
            assert found == expected, f"{name_of(page)}, {heading!r}"


def absolute(page: Path, target: str) -> str:
    """Return the target of a link in ``page``, as a path from the top of the project."""
    if re.match(r"\w+:", target):
        return target
    path, _, anchor = target.partition("#")
    there = (page.parent / path).resolve() if path else page
    return name_of(there) + (f"#{anchor}" if anchor else "")


def in_japanese(page: Path, target: str) -> str:
    """Return what a Japanese page links to in the place where the English ``page`` links to ``target``."""
    path, _, anchor = absolute(page, target).partition("#")
    if (ROOT / path.replace("-en-", "-ja-")).is_file():  # a picture in Japanese
        path = path.replace("-en-", "-ja-")
    for japanese, english in PAIRS.items():
        if name_of(english) == path:
            index = anchors(read(english)).index(anchor) if anchor else 0
            return name_of(japanese) + (f"#{anchors(read(japanese))[index]}" if anchor else "")
    return path + (f"#{anchor}" if anchor else "")


def test_the_table_of_settings_has_each_setting_in_japanese() -> None:
    rows = re.findall(r"^\| (`MOH_\w+`) \| (.*?) \| (.*) \|$", read(ROOT / "README.ja.md"), re.MULTILINE)
    assert [(name, default.strip()) for name, default, _ in rows] == [
        (f"`{env}`", f"`{default}`" if default else "") for env, default, _ in Settings.table()
    ]
    help_of = json.loads((ROOT / "moh/http/static/ja.json").read_text(encoding="utf-8"))["settings"]
    assert {name.strip("`"): text for name, _, text in rows} == help_of, "the page has the same texts"


# -- each change of an English section reaches its translation -------------------------------------------------------


@pytest.mark.parametrize("page", PAIRS, ids=name_of)
def test_the_translation_was_checked_after_the_last_change_of_the_english_page(page: Path) -> None:
    english = PAIRS[page].read_text(encoding="utf-8")
    text = page.read_text(encoding="utf-8")
    command = f"python3 tools/translations.py --checked {name_of(page)}"
    anew = changed(text, english)
    assert not anew, f"{name_of(PAIRS[page])} has changed in {anew}: look at {name_of(page)}, then run {command}"
    assert recorded(text) == digests(english), f"run {command}"


def test_a_changed_section_is_named_until_its_translation_is_recorded() -> None:
    japanese = with_record("# 音\n\n## 大きさ\n\n大きい。\n", "# Sound\n\n## Loudness\n\nIt is loud.\n")
    assert japanese.startswith("# 音\n\n## 大きさ\n\n大きい。\n\n<!-- ")
    assert changed(japanese, "# Sound\n\n## Loudness\n\nIt is\nloud.\n") == []  # another line break
    english = "# Sound\n\n## Loudness\n\nIt is not loud.\n\n## Seam\n\n```sh\n# no heading\n```\n"
    assert changed(japanese, english) == ["## Loudness", "## Seam"]
    assert changed(with_record(japanese, english), english) == []


def test_the_tool_records_japanese_pages_only() -> None:
    with pytest.raises(SystemExit, match=r"README\.md is not a Japanese page; expected README\.ja\.md or"):
        translations.main(["--checked", str(ROOT / "README.md")])


# -- one vocabulary, one way of writing ------------------------------------------------------------------------------


def rejected() -> list[tuple[str, str]]:
    """Return the words that the glossary rejects, each with the one to write."""
    (table,) = (table for table in tables(read(GLOSSARY)) if len(table[0]) == 3)
    return [(word.strip(), row[1].strip()) for row in table[2:] for word in row[2].split("、") if word.strip()]


def texts() -> Iterator[tuple[str, str]]:
    """Return every Japanese text of the project, with its place."""
    for page in (*PAIRS, GLOSSARY):
        text = prose(read(page))
        if page == GLOSSARY:
            text = "\n".join(line for line in text.splitlines() if not line.startswith("|"))
        yield from ((f"{name_of(page)}: {line}", line) for line in text.splitlines())
    for path in (ROOT / "moh").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(f"[{KANA}]", node.value):
                yield f"{name_of(path)}:{node.lineno}", node.value
    for path in (ROOT / "moh").rglob("ja.json"):
        yield from ((f"{name_of(path)}: {key}", text) for key, text in strings(json.loads(path.read_text("utf-8"))))


def strings(value: object, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from strings(each, f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each, key)


def test_japanese_texts_have_one_vocabulary_and_one_way_of_writing() -> None:
    """docs/ja/README.md has the words. Between Japanese and Latin letters stands a space."""
    words, wrong = rejected(), []
    for place, text in texts():
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)  # a link's target is no text
        plain = re.sub(r"`[^`]*`", "`x`", plain)
        found = [(word, better) for word, better in words if re.search(f"{word}(?!ー)", plain)]
        wrong += [f"{place}\n    has {word}; write {better}" for word, better in found]
        unspaced = re.search(rf"[{JAPANESE}][{LATIN}]|[{LATIN}%][{JAPANESE}]", re.sub("`x`", "x", plain))
        if unspaced:
            wrong.append(f"{place}\n    lacks a space in {unspaced[0]!r}")
        narrow = re.search(rf"[{JAPANESE}][(:;,?!]|[(][{JAPANESE}]|[{JAPANESE}][)]", plain)
        if narrow:
            wrong.append(f"{place}\n    has {narrow[0]!r}; write full-width punctuation")
        if re.search(r"[０-９Ａ-Ｚａ-ｚ〜]|[、。] | [、。（）]", plain):
            wrong.append(f"{place}\n    has full-width letters, 〜 for ～, or a space beside full-width punctuation")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", [*PAIRS, GLOSSARY], ids=name_of)
def test_lines_break_after_punctuation(page: Path) -> None:
    """A browser shows a line break as a space, which has no place inside of a Japanese sentence."""
    lines = prose(read(page)).splitlines()
    for line, after in zip(lines, lines[1:]):
        if line and after and not re.match(r" *(?:[-|#]|\d+\.) ", after) and not line.startswith("|"):
            assert re.search(r"[。、：]$", line), f"{name_of(page)}: {line!r}"
