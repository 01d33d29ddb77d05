"""What we choose of an offer, and what we say: the answer, or an offer of our own (RFC 3264 §5, §6, §8).

Choosing takes the first stream that we can play to; the rest is refused with port 0. The one law here: where media
goes is what the SDP says, per stream before per session, and never where the SIP came from (RFC 7088 §2.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Optional

from ..common.actions import Address
from ..common.addresses import is_unicast, is_unspecified, literal
from ..common.codecs import CODECS, Codec
from ..common.errors import Refusal
from .description import MediaDescription, SessionDescription, number

PTIME, MIN_PTIME, MAX_PTIME, STEP = 20, 10, 120, 10
"""Milliseconds of sound in a packet: without a wish of the offer (RFC 3551 §4.2), and the wishes we follow.

In steps, rounded down: who shares the stream hears it with all who have the same packets, and 25 ms is nobody's need.
"""
MIN_PORT = 1024
"""Lowest port we send to: those below belong to services, not to phones."""
PLAIN = ("RTP/AVP", "RTP/AVPF")
SECURE = ("RTP/SAVP", "RTP/SAVPF")
SUITES = ("AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32")
"""The suites of SRTP (RFC 4568 §6.2) that ffmpeg has."""
NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")
NO_NAMES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Crypto:
    """The line of ``a=crypto`` that we take: its tag, to be repeated, and its suite (RFC 4568 §5.1)."""

    tag: str
    suite: str


@dataclass(frozen=True)
class Choice:
    """The one stream of an offer that we answer: what is played to whom, or that nothing is (``playing``).

    ``direction`` is that of our answer, ``sendonly`` or ``inactive``. ``crypto`` is there for SRTP. ``name`` is the
    host name in c= whose address is not known yet; ``remote`` can be used only when it is empty.
    """

    index: int
    remote: Address
    remote_rtcp: Address
    codec: Codec
    payload_type: int
    ptime: int
    direction: str
    crypto: Optional[Crypto] = None
    name: str = ""

    @property
    def playing(self) -> bool:
        """Whether the other side wants to hear anything now."""
        return self.direction == "sendonly"


def _known(encoding: str, payload_type: int, codecs: Sequence[Codec]) -> Optional[Codec]:
    """The codec of ours that a format means: by its rtpmap if it has one, else by its static number (RFC 3551)."""
    if encoding:
        name, _, rate_and_channels = encoding.partition("/")
        rate, _, channels = rate_and_channels.partition("/")
        for codec in codecs:
            same_name = codec.name.upper() == name.strip().upper() and str(codec.clock_rate) == rate.strip()
            if same_name and (channels.strip() or "1") == str(codec.channels):
                return codec
        return None
    return next((codec for codec in codecs if codec.static_type == payload_type), None)


SWITCHED_OFF = Choice(-1, Address("0.0.0.0", 0), Address("0.0.0.0", 0), CODECS[0], 0, PTIME, "inactive")
"""The offer has switched its stream off by port 0: the answer does the same with every m= line (RFC 3264 §8.2)."""


def choose(
    session: SessionDescription,
    codecs: Sequence[Codec] = CODECS,
    names: Mapping[str, str] = NO_NAMES,
    again: bool = False,
    srtp: bool = True,
) -> Choice:
    """Choose the stream to play to: the first audio stream, plain or SRTP, with a codec of ours, by the offer's order.

    ``names`` are the host names whose addresses are known, an empty address for a name that has none. ``again``: it is
    not the first offer of its call, so it may switch the music off by port 0. ``srtp``: there is a stream of one's own
    for it, else such a stream is passed over. Raises ``Refusal`` 488 with a Warning (RFC 3261 §20.43) that tells why
    the last stream looked at does not fit.
    """
    why = (304, f"none of the {len(session.media)} streams is audio that is switched on; expected one m=audio")
    for index, media in enumerate(session.media):
        if media.kind != "audio" or media.port == 0:
            continue
        secure = media.protocol.upper() in SECURE
        crypto = _first_crypto(media) if secure else None
        host = names.get(media.host, media.host)
        if media.protocol.upper() not in PLAIN + SECURE:
            why = (302, f"protocol is {media.protocol[:20]!r}; expected RTP/AVP or RTP/SAVP")
        elif secure and crypto is None:
            why = (399, f"no a=crypto that we know; expected one of {', '.join(SUITES)}")
        elif secure and not srtp:
            why = (399, "no stream of one's own is left for SRTP; expected RTP/AVP")
        elif (found := _first_format(media, codecs)) is None:
            wanted = ", ".join(codec.name for codec in codecs)
            why = (305, f"formats are {' '.join(media.formats)[:60]!r}; expected one of {wanted}")
        elif not host:
            why = (301, f"host {media.host[:60]!r} has no address; expected a name that resolves, or an address")
        elif not (is_unicast(host) or is_unspecified(host) or _is_name(host)):
            why = (301, f"address is {host[:60]!r}; expected that of one host")
        elif media.port < MIN_PORT:
            why = (399, f"port is {media.port}; expected one from {MIN_PORT} to 65535")
        else:
            return _chosen(index, media, host, *found, crypto)
    if again and why[0] == 304 and any(media.kind == "audio" for media in session.media):
        return SWITCHED_OFF
    code, text = why
    raise Refusal(488, f"No stream to play to: {text}", ("Warning", f'{code} moh "{_quotable(text)}"'))


def _is_name(host: str) -> bool:
    """Whether ``host`` may be a host name: a letter is in it, and nothing that is not in names."""
    return len(host) < 254 and NAME.issuperset(host) and any(char.isalpha() for char in host) and host[0] not in "-."


def _first_crypto(media: MediaDescription) -> Optional[Crypto]:
    """The first key line that we can do: a suite of ours, no session parameters that change what is sent."""
    for line in media.crypto:
        tag, *rest = line.split() or [""]
        if len(rest) == 2 and tag.isascii() and tag.isdigit() and len(tag) < 10 and rest[0].upper() in SUITES:
            return Crypto(tag, rest[0].upper())
    return None


def _quotable(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', "'")


def _first_format(media: MediaDescription, codecs: Sequence[Codec]) -> Optional[tuple[Codec, int]]:
    for text in media.formats:
        payload_type = number(text, 127)
        if payload_type is not None and (codec := _known(media.rtpmap.get(text, ""), payload_type, codecs)):
            return codec, payload_type
    return None


def _chosen(
    index: int, media: MediaDescription, host: str, codec: Codec, payload_type: int, crypto: Optional[Crypto]
) -> Choice:
    ptime = min(max(media.ptime, MIN_PTIME), MAX_PTIME) if media.ptime else PTIME
    if media.maxptime:
        ptime = max(min(ptime, media.maxptime), MIN_PTIME)
    ptime -= ptime % STEP
    held = media.direction in ("inactive", "sendonly") or is_unspecified(host)
    address = literal(host)
    remote = Address(str(address or host), media.port)
    # a=rtcp (RFC 3605) is followed only where RTP would be sent as well
    rtcp_host = str(literal(media.rtcp_host)) if is_unicast(media.rtcp_host) else remote.host
    rtcp_port = media.rtcp_port if media.rtcp_port >= MIN_PORT else min(media.port + 1, 65535)
    return Choice(
        index,
        remote,
        Address(rtcp_host, rtcp_port),
        codec,
        payload_type,
        codec.fitting_ptime(ptime),
        "inactive" if held else "sendonly",
        crypto,
        "" if address else host,
    )


@dataclass(frozen=True)
class Side:
    """What we say of our own side: where RTP and RTCP leave from, and the key of what we send by SRTP, in base64."""

    local: Address
    rtcp_port: int
    srtp_key: str = ""


def write_answer(offer: SessionDescription, choice: Choice, ours: Side, session_id: int, version: int) -> bytes:
    """Write the answer: each m= line of the offer in its place, that of ``ours``, others with port 0 (RFC 3264 §6).

    ``version`` counts the changes of what we have said in this session (§8). The key is told where the choice is SRTP.
    """
    lines = _preamble(ours.local.host, session_id, version, offer.times or ["0 0"])
    for index, media in enumerate(offer.media):
        if index == choice.index:
            lines += _stream(ours, media.protocol, choice)
        else:
            # one format is enough for a stream that is refused (§6), and bounds what a long offer makes us send
            lines.append(f"m={media.kind} 0 {media.protocol} {media.formats[0]}")
    return _joined(lines)


def write_offer(ours: Side, session_id: int, version: int, codecs: Sequence[Codec] = CODECS) -> bytes:
    """Write an offer of our own, for an INVITE without one: all codecs each time (RFC 7088 §4.1), and we only send."""
    lines = _preamble(ours.local.host, session_id, version, ["0 0"])
    lines.append(f"m=audio {ours.local.port} RTP/AVP {' '.join(str(codec.offered_type) for codec in codecs)}")
    lines += [f"a=rtpmap:{codec.offered_type} {codec.encoding}" for codec in codecs]
    return _joined([*lines, *_rtcp(ours), f"a=ptime:{PTIME}", "a=sendonly"])


def _preamble(host: str, session_id: int, version: int, times: Sequence[str]) -> list[str]:
    family = f"IN IP{6 if ':' in host else 4} {host}"
    return ["v=0", f"o=- {session_id} {version} {family}", "s=-", f"c={family}", *(f"t={time}" for time in times)]


def _rtcp(ours: Side) -> list[str]:
    """Where our RTCP is, if not on the port above (RFC 3605 §2.1)."""
    return [] if ours.rtcp_port == ours.local.port + 1 else [f"a=rtcp:{ours.rtcp_port}"]


def _stream(ours: Side, protocol: str, choice: Choice) -> list[str]:
    codec, number = choice.codec, choice.payload_type
    lines = [
        f"m=audio {ours.local.port} {protocol} {number}",
        f"a=rtpmap:{number} {codec.encoding}",
        *_rtcp(ours),
        f"a=ptime:{choice.ptime}",
        f"a={choice.direction}",
    ]
    if choice.crypto is not None:
        lines.append(f"a=crypto:{choice.crypto.tag} {choice.crypto.suite} inline:{ours.srtp_key}")
    return lines


def _joined(lines: list[str]) -> bytes:
    return ("\r\n".join(lines) + "\r\n").encode("utf-8", "surrogateescape")
