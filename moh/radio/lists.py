"""Lists that stations give out: ``.m3u`` and ``.pls`` name addresses, a list of HLS names segments. Pure functions."""

from __future__ import annotations

import re
from itertools import islice
from urllib.parse import urljoin, urlsplit

MOST_ENTRIES = 20
"""Addresses of a list that are tried."""
MOST_LIST = 65536
"""Octets that a list may have."""
M3U_TYPES = (
    "audio/x-mpegurl", "audio/mpegurl", "application/x-mpegurl", "application/mpegurl", "application/vnd.apple.mpegurl",
    "application/m3u",
)  # fmt: skip
PLS_TYPES = ("audio/x-scpls", "audio/scpls", "application/pls", "application/pls+xml", "audio/x-pls")
NAMELESS_TYPES = ("", "text/plain", "application/octet-stream", "binary/octet-stream")
"""Content types that say too little: then the ending of the address counts."""


def is_list(kind: str, url: str) -> bool:
    """Whether an answer of this content type, from this address, is a list."""
    ending = urlsplit(url).path.lower().rpartition(".")[2]
    return kind in M3U_TYPES + PLS_TYPES or (kind in NAMELESS_TYPES and ending in ("m3u", "m3u8", "pls"))


def text_of(body: bytes) -> str:
    """The text of a list, which is in UTF-8 or, from old programs, in Latin-1."""
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return body.decode("latin-1")


def is_hls(text: str) -> bool:
    """Whether the list is one of HLS (RFC 8216)."""
    return text.lstrip().startswith("#EXTM3U") and "#EXT-X-" in text


def entries(text: str, url: str) -> list[str]:
    """The addresses in an M3U or PLS list that came from ``url``, in order and without repetition."""
    lines = [line.strip() for line in text.splitlines()]
    if lines and any(re.fullmatch(r"(?i)\[playlist\]", line) for line in lines[:3]):
        numbered = [re.fullmatch(r"(?i)file(\d{1,4})\s*=\s*(\S.*)", line) for line in lines]
        named = [found[2] for found in sorted((each for each in numbered if each), key=lambda each: int(each[1]))]
    else:
        named = [line for line in lines if line and not line.startswith("#")]
    return list(dict.fromkeys(joined(url, name) for name in islice(dict.fromkeys(named), MOST_ENTRIES)))


def joined(url: str, name: str) -> str:
    """The address that ``name`` means in a list from ``url``; ``name`` itself if it means none, such as ``http://[x``."""
    try:
        return urljoin(url, name)
    except ValueError:
        return name
