"""Kinds of IP addresses."""

from __future__ import annotations

from typing import Optional

import pytest

from moh.common.addresses import is_loopback, is_private, is_unicast, is_unspecified, literal, networks, within


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[0000:0000:0000:0000:0000:ffff:192.000.002.001]", None),  # no leading zeros, but not too long either
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
def test_a_unicast_address_is_that_of_one_host(host: str, unicast: bool) -> None:
    assert is_unicast(host) is unicast


def test_loopback_is_recognised_in_both_families() -> None:
    hosts = ("127.0.0.2", "::1", "::ffff:127.0.0.1", "10.0.0.1", "localhost")
    assert [host for host in hosts if is_loopback(host)] == ["127.0.0.2", "::1", "::ffff:127.0.0.1"]


def test_the_hold_of_rfc_2543_is_recognised_in_both_families() -> None:
    hosts = ("0.0.0.0", "::", "::ffff:0.0.0.0", "0.0.0.1", "")
    assert [host for host in hosts if is_unspecified(host)] == ["0.0.0.0", "::", "::ffff:0.0.0.0"]


@pytest.mark.parametrize("written", ["192.168.0.0/16", "::ffff:192.168.0.0/112", "::FFFF:c0a8:0/112", "::ffff:0:0/96"])
@pytest.mark.parametrize("host", ["192.168.7.9", "::ffff:192.168.7.9"])
def test_an_ipv4_network_contains_its_hosts_in_any_notation(written: str, host: str) -> None:
    assert within(host, networks(f"2001:db8::/32, {written}"))
    assert not within("2001:db9::1", networks(written)) and not within("::192.168.7.9", networks(written))
