"""Addresses in the form of the kernel, and system calls that the C library lacks."""

from __future__ import annotations

import socket

import pytest

from moh.common.actions import Address
from moh.net.mmsg import IPV4_NAME, NAME, packed, system_call, unpacked


@pytest.mark.parametrize(
    ("host", "family", "octets"),
    [
        ("192.0.2.1", socket.AF_INET, IPV4_NAME),
        ("192.0.2.1", socket.AF_INET6, NAME),
        ("2001:db8::1", socket.AF_INET6, NAME),
    ],
)
def test_an_address_is_written_for_the_kernel_and_read_back(
    host: str, family: socket.AddressFamily, octets: int
) -> None:
    name = packed(Address(host, 4000), family)
    assert len(name) == octets
    assert unpacked(name, family) == Address(host, 4000)


def test_a_sockaddr_is_laid_out_as_in_c() -> None:
    family = int(socket.AF_INET).to_bytes(2, "little" if socket.ntohs(1) != 1 else "big")
    assert packed(Address("192.0.2.1", 0x1234), socket.AF_INET) == family + b"\x12\x34\xc0\0\2\1" + bytes(8)


def test_a_system_call_that_the_c_library_lacks_is_an_error_in_one_line() -> None:
    with pytest.raises(ImportError, match=r"^the C library has no recvmmmsg; expected that of Linux$"):
        system_call("recvmmmsg")
