"""The packets of a fan-out and their times, by literal clocks (RFC 3550 §5.1)."""

from __future__ import annotations

import struct

import pytest

from moh.common.actions import Address
from moh.common.codecs import G722, OPUS, PCMA, PCMU, Codec
from moh.shared.fanout import Receiver
from tests.support.crowd import target
from tests.support.shared import SEQUENCE, SSRC, TIMESTAMP, a_fanout, fanout_key, receiver


def header(packet: bytes) -> tuple[int, int, int]:
    """Return sequence number, timestamp, and the first octet of the payload, which shows the position in the tune."""
    _, _, sequence, timestamp, _ = struct.unpack("!BBHII", packet[:12])
    return sequence, timestamp, packet[12]


def test_a_packet_is_rtp_with_the_payload_of_its_time() -> None:
    fanout, wire, _ = a_fanout()
    fanout.join(receiver(1, payload_type=100))
    fanout.send_due(10.0)
    ((packet, _),) = wire.sent
    # 6 s after the beginning of the tune, 300 packets of 160 octets have passed
    assert packet[:12] == struct.pack("!BBHII", 0x80, 100, SEQUENCE, TIMESTAMP + 300 * 160, SSRC)
    assert packet[12:] == bytes((300 * 160 + n) % 251 for n in range(160))


@pytest.mark.parametrize("payload_type", [0, 8, 9, 34, 72, 96, 127])
def test_each_payload_type_is_sent_without_a_marker(payload_type: int) -> None:
    fanout, wire, _ = a_fanout()
    fanout.join(receiver(1, payload_type))
    fanout.send_due(10.0)
    assert wire.sent[0][0][1] == payload_type


def test_receivers_of_all_payload_types_get_the_same_payload_at_the_same_time() -> None:
    """The fan-out wakes up once, cuts out one payload and makes one system call for all receivers.

    Only the second octet of the packets differs.
    """
    fanout, wire, tune = a_fanout()
    cut: list[int] = []
    payload_at = tune.payload_at
    tune.payload_at = lambda position, octets: cut.append(position) or payload_at(position, octets)  # type: ignore[func-returns-value,method-assign]
    for number in range(128):
        fanout.join(receiver(number, payload_type=number))
    fanout.send_due(10.0)
    assert cut == [300 * 160] and len(wire.sent) == 1
    packets = [packet for (packet,) in wire.received.values()]
    assert [packet[:2] for packet in packets] == [bytes((0x80, number)) for number in range(128)]
    assert {packet[2:] for packet in packets} == {packets[0][2:]}
    assert fanout.stats() == (128, 0, 0)


def test_each_receiver_has_one_rtp_stream_while_others_of_other_payload_types_join_and_leave() -> None:
    """Payload type and SSRC stay. The sequence number grows by one, the timestamp by a packet (RFC 3550 §5.1)."""
    fanout, wire, _ = a_fanout()
    ann, bob, eve, joe = receiver(1, 96), receiver(2, 111), receiver(3, 0), receiver(4, 96)
    changes = [([ann], []), ([bob, eve], []), ([joe], [ann]), ([], [eve]), ([ann], [bob]), ([], [joe])]
    for joins, leaves in changes:
        for each in leaves:
            fanout.leave(each)
        for each in joins:
            fanout.join(each)
        fanout.send_due(fanout.due)
    numbers = {1: [0, 1, 4, 5], 2: [1, 2, 3], 3: [1, 2], 4: [2, 3, 4]}
    for each in (ann, bob, eve, joe):
        packets = wire.received[each.target.remote]
        own = numbers[int(each.target.remote.host[-1])]
        assert [struct.unpack("!BBHII", packet[:12]) for packet in packets] == [
            (0x80, each.target.payload_type, SEQUENCE + n, TIMESTAMP + (300 + n) * 160, SSRC) for n in own
        ]
    assert fanout.receivers == [ann]


