"""Kinds of IP addresses."""

from __future__ import annotations

from typing import Optional

import pytest

from moh.common import addresses
from moh.common.addresses import (
    is_loopback,
    is_private,
    is_public,
    is_unicast,
    is_unspecified,
    lenient_literal,
    literal,
    networks,
    within,
)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[0000:0000:0000:0000:0000:ffff:192.000.002.001]", None),  # leading zeros, but a valid length
        ("[0000:0000:0000:0000:0000:ffff:255.255.255.255]", "255.255.255.255"),
        ("pbx.example.com", None),
        ("", None),
        ("[]", None),
        ("192.0.2", None),
        ("192.0.2.256", None),
        ("192.0.2.1 ", None),
        ("192.0.2.٣", None),
        ("3221225985", None),
        ("fe80::1%eth0", None),
        ("fe80::1%]:9?x=\r\n", None),
        ("\0", None),
        ("1" * 60000, None),
    ],
)
def test_only_a_literal_is_an_address(host: str, address: Optional[str]) -> None:
    found = literal(host)
    assert (None if found is None else str(found)) == address


@pytest.mark.parametrize(
    ("host", "private"),
    [
        ("10.255.255.255", True),
        ("172.16.0.1", True),
        ("172.32.0.1", False),
        ("192.168.178.22", True),
        ("127.0.0.1", True),
        ("169.254.1.1", True),
        ("::ffff:10.0.0.1", True),
        ("fd00::1", True),
        ("fe80::1", True),
        ("::1", True),
        ("100.64.0.1", False),
        ("192.0.2.1", False),
        ("203.0.113.20", False),
        ("2001:db8::1", False),
        ("pbx.lan", False),
    ],
)
def test_a_private_address_is_one_that_no_source_on_the_internet_has(host: str, private: bool) -> None:
    assert is_private(host) is private


@pytest.mark.parametrize(
    ("host", "unicast"),
    [
        ("192.0.2.1", True),
        ("127.0.0.1", True),
        ("2001:db8::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("0.0.0.1", False),
        ("224.0.1.75", False),
        ("239.255.255.255", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("ff02::1", False),
        ("::ffff:224.0.0.1", False),
        ("::ffff:255.255.255.255", False),
        ("pbx.lan", False),
        ("", False),
    ],
)
def test_a_unicast_address_belongs_to_one_host(host: str, unicast: bool) -> None:
    assert is_unicast(host) is unicast


def test_loopback_is_recognised_in_both_families() -> None:
    hosts = ("127.0.0.2", "[127.0.0.2]", "::1", "::ffff:127.0.0.1", "10.0.0.1", "[10.0.0.1]", "localhost")
    assert [host for host in hosts if is_loopback(host)] == [*hosts[:4]]


def test_a_flood_of_public_addresses_costs_no_parsing() -> None:
    parsed = addresses._kind.cache_info().misses
    hosts = [f"203.0.{third}.{last}" for third in range(4) for last in range(100)]
    assert not any(is_private(host) or is_loopback(host) for host in hosts)
    assert addresses._kind.cache_info().misses == parsed


def test_the_hold_of_rfc_2543_is_recognised_in_both_families() -> None:
    hosts = ("0.0.0.0", "::", "::ffff:0.0.0.0", "0.0.0.1", "")
    assert [host for host in hosts if is_unspecified(host)] == ["0.0.0.0", "::", "::ffff:0.0.0.0"]


@pytest.mark.parametrize("written", ["192.168.0.0/16", "::ffff:192.168.0.0/112", "::FFFF:c0a8:0/112", "::ffff:0:0/96"])
@pytest.mark.parametrize("host", ["192.168.7.9", "::ffff:192.168.7.9"])
def test_an_ipv4_network_contains_its_hosts_in_any_notation(written: str, host: str) -> None:
    assert within(host, networks(f"2001:db8::/32, {written}"))
    assert not within("2001:db9::1", networks(written)) and not within("::192.168.7.9", networks(written))


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("203.0.113.20", True),
        ("2001:db8::1", True),
        ("10.77.0.9", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.9", False),  # shared, RFC 6598
        ("192.0.0.9", False),  # a protocol of the network that a host is in, RFC 6890
        ("224.0.1.75", False),
        ("255.255.255.255", False),
        ("0.0.0.0", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("fec0::1", False),  # site-local, RFC 3879
        ("::ffff:10.77.0.9", False),  # IPv4-mapped
        ("::ffff:203.0.113.20", True),
        ("::10.77.0.9", False),  # IPv4-compatible
        ("::203.0.113.20", True),
        ("::ffff:0:10.77.0.9", False),  # IPv4-translated, RFC 2765
        ("::ffff:0:203.0.113.20", True),
        ("64:ff9b::10.77.0.9", False),  # NAT64, RFC 6052
        ("64:ff9b::203.0.113.20", True),
        ("64:ff9b::224.0.1.75", False),
        ("64:ff9b:1::203.0.113.20", False),  # a network's own NAT64, RFC 8215
        ("2002:a4d:9::1", False),  # 6to4 of 10.77.0.9
        ("2002:cb00:7114::1", True),  # 6to4 of 203.0.113.20
        ("2001:0:cb00:7114:0:fbff:f5b2:fff6", False),  # Teredo of the client 10.77.0.9
        ("2001:0:a4d:9:0:fbff:34ff:8eeb", False),  # Teredo of the server 10.77.0.9
        ("2001:0:cb00:7114:0:fbff:34ff:8eeb", True),
        ("2001:db8::5efe:10.77.0.9", False),  # ISATAP, RFC 5214
        ("2001:db8::200:5efe:10.77.0.9", False),
        ("2001:db8::200:5efe:203.0.113.20", True),
        ("fe80::1%eth0", False),
        ("pbx.lan", False),
        ("", False),
        ("1" * 60000, False),
    ],
)
def test_a_public_address_leads_into_no_network(host: str, public: bool) -> None:
    assert is_public(host) is public


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("10.77.0.9", "10.77.0.9"),
        ("0x0a4d0009", "10.77.0.9"),
        ("0X0A4D0009", "10.77.0.9"),
        ("0xa.0x4d.0x0.0x9", "10.77.0.9"),
        ("0xa.77.011", "10.77.0.9"),
        ("012.0115.0.011", "10.77.0.9"),
        ("10.77.9", "10.77.0.9"),
        ("10.5046281", "10.77.0.9"),
        ("172818441", "10.77.0.9"),
        ("127.1", "127.0.0.1"),
        ("0", "0.0.0.0"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]", "fe80::1"),
        ("::ffff:10.77.0.9%1", "10.77.0.9"),
        ("10.77.0.9.", ""),
        ("0x", ""),
        ("0x100000000", ""),
        ("4294967296", ""),
        ("256.1", ""),
        ("10.77.65536", ""),
        ("08.1.1.1", ""),
        ("1.2.3.4.5", ""),
        ("1..2", ""),
        ("\u0661.2.3.4", ""),
        ("0xcafe.example", ""),
        ("pbx.lan", ""),
        ("", ""),
        ("1" * 60000, ""),
    ],
)
def test_what_a_program_that_is_not_strict_takes_for_an_address(text: str, meant: str) -> None:
    assert lenient_literal(text) == meant
