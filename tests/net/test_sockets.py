"""UDP sockets and the local address of a datagram. End to end: real sockets on loopback."""

from __future__ import annotations

import socket

import pytest

from moh.common.actions import Address
from moh.net.sockets import (
    ask_for_local_address,
    destination,
    family_of,
    leaving_from,
    local_address,
    media_sockets,
    plain,
    unsent,
)
from tests.support.running import free_ports


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


def test_without_ancillary_data_the_local_address_is_the_default() -> None:
    assert local_address([], "::ffff:192.0.2.1") == "192.0.2.1"
    assert local_address([(socket.SOL_SOCKET, 1, b"")], "::1") == "::1"


def test_an_unspecified_address_asks_for_no_source() -> None:
    assert leaving_from("0.0.0.0", socket.AF_INET) == leaving_from("::", socket.AF_INET6) == []


def test_a_mapped_address_is_plain_ipv4() -> None:
    assert plain("::ffff:192.0.2.1") == "192.0.2.1"
    assert plain("2001:db8::1") == "2001:db8::1"
    assert destination(Address("192.0.2.1", 9), socket.AF_INET6) == ("::ffff:192.0.2.1", 9)
    assert destination(Address("192.0.2.1", 9), socket.AF_INET) == ("192.0.2.1", 9)


def test_media_sockets_of_both_ip_versions_share_a_port() -> None:
    port = free_ports(2)
    sockets = media_sockets("127.0.0.1", port)
    try:
        assert sockets[False].getsockname() == ("127.0.0.1", port)
        assert sockets[True].getsockname()[:2] == ("::", port)
        assert unsent(sockets[False]) == 0
    finally:
        for sock in sockets.values():
            sock.close()
