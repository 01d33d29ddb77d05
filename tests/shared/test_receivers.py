"""The receivers that a feedback report concerns, by their addresses."""

from __future__ import annotations

from typing import Any

import pytest

from moh.common.actions import Address, Target
from moh.common.codecs import PCMU
from moh.rtp.reception import StreamReport
from moh.shared.fanout import Fanout, Receiver
from moh.shared.feedback import FeedbackReport
from moh.shared.receivers import MOST_REPORTED, Receivers
from tests.support.rtcp import block, receiver_report
from tests.support.shared import SEQUENCE, SSRC, a_fanout

NONE: frozenset[Address] = frozenset()
NO_REPORT = FeedbackReport(NONE, NONE, NONE)


def at(host: str, port: int, rtcp_port: int, call: str = "ann") -> Receiver:
    local = Address("192.0.2.9", 10_100)
    return Receiver(call, 1, Target(Address(host, port), Address("198.51.100.9", rtcp_port), local, PCMU, 0, 20))


@pytest.mark.parametrize(
    ("report", "concerned"),
    [
        ({}, set()),
        ({"bye": [("10.0.0.1", 4001)]}, {"ann"}),
        ({"rtcp": [("10.0.0.1", 4001)]}, {"ann"}),
        ({"bye": [("198.51.100.9", 4001)]}, set()),  # only the port in a=rtcp counts, not the address
        ({"port_unreachable": [("10.0.0.1", 4000)]}, {"ann"}),
        ({"host_unreachable": [("10.0.0.2", 4000), ("10.0.0.9", 9)]}, {"bob", "eve"}),
        ({"bye": [("10.0.0.2", 4000)]}, {"bob", "eve"}),
        ({"bye": [("10.0.0.1", 4001)], "port_unreachable": [("10.0.0.1", 4000), ("10.0.0.2", 4000)]},
         {"ann", "bob", "eve"}),
        ({"bye": [("10.0.0.1", 4)], "rtcp": [("10.0.0.3", 4000)]}, set()),
        ({"silent_hosts": ["10.0.0.9"]}, {"ann", "bob", "eve"}),
    ],
)  # fmt: skip
def test_a_report_concerns_the_receivers_at_its_addresses_and_no_other(
    report: dict[str, list[Any]], concerned: set[str]
) -> None:
    """Two calls have the same address. One of these two has its RTCP at its RTP port."""
    receivers = Receivers()
    for each in (
        at("10.0.0.1", 4000, 4001), at("10.0.0.2", 4000, 4001, "bob"), at("10.0.0.2", 4000, 4000, "eve")
    ):  # fmt: skip
        receivers.add(each)
    kinds: dict[str, Any] = {
        kind: frozenset(found if kind == "silent_hosts" else (Address(*each) for each in found))
        for kind, found in report.items()
    }
    found = [receiver.call for receiver in receivers.concerned(NO_REPORT._replace(**kinds))]
    assert len(found) == len(set(found)) and set(found) == concerned


def test_of_five_thousand_receivers_a_bye_concerns_one_and_a_forged_one_none() -> None:
    receivers = Receivers()
    for number in range(5000):
        receivers.add(at(f"10.0.{number // 250}.{number % 250}", 4000, 4001, f"call {number}"))
    bye = NO_REPORT._replace(bye=frozenset({Address("10.0.1.7", 4001)}))
    assert [receiver.call for receiver in receivers.concerned(bye)] == ["call 257"]
    assert not receivers.concerned(NO_REPORT._replace(bye=frozenset({Address("203.0.113.66", 4001)})))


def joined(number: int, sent: int) -> tuple[Receiver, Fanout]:
    """Return a receiver at 10.0.0.<number>, 4000 and 4001, and its fan-out, which has sent ``sent`` packets to it."""
    fanout, _, _ = a_fanout()
    receiver = at(f"10.0.0.{number}", 4000, 4001, f"call {number}")
    fanout.join(receiver)
    fanout.sent += sent
    return receiver, fanout


@pytest.mark.parametrize("port", [4000, 4001])
def test_a_receiver_reports_from_the_addresses_of_its_call_and_no_other_host_does(port: int) -> None:
    receivers = Receivers()
    ann, _ = joined(1, sent=100)
    receivers.add(ann)
    data = receiver_report(block(SSRC, 0, 2, SEQUENCE + 99, 80))
    (report,) = receivers.reports(Address("10.0.0.1", port), data)
    assert report == StreamReport("call 1", SSRC, 100, 100, 2, 0.0, 0.01)
    assert list(receivers.reports(Address("10.0.0.1", 4002), data)) == []
    assert list(receivers.reports(Address("10.0.0.2", port), data)) == []


def test_a_receiver_that_is_paused_and_resumed_in_one_stream_reports_from_its_beginning() -> None:
    receivers = Receivers()
    ann, fanout = joined(1, sent=100)
    receivers.add(ann)
    fanout.leave(ann)
    data = receiver_report(block(SSRC, 0, 50, SEQUENCE + 199))
    assert list(receivers.reports(Address("10.0.0.1", 4001), data)) == [], "nothing is sent while it is paused"
    fanout._sequence += 150
    fanout.sent += 50
    fanout.join(ann)
    fanout.sent += 50
    (report,) = receivers.reports(Address("10.0.0.1", 4001), data)
    assert (report.sent, report.passed, report.lost) == (200, 200, 50)


def test_one_packet_counts_for_a_few_receivers_at_one_address_at_most() -> None:
    receivers = Receivers()
    for number in range(100):
        fanout, _, _ = a_fanout()
        each = at("10.0.0.1", 4000, 4001, f"call {number}")
        fanout.join(each)
        receivers.add(each)
    assert len(list(receivers.reports(Address("10.0.0.1", 4001), receiver_report()))) == MOST_REPORTED


def test_a_receiver_that_has_moved_is_found_at_its_new_address_only() -> None:
    receivers, ann = Receivers(), at("10.0.0.1", 4000, 4001)
    receivers.add(ann)
    receivers.remove(ann)
    ann.target = at("10.0.0.2", 4000, 4001).target
    receivers.add(ann)
    for host, concerned in (("10.0.0.1", []), ("10.0.0.2", [ann])):
        assert list(receivers.concerned(NO_REPORT._replace(bye=frozenset({Address(host, 4001)})))) == concerned


def test_nothing_is_left_of_removed_receivers() -> None:
    receivers, stranger = Receivers(), at("10.0.0.2", 4000, 4001)
    every = [at("10.0.0.2", 4000, 4001 - number % 2, f"call {number}") for number in range(10)]
    for each in every:
        receivers.add(each)
    receivers.remove(stranger)
    assert list(receivers) == every and receivers.get("call 3") is every[3] and receivers.get("ann") is None
    for each in every[::-1]:
        receivers.remove(each)
        receivers.remove(each)
    assert len(receivers) == 0 and not receivers._by_address
