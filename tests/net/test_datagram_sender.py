"""One system call sends many datagrams. End to end: real sockets on loopback."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from moh.common.actions import Address
from moh.net.datagram_sender import FEW, MOST_AT_ONCE, MOST_SOURCES, DatagramSender, Outgoing


@pytest.fixture
def phone() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.bind(("127.0.0.1", 0))
        phone.settimeout(10)
        yield phone


def sender(family: socket.AddressFamily, host: str) -> tuple[socket.socket, DatagramSender]:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.setblocking(False)
    sock.bind((host, 0))
    return sock, DatagramSender(sock)


@pytest.mark.parametrize("count", [1, FEW, FEW + 1, MOST_AT_ONCE, 2 * MOST_AT_ONCE + 1])
def test_datagrams_leave_in_their_order_from_the_address_that_each_names(phone: socket.socket, count: int) -> None:
    sock, sends = sender(socket.AF_INET, "0.0.0.0")
    sources = ("127.0.0.2", "127.0.0.3", "")
    to = Address(*phone.getsockname())
    with sock:
        sent = [Outgoing(b"%d" % number * number, to, sources[number % 3] or "0.0.0.0") for number in range(count)]
        assert sends.send(sent) == []
        for datagram in sent:
            data, source = phone.recvfrom(65535)
            assert data == datagram.data
            assert source == (datagram.source if datagram.source != "0.0.0.0" else "127.0.0.1", sock.getsockname()[1])


def test_a_datagram_that_cannot_leave_keeps_no_other_from_leaving(phone: socket.socket) -> None:
    sock, sends = sender(socket.AF_INET, "127.0.0.1")
    to, broadcast = Address(*phone.getsockname()), Address("255.255.255.255", 9)
    with sock:
        lost, odd = Outgoing(b"2", broadcast, "127.0.0.1"), Outgoing(b"3", Address("::1", 9), "127.0.0.1")
        refused = sends.send([Outgoing(b"1", to, "127.0.0.1"), lost, odd, Outgoing(b"4", to, "127.0.0.1")])
    assert [datagram for datagram, _ in refused] == [odd, lost]
    assert dict(refused)[lost] == "Permission denied"
    assert [phone.recv(10), phone.recv(10)] == [b"1", b"4"]


def test_a_socket_of_both_ip_versions_sends_to_ipv4(phone: socket.socket) -> None:
    try:
        sock, sends = sender(socket.AF_INET6, "::")
    except OSError:
        pytest.skip("needs IPv6")
    with sock, socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as other:
        other.bind(("::1", 0))
        other.settimeout(10)
        to4, to6 = Address(*phone.getsockname()), Address(*other.getsockname()[:2])
        assert sends.send([Outgoing(b"4", to4, "127.0.0.9"), Outgoing(b"6", to6, "::1")]) == []
        assert phone.recvfrom(10) == (b"4", ("127.0.0.9", sock.getsockname()[1]))
        assert other.recv(10) == b"6"


def test_ancillary_data_of_many_local_addresses_takes_bounded_memory(phone: socket.socket) -> None:
    sock, sends = sender(socket.AF_INET, "0.0.0.0")
    with sock:
        for number in range(3 * MOST_SOURCES):
            assert sends.send([Outgoing(b"x", Address(*phone.getsockname()), f"127.0.1.{number}")]) == []
            assert phone.recvfrom(10)[1][0] == f"127.0.1.{number}"
            assert len(sends._controls) <= MOST_SOURCES
