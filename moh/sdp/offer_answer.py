"""Offer and answer: which stream of an offer gets the music, and in which format (RFC 3264 §6, §8).

The first audio stream that can be played to is chosen; the answer refuses all others with port 0. The law kept here:
the SDP alone says where the music goes, a stream's own lines before those of the session, and never the source of the
SIP message (RFC 7088 §2.1).
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
"""Milliseconds of sound in a packet: the default (RFC 3551 §4.2), and the range that an offer can ask for.

Rounded down to a multiple of ``STEP``. ``MediaSession`` allows fewer lengths to calls that share their port.
"""
MIN_PORT = 1024
"""The lowest port that music is sent to; the ports below belong to services."""
PLAIN = ("RTP/AVP", "RTP/AVPF")
SECURE = ("RTP/SAVP", "RTP/SAVPF")
SUITES = ("AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32")
"""The SRTP suites (RFC 4568 §6.2) that ffmpeg supports."""
NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")
NO_NAMES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Crypto:
    """The ``a=crypto`` line that is accepted: its tag, which the answer repeats, and its suite (RFC 4568 §5.1)."""

    tag: str
    suite: str


@dataclass(frozen=True)
class Choice:
    """The chosen stream of an offer, and how the answer describes it.

    ``index`` counts the m= lines of the offer. ``direction`` is the one in the answer, ``sendonly`` or ``inactive``.
    ``crypto`` is set for SRTP. ``name`` is the host name in c= while its address is not known; ``remote`` may be used
    only when ``name`` is empty.
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
        """Whether the phone wants music now."""
        return self.direction == "sendonly"


def _known(encoding: str, payload_type: int, codecs: Sequence[Codec]) -> Optional[Codec]:
    """The supported codec of a format: by its rtpmap, or without one by its static payload type (RFC 3551 §6)."""
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
"""The choice for a re-offer that removes its audio stream by port 0; no m= line is accepted (RFC 3264 §8.2)."""


def choose(
    session: SessionDescription,
    codecs: Sequence[Codec] = CODECS,
    names: Mapping[str, str] = NO_NAMES,
    reoffer: bool = False,
    srtp: bool = True,
) -> Choice:
    """Choose the first audio stream, RTP or SRTP, that has a supported codec; its formats in the offer's order.

    ``names`` maps host names to their addresses; a name without an address has an empty one. ``reoffer`` says that the
    call had an offer before, so that this one may remove the stream by port 0. Without ``srtp`` SRTP streams are
    skipped. Raises ``Refusal`` 488 with a Warning (RFC 3261 §20.43) that says why the last audio stream does not fit.
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
            why = (399, f"no supported a=crypto; expected one of {', '.join(SUITES)}")
        elif secure and not srtp:
            why = (399, "no exclusive port is left for SRTP; expected RTP/AVP")
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
    if reoffer and why[0] == 304 and any(media.kind == "audio" for media in session.media):
        return SWITCHED_OFF
    code, text = why
    raise Refusal(488, f"No stream to play to: {text}", ("Warning", f'{code} moh "{_quotable(text)}"'))


def _is_name(host: str) -> bool:
    """Whether ``host`` may be a host name: with a letter, and only with characters that host names have."""
    return (
        len(host) < 254
        and NAME_CHARACTERS.issuperset(host)
        and any(char.isalpha() for char in host)
        and host[0] not in "-."
    )


def _first_crypto(media: MediaDescription) -> Optional[Crypto]:
    """The first usable ``a=crypto`` line: with a supported suite, and without session parameters."""
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
    # a=rtcp (RFC 3605) is followed only to an address and port that RTP could be sent to as well
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
