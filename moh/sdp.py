"""The offer that says where the music shall go, and the answer that says where it comes from (RFC 3264, RFC 8866).

Reading keeps every media line, since an answer has as many as the offer. Choosing takes the first stream that we can
play to; the rest is refused with port 0. The one law here: where media goes is what the SDP says, per stream before
per session, and never where the SIP came from (RFC 7088 §2.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Optional

from .actions import Address
from .addresses import is_unicast, is_unspecified, literal
from .codecs import CODECS, Codec
from .errors import Refusal

MAX_MEDIA = 32
"""Most m= lines read; each costs a line in the answer."""
MAX_FORMATS = 128
"""Most formats of one m= line: as many as there are payload types."""
PTIME, MIN_PTIME, MAX_PTIME = 20, 10, 120
"""Milliseconds of sound in a packet: without a wish of the offer (RFC 3551 §4.2), and the wishes we follow."""
PROTOCOLS = ("RTP/AVP", "RTP/AVPF")
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")


@dataclass
class Media:
    """One m= line with the lines that belong to it. ``host`` is the literal or name of its own or the session's c=."""

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


@dataclass
class Session:
    """A session description as far as we need it."""

    media: list[Media]
    times: list[str]


@dataclass(frozen=True)
class Choice:
    """The one stream of an offer that we answer: what is played to whom, or that nothing is (``playing``).

    ``direction`` is that of our answer, ``sendonly`` or ``inactive``.
    """

    index: int
    remote: Address
    remote_rtcp: Address
    codec: Codec
    payload_type: int
    ptime: int
    direction: str

    @property
    def playing(self) -> bool:
        """Whether the other side wants to hear anything now."""
        return self.direction == "sendonly"


def parse_sdp(body: bytes) -> Session:
    """Read a session description, with any line ends. Raises ``Refusal`` 400 where it is none."""
    lines = body.decode("utf-8", "surrogateescape").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    lines = [line.strip() for line in lines if line.strip()]
    if not lines or lines[0].replace(" ", "") != "v=0":
        raise Refusal(400, f"SDP begins with {lines[0][:40]!r}; expected 'v=0'" if lines else "SDP is empty")
    session = Session([], [])
    shared = Media("", 0, "", [])  # what stands before the first m= holds for all of them
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
            session.times.append(value)
    return session


def _number(text: str, most: int) -> Optional[int]:
    """The whole number 0 to ``most`` that ``text`` spells; ``None`` for anything else."""
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        return None
    return int(text) if int(text) <= most else None


def _read_media(value: str, shared: Media) -> Media:
    parts = value.split()
    port = _number(parts[1].partition("/")[0], 65535) if len(parts) >= 4 else None
    if port is None or len(parts) > 3 + MAX_FORMATS:
        raise Refusal(400, f"SDP has 'm={value[:60]}'; expected 'm=audio <port> RTP/AVP <formats>'")
    return Media(
        parts[0].lower(), port, parts[2], parts[3:], shared.host, shared.direction, shared.ptime, shared.maxptime
    )


def _read_connection(value: str) -> str:
    parts = value.split()
    if len(parts) != 3 or parts[0].upper() != "IN" or parts[1].upper() not in ("IP4", "IP6"):
        raise Refusal(400, f"SDP has 'c={value[:60]}'; expected 'c=IN IP4 <address>'")
    return parts[2].partition("/")[0]  # a TTL follows the slash of a multicast address


def _read_attribute(value: str, media: Media) -> None:
    """Take the attributes that matter here; the unknown and the garbled ones are ignored (RFC 8866 §5.13)."""
    name, _, text = value.partition(":")
    name = name.strip().lower()
    if name in DIRECTIONS and not text:
        media.direction = name
    elif name in ("ptime", "maxptime"):
        # some phones write "20.0"
        setattr(media, name, _number(text.strip().partition(".")[0], 1000) or 0)
    elif name == "rtpmap":
        payload_type, _, encoding = text.strip().partition(" ")
        media.rtpmap.setdefault(payload_type, encoding.strip())
    elif name == "rtcp":
        port, *connection = text.split() or [""]
        media.rtcp_port = _number(port, 65535) or 0
        if len(connection) == 3 and literal(connection[2]):
            media.rtcp_host = connection[2]


def _known(encoding: str, payload_type: int, codecs: Sequence[Codec]) -> Optional[Codec]:
    """The codec of ours that a format means: by its rtpmap if it has one, else by its static number (RFC 3551)."""
    if encoding:
        name, _, rate_and_channels = encoding.partition("/")
        rate, _, channels = rate_and_channels.partition("/")
        for codec in codecs:
            same_name = codec.name == name.strip().upper() and str(codec.clock_rate) == rate.strip()
            if same_name and channels.strip() in ("", "1"):
                return codec
        return None
    return next((codec for codec in codecs if codec.static_type == payload_type), None)


