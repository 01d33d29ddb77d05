"""Receivers that have just come hear the plain twin of a tune, and then join the others. By literal clocks."""

from __future__ import annotations

import struct
from math import inf
from typing import Optional

import pytest

from moh.common.codecs import PCMU
from moh.shared.fanout import COMMON_HEADER, MOST_MOVED, Fanout, Receiver
from moh.shared.loop import Announcements, LoopPair
from tests.support.shared import SEQUENCE, SSRC, TIMESTAMP, FakeLoop, Wire, fanout_key, receiver

PLAIN = 0xFF
"""What the plain twin consists of: no octet of a ``FakeLoop`` has this value."""


class PlainLoop(FakeLoop):
    """The plain twin, in which each octet is the same."""

    def payload_at(self, position: int, octets: int) -> Optional[memoryview]:
        return None if position in self.missing else memoryview(bytes([PLAIN]) * octets)


class World:
    """A fan-out of a tune that began at 4.0, with its plain twin. Its first packet is due at 10.0."""

    def __init__(self, *spans: tuple[float, float], seconds: float = 60.0) -> None:
        octets = COMMON_HEADER.size + fanout_key().octets
        self.wire, self.plain_wire, self.plain = Wire(octets), Wire(octets), PlainLoop()
        pair = LoopPair(FakeLoop(), self.plain, 60.0, Announcements(spans, seconds))
        chance = (SSRC, SEQUENCE, TIMESTAMP)
        self.fanout = Fanout(fanout_key(), pair, self.wire, 4.0, 10.0, 0, chance, self.plain_wire)

    def join(self, number: int, plain_until: float = 0.0) -> Receiver:
        joins = receiver(number, payload_type=number)
        joins.plain_until = plain_until
        self.fanout.join(joins)
        return joins

    def play(self, until: float) -> None:
        """Send the packets that are due before ``until``."""
        while self.fanout.due < until - 0.001:
            self.fanout.send_due(self.fanout.due)

    def heard(self, receiver: Receiver) -> list[bytes]:
        """Return the packets of a receiver in the order of their sequence numbers."""
        to = receiver.target.remote
        return sorted(self.wire.received.get(to, []) + self.plain_wire.received.get(to, []))


def is_plain(packet: bytes) -> bool:
    return packet[12] == PLAIN


def test_a_new_receiver_hears_the_plain_twin_and_then_the_other_in_one_rtp_stream() -> None:
    world = World()
    ann = world.join(1, plain_until=11.0)
    world.play(12.0)
    packets = world.heard(ann)
    assert [is_plain(packet) for packet in packets] == [True] * 51 + [False] * 49, "from the packet after 11.0"
    assert [struct.unpack("!BBHII", packet[:12]) for packet in packets] == [
        (0x80, 1, SEQUENCE + n, TIMESTAMP + (300 + n) * 160, SSRC) for n in range(100)
    ]
    assert [packet[12] for packet in packets[51:]] == [(351 + n) * 160 % 251 for n in range(49)], "at its position"
    assert (ann.sent_before, world.fanout.sent) == (0, 100), "what a sender report counts"
    assert world.fanout.stats() == (100, 0, 0)


def test_old_and_new_receivers_get_the_same_headers_in_the_same_turn() -> None:
    world = World()
    ann, bob = world.join(1), world.join(2, plain_until=11.0)
    world.play(10.02)
    (old,), (new,) = world.heard(ann), world.heard(bob)
    assert (old[1], new[1]) == (1, 2) and old[2:12] == new[2:12]
    assert (is_plain(old), is_plain(new)) == (False, True)
    assert (world.fanout.count, world.fanout.receivers) == (2, [ann, bob])
    assert world.fanout.stats() == (2, 0, 0)


def test_a_receiver_whose_time_is_over_waits_until_no_announcement_is_spoken() -> None:
    world = World((6.5, 8.0))  # on the air from 10.5 to 12.0, and a second more until the encoders agree
    ann = world.join(1, plain_until=11.0)
    world.play(14.0)
    assert [is_plain(packet) for packet in world.heard(ann)] == [True] * 150 + [False] * 50


def test_a_receiver_whose_time_is_over_before_an_announcement_hears_it_from_its_beginning() -> None:
    world = World((7.0, 8.0))
    ann = world.join(1, plain_until=10.98)
    world.play(12.0)
    assert [is_plain(packet) for packet in world.heard(ann)] == [True] * 50 + [False] * 50


def test_few_receivers_join_the_others_between_two_packets() -> None:
    world = World()
    crowd = [world.join(number, plain_until=10.01) for number in range(1, 11)]
    world.join(11, plain_until=20.0)
    for moved in (0, MOST_MOVED, 2 * MOST_MOVED, 10, 10):
        world.play(world.fanout.due + 0.02)
        assert len(world.fanout._main.receivers) == moved
    assert [each.slot for each in world.fanout.receivers] == [*range(10), 0]
    for number, each in enumerate(crowd):
        packets = world.heard(each)
        assert len(packets) == 5, number
        assert [packet[2:12] for packet in packets] == [packet[2:12] for packet in world.heard(crowd[0])]


