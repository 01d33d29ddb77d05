"""Reads capture files (pcapng) of the trace, by the document of their form and not by the code that writes them."""

from __future__ import annotations

import ipaddress
import struct
from pathlib import Path
from typing import NamedTuple


class Packet(NamedTuple):
    """A packet of a file. ``options`` are its options by their numbers."""

    microseconds: int
    source: tuple[str, int]
    to: tuple[str, int]
    data: bytes
    options: dict[int, bytes]


def blocks(octets: bytes) -> list[tuple[int, bytes]]:
    """The blocks of a file: type and body. Fails where a block is not whole."""
    found = []
    while octets:
        kind, length = struct.unpack_from("<II", octets)
        assert length % 4 == 0 and 12 <= length <= len(octets), "a block is cut off"
        assert struct.unpack_from("<I", octets, length - 4) == (length,)
        found.append((kind, octets[8 : length - 4]))
        octets = octets[length:]
    return found


def options(octets: bytes) -> dict[int, bytes]:
    """The options at the end of a block."""
    found = {}
    while octets:
        code, length = struct.unpack_from("<HH", octets)
        if not code:
            break
        found[code] = octets[4 : 4 + length]
        octets = octets[4 + length + -length % 4 :]
    return found


def packets(path: Path) -> list[Packet]:
    """The packets of the file ``path``."""
    (section, head), (interface, described), *rest = blocks(path.read_bytes())
    assert section == 0x0A0D0D0A and head[:4] == b"\x4d\x3c\x2b\x1a"
    assert interface == 1 and struct.unpack_from("<H", described) == (101,), "LINKTYPE_RAW"
    return [_packet(body) for kind, body in rest if kind == 6]


def _packet(body: bytes) -> Packet:
    number, high, low, length, original = struct.unpack_from("<IIIII", body)
    assert number == 0 and length == original
    octets = body[20 : 20 + length]
    source, to, data = read_ip(octets)
    return Packet(high << 32 | low, source, to, data, options(body[20 + length + -length % 4 :]))


def read_ip(octets: bytes) -> tuple[tuple[str, int], tuple[str, int], bytes]:
    """Source, destination and datagram of an IP packet. Fails where a length or a checksum is wrong."""
    if octets[0] >> 4 == 4:
        assert octets[0] == 0x45 and struct.unpack_from("!H", octets, 2) == (len(octets),) and octets[9] == 17
        assert word_sum(octets[:20]) == 0xFFFF
        hosts, udp = (octets[12:16], octets[16:20]), octets[20:]
    else:
        assert struct.unpack_from("!H", octets, 4) == (len(octets) - 40,) and octets[6] == 17
        hosts, udp = (octets[8:24], octets[24:40]), octets[40:]
    source_port, port, length, checksum = struct.unpack_from("!HHHH", udp)
    assert length == len(udp) and checksum != 0
    assert word_sum(b"".join(hosts) + struct.pack("!II", len(udp), 17) + udp) == 0xFFFF
    source, to = (str(ipaddress.ip_address(host)) for host in hosts)
    return (source, source_port), (to, port), udp[8:]


def word_sum(octets: bytes) -> int:
    """The sum of all 16-bit words with the carries added, as RFC 1071 describes it."""
    octets += bytes(len(octets) % 2)
    total = sum(octets[::2]) * 256 + sum(octets[1::2])
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total
