"""RTCP packets of our own making (RFC 3550 §6); ffmpeg makes the sender reports."""

from __future__ import annotations

import struct

RECEIVER_REPORT, DESCRIPTION, GOODBYE = 201, 202, 203
CNAME = 1


def goodbye(ssrc: int, cname: str) -> bytes:
    """The compound packet that takes leave for ``ssrc``: an empty report, the CNAME, BYE (§6.1, §6.5, §6.6).

    ``cname`` is at most 255 octets long.
    """
    name = cname.encode()
    item = struct.pack("!IBB", ssrc, CNAME, len(name)) + name + b"\0"
    item += bytes(-len(item) % 4)
    return b"".join(
        (
            struct.pack("!BBHI", 0x80, RECEIVER_REPORT, 1, ssrc),
            struct.pack("!BBH", 0x81, DESCRIPTION, len(item) // 4) + item,
            struct.pack("!BBHI", 0x81, GOODBYE, 1, ssrc),
        )
    )
