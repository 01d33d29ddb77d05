"""HLS (RFC 8216): a list that the station writes again and again, of segments of some seconds each.

Only what live music needs: segments of MPEG-TS, of fragmented MP4 and of bare AAC or MP3, whole files or parts of them.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import Optional

from .destinations import SourceFailed
from .http_client import Answer, HttpClient, printable
from .lists import MOST_LIST, joined, text_of

FIRST_SEGMENTS = 3
"""Segments from the end of the list with which a live stream begins (RFC 8216 §6.3.3)."""
STALE = 30.0
"""Seconds without a new segment after which the station counts as away."""
MOST_SEGMENT = 16 << 20
"""Octets of a segment."""
MOST_SEGMENTS = 1000
"""Segments of a list that are read."""
WORTHWHILE = 60000
"""Bits a second from which a variant is good enough for the telephone: the cheapest one of these is taken."""
SHORTEST_WAIT, LONGEST_WAIT = 0.5, 10.0
"""Seconds between two requests for the list."""


@dataclass(frozen=True)
class Segment:
    """One segment. ``number`` is its media sequence number; ``first`` and ``size`` are a part of its file."""

    number: int
    url: str
    first: Optional[int] = None
    size: int = 0
    is_new_format: bool = False
    """Whether the format may be another one than that of the segment before."""
    beginning: Optional[tuple[str, Optional[int], int]] = None
    """The address, first octet and size of what the decoder needs before the segments."""


@dataclass(frozen=True)
class SegmentList:
    """What a list says."""

    segments: tuple[Segment, ...]
    target: float
    """The longest segment in seconds."""
    ended: bool


def attributes(line: str) -> dict[str, str]:
    """The attributes behind the colon of a tag."""
    found = re.findall(r'([A-Z0-9-]+)=("[^"]*"|[^,]*)', line.partition(":")[2])
    return {name: value.strip('"') for name, value in found}


def variant(text: str, url: str) -> Optional[str]:
    """The address of the list of segments in a list of variants; ``None`` where ``text`` has segments itself."""
    variants: list[tuple[int, str, str]] = []
    groups: dict[str, str] = {}
    pending: Optional[dict[str, str]] = None
    for line in map(str.strip, text.splitlines()):
        if line.startswith("#EXT-X-MEDIA:"):
            said = attributes(line)
            if said.get("TYPE") == "AUDIO" and said.get("URI"):
                groups.setdefault(said.get("GROUP-ID", ""), said["URI"])
        elif line.startswith("#EXT-X-STREAM-INF:"):
            pending = attributes(line)
        elif line and not line.startswith("#") and pending is not None:
            variants.append((_whole(pending.get("BANDWIDTH", "")), line, pending.get("AUDIO", "")))
            pending = None
    if not variants:
        return None
    good = [each for each in variants if each[0] >= WORTHWHILE]
    _, named, group = min(good) if good else max(variants)
    return joined(url, groups.get(group, named) if group else named)


def segments(text: str, url: str) -> SegmentList:
    """The segments of a list. Raises ``SourceFailed`` for segments that are encrypted."""
    found: deque[Segment] = deque(maxlen=MOST_SEGMENTS)  # with their addresses as the list has them, which are short
    number, target, ended, is_new = 0, 6.0, False, False
    beginning: Optional[tuple[str, Optional[int], int]] = None
    part: Optional[str] = None
    ends: dict[str, int] = {}
    for line in map(str.strip, text.splitlines()):
        tag, _, value = line.partition(":")
        if tag == "#EXT-X-TARGETDURATION":
            target = float(min(60, max(1, _whole(value))))
        elif tag == "#EXT-X-MEDIA-SEQUENCE":
            number = _whole(value)
        elif tag == "#EXT-X-ENDLIST":
            ended = True
        elif tag == "#EXT-X-DISCONTINUITY":
            is_new = True
        elif tag == "#EXT-X-KEY" and (method := attributes(line).get("METHOD", "NONE")) != "NONE":
            raise SourceFailed(f"its segments are encrypted ({printable(method)[:20]}); expected segments as they are")
        elif tag == "#EXT-X-MAP":
            said = attributes(line)
            beginning = (joined(url, said.get("URI", "")), *_part(said.get("BYTERANGE", ""), 0))
        elif tag == "#EXT-X-BYTERANGE":
            part = value
        elif line and not line.startswith("#"):
            first, size = _part(part, ends.get(line, 0)) if part is not None else (None, 0)
            if first is not None:
                ends[line] = first + size
            found.append(Segment(number, line, first, size, is_new, beginning))
            number, part, is_new = number + 1, None, False
    return SegmentList(tuple(replace(each, url=joined(url, each.url)) for each in found), target, ended)


def play(
    client: HttpClient, text: str, url: str, wait: Callable[[float], bool], opened: Callable[[Answer], None]
) -> Iterator[Optional[bytes]]:
    """Yield the octets of all segments, and ``None`` where a new decoder has to begin.

    ``text`` is the list that ``url`` has answered with. ``wait`` waits for some seconds and returns whether the radio
    has been stopped. ``opened`` gets each answer, so that another thread can abort it. Raises ``SourceFailed``.
    """

    def fetch(address: str, first: Optional[int], size: int) -> Generator[bytes, None, int]:
        more = {"Range": f"bytes={first}-{first + size - 1}"} if first is not None else None
        answer = client.open(address, more)
        opened(answer)
        try:
            total = 0
            while octets := answer.read():
                total += len(octets)
                if total > MOST_SEGMENT:
                    raise SourceFailed(f"a segment has more than {MOST_SEGMENT >> 20} MB")
                yield octets
            return total
        finally:
            answer.close()

    def fetch_list() -> str:
        answer = client.open(url)
        opened(answer)
        try:
            return text_of(answer.read_all(4 * MOST_LIST))
        finally:
            answer.close()

    if (named := variant(text, url)) is not None:
        url = named
        text = fetch_list()
        if variant(text, url) is not None:
            raise SourceFailed("its list of variants names another list of variants")
    latest: Optional[int] = None
    beginning = None
    changed = time.monotonic()
    while True:
        now = time.monotonic()
        listed = segments(text, url)
        new = [each for each in listed.segments if latest is None or each.number > latest]
        if latest is not None and not new and listed.segments and listed.segments[-1].number < latest - MOST_SEGMENTS:
            new = list(listed.segments)  # the station has begun to count again
        if latest is None and not listed.ended:
            new = new[-FIRST_SEGMENTS:]
        for each in new:
            if each.beginning != beginning or (each.is_new_format and latest is not None):
                if latest is not None:
                    yield None
                beginning = each.beginning
                if beginning is not None:
                    yield from fetch(*beginning)
            if (yield from fetch(each.url, each.first, each.size)):
                changed = time.monotonic()
            latest = each.number
            if time.monotonic() - changed > STALE:
                raise SourceFailed(f"its segments have been empty for {STALE:.0f} s")
        if listed.ended:
            return
        if time.monotonic() - changed > STALE:
            raise SourceFailed(f"its list has had no new segment for {STALE:.0f} s")
        pause = listed.target if new else listed.target / 2
        if wait(max(SHORTEST_WAIT, min(LONGEST_WAIT, pause - (time.monotonic() - now)))):
            return
        text = fetch_list()


def _whole(text: str) -> int:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def _part(text: str, first: int) -> tuple[Optional[int], int]:
    """The first octet and the size in ``SIZE@FIRST``; without ``@FIRST`` it begins at ``first``."""
    if not text:
        return None, 0
    size, at, begin = text.partition("@")
    return (_whole(begin) if at else first), _whole(size)