@pytest.mark.parametrize(
    ("codec", "ptime", "octets", "step"),
    [
        (PCMU, 10, 80, 80),
        (PCMU, 30, 240, 240),
        (PCMA, 25, 200, 200),
        (PCMA, 120, 960, 960),
        (G722, 20, 160, 160),
        (G722, 60, 480, 480),
        (OPUS, 10, 40, 480),
        (OPUS, 60, 240, 2880),
    ],
)
def test_the_timestamp_grows_by_the_clock_of_the_codec(codec: Codec, ptime: int, octets: int, step: int) -> None:
    fanout, wire, _ = a_fanout(fanout_key(codec, ptime))
    fanout.join(receiver(1))
    dues = []
    for _ in range(3):
        dues.append(round(fanout.due, 9))
        fanout.send_due(fanout.due)
    assert dues == [10.0, round(10 + ptime / 1000, 9), round(10 + 2 * ptime / 1000, 9)]
    first, second, third = (packet for packet, _ in wire.sent)
    assert len(first) == 12 + octets
    assert header(second)[1] - header(first)[1] == header(third)[1] - header(second)[1] == step
    assert header(second)[2] == (header(first)[2] + octets) % 251


def test_deadlines_do_not_drift_however_late_each_packet_is() -> None:
    fanout, wire, _ = a_fanout(fanout_key(ptime=120))
    fanout.join(receiver(1))
    for number in range(20_000):  # more than half an hour
        assert abs(fanout.due - (10.0 + number * 0.12)) < 1e-6
        fanout.send_due(fanout.due + 0.013)
    assert fanout.skipped == 0
    sequences = [header(packet)[0] for packet, _ in wire.sent]
    assert sequences == [(SEQUENCE + number) % 65536 for number in range(20_000)]


def test_sequence_number_and_timestamp_wrap_around() -> None:
    fanout, wire, _ = a_fanout(chance=(SSRC, 65_535, 2**32 - 300 * 160 - 160))
    fanout.join(receiver(1))
    for _ in range(3):
        fanout.send_due(fanout.due)
    assert [header(packet)[:2] for packet, _ in wire.sent] == [(65_535, 2**32 - 160), (0, 0), (1, 160)]


def test_after_a_stall_there_is_no_burst_and_the_timestamp_skips_what_was_left_out() -> None:
    fanout, wire, _ = a_fanout()
    fanout.join(receiver(1))
    fanout.send_due(10.0)
    # A packet was due at 10.02, but the thread wakes up at 11.005. It sends the packet that is due at 11.0, and skips
    # the 49 packets before.
    fanout.send_due(11.005)
    assert [header(packet)[0] for packet, _ in wire.sent] == [SEQUENCE, SEQUENCE + 1]
    (_, before, place), (_, after, later) = (header(packet) for packet, _ in wire.sent)
    assert after - before == 50 * 160
    assert later == (place + 50 * 160) % 251
    assert fanout.stats() == (2, 0, 49)
    assert fanout.due == pytest.approx(11.02)


def test_less_than_a_packet_late_is_no_stall() -> None:
    fanout, wire, _ = a_fanout()
    fanout.join(receiver(1))
    fanout.send_due(10.0199)
    fanout.send_due(10.02)
    assert header(wire.sent[1][0])[1] - header(wire.sent[0][0])[1] == 160
    assert (fanout.skipped, len(wire.sent)) == (0, 2)


def test_a_packet_that_leaves_0_2_ms_early_is_the_one_that_is_due() -> None:
    fanout, _, _ = a_fanout()
    fanout.join(receiver(1))
    fanout.send_due(9.9998)
    assert fanout.due == pytest.approx(10.02)


def test_packets_that_are_not_encoded_yet_are_skipped_in_their_time() -> None:
    fanout, wire, tune = a_fanout()
    fanout.join(receiver(1))
    tune.missing = range(301 * 160, 303 * 160)
    for _ in range(4):
        fanout.send_due(fanout.due)
    assert [header(packet)[:2] for packet, _ in wire.sent] == [
        (SEQUENCE, TIMESTAMP + 300 * 160),
        (SEQUENCE + 1, TIMESTAMP + 303 * 160),
    ]
    assert fanout.stats() == (2, 0, 2)


