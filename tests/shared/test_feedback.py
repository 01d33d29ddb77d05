"""What comes to the port that all share, and what the network says of our packets: end to end on the loopback."""

from __future__ import annotations

import secrets
import socket
import struct
from collections.abc import Iterator

import pytest

from moh.common.actions import Address
from moh.net.sockets import family_of, media_sockets
from moh.rtp.rtcp import bye, sender_report
from moh.shared import feedback as module
from moh.shared.feedback import (
    AT_ONCE,
    OCTETS,
    OURS_AT_ONCE,
    Feedback,
    FeedbackReport,
    FeedbackSocket,
    Unreached,
)
from tests.support.running import free_ports

GOODBYE = bye(7, "phone")
SPEAKS = sender_report(7, 0.0, 0, 0, 0)
REPORT = bye(1, "phone@127.0.0.2")
RTP = bytes([0x80, 0]) + bytes(170)
NOWHERE = Unreached([], [], [])


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


@pytest.fixture
def inbox(sock: socket.socket) -> FeedbackSocket:
    return FeedbackSocket(sock)


@pytest.fixture
def phone(sock: socket.socket) -> Iterator[socket.socket]:
    """Sends to the port that all share."""
    with socket.socket(sock.family, socket.SOCK_DGRAM) as open_phone:
        open_phone.connect(sock.getsockname()[:2])
        yield open_phone


