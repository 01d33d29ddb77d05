"""Offer and answer: which stream of an offer gets the music, and in which format (RFC 3264 §6, §8).

The first audio stream that can be played to is chosen or, without such a stream, the first that is on hold. The answer
refuses all other streams with port 0. The laws kept here: only the SDP says where the music goes, the lines of the
stream before the lines of the session, and never the source of the SIP message (RFC 7088 §2.1). An offer that wants no
music is not refused because of its address or port.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Optional, Union

from ..common.actions import Address
from ..common.addresses import LONGEST, is_unicast, is_unspecified, same_family, usual_text
from ..common.amounts import amount
from ..common.codecs import CODECS, OPUS, Codec
from ..common.errors import Refusal
from .description import UNREADABLE, MediaDescription, SessionDescription, number

PTIME, MIN_PTIME, MAX_PTIME, STEP = 20, 10, 120, 10
"""Milliseconds of sound in a packet: the default (RFC 3551 §4.2), and the range that an offer can ask for.

The length is rounded down to a multiple of ``STEP``. ``MediaSession`` allows fewer lengths to calls that share a port.
"""
MIN_PORT = 1024
"""The lowest port that music is sent to; the ports below belong to services."""
PLAIN = ("RTP/AVP", "RTP/AVPF")
SECURE = ("RTP/SAVP", "RTP/SAVPF")
SUITES = ("AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32")
"""The SRTP suites (RFC 4568 §6.2) that ffmpeg supports."""
DECLARATIVE = ("KDR=", "WSH=", "FEC_ORDER=", "FEC_KEY=", "-")
"""The beginnings of SRTP session parameters that need no answer (RFC 4568 §6.3): they say how the phone sends."""
NOWHERE = Address("0.0.0.0", 0)
"""The address of a stream that names no address, and to which nothing will be sent."""
NO_PAYLOAD_TYPE = -1
"""``Choice.payload_type`` of a stream on hold that has no supported format."""
NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")
NO_NAMES: Mapping[str, str] = MappingProxyType({})


class Crypto(NamedTuple):
    """The ``a=crypto`` line that is accepted: its tag, which the answer repeats, and its suite (RFC 4568 §5.1)."""

    tag: str
    suite: str


class Choice(NamedTuple):
    """The chosen stream of an offer, and how the answer describes it.

    ``place`` is the place of its m= line in the offer, from 0. ``direction`` is the answer's direction, ``sendonly`` or
    ``inactive``. ``crypto`` is set for SRTP. ``name`` is the host name in c= while its address is not known; ``remote``
    may be used only when ``name`` is empty and ``playing`` is true.
    """

    place: int
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


class Offer(NamedTuple):
    """A session description of the other side, and the stream of it that we choose."""

    session: SessionDescription
    choice: Choice


def _known(encoding: str, payload_type: int, codecs: Sequence[Codec]) -> Optional[Codec]:
    """The supported codec of a format: by its rtpmap or, without an rtpmap, by its static payload type (RFC 3551 §6).

    For a static payload type only the name in the rtpmap counts, because phones write various rates. For Opus the
    number of channels in the rtpmap does not count, because RFC 7587 has only one Opus.
    """
    by_number = None
    for codec in codecs:
        if codec.static_type == payload_type:
            by_number = codec
            break
    # only the first word of each piece counts
    name, rate, channels, *_ = [*((piece.split() or [""])[0] for piece in encoding.split("/")), "", "", ""]
    if not name or (by_number is not None and by_number.name.upper() == name.upper()):
        return by_number
    for codec in codecs:
        if codec.name.upper() == name.upper() and rate == str(codec.clock_rate):
            return codec if codec is OPUS or (channels or "1") == str(codec.channels) else None
    return None


SWITCHED_OFF = Choice(-1, NOWHERE, NOWHERE, CODECS[0], 0, PTIME, "inactive")
"""The choice for a re-offer that removes its audio stream by port 0; no m= line is accepted (RFC 3264 §8.2)."""


def choose(
    session: SessionDescription,
    codecs: Sequence[Codec] = CODECS,
    names: Mapping[str, str] = NO_NAMES,
    reoffer: bool = False,
    srtp: bool = True,
    permit: Callable[[Choice], Choice] = lambda choice: choice,
) -> Choice:
    """Choose the first audio stream, RTP or SRTP, that has a supported codec, and the first supported of its formats.

    ``names`` maps host names to their addresses; a name without an address has an empty one. ``reoffer`` says that the
    call had an offer before, so that this one may remove the stream by port 0. Without ``srtp`` SRTP streams are
    skipped. ``permit`` gets the choice of a stream that wants music; it returns the choice, perhaps changed, or raises
    ``Refusal``, and then the next stream is tried. Raises ``Refusal`` 488 with a Warning (RFC 3261 §20.43), or 400,
    that says why the last audio stream does not fit.
    """
    refused: Optional[Refusal] = None
    fault: Optional[Refusal] = None
    held: list[int] = []
    audio = [index for index, media in enumerate(session.media) if media.kind == "audio"]
    for index in audio:
        media = session.media[index]
        if media.port == 0:
            continue
        if _is_held(media):
            held.append(index)
            continue
        found = _playable(index, media, codecs, names, srtp)
        if isinstance(found, Choice):
            try:
                return permit(found)
            except Refusal as forbidden:
                found = forbidden.with_traceback(None)
        refused = found
        del found
    for index in held:
        fault = _protocol_fault(session.media[index], srtp or reoffer)
        if fault is None:
            return _on_hold(index, session.media[index], codecs)
        if not reoffer:
            refused = refused or fault
    if reoffer and refused is None and (audio or not any(media.port for media in session.media)):
        return SWITCHED_OFF
    why = f"no audio that is switched on in {amount(len(session.media), 'stream')}; expected one m=audio"
    refusal = refused or _no_stream(304, why)
    try:
        raise refusal
    finally:
        del refused, refusal, fault  # its traceback holds this frame: a reference cycle


def _is_held(media: MediaDescription) -> bool:
    """Whether the phone wants no music in a stream. ``000.000.000.000`` and ``0`` mean the unspecified address."""
    if media.direction in ("inactive", "sendonly") or is_unspecified(media.host):
        return True
    return 0 < len(media.host) <= LONGEST and not media.host.strip("0.:[]")


def _no_stream(code: int, why: str) -> Refusal:
    return Refusal(488, f"No stream to play to: {why}", ("Warning", f'{code} moh "{_quotable(why)}"'))


def _protocol_fault(media: MediaDescription, srtp: bool) -> Optional[Refusal]:
    """Why this server does not support the protocol of a stream; ``None`` where it does."""
    protocol = media.protocol.upper()
    if protocol in PLAIN:
        return None
    if protocol not in SECURE:
        return _no_stream(302, f"protocol is {media.protocol[:20]!r}; expected RTP/AVP or RTP/SAVP")
    if _first_crypto(media) is None:
        return _no_stream(399, f"no supported a=crypto; expected one of {', '.join(SUITES)}")
    if not srtp:
        return _no_stream(399, "no exclusive port is left for SRTP; expected RTP/AVP")
    return None


def _playable(
    index: int, media: MediaDescription, codecs: Sequence[Codec], names: Mapping[str, str], srtp: bool
) -> Union[Choice, Refusal]:
    """The choice of a stream that wants music, or why it cannot get any."""
    if media.port == UNREADABLE or not media.formats:
        return Refusal(400, f"SDP has m={media.line!r}; expected 'm=audio <port> RTP/AVP <formats>'")
    if fault := _protocol_fault(media, srtp):
        return fault
    if (found := _first_format(media, codecs)) is None:
        wanted = ", ".join(codec.name for codec in codecs)
        return _no_stream(305, f"formats are {' '.join(media.formats)[:60]!r}; expected one of {wanted}")
    if media.unreadable_connection:
        return Refusal(400, f"SDP has {media.unreadable_connection!r}; expected 'c=IN IP4 <address>'")
    host = names.get(media.host, media.host)
    if not host:
        return _no_stream(301, f"host {media.host[:60]!r} has no address; expected a name that resolves, or an address")
    if not (is_unicast(host) or _is_name(host)):
        return _no_stream(301, f"address is {host[:60]!r}; expected that of one host")
    if media.port < MIN_PORT:
        return _no_stream(399, f"port is {media.port}; expected one from {MIN_PORT} to 65535")
    codec, payload_type = found
    address = usual_text(host)
    remote = Address(address or host, media.port)
    return Choice(
        index,
        remote,
        _rtcp_address(media, remote),
        codec,
        payload_type,
        _ptime(media, codec),
        "sendonly",
        _first_crypto(media) if media.protocol.upper() in SECURE else None,
        "" if address else host,
    )


def _on_hold(index: int, media: MediaDescription, codecs: Sequence[Codec]) -> Choice:
    """The choice of a stream that wants no music: its address, port and formats do not matter (RFC 3264 §6.1)."""
    codec, payload_type = _first_format(media, codecs) or (CODECS[0], NO_PAYLOAD_TYPE)
    remote = Address(usual_text(media.host), max(media.port, 0)) if is_unicast(media.host) else NOWHERE
    crypto = _first_crypto(media) if media.protocol.upper() in SECURE else None
    return Choice(index, remote, remote, codec, payload_type, _ptime(media, codec), "inactive", crypto)


def rtcp_beside_rtp(choice: Choice) -> Choice:
    """``choice`` with RTCP at the port above that of RTP, whatever a=rtcp says."""
    return choice._replace(remote_rtcp=Address(choice.remote.host, _port_above(choice.remote)))


def _port_above(remote: Address) -> int:
    return min(remote.port + 1, 65535)


def _is_name(host: str) -> bool:
    """Whether ``host`` may be a host name: with a letter, and only with characters that host names have."""
    return (
        len(host) < 254
        and NAME_CHARACTERS.issuperset(host)
        and any(char.isalpha() for char in host)
        and host[0] not in "-."
    )


def _first_crypto(media: MediaDescription) -> Optional[Crypto]:
    """The first usable ``a=crypto`` line: with a supported suite, and without session parameters to negotiate."""
    for line in media.crypto:
        tag, suite, key, *parameters = [*line.split(), "", "", ""]
        usable = bool(key) and all(parameter.upper().startswith(DECLARATIVE) for parameter in parameters if parameter)
        if usable and tag.isascii() and tag.isdigit() and len(tag) < 10 and suite.upper() in SUITES:
            return Crypto(tag, suite.upper())
    return None


def _quotable(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', "'")


def _first_format(media: MediaDescription, codecs: Sequence[Codec]) -> Optional[tuple[Codec, int]]:
    for text in media.formats:
        payload_type = number(text, 127)
        if payload_type is not None and (codec := _known(media.rtpmap.get(text, ""), payload_type, codecs)):
            return codec, payload_type
    return None


def _ptime(media: MediaDescription, codec: Codec) -> int:
    """The milliseconds of sound in a packet that an offer asks for, as far as ``codec`` and this server allow them."""
    ptime = min(max(media.ptime, MIN_PTIME), MAX_PTIME) if media.ptime else PTIME
    if media.maxptime:
        ptime = max(min(ptime, media.maxptime), MIN_PTIME)
    return codec.fitting_ptime(ptime - ptime % STEP)


def _rtcp_address(media: MediaDescription, remote: Address) -> Address:
    """Where RTCP goes: ``a=rtcp`` (RFC 3605) is followed only to an address and port that could get RTP as well."""
    named = usual_text(media.rtcp_host) if is_unicast(media.rtcp_host) else ""
    host = named if named and same_family(named, remote.host) else remote.host
    return Address(host, media.rtcp_port if media.rtcp_port >= MIN_PORT else _port_above(remote))
