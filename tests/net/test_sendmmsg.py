"""One packet to many addresses. End to end on loopback. A stand-in for ``sendmmsg`` makes the errors of the kernel."""

from __future__ import annotations

import ctypes
import errno
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from moh.common.actions import Address
from moh.net import sendmmsg as module
from moh.net.mmsg import EACH
from moh.net.sendmmsg import MOST_SENT, DestinationTable
from moh.net.sockets import family_of, media_sockets
from tests.support.media_socket import media_socket
from tests.support.running import free_ports

PACKET = b"twelve bytes"


@pytest.fixture(params=["127.0.0.1", "::1"])
def host(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sock(host: str) -> Iterator[socket.socket]:
    with media_socket(host) as opened:
        yield opened


class Listener:
    """A receiver: a socket and its address."""

    def __init__(self, host: str) -> None:
        self.socket = socket.socket(family_of(host), socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.setblocking(False)
        self.address = Address(host, self.socket.getsockname()[1])

    def received(self) -> list[tuple[bytes, str]]:
        """Return the packets that have come, each with its source. On loopback they are there when ``send`` returns."""
        found = []
        try:
            while True:
                data, source = self.socket.recvfrom(2048)
                found.append((data, source[0]))
        except BlockingIOError:
            return found


Listen = Callable[[str], Listener]


@pytest.fixture
def listen() -> Iterator[Listen]:
    with ExitStack() as stack:

        def one_more(host: str) -> Listener:
            listener = Listener(host)
            stack.callback(listener.socket.close)
            return listener

        yield one_more


def closed_port(host: str) -> Address:
    """Return an address without a socket. Loopback refuses a packet to it at once."""
    with socket.socket(family_of(host), socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        return Address(host, probe.getsockname()[1])


def test_each_destination_gets_each_packet_once(sock: socket.socket, host: str, listen: Listen) -> None:
    listeners, table = [listen(host) for _ in range(50)], DestinationTable(sock, len(PACKET))
    for listener in listeners:
        table.add(listener.address, "")
    for packet in (PACKET, PACKET[::-1]):
        table.common[:] = packet
        table.send()
        assert [listener.received() for listener in listeners] == [[(packet, host)]] * 50
    assert table.lost == 0


def test_destinations_added_and_removed_in_any_order_get_just_what_is_sent_meanwhile(
    sock: socket.socket, host: str, listen: Listen
) -> None:
    chance = random.Random(42)
    outside, inside, table = [listen(host) for _ in range(60)], list[Listener](), DestinationTable(sock, 1)
    for step in range(200):
        if outside and (not inside or chance.random() < 0.55):
            inside.append(outside.pop(chance.randrange(len(outside))))
            table.add(inside[-1].address, "")
        else:
            slot = chance.randrange(len(inside))
            table.remove(slot)
            outside.append(inside[slot])
            inside[slot] = inside[-1]
            inside.pop()
        table.common[0] = step
        table.send()
        assert [listener.received() for listener in inside] == [[(bytes([step]), host)]] * len(inside)
        assert not any(listener.received() for listener in outside)


def test_each_destination_has_its_own_prefix_in_front_of_the_common_octets(
    sock: socket.socket, host: str, listen: Listen
) -> None:
    """Destinations join and leave in any order, and move to other slots of the table. Each keeps its prefix."""
    chance = random.Random(13)
    prefixes = [bytes((0x80, number)) for number in range(128)] + [b"", b"\0", b"longer than the rest"]
    outside, inside = [listen(host) for _ in range(60)], list[tuple[Listener, bytes]]()
    table = DestinationTable(sock, 2)
    for step in range(200):
        if outside and (not inside or chance.random() < 0.6):
            inside.append((outside.pop(), chance.choice(prefixes)))
            table.add(inside[-1][0].address, "", inside[-1][1])
        else:
            slot = chance.randrange(len(inside))
            table.remove(slot)
            outside.append(inside[slot][0])
            inside[slot] = inside[-1]
            inside.pop()
        table.common[:] = bytes((step, 7))
        table.send()
        for listener, prefix in inside:
            assert listener.received() == [(prefix + bytes((step, 7)), host)]
    assert table.lost == 0


def test_the_last_destination_is_removed_and_another_is_added(sock: socket.socket, host: str, listen: Listen) -> None:
    ann, bob, table = listen(host), listen(host), DestinationTable(sock, 1)
    table.send()
    table.add(ann.address, "")
    table.remove(0)
    table.send()
    table.add(bob.address, "")
    table.send()
    assert (len(ann.received()), len(bob.received())) == (0, 1)


def test_each_packet_leaves_from_the_address_that_its_destination_was_added_with(listen: Listen) -> None:
    """The socket is bound to 0.0.0.0, so the kernel alone would send all packets from 127.0.0.1.

    A destination that moves to another slot of the table keeps its source address.
    """
    sockets = media_sockets("0.0.0.0", free_ports(2))
    table = DestinationTable(sockets[False], 1)
    sources = ["", "127.0.0.2", "127.0.0.1", "127.0.0.3", "127.0.0.2", "", "127.0.0.9", "127.0.0.4", "", "127.0.0.5"]
    listeners = [listen("127.0.0.8") for _ in sources]
    for listener, source in zip(listeners, sources):
        table.add(listener.address, source)
    expected = [source or "127.0.0.1" for source in sources]
    table.send()
    assert [[source for _, source in each.received()] for each in listeners] == [[host] for host in expected]
    for slot in (0, 3, len(sources) - 3):  # each number is a slot at the time of its removal
        table.remove(slot)
        listeners[slot], expected[slot] = listeners[-1], expected[-1]
        listeners.pop(), expected.pop()
    table.send()
    assert [[source for _, source in each.received()] for each in listeners] == [[host] for host in expected]
    for sock in sockets.values():
        sock.close()


def test_packets_by_ipv6_leave_from_the_address_that_their_destination_was_added_with(listen: Listen) -> None:
    sockets = media_sockets("::", free_ports(2))
    listener, table = listen("::1"), DestinationTable(sockets[True], 1)
    table.add(listener.address, "::1")
    table.send()
    assert [source for _, source in listener.received()] == ["::1"]
    for sock in sockets.values():
        sock.close()


def test_addresses_that_refuse_packets_take_none_from_the_others(
    sock: socket.socket, host: str, listen: Listen
) -> None:
    """The remote machine refuses packets, or the kernel refuses the port, the address or the source address."""
    table, listeners, sends = DestinationTable(sock, len(PACKET)), [listen(host) for _ in range(6)], 20
    bad = [
        (closed_port(host), ""),
        (Address(host, 0), ""),
        (listeners[0].address, "2001:db8::7" if ":" in host else "192.0.2.7"),
        (closed_port(host), ""),
        (Address("ff02::1" if ":" in host else "255.255.255.255", 9), ""),
    ]
    table.add(bad[0][0], "")
    for listener, (address, source) in zip(listeners, bad):
        table.add(listener.address, "")
        table.add(address, source)
    table.add(listeners[5].address, "")
    for _ in range(sends):
        table.common[:] = PACKET
        table.send()
        assert [listener.received() for listener in listeners] == [[(PACKET, host)]] * 6
    assert 2 * sends <= table.lost <= 3 * sends, "port 0, a foreign source address; some machines send to the last one"
    assert table.no_route in ([4, 6], [4, 6, 10]), "a closed port has a route"


def test_a_table_of_closed_ports_loses_nothing_that_the_kernel_takes(sock: socket.socket, host: str) -> None:
    table = DestinationTable(sock, 1)
    for _ in range(100):
        table.add(closed_port(host), "")
    for _ in range(10):
        table.send()
        assert table.no_route == []
    assert table.lost == 0


# -- errors and limits of the kernel ---------------------------------------------------------------------------------


class Kernel:
    """A stand-in for ``sendmmsg``. It takes as many messages at once as the test says, or reports an error."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[int, int]] = []

    def __call__(self, fd: int, start: int, count: int, flags: int) -> int:
        self.calls.append((start, count))
        answer = self.answers.pop(0) if self.answers else MOST_SENT
        if answer < 0:
            ctypes.set_errno(-answer)
            return -1
        return min(answer, count)


@pytest.fixture
def table() -> Iterator[DestinationTable]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        yield DestinationTable(sock, 1)


def sent_to(
    table: DestinationTable, count: int, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[int, int]]:
    """Send by a stand-in. Return the first slot and the number of slots of each system call."""
    monkeypatch.setattr(module, "SENDMMSG", kernel)
    for number in range(count):
        table.add(Address("127.0.0.1", 2000 + number), "")
    table.send()
    first = kernel.calls[0][0]
    return [((start - first) // EACH, asked) for start, asked in kernel.calls]


def test_send_goes_on_where_the_kernel_stopped(table: DestinationTable, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sent_to(table, 10, Kernel(3, 1), monkeypatch) == [(0, 10), (3, 7), (4, 6)]
    assert table.lost == 0


def test_more_than_the_kernel_takes_at_once_go_in_parts(
    table: DestinationTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sent_to(table, 2100, Kernel(), monkeypatch) == [(0, 1024), (1024, 1024), (2048, 52)]


def test_an_error_of_an_earlier_packet_is_tried_again_and_an_error_of_this_one_costs_one_packet(
    table: DestinationTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel(2, -errno.ECONNREFUSED, 1, -errno.EINVAL, -errno.EINVAL, -errno.EINVAL)
    assert sent_to(table, 5, kernel, monkeypatch) == [(0, 5), (2, 3), (2, 3), (3, 2), (3, 2), (3, 2), (4, 1)]
    assert (table.lost, table.no_route) == (1, [3])
    table.send()
    assert (table.lost, table.no_route) == (1, [])


def test_endless_errors_of_earlier_packets_do_not_mark_the_next_address(
    table: DestinationTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent_to(table, 5, Kernel(2, *[-errno.ECONNREFUSED] * 3), monkeypatch)
    assert (table.lost, table.no_route) == (1, [])


def test_an_interrupting_signal_is_no_error(table: DestinationTable, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(sent_to(table, 1, Kernel(*[-errno.EINTR] * 9), monkeypatch)) == 10
    assert table.lost == 0


@pytest.mark.parametrize("full", [errno.EAGAIN, errno.ENOBUFS])
def test_a_kernel_without_room_is_asked_once_and_the_rest_counts_as_lost(
    table: DestinationTable, full: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each further try would take ``SEND_TIMEOUT``, and all music would stop meanwhile."""
    assert sent_to(table, 10, Kernel(4, -full), monkeypatch) == [(0, 10), (4, 6)]
    assert table.lost == 6
