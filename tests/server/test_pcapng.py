"""Capture files: blocks, packets and checksums."""

from __future__ import annotations

import random
from ipaddress import IPv6Address

import pytest

from moh.common.actions import Address
from moh.server.pcapng import MOST_OCTETS, Captured, checksum, file_header, ip_packet, packet_block
from tests.support.capture import blocks, options, read_ip, word_sum

PHONE, SERVER = Address("192.168.1.50", 5062), Address("192.168.1.100", 5060)


@pytest.mark.parametrize(
    ("source", "to"),
    [
        (PHONE, SERVER),
        (Address("2001:db8::1", 5062), Address("2001:db8::2", 5060)),
        (Address("fe80::1%eth0", 1), Address("::1", 65535)),
    ],
)
@pytest.mark.parametrize("data", [b"", b"x", b"OPTIONS sip:a SIP/2.0\r\n\r\n", bytes(1471), b"\xff" * MOST_OCTETS])
def test_a_packet_has_its_addresses_and_right_checksums(source: Address, to: Address, data: bytes) -> None:
    read = read_ip(ip_packet(source, to, data))
    assert read == ((source.host.partition("%")[0], source.port), (to.host, to.port), data)


def test_an_ipv4_address_beside_an_ipv6_address_is_a_mapped_one() -> None:
    source, to, _ = read_ip(ip_packet(PHONE, Address("::", 5060), b"x"))
    assert (IPv6Address(source[0]), to[0]) == (IPv6Address("::ffff:192.168.1.50"), "::")


def test_a_checksum_of_zero_is_written_as_all_ones() -> None:
    """Zero would mean that there is none (RFC 768)."""
    numbers = random.Random(7)
    for _ in range(200_000):
        packet = ip_packet(PHONE, SERVER, numbers.randbytes(2))
        if packet[26:28] == b"\xff\xff":
            read_ip(packet)
            return
    raise AssertionError("no datagram has such a checksum")


def test_the_checksum_is_the_complement_of_the_sum_of_words() -> None:
    numbers = random.Random(7)
    for length in range(1, 200):
        octets = numbers.randbytes(length)
        assert (checksum(octets) + word_sum(octets)) % 0xFFFF == 0
    assert checksum(b"\xff\xff") == 0


def test_a_file_begins_with_a_section_and_one_interface() -> None:
    (section, head), (interface, described) = blocks(file_header("moh"))
    assert (section, interface) == (0x0A0D0D0A, 1)
    assert options(head[16:]) == {4: b"moh"} and options(described[8:]) == {2: b"moh"}


@pytest.mark.parametrize(("inbound", "flag"), [(True, 1), (False, 2)])
def test_a_packet_has_its_time_its_direction_and_a_comment(inbound: bool, flag: int) -> None:
    at = 1_790_000_000_123_456_789
    ((kind, body),) = blocks(packet_block(Captured(at, b"abc", PHONE, SERVER, inbound, "SIP by TLS")))
    assert kind == 6
    assert (int.from_bytes(body[4:8], "little") << 32) + int.from_bytes(body[8:12], "little") == 1_790_000_000_123_456
    assert options(body[20 + 32 :]) == {1: b"SIP by TLS", 2: bytes([flag, 0, 0, 0])}


def test_a_message_longer_than_a_datagram_is_cut() -> None:
    ((_, body),) = blocks(packet_block(Captured(0, bytes(70_000), PHONE, SERVER, True, "")))
    assert len(read_ip(body[20 : 20 + 65535])[2]) == MOST_OCTETS
