"""One system call reads many datagrams. End to end: real sockets on loopback."""

from __future__ import annotations

import socket

import pytest

from moh.net.recvmmsg import MOST_READ, Datagram, DatagramReader
from moh.net.sockets import ask_for_local_address


def server_socket(family: socket.AddressFamily, host: str) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    ask_for_local_address(sock)
    sock.setblocking(False)
    sock.bind((host, 0))
    return sock


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
            assert reader.read() == [Datagram(data, "127.0.0.2", phone.getsockname()) for data in sent]
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
        assert len(reader.read()[0].data) == 65507


def test_a_socket_of_both_ip_versions_reports_ipv4_addresses_plainly() -> None:
    try:
        sock = server_socket(socket.AF_INET6, "::")
    except OSError:
        pytest.skip("needs IPv6")
    with sock, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.bind(("127.0.0.9", 0))
        reader = DatagramReader(sock, 65535, "::")
        phone.sendto(b"a", ("127.0.0.2", sock.getsockname()[1]))
        assert reader.read() == [Datagram(b"a", "127.0.0.2", phone.getsockname())]
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as other:
            other.sendto(b"b", ("::1", sock.getsockname()[1]))
            assert reader.read()[0][:2] == (b"b", "::1")