def test_each_receiver_joins_the_others_in_its_own_time() -> None:
    world = World()
    ann, bob, eve = (world.join(number, 10.0 + number) for number in (3, 1, 2))
    world.play(14.0)
    assert [sum(map(is_plain, world.heard(each))) for each in (ann, bob, eve)] == [151, 51, 101]


def test_receivers_of_both_kinds_leave() -> None:
    world = World()
    ann, bob, eve, joe = world.join(1), world.join(2, 20.0), world.join(3, 20.0), world.join(4)
    world.play(10.02)
    for leaves in (ann, bob):
        world.fanout.leave(leaves)
        assert (leaves.fanout, leaves.group) == (None, None)
    world.play(10.04)
    assert (world.fanout.receivers, world.fanout.count) == ([joe, eve], 2)
    assert [len(world.heard(each)) for each in (ann, bob, eve, joe)] == [1, 1, 2, 2]
    for leaves in (joe, eve):
        world.fanout.leave(leaves)
    assert world.fanout.count == 0


def test_without_old_receivers_the_new_ones_get_their_packets() -> None:
    world = World()
    ann = world.join(1, plain_until=inf)
    world.play(10.1)
    assert world.wire.sent == [] and len(world.heard(ann)) == 5


def test_a_receiver_that_returns_in_its_time_goes_on_with_the_twin() -> None:
    """Such a receiver was paused, because its host did not answer."""
    world = World()
    ann = world.join(1, plain_until=10.5)
    world.play(10.1)
    world.fanout.leave(ann)
    world.play(10.2)
    world.fanout.join(ann)
    world.play(11.0)
    assert sum(map(is_plain, world.heard(ann))) == 5 + 16
    assert len(world.heard(ann)) == 45 and ann.start is not None and ann.start.sent == 0


def test_where_the_twin_is_not_encoded_yet_the_tune_itself_is_heard() -> None:
    world = World()
    world.plain.missing = range(301 * 160, 303 * 160)
    ann = world.join(1, plain_until=11.0)
    world.play(10.1)
    assert [is_plain(packet) for packet in world.heard(ann)] == [True, False, False, True, True]


def test_after_a_stall_both_skip_the_same() -> None:
    world = World()
    ann, bob = world.join(1), world.join(2, plain_until=20.0)
    world.play(10.02)
    world.fanout.send_due(11.005)
    assert [packet[2:12] for packet in world.heard(ann)] == [packet[2:12] for packet in world.heard(bob)]
    assert world.fanout.stats() == (4, 0, 49)


def test_receivers_without_a_route_are_found_in_both_tables() -> None:
    world = World()
    ann, bob, eve = world.join(1), world.join(2, 20.0), world.join(3, 20.0)
    world.wire.no_route, world.plain_wire.no_route = [0], [1]
    world.play(10.02)
    assert world.fanout.no_route == [ann, eve]
    world.wire.no_route, world.plain_wire.no_route = [], [0]
    world.play(10.04)
    assert world.fanout.no_route == [bob]
    world.plain_wire.no_route = []
    world.play(10.06)
    assert world.fanout.no_route == []


def test_packets_that_the_kernel_does_not_take_are_counted_for_both() -> None:
    world = World()
    world.join(1)
    world.join(2, 20.0)
    world.play(10.04)
    world.wire.lost, world.plain_wire.lost = 1, 2
    assert world.fanout.stats() == (1, 3, 0)


def test_a_tune_without_a_twin_has_no_companion() -> None:
    wire = Wire(COMMON_HEADER.size + fanout_key(PCMU).octets)
    fanout = Fanout(fanout_key(PCMU), LoopPair(FakeLoop()), wire, 4.0, 10.0, 0, (SSRC, SEQUENCE, TIMESTAMP))
    ann = receiver(1)
    ann.plain_until = inf
    fanout.join(ann)
    fanout.send_due(10.0)
    assert len(wire.sent) == 1


# -- the times of announcements --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("second", "wait"),
    [
        (0.0, 3.0),
        (9.99, 0.0),
        (10.0, 0.0),
        (10.1, 5.9),
        (12.0, 4.0),
        (15.9, 0.1),
        (16.0, 0.0),
        (58.0, 5.0),
        (2.0, 1.0),
        (3.0, 0.0),
    ],
)
def test_the_wait_until_no_announcement_is_spoken_counts_round_the_loop(second: float, wait: float) -> None:
    announcements = Announcements([(10.0, 15.0), (57.0, 62.0)], 60.0)
    assert announcements.wait(second) == pytest.approx(wait)
    assert Announcements([(10.0, 15.0), (57.0, 2.0)], 60.0).wait(second) == pytest.approx(wait)


def test_announcements_close_to_each_other_are_waited_for_together() -> None:
    announcements = Announcements([(10.0, 15.0), (15.2, 20.0), (20.9, 21.0)], 60.0)
    assert announcements.wait(11.0) == pytest.approx(11.0)


def test_where_announcements_never_end_there_is_no_wait() -> None:
    assert Announcements([(0.0, 29.8), (30.0, 59.9)], 60.0).wait(5.0) == 0.0
    assert Announcements().wait(5.0) == 0.0
