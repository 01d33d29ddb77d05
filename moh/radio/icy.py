"""Titles that Icecast and Shoutcast put between the octets of the music, each ``icy-metaint`` octets."""

from __future__ import annotations

import re
from typing import Optional

MOST_INTERVAL = 1 << 20
"""The longest ``icy-metaint``; others are no interval."""
LONGEST_TITLE = 120
"""Characters of a title that are kept."""


def interval_of(text: str) -> int:
    """The interval in the header ``icy-metaint``; 0 where there is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 8 and int(text) <= MOST_INTERVAL else 0


def title_of(metadata: bytes) -> Optional[str]:
    """The title in a block of metadata, cleaned; ``None`` where the block has none."""
    found = re.search(rb"StreamTitle='(.*?)'(?:;|\0|$)", metadata, re.DOTALL)
    if not found:
        return None
    try:
        text = found[1].decode("utf-8")
    except UnicodeDecodeError:
        text = found[1].decode("latin-1")
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())[:LONGEST_TITLE]


class IcySplitter:
    """Takes the titles out of a stream."""

    def __init__(self, interval: int) -> None:
        self.title: Optional[str] = None
        """The latest title; ``None`` before the first one."""
        self._interval = interval
        self._music_left = interval
        self._metadata_left = 0
        self._metadata = b""

    def music_in(self, octets: bytes) -> bytes:
        """The octets of ``octets`` that are music."""
        if not self._interval:
            return octets
        music = bytearray()
        at = 0
        while at < len(octets):
            if self._metadata_left:
                part = octets[at : at + self._metadata_left]
                self._metadata += part
                self._metadata_left -= len(part)
                at += len(part)
                if not self._metadata_left:
                    title = title_of(self._metadata)
                    self.title = self.title if title is None else title
                    self._metadata, self._music_left = b"", self._interval
            elif self._music_left:
                part = octets[at : at + self._music_left]
                music += part
                self._music_left -= len(part)
                at += len(part)
            else:
                self._metadata_left = 16 * octets[at]  # 4,080 octets at most
                at += 1
                if not self._metadata_left:
                    self._music_left = self._interval
        return bytes(music)
