"""Writes session descriptions: the answer to an offer, and the offer for an INVITE without one (RFC 3264, RFC 8866)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..common.actions import Address
from ..common.codecs import CODECS, Codec
from .description import MediaDescription, SessionDescription
from .offer_answer import NO_PAYLOAD_TYPE, PTIME, Choice


class Side(NamedTuple):
    """The server's side of a session: where RTP and RTCP leave from, and the SRTP key for what it sends, in base64."""

    local: Address
    rtcp_port: int
    srtp_key: str = ""


def write_answer(offer: SessionDescription, choice: Choice, side: Side, session_id: int, version: int) -> bytes:
    """Write the answer: the chosen m= line with ``side``, all others in their places with port 0 (RFC 3264 §6).

    ``version`` is that of the o= line, which counts the changes within a session (§8). The SRTP key is written only
    where the choice is SRTP.
    """
    lines = _preamble(side.local.host, session_id, version, offer.times or ["0 0"])
    for index, media in enumerate(offer.media):
        if index == choice.place:
            lines += _stream(side, media, choice)
        else:
            # one format is enough for a refused stream (§6), and bounds the answer to a long offer
            lines.append(f"m={media.kind or '-'} 0 {media.protocol or '-'} {_first_format(media)}")
    return _joined(lines)


def write_offer(
    side: Side, session_id: int, version: int, codecs: Sequence[Codec] = CODECS, direction: str = "sendonly"
) -> bytes:
    """Write an offer for an INVITE without one: all codecs, each time (RFC 7088 §4.1)."""
    lines = _preamble(side.local.host, session_id, version, ["0 0"])
    lines.append(f"m=audio {side.local.port} RTP/AVP {' '.join(str(codec.offered_type) for codec in codecs)}")
    lines += [f"a=rtpmap:{codec.offered_type} {codec.encoding}" for codec in codecs]
    return _joined([*lines, *_rtcp(side), f"a=ptime:{PTIME}", f"a={direction}"])


def _preamble(host: str, session_id: int, version: int, times: Sequence[str]) -> list[str]:
    family = f"IN IP{6 if ':' in host else 4} {host}"
    return ["v=0", f"o=- {session_id} {version} {family}", "s=-", f"c={family}", *(f"t={time}" for time in times)]


def _rtcp(side: Side) -> list[str]:
    """The ``a=rtcp`` line; none where RTCP is on the port above that of RTP (RFC 3605 §2.1)."""
    return [] if side.rtcp_port == side.local.port + 1 else [f"a=rtcp:{side.rtcp_port}"]


def _stream(side: Side, media: MediaDescription, choice: Choice) -> list[str]:
    codec, number = choice.codec, choice.payload_type
    known = number != NO_PAYLOAD_TYPE
    lines = [
        f"m=audio {side.local.port} {media.protocol} {number if known else _first_format(media)}",
        *([f"a=rtpmap:{number} {codec.encoding}"] if known else ()),
        *_rtcp(side),
        f"a=ptime:{choice.ptime}",
        f"a={choice.direction}",
    ]
    if choice.crypto is not None:
        lines.append(f"a=crypto:{choice.crypto.tag} {choice.crypto.suite} inline:{side.srtp_key}")
    return lines


def _first_format(media: MediaDescription) -> str:
    """The first format of an m= line; any one where it has none, because an m= line needs one (RFC 8866 §5.14)."""
    return media.formats[0] if media.formats else "0"


def _joined(lines: list[str]) -> bytes:
    return ("\r\n".join(lines) + "\r\n").encode("utf-8", "surrogateescape")
