"""Capture files (pcapng) of datagrams: the blocks of the file, and IP packets with their headers.

Wireshark, tshark, sngrep and all that use libpcap read them. The link type is RAW: a packet begins with its IP header,
and no hardware address has to be invented.
"""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

from ..common.actions import Address

MAGIC = 0x0A0D0D0A
"""The number with which each capture file of this form begins."""
LINKTYPE_RAW = 101
SECTION, INTERFACE, PACKET = MAGIC, 1, 6  # types of blocks
COMMENT, END, PROGRAM, NAME, FLAGS = 1, 0, 4, 2, 2  # options; the last two belong to interfaces and packets
INBOUND, OUTBOUND = 1, 2
LONGEST_PACKET = 1 << 18
UDP = socket.IPPROTO_UDP
MOST_OCTETS = 65535 - 20 - 8
"""Octets that a datagram holds at most; a longer message, which only TCP and TLS can bring, is cut."""
MAPPED = bytes(10) + b"\xff\xff"
"""How an IPv6 address that stands for an IPv4 address begins."""


class Captured(NamedTuple):
    """A message on its way."""

    at: int
    """When it was read or sent: nanoseconds since 1970 (UTC)."""
    data: bytes
    source: Address
    to: Address
    inbound: bool
    comment: str


def file_header(program: str) -> bytes:
    """The beginning of a file: a section and its only interface."""
    section = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + _option(PROGRAM, program.encode()) + _option(END)
    interface = struct.pack("<HHI", LINKTYPE_RAW, 0, LONGEST_PACKET) + _option(NAME, b"moh") + _option(END)
    return _block(SECTION, section) + _block(INTERFACE, interface)


def packet_block(captured: Captured) -> bytes:
    """A message as a block of the file."""
    packet = ip_packet(captured.source, captured.to, captured.data[:MOST_OCTETS])
    microseconds = captured.at // 1000
    head = struct.pack("<IIIII", 0, microseconds >> 32, microseconds & 0xFFFFFFFF, len(packet), len(packet))
    flags = struct.pack("<I", INBOUND if captured.inbound else OUTBOUND)
    options = _option(COMMENT, captured.comment.encode("utf-8", "replace")) + _option(FLAGS, flags) + _option(END)
    return _block(PACKET, head + _padded(packet) + options)


def ip_packet(source: Address, to: Address, data: bytes) -> bytes:
    """The IP packet with a datagram, as it would be on the wire."""
    ends = [_packed(source.host), _packed(to.host)]
    if len(ends[0]) != len(ends[1]):
        ends = [MAPPED + each if len(each) == 4 else each for each in ends]
    addresses, length = b"".join(ends), 8 + len(data)
    udp = struct.pack("!HHHH", source.port, to.port, length, 0)
    pseudo_header = addresses + struct.pack("!II", length, UDP)
    udp = udp[:6] + struct.pack("!H", checksum(pseudo_header + udp + data) or 0xFFFF) + data
    if len(ends[0]) == 16:
        return struct.pack("!IHBB", 6 << 28, length, UDP, 64) + addresses + udp
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0x4000, 64, UDP, 0)
    return head[:10] + struct.pack("!H", checksum(head + addresses)) + addresses + udp


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071): the complement of the sum of all 16-bit words, where a carry is added again.

    A number and the sum of its 16-bit digits have the same remainder by 65535.
    """
    total = int.from_bytes(data + b"\0" if len(data) % 2 else data, "big")
    return (0xFFFF - total % 0xFFFF) % 0xFFFF


def _packed(host: str) -> bytes:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.inet_pton(family, host.partition("%")[0])


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length


def _option(code: int, value: bytes = b"") -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _padded(octets: bytes) -> bytes:
    return octets + bytes(-len(octets) % 4)
