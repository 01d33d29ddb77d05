"""RTCP and network errors at the port of the shared stream. End to end on loopback. A stand-in makes other errors."""

from __future__ import annotations

import secrets
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from moh.common.actions import Address
from moh.net.sockets import family_of
from moh.net.threads import drained
from moh.rtp.rtcp import bye, sender_report
from moh.shared import feedback as module
from moh.shared.feedback import (
    KEPT_OCTETS,
    MOST_NEW_SENDERS,
    MOST_ORIGINS_CHECKED,
    MOST_POLLED,
    Feedback,
    FeedbackReport,
    FeedbackSocket,
    SendErrors,
)
from tests.support.media_socket import media_socket

GOODBYE = bye(7, "phone")
SPEAKS = sender_report(7, 0.0, 0, 0, 0)
REPORT = bye(1, "phone@127.0.0.2")
RTP = bytes([0x80, 0]) + bytes(170)
NO_ERRORS = SendErrors([], [], [])


@pytest.fixture(params=["127.0.0.1", "::1"])
def host(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sock(host: str) -> Iterator[socket.socket]:
    with media_socket(host) as opened:
        yield opened


@pytest.fixture
def feedback_socket(sock: socket.socket) -> FeedbackSocket:
    return FeedbackSocket(sock)


@pytest.fixture
def phone(sock: socket.socket) -> Iterator[socket.socket]:
    """A socket that sends to the port of the shared stream."""
    with socket.socket(sock.family, socket.SOCK_DGRAM) as open_phone:
        open_phone.connect(sock.getsockname()[:2])
        yield open_phone


def closed_port(host: str) -> Address:
    """Return an address without a socket."""
    with socket.socket(family_of(host), socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        return Address(host, probe.getsockname()[1])


def polled(feedback_socket: FeedbackSocket) -> tuple[int, list[bytes]]:
    count, packets = feedback_socket.poll()
    return count, [packet.data for packet in packets]


def test_a_packet_has_its_source(feedback_socket: FeedbackSocket, phone: socket.socket) -> None:
    host, port = phone.getsockname()[:2]
    phone.send(RTP)
    phone.send(REPORT)
    phone.send(REPORT)
    assert [packet.source for packet in feedback_socket.poll()[1]] == [Address(host, port)] * 2


def test_a_poll_without_datagrams_returns_nothing(feedback_socket: FeedbackSocket) -> None:
    assert polled(feedback_socket) == (0, [])
    assert feedback_socket.read_errors() == NO_ERRORS


def test_all_datagrams_are_counted_and_only_rtcp_is_kept(feedback_socket: FeedbackSocket, phone: socket.socket) -> None:
    for data in (RTP, REPORT, b"\0\1\0\0" + bytes(16), REPORT[:8], b"hello"):
        phone.send(data)
    assert polled(feedback_socket) == (5, [REPORT, REPORT[:8]])
    assert polled(feedback_socket) == (0, [])


@pytest.mark.parametrize("kind", [191, 192, 200, 207, 223, 224])
def test_rtcp_is_recognised_by_a_packet_type_that_rtp_lacks(
    feedback_socket: FeedbackSocket, phone: socket.socket, kind: int
) -> None:
    phone.send(bytes([0x80, kind, 0, 0]))
    assert bool(feedback_socket.poll()[1]) == (192 <= kind <= 223)


def test_one_poll_takes_256_datagrams_and_the_next_one_the_rest(
    feedback_socket: FeedbackSocket, phone: socket.socket
) -> None:
    for _ in range(MOST_POLLED + 44):
        phone.send(REPORT)
    assert polled(feedback_socket) == (MOST_POLLED, [REPORT] * MOST_POLLED)
    assert polled(feedback_socket) == (44, [REPORT] * 44)


def test_the_beginning_of_a_long_datagram_is_kept(feedback_socket: FeedbackSocket, phone: socket.socket) -> None:
    phone.send(REPORT + bytes(1400))
    assert polled(feedback_socket) == (1, [(REPORT + bytes(1400))[:KEPT_OCTETS]])


def test_a_datagram_too_short_for_a_packet_type_does_not_get_the_type_of_an_earlier_datagram(
    feedback_socket: FeedbackSocket, phone: socket.socket
) -> None:
    phone.send(REPORT)
    feedback_socket.poll()
    phone.send(b"")
    phone.send(b"\x80")
    assert polled(feedback_socket) == (2, [])


def test_a_sender_of_rtp_or_rtcp_is_reported_once(sock: socket.socket) -> None:
    feedback, server = Feedback([sock]), sock.getsockname()[:2]
    with ExitStack() as stack:
        phones = [stack.enter_context(socket.socket(sock.family, socket.SOCK_DGRAM)) for _ in range(3)]
        for data in (b"", b"\x80", bytes(20), b"OPTIONS sip:1@a SIP/2.0"):
            phones[0].sendto(data, server)
        feedback.poll()
        assert feedback.senders.empty()
        for data, phone in zip((RTP, SPEAKS, REPORT), phones):
            phone.sendto(data, server)
            phone.sendto(data, server)
        feedback.poll()
        assert drained(feedback.senders) == [server[0]] * 3
        phones[0].sendto(RTP, server)
        feedback.poll()
        assert feedback.senders.empty()


def test_of_many_new_senders_each_poll_reports_some(sock: socket.socket) -> None:
    feedback, server = Feedback([sock]), sock.getsockname()[:2]
    with ExitStack() as stack:
        phones = [
            stack.enter_context(socket.socket(sock.family, socket.SOCK_DGRAM)) for _ in range(MOST_NEW_SENDERS + 1)
        ]
        for expected in (MOST_NEW_SENDERS, 1, 0):
            for phone in phones:
                phone.sendto(RTP, server)
            feedback.poll()
            assert len(drained(feedback.senders)) == expected


def test_an_empty_datagram_is_no_rtp_though_its_slot_held_some(sock: socket.socket) -> None:
    feedback, server = Feedback([sock]), sock.getsockname()[:2]
    with socket.socket(sock.family, socket.SOCK_DGRAM) as one, socket.socket(sock.family, socket.SOCK_DGRAM) as other:
        one.sendto(RTP, server)
        feedback.poll()
        other.sendto(b"", server)
        feedback.poll()
        assert len(drained(feedback.senders)) == 1


def test_random_octets_are_counted(feedback_socket: FeedbackSocket, phone: socket.socket) -> None:
    for size in range(200):
        phone.send(secrets.token_bytes(size))
    count, packets = feedback_socket.poll()
    assert count == 200
    assert all(len(packet.data) > 1 and packet.data[1] in range(192, 224) for packet in packets)


def test_packets_to_closed_ports_are_reported_as_port_unreachable(
    feedback_socket: FeedbackSocket, sock: socket.socket, host: str
) -> None:
    first, second = closed_port(host), closed_port(host)
    sock.sendto(RTP, first)
    with pytest.raises(ConnectionRefusedError):  # the error of the first packet
        sock.sendto(RTP, second)
    sock.sendto(RTP, second)
    assert feedback_socket.read_errors() == SendErrors([first, second], [], [])
    assert feedback_socket.read_errors() == NO_ERRORS


def test_a_packet_too_long_to_send_is_no_unreachable_port(feedback_socket: FeedbackSocket, sock: socket.socket) -> None:
    """The local kernel reports EMSGSIZE, which is no error of the receiver."""
    with pytest.raises(OSError):
        sock.sendto(bytes(65_530), (sock.getsockname()[0], 9))
    assert feedback_socket.read_errors() == NO_ERRORS


def test_errors_of_some_receivers_do_not_hide_the_rtcp_of_others(
    feedback_socket: FeedbackSocket, sock: socket.socket, phone: socket.socket, host: str
) -> None:
    """The kernel returns a pending error before a datagram. A stream to one closed port has an error at each poll."""
    for _ in range(3):
        phone.send(REPORT)
        sock.sendto(RTP, closed_port(host))
        assert polled(feedback_socket) == (1, [REPORT])
        assert len(feedback_socket.read_errors()[0]) == 1


def test_more_errors_than_one_poll_takes_come_with_the_next(
    feedback_socket: FeedbackSocket, sock: socket.socket, host: str
) -> None:
    gone = closed_port(host)
    while len(feedback_socket.read_errors()[0]) < MOST_POLLED:
        for _ in range(MOST_POLLED + 10):
            try:
                sock.sendto(RTP, gone)
            except ConnectionRefusedError:
                sock.sendto(RTP, gone)
    assert feedback_socket.read_errors()[0]


# -- errors that a stand-in makes -----------------------------------------------------------------------------------


class Errors:
    """A socket with a queue of errors."""

    def __init__(self, sock: socket.socket) -> None:
        self.fileno, self.getsockopt = sock.fileno, sock.getsockopt
        self.queue: list[tuple[int, int, str]] = []
        """For each error: the ICMP type and code, and the host that reports it."""
        self.named: list[Address] = []

    def report(self, kind: int, code: int, offender: str, named: Address) -> None:
        """Queue an error with ICMP type ``kind``. The host ``offender`` reports it about a packet to ``named``."""
        self.queue.append((kind, code, offender))
        self.named.append(named)

    def recvmsg(self, *_: int) -> tuple[bytes, list[tuple[int, int, bytes]], int, Address]:
        if not self.queue:
            raise BlockingIOError
        kind, code, offender = self.queue.pop(0)
        if ":" in offender:
            error = struct.pack("@IBBBxII", 113, 3, kind, code, 0, 0) + struct.pack("@HHI", socket.AF_INET6, 0, 0)
            return b"", [(41, 25, error + socket.inet_pton(socket.AF_INET6, offender))], 0, self.named.pop(0)
        error = struct.pack("@IBBBxII", 113, 2, kind, code, 0, 0) + struct.pack("@HH", socket.AF_INET, 0)
        return b"", [(0, 11, error + socket.inet_aton(offender) + bytes(8))], 0, self.named.pop(0)


@pytest.fixture
def errors(sock: socket.socket) -> Errors:
    return Errors(sock)


PBX = {False: Address("192.0.2.5", 4000), True: Address("2001:db8::5", 4000)}


def test_an_error_of_the_local_kernel_counts_for_the_host_and_any_other_for_the_address(
    errors: Errors, host: str
) -> None:
    """If errors of other machines counted for the host, one forged ICMP packet would silence all its receivers."""
    feedback_socket, pbx = FeedbackSocket(errors), PBX[":" in host]  # type: ignore[arg-type]
    no_answer, foreign = ((1, 3), "2001:db8::9") if ":" in host else ((3, 1), "192.0.2.9")
    errors.report(*no_answer, host, pbx)
    errors.report(*no_answer, foreign, pbx)
    assert feedback_socket.read_errors() == SendErrors([], [pbx], [pbx.host])


@pytest.mark.parametrize("code", range(16))
def test_which_icmp_codes_say_that_the_host_is_unreachable(errors: Errors, host: str, code: int) -> None:
    """The codes are in RFC 792, RFC 1812 §5.2.7.1 and RFC 4443 §3.1. A local firewall does not make a host silent."""
    pbx = PBX[":" in host]
    kind, port_codes, host_codes = (1, [4], [0, 1, 5, 6]) if ":" in host else (3, [3], [0, 9, 10, 13])
    arp_code = 3 if ":" in host else 1
    errors.report(kind, code, host, pbx)
    found = FeedbackSocket(errors).read_errors()  # type: ignore[arg-type]
    assert found.port_unreachable == [pbx] * (code in port_codes)
    assert found.host_unreachable == [pbx] * (code in host_codes)
    assert found.silent_hosts == [pbx.host] * (code == arp_code)


def test_only_a_few_origins_are_compared_with_local_addresses(
    errors: Errors, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def ours(host: str) -> bool:
        asked.append(host)
        return False

    monkeypatch.setattr(module, "is_ours", ours)
    pbx, prefix, what = PBX[":" in host], *(("2001:db8::", (1, 3)) if ":" in host else ("192.0.2.", (3, 1)))
    for number in range(100):
        errors.report(*what, f"{prefix}{number}", pbx)
    assert FeedbackSocket(errors).read_errors() == SendErrors([], [pbx] * 100, [])  # type: ignore[arg-type]
    assert len(asked) == MOST_ORIGINS_CHECKED


# -- all sockets -----------------------------------------------------------------------------------------------------


def test_feedback_is_gathered_and_reported_twice_a_second(sock: socket.socket, phone: socket.socket) -> None:
    feedback = Feedback([sock])
    source = Address(*phone.getsockname()[:2])
    assert (feedback.poll(), feedback.report(10.0)) == (0, None)
    phone.send(GOODBYE)
    assert feedback.poll() == 1
    assert feedback.report(10.4) is None, "not yet"
    assert feedback.report(10.5) == FeedbackReport(frozenset(), frozenset({source}), frozenset())
    phone.send(SPEAKS)
    feedback.poll()
    assert feedback.report(11.0) == FeedbackReport(frozenset(), frozenset(), frozenset({source})), "RTCP after a BYE"
    phone.send(SPEAKS)
    feedback.poll()
    assert feedback.report(30.0) is None, "RTCP without a BYE is of no interest"
    assert (feedback.received, feedback.rtcp) == (3, 3)
