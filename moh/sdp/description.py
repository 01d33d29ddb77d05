"""Parses session descriptions, as far as a sender of music needs them (RFC 8866).

Every m= line is kept, because an answer has as many of them as its offer. Any line ends are accepted, and unknown or
malformed attributes are ignored. Lines, streams and formats are bounded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from ..common.errors import Refusal

MAX_LINES = 1000
"""Lines in a description at most."""
MAX_MEDIA = 32
"""m= lines at most; each costs a line in the answer."""
MAX_TIMES = 8
"""t= lines at most; the answer repeats them."""
MAX_FORMATS = 128
"""Formats of one m= line at most: there are as many payload types."""
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")


@dataclass
class MediaDescription:
    """One m= line with its attributes. ``host`` is the address or name in its c= line or the session's."""

    kind: str
    port: int
    protocol: str
    formats: list[str]
    host: str = ""
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


def parse_sdp(body: bytes) -> SessionDescription:
    """Parse a session description. Raises ``Refusal`` 400 for anything else."""
    lines = body.decode("utf-8", "surrogateescape").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    lines = [line.strip() for line in lines if line.strip()]
    if not lines or lines[0].replace(" ", "") != "v=0":
        raise Refusal(400, f"SDP begins with {lines[0][:40]!r}; expected 'v=0'" if lines else "SDP is empty")
    if len(lines) > MAX_LINES:
        raise Refusal(400, f"SDP has {len(lines)} lines; expected at most {MAX_LINES}")
    session = SessionDescription([], [])
    shared = MediaDescription("", 0, "", [])  # the lines before the first m= are the defaults of all streams
    current = shared
    for line in lines[1:]:
        kind, equals, value = line.partition("=")
        if not equals or len(kind.strip()) != 1:
            raise Refusal(400, f"SDP line is {line[:60]!r}; expected 'x=value'")
        kind, value = kind.strip(), value.strip()
        if kind == "m":
            if len(session.media) >= MAX_MEDIA:
                raise Refusal(400, f"SDP has more than {MAX_MEDIA} m= lines")
            current = _read_media(value, shared)
            session.media.append(current)
        elif kind == "c":
            current.host = _read_connection(value)
        elif kind == "a":
            _read_attribute(value, current)
        elif kind == "t" and current is shared:
            if len(session.times) >= MAX_TIMES:
                raise Refusal(400, f"SDP has more than {MAX_TIMES} t= lines")
            session.times.append(value)
    return session


def number(text: str, highest: int) -> Optional[int]:
    """The whole number from 0 to ``highest`` in ``text``; ``None`` for anything else."""
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        return None
    return int(text) if int(text) <= highest else None


def _read_media(value: str, shared: MediaDescription) -> MediaDescription:
    parts = value.split()
    port = number(parts[1].partition("/")[0], 65535) if len(parts) >= 4 else None
    if port is None or len(parts) > 3 + MAX_FORMATS:
        raise Refusal(400, f"SDP has m={value[:60]!r}; expected 'm=audio <port> RTP/AVP <formats>'")
    return MediaDescription(
        parts[0].lower(), port, parts[2], parts[3:], shared.host, shared.direction, shared.ptime, shared.maxptime
    )


def _read_connection(value: str) -> str:
    parts = value.split()
    if len(parts) != 3 or parts[0].upper() != "IN" or parts[1].upper() not in ("IP4", "IP6"):
        raise Refusal(400, f"SDP has c={value[:60]!r}; expected 'c=IN IP4 <address>'")
    return parts[2].partition("/")[0]  # in a multicast address a TTL follows the slash


def _read_attribute(value: str, media: MediaDescription) -> None:
    """Read an attribute that matters here; unknown and malformed ones are ignored (RFC 8866 §5.13)."""
    name, _, text = value.partition(":")
    name = name.strip().lower()
    if name in DIRECTIONS and not text:
        media.direction = name
    elif name in ("ptime", "maxptime"):
        # some phones send "20.0"
        setattr(media, name, number(text.strip().partition(".")[0], 1000) or 0)
    elif name == "rtpmap":
        payload_type, _, encoding = text.strip().partition(" ")
        media.rtpmap.setdefault(payload_type, encoding.strip())
    elif name == "rtcp":
        port, *connection = text.split() or [""]
        media.rtcp_port = number(port, 65535) or 0
        if len(connection) == 3:
            media.rtcp_host = connection[2]
    elif name == "crypto":
        media.crypto.append(text.strip())
