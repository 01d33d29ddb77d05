"""The tables of ``docs/scale.md`` that programs write: each stands between two marks."""

from __future__ import annotations

import argparse
import os
import platform
import textwrap
import time
from pathlib import Path

from bench.common.program import ROOT

PAGE = ROOT / "docs" / "scale.md"


def marks(name: str) -> tuple[str, str]:
    """Return the marks before and after the part ``name``."""
    return f"<!-- {name}: written by python3 -m bench.fleet -->\n", f"<!-- end of {name} -->\n"


def part(text: str, name: str) -> str:
    """Return the part ``name`` of the page ``text``. Raises ``ValueError`` if the page has no such part."""
    begin, end = marks(name)
    _, found, rest = text.partition(begin)
    inside, closed, _ = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"the page has no part {name!r}; expected {begin.strip()!r} and {end.strip()!r}")
    return inside.strip("\n")


def replaced(text: str, name: str, new: str) -> str:
    """Return the page ``text`` with ``new`` as its part ``name``."""
    part(text, name)
    begin, end = marks(name)
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n{new}\n\n{end}{rest.partition(end)[2]}"


def write(name: str, new: str, page: Path = PAGE) -> None:
    """Write ``new`` into the part ``name`` of the page."""
    page.write_text(replaced(page.read_text(encoding="utf-8"), name, new), encoding="utf-8")


def today(note: str) -> str:
    """Return the date, and ``note`` if there is one."""
    return time.strftime("%d %B %Y", time.gmtime()).lstrip("0") + (f", {note}" if note else "")


def machine() -> str:
    """Return the machine in a few words."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    model, system = names[0] if names else platform.machine(), platform.release().split("-")[0]
    return f"{os.cpu_count()} cores ({model}), Linux {system}, Python {platform.python_version()}"


def add_note(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--note``, which follows the date."""
    parser.add_argument("--note", default="", help="what the page says of the machine's other work")


def wrapped(text: str) -> str:
    """Return ``text`` in lines as long as those of the page."""
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)
