"""The addresses of a radio, from the owner's file: ``.url``, ``.m3u`` or ``.pls``. No address is opened here."""

from __future__ import annotations

import re
from typing import NamedTuple

SUFFIXES = (".url", ".m3u", ".m3u8", ".pls")
"""The endings of files that name a radio, in small letters."""
MOST_OCTETS = 65536
"""Octets that such a file may have."""
MOST_ADDRESSES = 20
"""Addresses of one file that are tried; a list of one radio has two or three."""
LONGEST_ADDRESS = 2000
SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
EXPECTED = "expected an address as http://radio.example/stream"


class Radio(NamedTuple):
    """What the owner's file says."""

    addresses: tuple[str, ...]
    fault: str
    """Why this file names no radio, in the owner's words; empty where it names one."""


def radio_of(octets: bytes) -> Radio:
    """The addresses in the file with this content, each once, in their order."""
    if len(octets) > MOST_OCTETS:
        return Radio((), f"it is longer than {MOST_OCTETS} octets; {EXPECTED}")
    found: dict[str, None] = {}
    for value in _values(_text(octets)):
        if fault := _fault_of(value):
            return Radio((), fault)
        found[value] = None
    if not found:
        return Radio((), f"there is no address in it; {EXPECTED}")
    return Radio(tuple(found)[:MOST_ADDRESSES], "")


def _text(octets: bytes) -> str:
    if octets.startswith((b"\xff\xfe", b"\xfe\xff")):
        return octets.decode("utf-16", "replace")
    return octets.decode("utf-8-sig", "replace")


def _values(text: str) -> list[str]:
    """What the lines name. Of a file with sections (.pls, .url of Windows) these are ``File1=`` and ``URL=``."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", text.replace("\0", ""))]
    lines = [line for line in lines if line and not line.startswith(("#", ";"))]
    if not any(re.fullmatch(r"\[\w+\]", line) for line in lines):
        return lines
    assigned = [re.fullmatch(r"(?:URL|File\d+)\s*=\s*(.*)", line, re.IGNORECASE) for line in lines]
    return [found[1].strip() for found in assigned if found and found[1].strip()]


def _fault_of(value: str) -> str:
    """Why ``value`` is no address of a radio; empty where it is one."""
    shown = repr(value if len(value) <= 60 else value[:59] + "…")
    scheme = SCHEME.match(value)
    if scheme is None:
        what = f"{shown} is no address" if " " in value else f"{shown} is the name of a file"
        return f"{what}; a list may name addresses of radios only: {EXPECTED}"
    if scheme[1].lower() not in ("http", "https"):
        return f"{shown} begins with {scheme[1].lower()}:, which is not played; {EXPECTED}"
    if len(value) > LONGEST_ADDRESS or not value.isascii() or re.search(r"[\s\x00-\x1f\x7f\"<>\\]", value):
        return f"{shown} is no address, which has letters and digits of ASCII only; {EXPECTED}"
    if not re.match(r"https?://[^/?#]+", value, re.IGNORECASE):
        return f"{shown} names no host; {EXPECTED}"
    return ""
