"""The intake of many datagrams: end to end on real sockets."""

from __future__ import annotations

import socket

import pytest

from moh.net.recvmmsg import MOST, RECVMMSG, Datagram, DatagramReader
from moh.net.sockets import ask_for_local_address

pytestmark = pytest.mark.skipif(RECVMMSG is None, reason="needs Linux")


def door(family: socket.AddressFamily, host: str) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    ask_for_local_address(sock)
    sock.setblocking(False)
    sock.bind((host, 0))
    return sock


def test_all_that_waits_comes_in_order_with_both_addresses() -> None:
    with door(socket.AF_INET, "0.0.0.0") as sock, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.bind(("127.0.0.9", 0))
        intake = DatagramReader(sock, 65535, "0.0.0.0")
        assert intake.read() == []
        for turn in range(3):  # what the kernel has written into the structures does not stay there
            sent = [b"%d" % number * (1 + number * turn) for number in range(5)]
            for data in sent:
                phone.sendto(data, ("127.0.0.2", sock.getsockname()[1]))
            assert intake.read() == [Datagram(data, "127.0.0.2", phone.getsockname()) for data in sent]
        assert intake.read() == []


def test_no_more_than_fit_are_read_at_once_and_the_longest_is_whole() -> None:
    with door(socket.AF_INET, "127.0.0.1") as sock, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        intake = DatagramReader(sock, 65535, "127.0.0.1")
        for _ in range(MOST + 1):
            phone.sendto(b"", sock.getsockname())
        assert [len(intake.read()) for _ in range(3)] == [MOST, 1, 0]
        phone.sendto(bytes(65507), sock.getsockname())
        assert len(intake.read()[0].data) == 65507


def test_a_socket_of_both_kinds_tells_ipv4_plainly() -> None:
    try:
        sock = door(socket.AF_INET6, "::")
    except OSError:
        pytest.skip("needs IPv6")
    with sock, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.bind(("127.0.0.9", 0))
        intake = DatagramReader(sock, 65535, "::")
        phone.sendto(b"a", ("127.0.0.2", sock.getsockname()[1]))
        assert intake.read() == [Datagram(b"a", "127.0.0.2", phone.getsockname())]
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as other:
            other.sendto(b"b", ("::1", sock.getsockname()[1]))
            assert intake.read()[0][:2] == (b"b", "::1")
