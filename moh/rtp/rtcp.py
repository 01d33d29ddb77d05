"""RTCP packets: those that the server sends itself, and what receivers report or end (RFC 3550 §6).

A call with an ffmpeg of its own has its sender reports from ffmpeg. A ``cname`` is at most 255 octets long.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

SENDER_REPORT, RECEIVER_REPORT, SOURCE_DESCRIPTION, BYE = 200, 201, 202, 203
PACKET_TYPES = range(192, 224)
"""The packet types of RTCP. In RTP the same octet holds marker and payload type, and no such value (RFC 5761 §4)."""
VERSION = 2
"""In the first two bits of each packet of RTP and of RTCP (RFC 3550 §5.1)."""
SHORTEST = 8
"""Octets of an empty receiver report (§6.4.2), the shortest packet that a receiver sends."""
CNAME = 1
REPORT_BLOCK = struct.Struct("!6I")
"""A report block (§6.4.1), with 8 bits of fraction lost and 24 bits of the packets lost in its second word."""
FIRST_BLOCK = {SENDER_REPORT: 28, RECEIVER_REPORT: 8}
"""By packet type: where its first report block begins."""
NTP_EPOCH = 2_208_988_800
"""Seconds from 1900, the epoch of NTP, to 1970 (RFC 5905 §6)."""


def cname_of(host: str) -> str:
    """The name by which a receiver recognises the sender at ``host``, whatever its SSRC (§6.5.1)."""
    return f"moh@{host}"


def empty_report(ssrc: int, cname: str) -> bytes:
    """The smallest compound packet (§6.1): an empty receiver report and the CNAME."""
    return struct.pack("!BBHI", 0x80, RECEIVER_REPORT, 1, ssrc) + source_description(ssrc, cname)


def sender_report(ssrc: int, clock: float, timestamp: int, packets: int, octets: int) -> bytes:
    """A sender report (§6.4.1): the sample of the RTP ``timestamp`` plays at ``clock``, in seconds since 1970.

    ``packets`` and ``octets`` count what has been sent; octets are those of the payload alone.
    """
    seconds = int(clock)
    fraction = int((clock - seconds) * (1 << 32))
    return struct.pack(
        "!BBHIIIIII", 0x80, SENDER_REPORT, 6, ssrc, (seconds + NTP_EPOCH) & 0xFFFFFFFF, fraction,
        timestamp & 0xFFFFFFFF, packets & 0xFFFFFFFF, octets & 0xFFFFFFFF,
    )  # fmt: skip


def source_description(ssrc: int, cname: str) -> bytes:
    """The SDES packet with the CNAME of a source (§6.5.1), which follows its report."""
    name = cname.encode()
    item = struct.pack("!IBB", ssrc, CNAME, len(name)) + name + b"\0"
    item += bytes(-len(item) % 4)
    return struct.pack("!BBH", 0x81, SOURCE_DESCRIPTION, len(item) // 4) + item


def bye(ssrc: int, cname: str) -> bytes:
    """The compound packet of a source that ends (§6.6) and has no report: an empty report, the CNAME, BYE."""
    return empty_report(ssrc, cname) + _bye(ssrc)


def report_and_bye(report: bytes, ssrc: int, cname: str) -> bytes:
    """The compound packet of a source that ends (§6.3.7), with its last sender ``report``, the CNAME and BYE."""
    return report + source_description(ssrc, cname) + _bye(ssrc)


class ReportBlock(NamedTuple):
    """What a receiver reports of the packets of one source (§6.4.1)."""

    ssrc: int
    fraction_lost: float
    """The part of the packets since the report before that was lost, from 0 to 1."""
    lost: int
    """The packets lost since the beginning; below 0 where packets came twice."""
    highest: int
    """The highest sequence number that came, with the number of its wraps in the upper 16 bits."""
    jitter: int
    """In units of the RTP timestamp."""


class Compound(NamedTuple):
    """What a received compound packet holds."""

    is_report: bool
    """Whether it holds a sender or receiver report."""
    blocks: list[ReportBlock]
    """The blocks of all its reports. A receiver that got no packet since its last report has none (§6.4)."""


def read_compound(data: bytes) -> Compound:
    """Read the reports of a compound packet. A block that is cut off, or longer than its packet, is left out."""
    is_report, blocks = False, []
    for packet, octets in _packets(data):
        start = FIRST_BLOCK.get(packet[1])
        if start is not None and start <= octets and len(packet) >= SHORTEST:
            is_report = True
            whole = min((len(packet) - start) // REPORT_BLOCK.size, packet[0] & 31)
            blocks += [_block(packet, start + number * REPORT_BLOCK.size) for number in range(whole)]
    return Compound(is_report, blocks)


def _packets(data: bytes) -> Iterator[tuple[bytes, int]]:
    """The packets of a compound packet, each with the length in octets that it states: the last may be cut off."""
    while len(data) >= 4 and data[0] >> 6 == VERSION:
        octets = 4 * (int.from_bytes(data[2:4], "big") + 1)
        yield data[:octets], octets
        data = data[octets:]


def _block(data: bytes, start: int) -> ReportBlock:
    ssrc, losses, highest, jitter, _, _ = REPORT_BLOCK.unpack_from(data, start)
    lost = losses & 0xFFFFFF
    return ReportBlock(ssrc, (losses >> 24) / 256, lost - (1 << 24 if lost >> 23 else 0), highest, jitter)


def has_bye(data: bytes) -> bool:
    """Whether a received compound packet contains BYE (§6.6); octets after the last whole packet are ignored."""
    return any(packet[1] == BYE for packet, _ in _packets(data))


def is_rtp_or_rtcp(data: bytes) -> bool:
    """Whether a received packet, or its first octets, is RTP or RTCP. STUN, DTLS and SIP are not (RFC 7983 §7)."""
    return len(data) >= SHORTEST and data[0] >> 6 == VERSION


def _bye(ssrc: int) -> bytes:
    return struct.pack("!BBHI", 0x81, BYE, 1, ssrc)