def nobody(host: str) -> Address:
    """An address where nobody listens."""
    with socket.socket(family_of(host), socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        return Address(host, probe.getsockname()[1])


def looked(inbox: FeedbackSocket) -> tuple[int, list[bytes]]:
    count, reports = inbox.poll()
    return count, [report.data for report in reports]


def test_whose_report_it_is(inbox: FeedbackSocket, phone: socket.socket) -> None:
    host, port = phone.getsockname()[:2]
    phone.send(RTP)
    phone.send(REPORT)
    phone.send(REPORT)
    assert [report.source for report in inbox.poll()[1]] == [Address(host, port)] * 2


def test_where_nothing_came_there_is_nothing(inbox: FeedbackSocket) -> None:
    assert looked(inbox) == (0, [])
    assert inbox.unreachable() == NOWHERE


def test_all_is_counted_and_only_rtcp_is_kept(inbox: FeedbackSocket, phone: socket.socket) -> None:
    for data in (RTP, REPORT, b"\0\1\0\0" + bytes(16), REPORT[:8], b"hello"):
        phone.send(data)
    assert looked(inbox) == (5, [REPORT, REPORT[:8]])
    assert looked(inbox) == (0, [])


@pytest.mark.parametrize("kind", [191, 192, 200, 207, 223, 224])
def test_rtcp_is_known_by_the_type_that_no_rtp_has(inbox: FeedbackSocket, phone: socket.socket, kind: int) -> None:
    phone.send(bytes([0x80, kind, 0, 0]))
    assert bool(inbox.poll()[1]) == (192 <= kind <= 223)


def test_a_look_takes_so_many_and_leaves_the_rest_for_the_next(inbox: FeedbackSocket, phone: socket.socket) -> None:
    for _ in range(AT_ONCE + 44):
        phone.send(REPORT)
    assert looked(inbox) == (AT_ONCE, [REPORT] * AT_ONCE)
    assert looked(inbox) == (44, [REPORT] * 44)


def test_of_a_long_datagram_the_beginning_is_kept(inbox: FeedbackSocket, phone: socket.socket) -> None:
    phone.send(REPORT + bytes(1400))
    assert looked(inbox) == (1, [(REPORT + bytes(1400))[:OCTETS]])


def test_a_datagram_too_short_for_a_type_is_not_taken_for_the_one_before(
    inbox: FeedbackSocket, phone: socket.socket
) -> None:
    phone.send(REPORT)
    inbox.poll()
    phone.send(b"")
    phone.send(b"\x80")
    assert looked(inbox) == (2, [])


def test_garbage_is_counted(inbox: FeedbackSocket, phone: socket.socket) -> None:
    for size in range(200):
        phone.send(secrets.token_bytes(size))
    count, reports = inbox.poll()
    assert count == 200
    assert all(len(report.data) > 1 and report.data[1] in range(192, 224) for report in reports)


def test_the_machine_of_a_caller_says_that_nobody_listens(
    inbox: FeedbackSocket, sock: socket.socket, host: str
) -> None:
    gone, also_gone = nobody(host), nobody(host)
    sock.sendto(RTP, gone)
    with pytest.raises(ConnectionRefusedError):  # to be told with the next packet is the price of being told
        sock.sendto(RTP, also_gone)
    sock.sendto(RTP, also_gone)
    assert inbox.unreachable() == Unreached([gone, also_gone], [], [])
    assert inbox.unreachable() == NOWHERE


def test_what_says_something_else_is_no_sign_that_nobody_listens(inbox: FeedbackSocket, sock: socket.socket) -> None:
    """A packet too long for the way is our own kernel's complaint."""
    with pytest.raises(OSError):
        sock.sendto(bytes(65_530), (sock.getsockname()[0], 9))
    assert inbox.unreachable() == NOWHERE


def test_news_of_the_gone_do_not_hide_what_others_send(
    inbox: FeedbackSocket, sock: socket.socket, phone: socket.socket, host: str
) -> None:
    """The kernel would tell that first, and a stream with one caller gone has such news for each look."""
    for _ in range(3):
        phone.send(REPORT)
        sock.sendto(RTP, nobody(host))
        assert looked(inbox) == (1, [REPORT])
        assert len(inbox.unreachable()[0]) == 1


def test_more_news_than_one_look_takes_come_with_the_next(
    inbox: FeedbackSocket, sock: socket.socket, host: str
) -> None:
    gone = nobody(host)
    while len(inbox.unreachable()[0]) < AT_ONCE:
        for _ in range(AT_ONCE + 10):
            try:
                sock.sendto(RTP, gone)
            except ConnectionRefusedError:
                sock.sendto(RTP, gone)
    assert inbox.unreachable()[0]


# -- what the network may say, played by a stand-in ------------------------------------------------------------------


class Errors:
    """A socket with a queue of errors."""

    def __init__(self, sock: socket.socket) -> None:
        self.fileno, self.getsockopt = sock.fileno, sock.getsockopt
        self.queue: list[tuple[int, int, str]] = []
        """ICMP type and code, and who says it."""
        self.named: list[Address] = []

    def says(self, kind: int, code: int, offender: str, named: Address) -> None:
        """Somebody says that of a packet to ``named``."""
        self.queue.append((kind, code, offender))
        self.named.append(named)

    def recvmsg(self, *_: int) -> tuple[bytes, list[tuple[int, int, bytes]], int, Address]:
        if not self.queue:
            raise BlockingIOError
        kind, code, offender = self.queue.pop(0)
        if ":" in offender:
            words = struct.pack("@IBBBxII", 113, 3, kind, code, 0, 0) + struct.pack("@HHI", socket.AF_INET6, 0, 0)
            return b"", [(41, 25, words + socket.inet_pton(socket.AF_INET6, offender))], 0, self.named.pop(0)
        words = struct.pack("@IBBBxII", 113, 2, kind, code, 0, 0) + struct.pack("@HH", socket.AF_INET, 0)
        return b"", [(0, 11, words + socket.inet_aton(offender) + bytes(8))], 0, self.named.pop(0)


@pytest.fixture
def errors(sock: socket.socket) -> Errors:
    return Errors(sock)


PBX = {False: Address("192.0.2.5", 4000), True: Address("2001:db8::5", 4000)}


def test_our_own_kernel_speaks_of_the_whole_host_and_all_others_of_the_address(errors: Errors, host: str) -> None:
    """Else one packet of anybody's takes the music from all at that host."""
    inbox, pbx = FeedbackSocket(errors), PBX[":" in host]  # type: ignore[arg-type]
    no_answer, foreign = ((1, 3), "2001:db8::9") if ":" in host else ((3, 1), "192.0.2.9")
    errors.says(*no_answer, host, pbx)
    errors.says(*no_answer, foreign, pbx)
    assert inbox.unreachable() == Unreached([], [pbx], [pbx.host])


@pytest.mark.parametrize("code", range(16))
def test_which_words_say_that_there_is_no_way(errors: Errors, host: str, code: int) -> None:
    """RFC 792, RFC 1812 §5.2.7.1 and RFC 4443 §3.1; what a firewall of our own forbids is no host that is silent."""
    pbx = PBX[":" in host]
    kind, refused, astray = (1, [4], [0, 1, 5, 6]) if ":" in host else (3, [3], [0, 9, 10, 13])
    silent = 3 if ":" in host else 1
    errors.says(kind, code, host, pbx)
    unreached = FeedbackSocket(errors).unreachable()  # type: ignore[arg-type]
    assert unreached.refused == [pbx] * (code in refused)
    assert unreached.astray == [pbx] * (code in astray)
    assert unreached.silent == [pbx.host] * (code == silent)


def test_whether_they_are_ours_is_asked_of_a_few_addresses(
    errors: Errors, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def ours(host: str) -> bool:
        asked.append(host)
        return False

    monkeypatch.setattr(module, "is_ours", ours)
    pbx, prefix, what = PBX[":" in host], *(("2001:db8::", (1, 3)) if ":" in host else ("192.0.2.", (3, 1)))
    for number in range(100):
        errors.says(*what, f"{prefix}{number}", pbx)
    assert FeedbackSocket(errors).unreachable() == Unreached([], [pbx] * 100, [])  # type: ignore[arg-type]
    assert len(asked) == OURS_AT_ONCE


# -- all of them -----------------------------------------------------------------------------------------------------


def test_news_are_gathered_and_told_twice_a_second(sock: socket.socket, phone: socket.socket) -> None:
    post = Feedback([sock])
    source = Address(*phone.getsockname()[:2])
    assert (post.poll(), post.report(10.0)) == (0, None)
    phone.send(GOODBYE)
    assert post.poll() == 1
    assert post.report(10.4) is None, "not yet"
    told = post.report(10.5)
    assert told == FeedbackReport(frozenset(), frozenset({source}), frozenset())
    phone.send(SPEAKS)
    post.poll()
    assert post.report(11.0) == FeedbackReport(frozenset(), frozenset(), frozenset({source})), (
        "he took leave, and speaks again"
    )
    phone.send(SPEAKS)
    post.poll()
    assert post.report(30.0) is None, "what is said by who did not is of no interest"
    assert (post.heard, post.reports) == (3, 3)
