"""Who hears the same packet at which moment, by literal clocks (RFC 3550 §5.1)."""

from __future__ import annotations

import struct
from typing import Optional

import pytest

from moh.common.actions import Address, Target
from moh.common.codecs import G722, OPUS, PCMA, PCMU, Codec
from moh.net.sendmmsg import DestinationTable
from moh.shared.encoded_loop import EncodedLoop
from moh.shared.fanout import Fanout, Receiver, Shape
from tests.support.crowd import target

SSRC, SEQUENCE, TIMESTAMP = 0x01020304, 1000, 50_000


class Tune(EncodedLoop):
    """An endless tune of which each octet tells its place; the part in ``missing`` is not encoded yet."""

    def __init__(self) -> None:
        self.missing = range(0)

    def payload_at(self, position: int, octets: int) -> Optional[memoryview]:
        if position in self.missing:
            return None
        return memoryview(bytes((position + n) % 251 for n in range(octets)))


class Wire(DestinationTable):
    """A table that keeps what was sent to which addresses."""

    def __init__(self, octets: int) -> None:
        self.packet = memoryview(bytearray(octets))
        self.lost = 0
        self.no_route: list[int] = []
        self.to: list[Address] = []
        self.sent: list[tuple[bytes, list[Address]]] = []

    def add(self, to: Address, source: str) -> None:
        if to.port == 0:
            raise OSError("no address")
        self.to.append(to)

    def remove(self, slot: int) -> None:
        self.to[slot] = self.to[-1]
        self.to.pop()

    def send(self) -> None:
        self.sent.append((bytes(self.packet), list(self.to)))


def shape(codec: Codec = PCMU, payload_type: int = 0, ptime: int = 20) -> Shape:
    return Shape(0, codec, payload_type, ptime, ipv6=False, side=0)


def a_batch(
    which: Optional[Shape] = None, due: float = 10.0, chance: tuple[int, int, int] = (SSRC, SEQUENCE, TIMESTAMP)
) -> tuple[Fanout, Wire, Tune]:
    """A batch of a tune that began at 4.0; its first packet is due at 10.0."""
    which = which or shape()
    tune, wire = Tune(), Wire(12 + which.octets)
    return Fanout(which, tune, wire, began=4.0, due=due, moment=0, chance=chance), wire, tune


def member(number: int) -> Receiver:
    to: Target = target(Address(f"10.0.0.{number}", 4000), 10_100)
    return Receiver(f"call {number}", 1, to)


def header(packet: bytes) -> tuple[int, int, int]:
    """Sequence number, timestamp, place in the tune as its first octet tells it."""
    _, _, sequence, timestamp, _ = struct.unpack("!BBHII", packet[:12])
    return sequence, timestamp, packet[12]


def test_a_packet_is_rtp_with_the_sound_of_its_moment() -> None:
    batch, wire, _ = a_batch(shape(payload_type=100))
    batch.join(member(1))
    batch.send_due(10.0)
    ((packet, _),) = wire.sent
    # 6 s after the beginning 300 packets of 160 octets have gone by
    assert packet[:12] == struct.pack("!BBHII", 0x80, 100, SEQUENCE, TIMESTAMP + 300 * 160, SSRC)
    assert packet[12:] == bytes((300 * 160 + n) % 251 for n in range(160))


@pytest.mark.parametrize("payload_type", [0, 8, 9, 34, 72, 96, 127])
def test_any_payload_number_stands_without_a_marker(payload_type: int) -> None:
    batch, wire, _ = a_batch(shape(payload_type=payload_type))
    batch.join(member(1))
    batch.send_due(10.0)
    assert wire.sent[0][0][1] == payload_type


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
def test_each_codec_and_packet_length_counts_by_its_clock(codec: Codec, ptime: int, octets: int, step: int) -> None:
    batch, wire, _ = a_batch(shape(codec, 96, ptime))
    batch.join(member(1))
    dues = []
    for _ in range(3):
        dues.append(round(batch.due, 9))
        batch.send_due(batch.due)
    assert dues == [10.0, round(10 + ptime / 1000, 9), round(10 + 2 * ptime / 1000, 9)]
    first, second, third = (packet for packet, _ in wire.sent)
    assert len(first) == 12 + octets
    assert header(second)[1] - header(first)[1] == header(third)[1] - header(second)[1] == step
    assert header(second)[2] == (header(first)[2] + octets) % 251


def test_deadlines_do_not_drift_however_late_each_packet_is() -> None:
    batch, wire, _ = a_batch(shape(ptime=120))
    batch.join(member(1))
    for number in range(20_000):  # more than half an hour
        assert abs(batch.due - (10.0 + number * 0.12)) < 1e-6
        batch.send_due(batch.due + 0.013)
    assert batch.skipped == 0
    sequences = [header(packet)[0] for packet, _ in wire.sent]
    assert sequences == [(SEQUENCE + number) % 65536 for number in range(20_000)]


def test_sequence_number_and_timestamp_begin_anew_at_their_ends() -> None:
    batch, wire, _ = a_batch(chance=(SSRC, 65_535, 2**32 - 300 * 160 - 160))
    batch.join(member(1))
    for _ in range(3):
        batch.send_due(batch.due)
    assert [header(packet)[:2] for packet, _ in wire.sent] == [(65_535, 2**32 - 160), (0, 0), (1, 160)]


