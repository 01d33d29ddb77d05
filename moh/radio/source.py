"""What an address of a radio sends, as octets of music: a stream, a list that names streams, or HLS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Optional

from .destinations import SourceFailed
from .hls import play
from .http_client import Answer, HttpClient
from .icy import IcySplitter, interval_of
from .lists import MOST_LIST, entries, is_hls, is_list, text_of

DEEPEST = 3
"""How many lists in a row may name each other."""
MOST_OPENED = 40
"""Addresses that one attempt opens at most."""
PAGES = ("text/html", "application/xhtml+xml")
NO_MUSIC = ("text/", "image/", "font/", "application/json", "application/xml", "application/javascript")
"""The beginnings of content types that are no music. Of all others ffmpeg finds out what they are."""


class Source:
    """One attempt to fetch a radio. ``open`` comes first, then ``octets``; ``abort`` ends both from another thread."""

    def __init__(self, client: HttpClient, wait: Callable[[float], bool]) -> None:
        self.is_hls = False
        self._client, self._wait = client, wait
        self._answer: Optional[Answer] = None
        self._aborted = ""
        self._splitter = IcySplitter(0)
        self._list = ""
        self._opens = 0

    @property
    def title(self) -> str:
        """The latest title that the station has sent; empty where it sends none."""
        return self._splitter.title or ""

    def open(self, address: str, turn: int) -> None:
        """Connect. If the address is a list, the entry number ``turn`` is tried first. Raises ``SourceFailed``."""
        self._open(address, turn, [])

    def octets(self) -> Iterator[Optional[bytes]]:
        """Yield octets of music, and ``None`` where a new decoder has to begin. Raises ``SourceFailed``."""
        assert self._answer is not None
        try:
            if self.is_hls:
                yield from play(self._client, self._list, self._answer.url, self._wait, self._opened)
                return
            while octets := self._answer.read():
                yield self._splitter.music_in(octets)
        except SourceFailed:
            if self._aborted:
                raise SourceFailed(self._aborted) from None
            raise
        finally:
            self.close()
        if self._aborted:
            raise SourceFailed(self._aborted)

    def abort(self, why: str) -> None:
        """End the connection, because of ``why``. Any thread may call this."""
        self._aborted = why
        if (answer := self._answer) is not None:
            answer.abort()

    def close(self) -> None:
        """Close the connection."""
        if self._answer is not None:
            self._answer.close()

    def _opened(self, answer: Answer) -> None:
        self._answer = answer
        if self._aborted:
            raise SourceFailed(self._aborted)

    def _open(self, address: str, turn: int, lists: list[str]) -> None:
        """Open ``address``, which the last of ``lists`` names. ``lists`` are in the order in which they were opened."""
        self._opens += 1
        if self._opens > MOST_OPENED:
            raise SourceFailed(f"its lists name more than {MOST_OPENED} addresses, and none of them plays")
        answer = self._client.open(address, {"Icy-MetaData": "1"})
        self._opened(answer)
        if not is_list(answer.kind, answer.url):
            self._check_kind(answer)
            self._splitter = IcySplitter(interval_of(answer.headers.get("icy-metaint", "")))
            return
        text = text_of(answer.read_all(MOST_LIST))
        answer.close()
        if is_hls(text):
            self.is_hls, self._list = True, text
            return
        if answer.url in lists:
            raise SourceFailed(f"the list {answer.url} names itself")
        lists = [*lists, answer.url]
        named = entries(text, answer.url)
        if not named:
            raise SourceFailed(f"the list {answer.url} names no address")
        if len(lists) > DEEPEST:
            raise SourceFailed(f"more than {DEEPEST} lists name each other; the last one is {answer.url}")
        first: Optional[SourceFailed] = None
        for i in range(len(named)):
            try:
                self._open(named[(turn + i) % len(named)], turn, lists)
                return
            except SourceFailed as error:
                self.close()
                first = first or error
            if self._wait(0.0):
                break
        raise first or SourceFailed(f"the list {answer.url} names no address")

    def _check_kind(self, answer: Answer) -> None:
        """Raise ``SourceFailed`` for what is no music by its content type."""
        kind = answer.kind
        if kind in PAGES:
            answer.close()
            raise SourceFailed(f"the address sends a web page ({kind}), not music")
        if kind.startswith(NO_MUSIC):
            answer.close()
            raise SourceFailed(f"the address sends {kind}, not music")
