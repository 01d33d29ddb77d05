"""The watchdog of one ffmpeg, by literal clocks: ICMP errors, RTCP BYE and the count of sleeps. No ffmpeg runs."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Iterator
from typing import Optional

import pytest

from moh.common.actions import Address, Target
from moh.common.codecs import PCMU
from moh.ffmpeg.watchdog import POLLS_PER_READING, UNCHANGED_UNTIL_HUNG, Watchdog, voluntary_sleeps
from moh.rtp.rtcp import bye, source_description
from tests.support.rtcp import block, receiver_report
from tests.support.running import free_ports

PHONE = Address("127.0.0.9", 4000)
REPORT = source_description(7, "ann")
"""An RTCP packet without a BYE."""


def watchdog(pid: Optional[int] = None) -> Watchdog:
    """Return a watchdog of process ``pid``, by default of this process. It has no sockets."""
    target = Target(PHONE, Address(PHONE.host, 4001), Address("127.0.0.1", 4002), PCMU, 0, 20)
    return Watchdog(os.getpid() if pid is None else pid, target, None)


class ErrorSocket(socket.socket):
    """A socket whose pending error is the attribute ``error``, which the test sets."""

    error = 0

    def getsockopt(self, *_: int) -> int:  # type: ignore[override]
        return self.error


@pytest.fixture
def rtp() -> Iterator[ErrorSocket]:
    with ErrorSocket() as sock:
        yield sock


# -- ICMP ----------------------------------------------------------------------------------------------------------


def test_two_seconds_of_port_unreachable_end_the_call(rtp: ErrorSocket) -> None:
    """The port is refused at 0 s and 1 s, then there is no error for 4 s, then it is refused again for 2 s."""
    watching = watchdog()
    watching._rtp = rtp
    rtp.error = errno.ECONNREFUSED
    assert [watching.verdict(now) for now in (0.0, 1.0)] == [None, None]
    rtp.error = 0
    assert watching.verdict(4.5) is None
    rtp.error = errno.ECONNREFUSED
    assert [bool(watching.verdict(now)) for now in (5.0, 6.0, 7.0)] == [False, False, True]


def test_thirty_seconds_of_host_unreachable_end_the_call(rtp: ErrorSocket) -> None:
    """Linux reports "host unreachable" each 3 s while a neighbour answers no ARP."""
    watching = watchdog()
    watching._rtp = rtp
    rtp.error = errno.EHOSTUNREACH
    assert not any(watching.verdict(now) for now in range(0, 15, 3))
    rtp.error = 0
    assert watching.verdict(20.5) is None
    rtp.error = errno.EHOSTUNREACH
    assert [watching.verdict(now) for now in (21.0, 29.0, 36.0)] == [None] * 3, "it began anew after 8 s without"
    assert not any(watching.verdict(now) for now in (43.0, 50.0, 50.9))
    assert watching.verdict(51.0) == (
        f"host unreachable at {PHONE} for 30 s (ICMP, ARP or no route)", "host unreachable",
    )  # fmt: skip


# -- RTCP ----------------------------------------------------------------------------------------------------------


class Receiver:
    """The RTCP port of a phone, and the watchdog of an ffmpeg that plays to the phone."""

    def __init__(self) -> None:
        first, local = free_ports(4), free_ports(2)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", first + 3))  # the port in the phone's a=rtcp
        remote = Address("127.0.0.1", first)
        target = Target(remote, Address(remote.host, first + 3), Address("127.0.0.1", local), PCMU, 0, 20)
        self.watchdog = Watchdog(os.getpid(), target, "127.0.0.1")
        self.rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.rtp.bind(remote)
        self.server_rtp, self.server_rtcp = ("127.0.0.1", local), ("127.0.0.1", local + 1)

    def send(self, data: bytes) -> None:
        self.sock.sendto(data, self.server_rtcp)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.watchdog.close()
    receiver.sock.close()
    receiver.rtp.close()


def test_seven_seconds_after_an_rtcp_bye_the_call_ends(receiver: Receiver) -> None:
    receiver.send(REPORT)
    assert receiver.watchdog.verdict(0.0) is None
    receiver.send(bye(7, "ann"))
    assert [receiver.watchdog.verdict(now) for now in (10.0, 12.5, 16.9)] == [None] * 3
    assert receiver.watchdog.verdict(17.0) == ("the receiver sent RTCP BYE", "RTCP BYE")


def test_a_report_after_the_bye_keeps_the_call(receiver: Receiver) -> None:
    """A receiver that changes its SSRC sends a BYE for the old SSRC and then reports."""
    receiver.send(bye(7, "ann"))
    assert receiver.watchdog.verdict(10.0) is None
    receiver.send(REPORT)
    assert [receiver.watchdog.verdict(now) for now in (13.0, 20.0)] == [None] * 2
    receiver.send(bye(7, "ann"))
    receiver.send(bye(7, "ann"))
    assert [bool(receiver.watchdog.verdict(now)) for now in (30.0, 36.9, 37.0)] == [False, False, True]


def test_the_latest_rtcp_packet_is_kept_until_it_is_taken(receiver: Receiver) -> None:
    """A BYE does not take the place of a report: the report in front of a BYE is often empty."""
    watching = receiver.watchdog
    assert watching.latest_rtcp() == b""
    first, second = (receiver_report(block(5, highest=number)) for number in (1, 2))
    for data in (first, second, bye(7, "ann"), b"\x80\x00" + bytes(170)):
        receiver.send(data)
    assert watching.verdict(0.0) is None
    assert [watching.latest_rtcp(), watching.latest_rtcp()] == [second, b""]
    receiver.send(bye(7, "ann"))
    assert watching.verdict(1.0) is None
    assert watching.latest_rtcp() == bye(7, "ann")


RTP = b"\x80\x00" + bytes(170)


def test_the_first_rtp_of_the_receiver_is_reported_once(receiver: Receiver) -> None:
    for noise in (b"", b"\x80", bytes(20), b"OPTIONS sip:1@a SIP/2.0"):
        receiver.rtp.sendto(noise, receiver.server_rtp)
    assert not receiver.watchdog.has_new_sender()
    receiver.rtp.sendto(RTP, receiver.server_rtp)
    assert [receiver.watchdog.has_new_sender() for _ in range(3)] == [True, False, False]


def test_the_first_rtcp_of_the_receiver_is_reported_once(receiver: Receiver) -> None:
    receiver.send(REPORT)
    assert receiver.watchdog.verdict(0.0) is None
    receiver.send(REPORT)
    assert [receiver.watchdog.has_new_sender() for _ in range(3)] == [True, False, False]


def test_rtp_that_waits_does_not_hide_a_port_that_is_closed(receiver: Receiver) -> None:
    receiver.rtp.sendto(RTP, receiver.server_rtp)
    receiver.rtp.close()
    verdicts = []
    for now in (0.0, 1.0, 2.0):
        assert receiver.watchdog._rtp is not None
        receiver.watchdog._rtp.send(RTP)
        verdicts.append(bool(receiver.watchdog.verdict(now)))
        receiver.watchdog.has_new_sender()
    assert verdicts == [False, False, True]


def test_only_rtcp_of_the_receiver_counts(receiver: Receiver) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        other.sendto(bye(7, "ann"), receiver.server_rtcp)
        assert [receiver.watchdog.verdict(now) for now in (0.0, 9.0)] == [None] * 2
    receiver.send(bye(7, "ann"))
    assert receiver.watchdog.verdict(10.0) is None
    for noise in (b"", b"\x80", b"\x80\x00" + bytes(170), bytes(1400)):
        receiver.send(noise)
    assert receiver.watchdog.verdict(17.0) is not None, "noise is no RTCP"


# -- the count of voluntary sleeps ---------------------------------------------------------------------------------


def test_a_process_that_does_not_sleep_anew_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The count is read at every fourth poll. The fourth equal reading in a row is the third without a change."""
    monkeypatch.setattr("moh.ffmpeg.watchdog.voluntary_sleeps", lambda pid: 7)
    watching = watchdog()
    polls = POLLS_PER_READING * (UNCHANGED_UNTIL_HUNG + 1)
    assert [watching.hangs() for _ in range(polls)] == [False] * (polls - 1) + [True]


def test_a_process_that_sleeps_anew_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter(range(100))
    monkeypatch.setattr("moh.ffmpeg.watchdog.voluntary_sleeps", lambda pid: next(readings))
    watching = watchdog()
    assert not any(watching.hangs() for _ in range(100))


def test_the_sleeps_of_this_process_are_counted() -> None:
    if not os.path.exists("/proc/self/status"):
        pytest.skip("needs Linux' /proc")
    before = voluntary_sleeps(os.getpid())
    assert before is not None
    select.select([], [], [], 0.001)
    after = voluntary_sleeps(os.getpid())
    assert after is not None and after > before


def test_a_process_whose_sleeps_are_not_known_never_hangs() -> None:
    assert voluntary_sleeps(2**22 + 1) is None
    watching = watchdog(2**22 + 1)
    assert not any(watching.hangs() for _ in range(100))
    assert watching.verdict(0.0) is None
