"""RTCP packets as a receiver of music sends them (RFC 3550 §6.4). Standard library only, never ``moh``."""

from __future__ import annotations

import struct


def block(ssrc: int, fraction: int = 0, lost: int = 0, highest: int = 0, jitter: int = 0) -> bytes:
    """Return a report block about the source ``ssrc``. ``fraction`` counts 256ths; ``lost`` may be negative."""
    return struct.pack("!6I", ssrc, fraction << 24 | (lost & 0xFFFFFF), highest, jitter, 0, 0)


def receiver_report(*blocks: bytes, extension: bytes = b"") -> bytes:
    """Return a receiver report with ``blocks``."""
    body = struct.pack("!I", 99) + b"".join(blocks) + extension
    return struct.pack("!BBH", 0x80 | len(blocks), 201, len(body) // 4) + body


def sender_report_about(*blocks: bytes) -> bytes:
    """Return a sender report with ``blocks``."""
    body = struct.pack("!6I", 99, 1, 2, 3, 4, 5) + b"".join(blocks)
    return struct.pack("!BBH", 0x80 | len(blocks), 200, len(body) // 4) + body
