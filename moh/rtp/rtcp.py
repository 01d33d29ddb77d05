"""RTCP packets of our own making (RFC 3550 §6); of a call with an ffmpeg of its own that makes the sender reports."""

from __future__ import annotations

import struct

SENDER_REPORT, RECEIVER_REPORT, DESCRIPTION, GOODBYE = 200, 201, 202, 203
TYPES = range(192, 224)
"""Where RTP has marker and payload type, and none of that number (RFC 5761 §4)."""
CNAME = 1
NTP_EPOCH = 2_208_988_800
"""Seconds from 1900, where NTP begins to count, to 1970 (RFC 5905 §6)."""


def cname_of(host: str) -> str:
    """The name by which a receiver recognises the sender at ``host``, whatever its SSRC (§6.5.1)."""
    return f"moh@{host}"


def goodbye(ssrc: int, cname: str) -> bytes:
    """The compound packet that takes leave for ``ssrc``: an empty report, the CNAME, BYE (§6.1, §6.5, §6.6).

    ``cname`` is at most 255 octets long.
    """
    return hello(ssrc, cname) + _bye(ssrc)


def hello(ssrc: int, cname: str) -> bytes:
    """The least that may be said (§6.1): an empty report and the CNAME, which is at most 255 octets long."""
    return struct.pack("!BBHI", 0x80, RECEIVER_REPORT, 1, ssrc) + description(ssrc, cname)


def report(ssrc: int, clock: float, timestamp: int, packets: int, octets: int) -> bytes:
    """A sender report (§6.4.1): that the RTP ``timestamp`` is heard at ``clock``, in seconds since 1970.

    ``packets`` and ``octets``, those of payload alone, are how much has been sent.
    """
    seconds = int(clock)
    fraction = int((clock - seconds) * (1 << 32))
    return struct.pack(
        "!BBHIIIIII", 0x80, SENDER_REPORT, 6, ssrc, (seconds + NTP_EPOCH) & 0xFFFFFFFF, fraction,
        timestamp & 0xFFFFFFFF, packets & 0xFFFFFFFF, octets & 0xFFFFFFFF,
    )  # fmt: skip


def description(ssrc: int, cname: str) -> bytes:
    """Who sends (§6.5.1), to follow a report; ``cname`` is at most 255 octets long."""
    name = cname.encode()
    item = struct.pack("!IBB", ssrc, CNAME, len(name)) + name + b"\0"
    item += bytes(-len(item) % 4)
    return struct.pack("!BBH", 0x81, DESCRIPTION, len(item) // 4) + item


def takes_leave(data: bytes) -> bool:
    """Whether a BYE is in what came (§6.6); octets behind the last whole packet are left out."""
    while len(data) >= 4 and data[0] >> 6 == 2:
        if data[1] == GOODBYE:
            return True
        data = data[4 * (int.from_bytes(data[2:4], "big") + 1) :]
    return False


def farewell(last: bytes, ssrc: int, cname: str) -> bytes:
    """The compound packet with which a sender goes whose ``last`` report this is (§6.3.7)."""
    return last + description(ssrc, cname) + _bye(ssrc)


def _bye(ssrc: int) -> bytes:
    return struct.pack("!BBHI", 0x81, GOODBYE, 1, ssrc)