def test_two_fanouts_of_a_tune_play_the_same_position_at_the_same_time() -> None:
    (one, first, _), (other, second, _) = a_fanout(due=10.0), a_fanout(due=10.01)
    one.join(receiver(1))
    other.join(receiver(2))
    one.send_due(10.0)
    other.send_due(10.01)
    assert header(first.sent[0][0])[2] == header(second.sent[0][0])[2]


def test_a_receiver_gets_the_packets_from_its_join_to_its_leave() -> None:
    fanout, wire, _ = a_fanout()
    ann, bob, eve = receiver(1), receiver(2), receiver(3)
    for joins, leaves in ((ann, None), (bob, None), (eve, ann), (None, eve)):
        if joins is not None:
            fanout.join(joins)
        fanout.send_due(fanout.due)
        if leaves is not None:
            fanout.leave(leaves)
    fanout.send_due(fanout.due)
    # Eve moves to Ann's slot. When Eve leaves, Bob keeps the other slot.
    assert [[to.host[-1] for to in addresses] for _, addresses in wire.sent] == [
        ["1"],
        ["1", "2"],
        ["1", "2", "3"],
        ["3", "2"],
        ["2"],
    ]
    assert (bob.fanout, ann.fanout, eve.fanout) == (fanout, None, None)
    assert [header(packet)[0] for packet, _ in wire.sent] == list(range(SEQUENCE, SEQUENCE + 5))
    assert (ann.sent_before, bob.sent_before, eve.sent_before) == (0, 1, 2), "what a sender report must not count"
    assert fanout.stats() == (1 + 2 + 3 + 2 + 1, 0, 0)


def test_a_receiver_without_a_route_is_found_though_others_leave() -> None:
    fanout, wire, _ = a_fanout()
    ann, bob, eve = receiver(1), receiver(2), receiver(3)
    for each in (ann, bob, eve):
        fanout.join(each)
    wire.no_route = [1, 2]
    fanout.send_due(10.0)
    fanout.leave(ann)
    assert fanout.no_route == [bob, eve]
    wire.no_route = [0]  # Eve's slot, which was Ann's before
    fanout.send_due(10.02)
    assert fanout.no_route == [eve]
    wire.no_route = []
    fanout.send_due(10.04)
    assert fanout.no_route == []


def test_a_receiver_that_cannot_join_has_not_joined() -> None:
    fanout, wire, _ = a_fanout()
    ann, refused = receiver(1), Receiver("refused", 1, target(Address("10.0.0.9", 0), 10_100))
    fanout.join(ann)
    with pytest.raises(OSError):
        fanout.join(refused)
    assert refused.fanout is None
    assert fanout.receivers == [ann]
    fanout.send_due(10.0)
    assert len(wire.sent[0][1]) == 1


def test_the_timestamp_of_a_report_is_that_of_the_music_now() -> None:
    fanout, _, _ = a_fanout()
    fanout.join(receiver(1))
    fanout.send_due(10.0)
    assert fanout.timestamp(10.0) == TIMESTAMP + 300 * 160
    assert fanout.timestamp(10.005) == TIMESTAMP + 300 * 160 + 40
    fanout.send_due(12.0)  # a stall does not change the timestamp
    assert fanout.timestamp(12.0) == TIMESTAMP + 400 * 160


def test_the_worst_lateness_is_that_of_the_last_seconds() -> None:
    fanout, _, _ = a_fanout(due=10.0)
    fanout.join(receiver(1))
    assert fanout.lateness == 0.0
    for late in (0.0, 0.003, -0.0001, 0.001):
        fanout.send_due(fanout.due + late)
    assert fanout.lateness == pytest.approx(0.003)
    while fanout.due < 15.0:
        fanout.send_due(fanout.due)
    fanout.send_due(fanout.due + 0.002)
    assert fanout.lateness == pytest.approx(0.003), "of the 5 s before"
    while fanout.due < 21.0:
        fanout.send_due(fanout.due)
    assert fanout.lateness == pytest.approx(0.002)
    while fanout.due < 27.0:
        fanout.send_due(fanout.due)
    assert fanout.lateness < 0.001
