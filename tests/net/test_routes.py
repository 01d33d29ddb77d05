"""Addresses of this machine and its neighbours. End to end: real sockets on loopback."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from moh.net.routes import has_port, is_ours, local_address_towards, neighbours, way_out


def test_an_address_belongs_to_this_machine_or_not() -> None:
    assert is_ours("127.0.0.1")
    assert not is_ours("192.0.2.77")


def test_the_route_to_loopback_leaves_from_loopback_and_a_broadcast_address_has_none() -> None:
    assert local_address_towards("127.0.0.9") == "127.0.0.1"
    assert local_address_towards("255.255.255.255") == ""


def test_a_port_is_free_if_the_next_one_is_free_as_well() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other_program:
        other_program.bind(("127.0.0.77", 0))
        port = other_program.getsockname()[1]
        assert not has_port("127.0.0.77", port)
        assert not has_port("127.0.0.77", port - 1)
        assert has_port("127.0.0.78", port)


@pytest.mark.parametrize(
    ("local", "remote", "leaves_from"),
    [
        ("127.0.0.2", "127.0.0.9", "127.0.0.2"),
        ("127.0.0.2", "192.0.2.9", ""),
        ("127.0.0.2", "::1", ""),
        ("192.0.2.1", "192.0.2.9", ""),
    ],
)
def test_media_leaves_from_the_address_in_the_sdp_if_that_is_possible(
    local: str, remote: str, leaves_from: str
) -> None:
    assert way_out(local, remote) == leaves_from


ARP = """\
IP address       HW type     Flags       HW address            Mask     Device
192.168.1.20     0x1         0x2         52:54:00:12:34:56     *        eth0
192.168.1.20     0x1         0x0         00:00:00:00:00:00     *        wlan0
192.168.1.21     0x1         0x0         00:00:00:00:00:00     *        wlan0
192.168.1.21     0x1         0x6         52:54:00:12:34:57     *        eth0
192.168.1.22     0x1         0x0         00:00:00:00:00:00     *        eth0
"""


def test_a_host_that_answers_arp_on_one_interface_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda path, encoding: {"/proc/net/arp": ARP}[str(path)])
    assert neighbours() == {"192.168.1.20": True, "192.168.1.21": True, "192.168.1.22": False}
