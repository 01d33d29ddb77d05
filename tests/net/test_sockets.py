"""Addresses of this machine, with real sockets on loopback: an end-to-end test of one module."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from moh.common.actions import Address
from moh.net.sockets import (
    ask_for_local_address,
    destination,
    family_of,
    is_ours,
    leaving_from,
    local_address,
    local_address_towards,
    neighbours,
    plain,
)

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells and obeys the address of a datagram")


@linux
@pytest.mark.parametrize(("bound", "called"), [("0.0.0.0", "127.0.0.5"), ("::", "127.0.0.5"), ("::", "::1")])
def test_an_answer_leaves_from_the_address_that_was_called(bound: str, called: str) -> None:
    with (
        socket.socket(family_of(bound), socket.SOCK_DGRAM) as server,
        socket.socket(family_of(called), socket.SOCK_DGRAM) as phone,
    ):
        ask_for_local_address(server)
        server.bind((bound, 0))
        server.settimeout(5)
        phone.settimeout(5)
        phone.sendto(b"hello", (called, server.getsockname()[1]))
        _, ancillary, _, client = server.recvmsg(100, 256)
        local = local_address(ancillary, bound)
        assert local == called
        back = Address(plain(client[0]), client[1])
        server.sendmsg([b"there"], leaving_from(local, server.family), 0, destination(back, server.family))
        assert phone.recvfrom(100)[1][:2] == (called, server.getsockname()[1])


def test_an_address_is_ours_or_not() -> None:
    assert is_ours("127.0.0.1")
    assert not is_ours("192.0.2.77")


def test_the_way_to_loopback_is_loopback_and_to_nowhere_there_is_none() -> None:
    assert local_address_towards("127.0.0.9") == "127.0.0.1"
    assert local_address_towards("255.255.255.255") == ""


def test_a_mapped_address_is_plain_ipv4() -> None:
    assert plain("::ffff:192.0.2.1") == "192.0.2.1"
    assert plain("2001:db8::1") == "2001:db8::1"


ARP = """\
IP address       HW type     Flags       HW address            Mask     Device
192.168.1.20     0x1         0x2         52:54:00:12:34:56     *        eth0
192.168.1.20     0x1         0x0         00:00:00:00:00:00     *        wlan0
192.168.1.21     0x1         0x0         00:00:00:00:00:00     *        wlan0
192.168.1.21     0x1         0x6         52:54:00:12:34:57     *        eth0
192.168.1.22     0x1         0x0         00:00:00:00:00:00     *        eth0
"""


def test_who_answers_on_one_of_our_interfaces_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda path, encoding: {"/proc/net/arp": ARP}[str(path)])
    assert neighbours() == {"192.168.1.20": True, "192.168.1.21": True, "192.168.1.22": False}
