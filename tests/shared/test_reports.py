"""RTCP to the receivers: its times and contents by literal clocks, and end to end on loopback."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Iterator
from typing import Optional

import pytest

from moh.common.actions import Address, StopStream
from moh.shared.fanout import Receiver
from moh.shared.reports import SENDER_REPORT_INTERVAL, Reports
from moh.shared.shared_stream import SharedStream
from tests.support.crowd import start, target
from tests.support.phone import Ear, reports
from tests.support.running import wait_for
from tests.support.shared import SSRC, TIMESTAMP, a_fanout, the_end, to


def numbers(data: bytes, kind: int) -> tuple[int, ...]:
    """Return the 32-bit numbers of the packet with type ``kind`` in a compound packet."""
    while data[1] != kind:
        data = data[4 * (struct.unpack("!H", data[2:4])[0] + 1) :]
    count = struct.unpack("!H", data[2:4])[0]
    return struct.unpack(f"!{count}I", data[4 : 4 + 4 * count])


# -- by literal clocks -----------------------------------------------------------------------------------------------


@pytest.fixture
def sender() -> Iterator[Reports]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield Reports({False: sock})


def receiver_at(ear: Ear) -> Receiver:
    return Receiver("ann", 1, target(Address(*ear.address), 10_100))


def came(ear: Ear) -> Optional[bytes]:
    """Return the RTCP that has come, or ``None``. On loopback it is there when ``sendmsg`` returns."""
    ear._rtcp.setblocking(False)
    try:
        return ear._rtcp.recv(500)
    except BlockingIOError:
        return None


@pytest.mark.parametrize(("chance", "first", "second"), [(0.5, 1.026, 2.052), (1.5, 3.078, 6.156)])
def test_the_first_report_is_due_after_half_of_the_interval_and_each_next_one_after_a_whole_one(
    sender: Reports, ear: Ear, chance: float, first: float, second: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: {(0.5, 1.5): chance}[low, high])
    fanout, ann = a_fanout()[0], receiver_at(ear)
    fanout.join(ann)
    sender.plan_first(ann, 10.0)
    assert not sender.is_due(10.0 + first - 0.01)
    assert sender.is_due(10.0 + first + 0.01)
    assert sender.pop() is ann and not sender.is_due(99.0)
    sender.send_report(ann, 20.0)
    assert ann.report_at == pytest.approx(20.0 + second, abs=0.01)


def test_the_report_of_a_receiver_that_left_or_was_moved_is_void(sender: Reports, ear: Ear) -> None:
    fanout, ann = a_fanout()[0], receiver_at(ear)
    fanout.join(ann)
    sender.plan_first(ann, 10.0)
    fanout.leave(ann)
    assert len(sender) == 1 and sender.pop() is None
    fanout.join(ann)
    sender.plan_first(ann, 10.0)
    sender.plan_first(ann, 10.0 + 4 * SENDER_REPORT_INTERVAL)  # the receiver was moved
    assert sender.pop() is None
    assert sender.pop() is ann


def test_a_report_and_a_bye_count_only_what_the_receiver_got(sender: Reports, ear: Ear) -> None:
    fanout, ann = a_fanout()[0], receiver_at(ear)
    fanout.join(receiver_at(ear))
    fanout.send_due(10.0)
    fanout.join(ann)
    sender.send_report(ann, 10.02)
    sender.send_bye(ann, 10.02)
    assert came(ear) is None, "a receiver without a packet does not know the SSRC"
    fanout.send_due(10.02)
    sender.send_report(ann, 10.03)
    report = came(ear)
    assert report is not None and reports(report) == [200, 202]
    ssrc, _, _, timestamp, packets, octets = numbers(report, 200)
    assert (ssrc, timestamp, packets, octets) == (SSRC, TIMESTAMP + 301 * 160 + 80, 1, 160)
    sender.send_bye(ann, 10.03)
    bye = came(ear)
    assert bye is not None and reports(bye) == [200, 202, 203]
    assert numbers(bye, 203) == (SSRC,)


def test_a_probe_is_an_empty_report_from_another_ssrc(sender: Reports, ear: Ear) -> None:
    sender.send_probe(receiver_at(ear))
    probe = came(ear)
    assert probe is not None and reports(probe) == [201, 202]
    assert numbers(probe, 201) != (SSRC,)


def test_rtcp_that_cannot_be_sent_is_no_error(sender: Reports) -> None:
    sender.send_probe(Receiver("ann", 1, target(Address("255.255.255.255", 4000), 10_100)))


# -- end to end ------------------------------------------------------------------------------------------------------


def test_each_receiver_gets_reports_of_its_own_and_a_bye(stream: SharedStream, ear: Ear) -> None:
    with Ear() as early:
        stream.order(start("bob", to(early, stream)))
        early.packets(30)
        stream.order(start("ann", to(ear, stream)))
        first = ear.packets(1)[0]
        report, source = ear.report()
        assert reports(report) == [200, 202]
        assert source == ("127.0.0.1", stream.port)
        ssrc, _, _, _, packets, octets = numbers(report, 200)
        received = 1 + len(ear.waiting())
        assert ssrc == first.ssrc and packets <= received and octets == packets * 160, "not what was sent before"
        assert b"moh@127.0.0.1" in report
        stream.order(StopStream("ann"))
        bye, _ = ear.report()
        assert reports(bye) == [200, 202, 203]
        assert numbers(bye, 203) == (first.ssrc,)
        assert early.packets(1)


def test_a_call_that_stops_before_its_first_packet_gets_no_bye(stream: SharedStream, ear: Ear) -> None:
    stream.order(start("ann", to(ear, stream)))
    stream.order(StopStream("ann"))
    the_end(stream)
    assert ear.heard_nothing()


def test_of_the_rtcp_address_in_the_sdp_only_the_port_is_followed(stream: SharedStream, ear: Ear) -> None:
    """Another host must not get packets that it did not ask for. This is the same as with an ffmpeg."""
    with Ear("127.0.0.9", ear.address[1]) as other_host:
        rtcp = Address("127.0.0.9", ear.address[1] + 1)
        stream.order(start("ann", to(ear, stream)._replace(remote_rtcp=rtcp)))
        assert reports(ear.report()[0]) == [200, 202]
        stream.order(StopStream("ann"))
        assert reports(ear.report()[0]) == [200, 202, 203]
        assert came(other_host) is None


def test_datagrams_to_the_shared_port_are_read_and_counted(stream: SharedStream, ear: Ear) -> None:
    stream.order(start("ann", to(ear, stream)))
    ear.packets(1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        for data in (b"\x80\xc9\0\1" + bytes(4), b"\x80\0" + bytes(170), b"", b"\xff" * 1400, b"\x80\xc8\xff\xff"):
            phone.sendto(data, ("127.0.0.1", stream.port))
    wait_for(lambda: stream.stats().received == 5, "five datagrams")
    assert stream.stats().rtcp == 2
    assert ear.packets(1)