def choose(session: Session, codecs: Sequence[Codec] = CODECS) -> Choice:
    """Choose the stream to play to: the first audio stream over plain RTP with a codec of ours, by the offer's order.

    Raises ``Refusal`` 488 with a Warning (RFC 3261 §20.43) that tells why the last stream looked at does not fit.
    """
    why = (304, f"none of the {len(session.media)} streams is audio that is switched on; expected one m=audio")
    for index, media in enumerate(session.media):
        if media.kind != "audio" or media.port == 0:
            continue
        if media.protocol.upper() not in PROTOCOLS:
            why = (302, f"protocol is {media.protocol[:20]!r}; expected RTP/AVP")
        elif (found := _first_format(media, codecs)) is None:
            names = ", ".join(codec.name for codec in codecs)
            why = (305, f"formats are {' '.join(media.formats)[:60]!r}; expected one of {names}")
        elif not (is_unicast(media.host) or is_unspecified(media.host)):
            why = (301, f"address is {media.host[:60]!r}; expected the literal IP address of one host")
        elif media.port < 1024:
            why = (399, f"port is {media.port}; expected one from 1024 to 65535")
        else:
            return _chosen(index, media, *found)
    code, text = why
    raise Refusal(488, f"No stream to play to: {text}", ("Warning", f'{code} moh "{_quotable(text)}"'))


def _quotable(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', "'")


def _first_format(media: Media, codecs: Sequence[Codec]) -> Optional[tuple[Codec, int]]:
    for text in media.formats:
        payload_type = _number(text, 127)
        if payload_type is not None and (codec := _known(media.rtpmap.get(text, ""), payload_type, codecs)):
            return codec, payload_type
    return None


def _chosen(index: int, media: Media, codec: Codec, payload_type: int) -> Choice:
    ptime = min(max(media.ptime, MIN_PTIME), MAX_PTIME) if media.ptime else PTIME
    if media.maxptime:
        ptime = max(min(ptime, media.maxptime), MIN_PTIME)
    held = media.direction in ("inactive", "sendonly") or is_unspecified(media.host)
    rtcp = Address(media.rtcp_host or media.host, media.rtcp_port or min(media.port + 1, 65535))
    remote = Address(media.host, media.port)
    return Choice(index, remote, rtcp, codec, payload_type, ptime, "inactive" if held else "sendonly")


def write_answer(offer: Session, choice: Choice, local: Address, session_id: int, version: int) -> bytes:
    """Write the answer: each m= line of the offer in its place, ours with ``local``, others with port 0 (RFC 3264 §6).

    ``local`` is where the RTP leaves from. ``version`` counts the changes of what we have said in this session (§8).
    """
    lines = _preamble(local.host, session_id, version, offer.times or ["0 0"])
    for index, media in enumerate(offer.media):
        if index == choice.index:
            lines += _stream(local.port, media.protocol, choice)
        else:
            lines.append(f"m={media.kind} 0 {media.protocol} {' '.join(media.formats)}")
    return _joined(lines)


def write_offer(local: Address, ptime: int, session_id: int, version: int, codecs: Sequence[Codec] = CODECS) -> bytes:
    """Write an offer of our own, for an INVITE without one: all codecs each time (RFC 7088 §4.1), and we only send."""
    lines = _preamble(local.host, session_id, version, ["0 0"])
    numbers = [codec.static_type for codec in codecs]
    lines.append(f"m=audio {local.port} RTP/AVP {' '.join(map(str, numbers))}")
    lines += [f"a=rtpmap:{number} {codec.name}/{codec.clock_rate}" for number, codec in zip(numbers, codecs)]
    return _joined([*lines, f"a=ptime:{ptime}", "a=sendonly"])


def _preamble(host: str, session_id: int, version: int, times: Sequence[str]) -> list[str]:
    family = f"IN IP{6 if ':' in host else 4} {host}"
    return ["v=0", f"o=- {session_id} {version} {family}", "s=-", f"c={family}", *(f"t={time}" for time in times)]


def _stream(port: int, protocol: str, choice: Choice) -> list[str]:
    codec, number = choice.codec, choice.payload_type
    return [
        f"m=audio {port} {protocol} {number}",
        f"a=rtpmap:{number} {codec.name}/{codec.clock_rate}",
        f"a=ptime:{choice.ptime}",
        f"a={choice.direction}",
    ]


def _joined(lines: list[str]) -> bytes:
    return ("\r\n".join(lines) + "\r\n").encode("utf-8", "surrogateescape")
