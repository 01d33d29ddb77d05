"""Markdown pages: their prose, anchors, tables, blocks of code and links."""

from __future__ import annotations

import re

FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def prose(text: str) -> str:
    """Return the text of a page without its blocks of code."""
    return FENCED.sub("", text)


def headings(text: str) -> list[str]:
    """Return the headings of a page, without their ``#``."""
    return re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)


def anchors(text: str) -> list[str]:
    """Return the anchors that GitHub makes of the headings of a page."""
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings(text)]


def links(text: str) -> list[str]:
    """Return the targets of the links in a text."""
    return LINK.findall(prose(text))


def code(text: str) -> set[str]:
    """Return what stands between backquotes."""
    return {" ".join(span.split()) for span in re.findall(r"`((?:[^`\n]|\n(?!\n))+)`", prose(text))}


def blocks(text: str) -> list[str]:
    """Return the blocks of code."""
    return FENCED.findall(text)


def tables(text: str) -> list[list[list[str]]]:
    """Return the tables; each is a list of rows, each row a list of cells."""
    found = re.findall(r"(?:^\|.*\n)+", prose(text) + "\n", re.MULTILINE)
    return [[row.strip("|").split("|") for row in table.splitlines()] for table in found]


def items(text: str) -> int:
    """Return the number of items in the lists."""
    return len(re.findall(r"^ *(?:-|\d+\.) ", prose(text), re.MULTILINE))
