"""Parses session descriptions, as far as a sender of music needs them (RFC 8866).

Every m= line is kept, because an answer has as many m= lines as its offer. A line that cannot be read spoils only its
own part: a line that is no ``x=value`` and an unknown or malformed attribute are ignored, and an unreadable m= or c=
line costs its own stream. Any line ends are accepted, and NUL counts as a line end. Lines, streams, formats and the
length of each word that an answer repeats are bounded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, Optional

from ..common.errors import Refusal

MAX_LINES = 1000
"""Lines in a description at most."""
MAX_MEDIA = 32
"""m= lines at most; the answer has a line for each of them."""
MAX_TIMES = 8
"""t= lines at most that the answer repeats. It leaves out further t= lines, and those longer than ``MAX_WORD``."""
MAX_FORMATS = 128
"""Formats of one m= line at most: there are 128 payload types."""
MAX_WORD = 64
"""Octets of a media type, protocol or format at most; longer words are cut, because an answer repeats them."""
LONGEST_CHARACTER = 4
"""Most octets of one character in UTF-8."""
CACHED_LINES, MAX_CACHED_LINE = 256, 80
"""Lines in the cache, and the longest line in it, in characters. Most lines of a phone or PBX are in all its offers."""
UNREADABLE = -1
"""The port of an m= line whose port cannot be read."""
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
ATTRIBUTES = frozenset((*DIRECTIONS, "ptime", "maxptime", "rtpmap", "rtcp", "crypto"))
"""The attributes that matter here. Unknown and malformed ones are ignored (RFC 8866 §5.13)."""


@dataclass
class MediaDescription:
    """One m= line with its attributes.

    ``port`` is 0 for a stream that is switched off, and ``UNREADABLE`` if the text is no port. ``formats`` may be
    empty. ``host`` is the address or name in the c= line of the stream or, without one, of the session. If that line
    cannot be read, ``host`` is empty and ``unreadable_connection`` is the line.
    """

    kind: str
    port: int
    protocol: str
    formats: list[str]
    line: str = ""
    """The first characters of the m= line, for messages."""
    host: str = ""
    unreadable_connection: str = ""
    direction: str = ""
    ptime: int = 0
    maxptime: int = 0
    rtcp_port: int = 0
    rtcp_host: str = ""
    rtpmap: dict[str, str] = field(default_factory=dict)
    crypto: list[str] = field(default_factory=list)


@dataclass
class SessionDescription:
    """A parsed session description."""

    media: list[MediaDescription]
    times: list[str]


class Line(NamedTuple):
    """One line ``kind=value`` without spaces around its parts; ``kind`` is empty where the line has another form.

    The value of an attribute is ``name:text``; in other lines ``name`` and ``text`` mean nothing.
    """

    kind: str
    value: str
    name: str
    text: str


def _read_line(line: str) -> Line:
    kind, equals, value = line.partition("=")
    value = value.strip()
    name, _, text = value.partition(":")
    return Line(kind.strip() if equals else "", value, name.strip().lower(), text)


_cached_line = lru_cache(CACHED_LINES)(_read_line)


def parse_sdp(body: bytes) -> SessionDescription:
    """Parse a session description. Raises ``Refusal`` 400 for anything else."""
    text = body.decode("utf-8", "surrogateescape").replace("\0", "\n").replace("\r", "\n")
    lines = [stripped for line in text.split("\n") if (stripped := line.strip())]
    if not lines or lines[0].replace(" ", "") != "v=0":
        # no more than the beginning: the line may hold a key, and the text goes into the log
        raise Refusal(400, f"SDP begins with {lines[0][:3]!r}; expected 'v=0'" if lines else "SDP is empty")
    if len(lines) > MAX_LINES:
        raise Refusal(400, f"SDP has {len(lines)} lines; expected at most {MAX_LINES}")
    session = SessionDescription([], [])
    shared = MediaDescription("", 0, "", [])  # the lines before the first m= are the defaults of all streams
    current = shared
    for line in lines[1:]:
        kind, value, name, text = (_cached_line if len(line) <= MAX_CACHED_LINE else _read_line)(line)
        if kind == "a":
            if name in ATTRIBUTES:
                _read_attribute(name, text, current)
        elif kind == "m":
            if len(session.media) >= MAX_MEDIA:
                raise Refusal(400, f"SDP has more than {MAX_MEDIA} m= lines")
            current = _read_media(value, shared)
            session.media.append(current)
        elif kind == "c":
            _read_connection(value, current)
        elif kind == "t" and current is shared and len(session.times) < MAX_TIMES and _bounded(value) == value:
            session.times.append(value)
    return session


def number(text: str, highest: int) -> Optional[int]:
    """The whole number from 0 to ``highest`` in ``text``; ``None`` for anything else."""
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        return None
    return int(text) if int(text) <= highest else None


def _bounded(word: str) -> str:
    """The first ``MAX_WORD`` octets of a word."""
    if len(word) <= MAX_WORD // LONGEST_CHARACTER:
        return word
    return word.encode("utf-8", "surrogateescape")[:MAX_WORD].decode("utf-8", "surrogateescape")


def _read_media(value: str, shared: MediaDescription) -> MediaDescription:
    words = value.split()[: 3 + MAX_FORMATS]
    if max(map(len, words), default=0) > MAX_WORD // LONGEST_CHARACTER:
        words = [_bounded(word) for word in words]
    kind, port, protocol, *formats = [*words, "", "", ""]
    read = number(port.partition("/")[0], 65535)
    return MediaDescription(
        kind.lower(),
        UNREADABLE if read is None else read,
        protocol,
        [text for text in formats if text],
        value[:60],
        shared.host,
        shared.unreadable_connection,
        shared.direction,
        shared.ptime,
        shared.maxptime,
    )


def _read_connection(value: str, media: MediaDescription) -> None:
    """Read a c= line; words behind the address are ignored."""
    network, family, host, *_ = [*value.split(), "", "", ""]
    if network.upper() == "IN" and family.upper() in ("IP4", "IP6") and host:
        # a multicast address is followed by a slash and a TTL
        media.host, media.unreadable_connection = host.partition("/")[0], ""
    else:
        media.host, media.unreadable_connection = "", f"c={value[:60]}"


def _read_attribute(name: str, text: str, media: MediaDescription) -> None:
    """Read one of the ``ATTRIBUTES``."""
    if name == "rtpmap":
        payload_type, encoding, *_ = [*text.split(None, 1), "", ""]
        media.rtpmap.setdefault(payload_type, _bounded(encoding))
    elif name in DIRECTIONS and not text:
        media.direction = name
    elif name in ("ptime", "maxptime"):
        # some phones send "20.0"
        setattr(media, name, number(text.strip().partition(".")[0], 1000) or 0)
    elif name == "rtcp":
        port, *connection = text.split() or [""]
        media.rtcp_port = number(port, 65535) or 0
        if len(connection) >= 3:
            media.rtcp_host = connection[2]
    elif name == "crypto":
        media.crypto.append(text.strip())
