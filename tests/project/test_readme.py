"""The pages agree with the code about settings, files, tests and messages. And the README stays short."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from moh.common.config import Settings
from tests.support.pages import anchors, links

ROOT = Path(__file__).parent.parent.parent
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "bench/README.md", "deploy/README.md")),
    *DOCS,
    *(ROOT / "README.ja.md", *sorted((ROOT / "docs" / "ja").glob("*.md"))),
]
PLACES = ("", "docs", "tests", "bench")
"""Folders in which a path in a page may start. A path may also start in the folder of the page."""
SOURCES = [*(ROOT / "moh").rglob("*.py"), ROOT / "sip_server.py", ROOT / "test_sip_client.py", ROOT / "test_udp.py"]
MOST_LINES, MOST_WORDS = 150, 1500
"""The most lines and words of the README, since an owner reads it in the first ten minutes."""


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def test_the_readme_is_short() -> None:
    text = text_of("README.md")
    assert len(text.splitlines()) <= MOST_LINES
    assert len(text.split()) <= MOST_WORDS


def test_the_table_of_settings_is_the_one_in_the_code() -> None:
    rows = [line for line in text_of("README.md").splitlines() if line.startswith("| `MOH_")]
    assert rows == [
        f"| `{env}` | {f'`{default}`' if default else ''} | {text} |" for env, default, text in Settings.table()
    ]


def test_the_files_of_the_owner_stand_at_the_top() -> None:
    for name in (
        "Dockerfile", "docker-compose.yml", "start.sh", "sip_server.py", "test_sip_client.py", "test_udp.py",
        "requirements.txt", "README.md",
    ):  # fmt: skip
        assert (ROOT / name).is_file(), name


def test_every_dependency_has_its_line() -> None:
    page = text_of("CONTRIBUTING.md")
    names = re.findall(r"^([\w.-]+)==", text_of("requirements.txt"), re.MULTILINE)
    assert "ffmpeg-python" in names
    for name in names:
        assert f"| {name} |" in page, f"CONTRIBUTING.md's table lacks {name}"


def test_every_row_of_the_conformance_page_names_a_test_that_exists() -> None:
    page = text_of("docs/conformance.md")
    rows = [row.split("|") for row in page.splitlines() if row.startswith("| ") and "**" not in row][1:]
    assert len(rows) > 20
    for _, what, _, shown, _ in rows:
        names = re.findall(r"`((?:\w+/)?test_\w+(?:\.py)?)`", shown)
        assert names and names[0].endswith(".py"), what
        text = ""
        for name in names:
            if name.endswith(".py"):
                text = text_of(f"tests/{name}")
            else:
                assert f"def {name}(" in text, f"docs/conformance.md, {what}: no {name}"


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_a_page_names_its_readers_at_the_beginning(page: Path) -> None:
    title, blank, first = page.read_text(encoding="utf-8").splitlines()[:3]
    assert title.startswith("# ") and not blank
    assert first.startswith("For "), f"{name_of(page)} begins with {first!r}; expected 'For <reader>: ...'"


# -- links, files and modules in the pages exist -------------------------------------------------------------------


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=name_of)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in links(page.read_text(encoding="utf-8")):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), f"{name_of(page)} links to {target}, which does not exist"
        found = not anchor or anchor in anchors(there.read_text(encoding="utf-8"))
        assert found, f"{name_of(page)} links to {target}, which has no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    text = re.sub(r"\w+://\S+", "", page.read_text(encoding="utf-8"))
    named = re.findall(r"(?<![\w/.~$*:-])((?:[\w-]+/)*[\w-]+\.(?:py|sh|md|yml|toml|c))\b", text)
    named += re.findall(r"`((?:[\w-]+/)+)`", text)
    assert named or page.name == "SECURITY.md" or page.parent.name == "ja"
    for name in set(named):
        places = [page.parent / name, *(ROOT / place / name for place in PLACES)]
        found = any(place.exists() for place in places)
        found = found or ("/" not in name and any((ROOT / "bench").rglob(name)))
        assert found, f"{name_of(page)} names {name}, which does not exist"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_module_that_a_page_runs_exists(page: Path) -> None:
    for name in re.findall(r"python3? -m ((?:moh|bench|tests)[\w.]+)", page.read_text(encoding="utf-8")):
        module = ROOT / name.replace(".", "/")
        found = module.with_suffix(".py").is_file() or (module / "__main__.py").is_file()
        assert found, f"{name_of(page)} runs {name}"


# -- messages in the pages are messages of the code ----------------------------------------------------------------


def printed() -> str:
    """Return all string constants of the code, with the constant parts of f-strings."""
    found = []
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\0".join(found)


def quoted(page: str) -> list[str]:
    """Return the messages in the first column of the tables of log lines in ``page``."""
    tables = re.findall(r"^\| (?:the log says|in the line `music: …`) \|.*\n((?:\|.*\n)+)", page, re.MULTILINE)
    return [quote for row in "".join(tables).splitlines() for quote in re.findall(r"`([^`]*)`", row.split("|")[1])]


@pytest.mark.parametrize("name", ["README.md", "docs/operations.md", "docs/sound.md"])
def test_the_code_prints_the_messages_that_a_page_explains(name: str) -> None:
    code, quotes = printed(), quoted(text_of(name))
    assert len(quotes) >= 4
    for quote in quotes:
        for piece in re.split(r"…|-?\d+(?:\.\d+)?", quote):
            assert piece.strip(" :;,.-") in code, f"{name} quotes {quote!r}, but the code has no {piece!r}"


def test_the_readme_shows_the_lines_that_the_client_prints() -> None:
    client = text_of("test_sip_client.py")
    names = re.findall(r"^(?:ok|info)  +(\w+)", text_of("README.md"), re.MULTILINE)
    assert len(names) > 8
    for name in names:
        assert f'"{name}"' in client, f"README.md shows a line {name!r}; test_sip_client.py has no such finding"
