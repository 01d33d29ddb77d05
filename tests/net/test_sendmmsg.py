"""One packet to many addresses: end to end on the loopback, and what the kernel may answer, played by a stand-in.

More than 300 lines, because both tables have to do the same.
"""

from __future__ import annotations

import ctypes
import errno
import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Callable, Union

import pytest

from moh.common.actions import Address
from moh.net import sendmmsg as many
from moh.net.sendmmsg import EACH, MOST, SENDMMSG, DestinationTable, OneByOne, table
from moh.net.sockets import family_of, media_sockets
from tests.support.running import free_ports

Kind = Callable[[socket.socket, int], Union[OneByOne, DestinationTable]]
linux = pytest.mark.skipif(SENDMMSG is None, reason="only Linux has sendmmsg")
KINDS = [pytest.param(DestinationTable, marks=linux), OneByOne]
WORDS = b"twelve words"


@pytest.fixture(params=["127.0.0.1", "::1"])
def host(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sock(host: str) -> Iterator[socket.socket]:
    """A socket as the shared stream has them."""
    sockets = media_sockets(host, free_ports(2))
    yield sockets[":" in host]
    for each in sockets.values():
        each.close()


class Listener:
    """One who hears what comes."""

    def __init__(self, host: str) -> None:
        self.socket = socket.socket(family_of(host), socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.setblocking(False)
        self.address = Address(host, self.socket.getsockname()[1])

    def heard(self) -> list[tuple[bytes, str]]:
        """What has come by now, and from which host: on the loopback that is there when ``send`` returns."""
        found = []
        try:
            while True:
                data, source = self.socket.recvfrom(2048)
                found.append((data, source[0]))
        except BlockingIOError:
            return found


@pytest.fixture
def listen() -> Iterator[Callable[[str], Listener]]:
    with ExitStack() as stack:

        def one_more(host: str) -> Listener:
            listener = Listener(host)
            stack.callback(listener.socket.close)
            return listener

        yield one_more


def a_dead_address(host: str) -> Address:
    """Nobody listens there, and the loopback says so at once."""
    with socket.socket(family_of(host), socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        return Address(host, probe.getsockname()[1])


@pytest.mark.parametrize("kind", KINDS)
def test_everybody_hears_each_packet_once(
    kind: Kind, sock: socket.socket, host: str, listen: Callable[[str], Listener]
) -> None:
    listeners, rows = [listen(host) for _ in range(50)], kind(sock, len(WORDS))
    for listener in listeners:
        rows.add(listener.address, "")
    for words in (WORDS, WORDS[::-1]):
        rows.packet[:] = words
        rows.send()
        assert [listener.heard() for listener in listeners] == [[(words, host)]] * 50
    assert rows.lost == 0


@pytest.mark.parametrize("kind", KINDS)
def test_who_comes_and_goes_in_any_order_hears_just_what_was_sent_meanwhile(
    kind: Kind, sock: socket.socket, host: str, listen: Callable[[str], Listener]
) -> None:
    chance = random.Random(42)
    outside, inside, rows = [listen(host) for _ in range(60)], list[Listener](), kind(sock, 1)
    for step in range(200):
        if outside and (not inside or chance.random() < 0.55):
            inside.append(outside.pop(chance.randrange(len(outside))))
            rows.add(inside[-1].address, "")
        else:
            slot = chance.randrange(len(inside))
            rows.remove(slot)
            outside.append(inside[slot])
            inside[slot] = inside[-1]
            inside.pop()
        rows.packet[0] = step
        rows.send()
        assert [listener.heard() for listener in inside] == [[(bytes([step]), host)]] * len(inside)
        assert not any(listener.heard() for listener in outside)


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_one_leaves_and_another_comes(
    kind: Kind, sock: socket.socket, host: str, listen: Callable[[str], Listener]
) -> None:
    ann, bob, rows = listen(host), listen(host), kind(sock, 1)
    rows.send()
    rows.add(ann.address, "")
    rows.remove(0)
    rows.send()
    rows.add(bob.address, "")
    rows.send()
    assert (len(ann.heard()), len(bob.heard())) == (0, 1)


@linux
@pytest.mark.parametrize("kind", KINDS)
def test_each_packet_leaves_from_the_address_that_its_caller_was_told(
    kind: Kind, listen: Callable[[str], Listener]
) -> None:
    """Bound to 0.0.0.0, the kernel would take 127.0.0.1 for all; who moves to another slot keeps his."""
    sockets = media_sockets("0.0.0.0", free_ports(2))
    rows = kind(sockets[False], 1)
    told = ["", "127.0.0.2", "127.0.0.1", "127.0.0.3", "127.0.0.2", "", "127.0.0.9", "127.0.0.4", "", "127.0.0.5"]
    listeners = [listen("127.0.0.8") for _ in told]
    for listener, leaving in zip(listeners, told):
        rows.add(listener.address, leaving)
    expected = [leaving or "127.0.0.1" for leaving in told]
    rows.send()
    assert [[source for _, source in listener.heard()] for listener in listeners] == [[host] for host in expected]
    for slot in (0, 3, len(told) - 3):  # of those who are left
        rows.remove(slot)
        listeners[slot], expected[slot] = listeners[-1], expected[-1]
        listeners.pop(), expected.pop()
    rows.send()
    assert [[source for _, source in listener.heard()] for listener in listeners] == [[host] for host in expected]
    for sock in sockets.values():
        sock.close()


@linux
@pytest.mark.parametrize("kind", KINDS)
def test_packets_by_ipv6_leave_from_the_address_that_was_told(kind: Kind, listen: Callable[[str], Listener]) -> None:
    sockets = media_sockets("::", free_ports(2))
    listener, rows = listen("::1"), kind(sockets[True], 1)
    rows.add(listener.address, "::1")
    rows.send()
    assert [source for _, source in listener.heard()] == ["::1"]
    for sock in sockets.values():
        sock.close()


@pytest.mark.parametrize("kind", KINDS)
def test_addresses_that_refuse_take_nothing_from_the_others(
    kind: Kind, sock: socket.socket, host: str, listen: Callable[[str], Listener]
) -> None:
    """Refused by the other machine, by the kernel for the port or the address, or for where it shall leave from."""
    rows, listeners, hopeless = kind(sock, len(WORDS)), [listen(host) for _ in range(6)], 0
    bad = [(a_dead_address(host), ""), (Address(host, 0), ""), (listeners[0].address, "192.0.2.7")]
    bad.append((a_dead_address(host), ""))
    bad.append((Address("ff02::1" if ":" in host else "255.255.255.255", 9), ""))
    if ":" in host:
        bad[2:3] = [(listeners[0].address, "2001:db8::7")]
    rows.add(bad[0][0], "")
    for listener, (address, leaving) in zip(listeners, bad):
        rows.add(listener.address, "")
        rows.add(address, leaving)
    rows.add(listeners[5].address, "")
    for _ in range(20):
        rows.packet[:] = WORDS
        hopeless += 1
        rows.send()
        assert [listener.heard() for listener in listeners] == [[(WORDS, host)]] * 6
    assert 2 * hopeless <= rows.lost <= 3 * hopeless, "port 0, no address of ours; some machines take the last one"
    assert rows.astray in ([4, 6], [4, 6, 10]), "just these find no way, and those that refuse have one"


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_of_the_dead_loses_nothing_that_the_kernel_takes(kind: Kind, sock: socket.socket, host: str) -> None:
    rows = kind(sock, 1)
    for _ in range(100):
        rows.add(a_dead_address(host), "")
    for _ in range(10):
        rows.send()
        assert rows.astray == []
    assert rows.lost == 0


# -- what the kernel may answer --------------------------------------------------------------------------------------


class Kernel:
    """Stands in for ``sendmmsg``: takes so many messages at once as the test says, or gives an error."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[int, int]] = []

    def __call__(self, fd: int, start: int, count: int, flags: int) -> int:
        self.calls.append((start, count))
        answer = self.answers.pop(0) if self.answers else MOST
        if answer < 0:
            ctypes.set_errno(-answer)
            return -1
        return min(answer, count)


@pytest.fixture
def rows() -> Iterator[DestinationTable]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        yield DestinationTable(sock, 1)


def sent_to(
    rows: DestinationTable, count: int, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[int, int]]:
    """What a stand-in was asked for: each time the first slot and how many."""
    monkeypatch.setattr(many, "SENDMMSG", kernel)
    for number in range(count):
        rows.add(Address("127.0.0.1", 2000 + number), "")
    rows.send()
    first = kernel.calls[0][0]
    return [((start - first) // EACH, asked) for start, asked in kernel.calls]


def test_it_goes_on_where_the_kernel_stopped(rows: DestinationTable, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sent_to(rows, 10, Kernel(3, 1), monkeypatch) == [(0, 10), (3, 7), (4, 6)]
    assert rows.lost == 0


def test_more_than_the_kernel_takes_at_once_go_in_parts(
    rows: DestinationTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sent_to(rows, 2100, Kernel(), monkeypatch) == [(0, 1024), (1024, 1024), (2048, 52)]


def test_an_error_of_another_is_tried_again_and_one_of_its_own_costs_one_packet(
    rows: DestinationTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel(2, -errno.ECONNREFUSED, 1, -errno.EINVAL, -errno.EINVAL, -errno.EINVAL)
    assert sent_to(rows, 5, kernel, monkeypatch) == [(0, 5), (2, 3), (2, 3), (3, 2), (3, 2), (3, 2), (4, 1)]
    assert (rows.lost, rows.astray) == (1, [3])
    rows.send()
    assert (rows.lost, rows.astray) == (1, [])


def test_errors_of_others_without_end_are_not_held_against_who_is_next(
    rows: DestinationTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent_to(rows, 5, Kernel(2, *[-errno.ECONNREFUSED] * 3), monkeypatch)
    assert (rows.lost, rows.astray) == (1, [])


def test_a_signal_in_between_is_no_error(rows: DestinationTable, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(sent_to(rows, 1, Kernel(*[-errno.EINTR] * 9), monkeypatch)) == 10
    assert rows.lost == 0


@pytest.mark.parametrize("full", [errno.EAGAIN, errno.ENOBUFS])
def test_where_there_is_no_room_nobody_waits(
    rows: DestinationTable, full: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sent_to(rows, 10, Kernel(4, -full), monkeypatch) == [(0, 10), (4, 6)]
    assert rows.lost == 6


class Full:
    """A socket that takes so many packets, and then has no room."""

    family = socket.AF_INET

    def __init__(self, room: int) -> None:
        self.room, self.asked = room, 0

    def sendmsg(self, *_: Any) -> None:
        self.asked += 1
        if self.asked > self.room:
            raise BlockingIOError(errno.EAGAIN, "no room")


def test_one_by_one_nobody_waits_for_room_either() -> None:
    """Each try would take as long as the socket's patience, and all music stand still meanwhile."""
    full: Any = Full(room=4)
    rows = OneByOne(full, 1)
    for number in range(10):
        rows.add(Address("127.0.0.1", 2000 + number), "")
    rows.send()
    assert (full.asked, rows.lost) == (5, 6)


def test_a_system_without_sendmmsg_has_a_table_as_well(sock: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(table(sock, 1), DestinationTable if SENDMMSG is not None else OneByOne)
    monkeypatch.setattr(many, "SENDMMSG", None)
    assert isinstance(table(sock, 1), OneByOne)
