"""One system call reads many datagrams. End to end: real sockets on loopback."""

from __future__ import annotations

import socket

import pytest

from moh.common.actions import Address, Flow
from moh.net.recvmmsg import MOST_READ, Datagram, DatagramReader
from moh.net.sockets import ask_for_local_address


def server_socket(family: socket.AddressFamily, host: str) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    ask_for_local_address(sock)
    sock.setblocking(False)
    sock.bind((host, 0))
    return sock


def came(data: bytes, sock: socket.socket, local: str, phone: socket.socket) -> Datagram:
    """The datagram that ``phone`` sent to the address ``local`` of ``sock``."""
    return Datagram(data, Flow(Address(*phone.getsockname()[:2]), Address(local, sock.getsockname()[1])))


def test_all_waiting_datagrams_come_in_order_with_both_addresses() -> None:
    with (
        server_socket(socket.AF_INET, "0.0.0.0") as sock,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone,
    ):
        phone.bind(("127.0.0.9", 0))
        reader = DatagramReader(sock, 65535, "0.0.0.0")
        assert reader.read() == []
        for turn in range(3):  # in later turns, nothing of an earlier turn may be left in the structures
            sent = [b"%d" % number * (1 + number * turn) for number in range(5)]
            for data in sent:
                phone.sendto(data, ("127.0.0.2", sock.getsockname()[1]))
            assert reader.read() == [came(data, sock, "127.0.0.2", phone) for data in sent]
        assert reader.read() == []


def test_one_read_takes_as_many_as_there_are_slots_and_the_longest_datagram_is_whole() -> None:
    with (
        server_socket(socket.AF_INET, "127.0.0.1") as sock,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone,
    ):
        reader = DatagramReader(sock, 65535, "127.0.0.1")
        for _ in range(MOST_READ + 1):
            phone.sendto(b"", sock.getsockname())
        assert [len(reader.read()) for _ in range(3)] == [MOST_READ, 1, 0]
        phone.sendto(bytes(65507), sock.getsockname())
        (longest,) = reader.read(now=7.5)
        assert (len(longest.data), longest.arrived) == (65507, 7.5)


def test_a_socket_of_both_ip_versions_reports_ipv4_addresses_plainly() -> None:
    try:
        sock = server_socket(socket.AF_INET6, "::")
    except OSError:
        pytest.skip("needs IPv6")
    with sock, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.bind(("127.0.0.9", 0))
        reader = DatagramReader(sock, 65535, "::")
        phone.sendto(b"a", ("127.0.0.2", sock.getsockname()[1]))
        assert reader.read() == [came(b"a", sock, "127.0.0.2", phone)]
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as other:
            other.bind(("::1", 0))
            other.sendto(b"b", ("::1", sock.getsockname()[1]))
            assert reader.read() == [came(b"b", sock, "::1", other)]


def test_the_addresses_of_a_flood_of_sources_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moh.net.recvmmsg.MOST_FLOWS", 2)
    with server_socket(socket.AF_INET, "127.0.0.1") as sock:
        reader = DatagramReader(sock, 65535, "127.0.0.1")
        for _ in range(5):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
                phone.bind(("127.0.0.1", 0))
                phone.sendto(b"", sock.getsockname())
                assert reader.read() == [came(b"", sock, "127.0.0.1", phone)]
            assert len(reader._flows) <= 2