def test_after_a_stall_there_is_no_burst_and_the_timestamp_tells_what_was_left_out() -> None:
    batch, wire, _ = a_batch()
    batch.join(member(1))
    batch.send_due(10.0)
    # due at 10.02, awake at 11.005: what is due at 11.0 goes out, and nothing of the 49 packets before
    batch.send_due(11.005)
    assert [header(packet)[0] for packet, _ in wire.sent] == [SEQUENCE, SEQUENCE + 1]
    (_, before, place), (_, after, later) = (header(packet) for packet, _ in wire.sent)
    assert after - before == 50 * 160
    assert later == (place + 50 * 160) % 251
    assert batch.stats() == (2, 0, 49)
    assert batch.due == pytest.approx(11.02)


def test_less_than_a_packet_late_is_no_stall() -> None:
    batch, wire, _ = a_batch()
    batch.join(member(1))
    batch.send_due(10.0199)
    batch.send_due(10.02)
    assert header(wire.sent[1][0])[1] - header(wire.sent[0][0])[1] == 160
    assert (batch.skipped, len(wire.sent)) == (0, 2)


def test_a_packet_early_by_a_hair_is_the_one_that_is_due() -> None:
    batch, _, _ = a_batch()
    batch.join(member(1))
    batch.send_due(9.9998)
    assert batch.due == pytest.approx(10.02)


def test_what_is_not_encoded_yet_is_left_out_in_time() -> None:
    batch, wire, tune = a_batch()
    batch.join(member(1))
    tune.missing = range(301 * 160, 303 * 160)
    for _ in range(4):
        batch.send_due(batch.due)
    assert [header(packet)[:2] for packet, _ in wire.sent] == [
        (SEQUENCE, TIMESTAMP + 300 * 160),
        (SEQUENCE + 1, TIMESTAMP + 303 * 160),
    ]
    assert batch.stats() == (2, 0, 2)


def test_two_batches_of_a_tune_play_the_same_place_at_the_same_time() -> None:
    (one, first, _), (other, second, _) = a_batch(due=10.0), a_batch(due=10.01)
    one.join(member(1))
    other.join(member(2))
    one.send_due(10.0)
    other.send_due(10.01)
    assert header(first.sent[0][0])[2] == header(second.sent[0][0])[2]


def test_who_joins_hears_from_the_next_packet_and_who_leaves_none_more() -> None:
    batch, wire, _ = a_batch()
    ann, bob, eve = member(1), member(2), member(3)
    for who, gone in ((ann, None), (bob, None), (eve, ann), (None, eve)):
        if who is not None:
            batch.join(who)
        batch.send_due(batch.due)
        if gone is not None:
            batch.leave(gone)
    batch.send_due(batch.due)
    # ann's slot was taken by eve, whose leaving has to leave bob where he is
    assert [[to.host[-1] for to in everybody] for _, everybody in wire.sent] == [
        ["1"],
        ["1", "2"],
        ["1", "2", "3"],
        ["3", "2"],
        ["2"],
    ]
    assert (bob.batch, ann.batch, eve.batch) == (batch, None, None)
    assert [header(packet)[0] for packet, _ in wire.sent] == list(range(SEQUENCE, SEQUENCE + 5))
    assert (ann.before, bob.before, eve.before) == (0, 1, 2), "what a sender report must not count"
    assert batch.stats() == (1 + 2 + 3 + 2 + 1, 0, 0)


def test_who_finds_no_way_is_known_by_himself_though_others_leave() -> None:
    batch, wire, _ = a_batch()
    ann, bob, eve = member(1), member(2), member(3)
    for who in (ann, bob, eve):
        batch.join(who)
    wire.no_route = [1, 2]
    batch.send_due(10.0)
    batch.leave(ann)
    assert batch.astray == [bob, eve]
    wire.no_route = [0]  # eve, who has taken ann's slot
    batch.send_due(10.02)
    assert batch.astray == [eve]
    wire.no_route = []
    batch.send_due(10.04)
    assert batch.astray == []


def test_who_cannot_join_has_not_joined() -> None:
    batch, wire, _ = a_batch()
    ann, nobody = member(1), Receiver("nobody", 1, target(Address("10.0.0.9", 0), 10_100))
    batch.join(ann)
    with pytest.raises(OSError):
        batch.join(nobody)
    assert nobody.batch is None
    assert batch.members == [ann]
    batch.send_due(10.0)
    assert len(wire.sent[0][1]) == 1


def test_a_report_gives_the_timestamp_of_what_is_heard_now() -> None:
    batch, _, _ = a_batch()
    batch.join(member(1))
    batch.send_due(10.0)
    assert batch.timestamp(10.0) == TIMESTAMP + 300 * 160
    assert batch.timestamp(10.005) == TIMESTAMP + 300 * 160 + 40
    batch.send_due(12.0)  # after a stall it is what it would have been without
    assert batch.timestamp(12.0) == TIMESTAMP + 400 * 160
