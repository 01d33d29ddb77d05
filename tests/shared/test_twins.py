"""End to end: a new caller hears the plain twin of a tune, and then the tune, in one stream without a gap."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from moh.common.actions import StartStream, StopStream
from moh.common.codecs import CODECS, PCMA, PCMU, Codec
from moh.common.tunes import Tune, Tunes
from moh.ffmpeg.launch import encoders
from moh.shared.loop import SETTLE
from moh.shared.shared_stream import SharedStream
from tests.support.crowd import Crowd, sine, start, target, write_wave
from tests.support.phone import Ear, Packet, has_no_gap, reports
from tests.support.running import free_ports, wait_for
from tests.support.shared import to

SECONDS, BEGIN, END = 4.0, 1.0, 1.6
PLAIN_FOR = 1.2
"""Over in the middle of the announcement."""


def spoken(music: array[int], rate: int) -> array[int]:
    """Return ``music`` with an announcement over it."""
    samples = music[:]
    for place in range(round(BEGIN * rate), round(END * rate)):
        samples[place] = samples[place] // 4 + 5000
    return samples


@pytest.fixture
def tune(tmp_path: Path) -> Tune:
    files, plain = {}, {}
    for rate in (8000, 16_000):
        music = sine(rate, round(SECONDS * rate), 1600)
        plain[rate] = write_wave(tmp_path / f"plain{rate}.wav", music, rate)
        files[rate] = write_wave(tmp_path / f"{rate}.wav", spoken(music, rate), rate)
    return Tune(files, SECONDS, plain=plain, plain_for=PLAIN_FOR, announcements=((BEGIN, END),))


@pytest.fixture
def stream(tune: Tune) -> Iterator[SharedStream]:
    tunes = Tunes()
    tunes.add(tune)
    tunes.add(Tune(tune.plain, SECONDS))
    shared = SharedStream("127.0.0.1", free_ports(2), tunes, 1)
    yield shared
    shared.close()


def differences(packets: list[Packet], others: list[Packet]) -> set[int]:
    """Return the timestamps at which two receivers got other payloads."""
    payloads = {packet.timestamp: packet.payload for packet in others}
    return {packet.timestamp for packet in packets if payloads.get(packet.timestamp, packet.payload) != packet.payload}


@pytest.mark.parametrize("codec", CODECS)
def test_a_new_caller_hears_no_announcement_and_an_old_one_hears_it(
    stream: SharedStream, ear: Ear, codec: Codec
) -> None:
    if codec.encoder not in encoders():
        pytest.skip(f"this ffmpeg has no {codec.encoder}")
    with Ear() as old:
        stream.order(StartStream("old", 1, to(old, stream, codec, codec.offered_type), 60.0))
        stream.order(start("new", to(ear, stream, codec, codec.offered_type)))
        heard, known = ear.packets(150), old.packets(150)
        assert has_no_gap(heard) and has_no_gap(known)
        assert {packet.ssrc for packet in heard} == {packet.ssrc for packet in known}
        ticks = codec.clock_rate // 50
        differ = differences(heard, known)
        assert differ, "the announcement"
        (fanout,) = next(iter(stream._pacers[0]._fanouts.values()))
        places = sorted(((timestamp - fanout._timestamp) & 0xFFFFFFFF) / ticks / 50 for timestamp in differ)
        assert places[0] > BEGIN - 0.15 and places[-1] < END + SETTLE + 0.1
        assert 200 in reports(ear.report()[0]) and stream.stats().fanouts == 1


def test_no_receiver_loses_a_packet_while_others_come_go_and_join_the_old_ones(stream: SharedStream) -> None:
    with Crowd(60) as crowd:
        for number in range(60):
            there = target(crowd.addresses[number], stream.port)
            stream.order(StartStream(f"call {number}", 1, there, (number % 4) * PLAIN_FOR / 3))
        crowd.await_packets(1, range(60))
        leaving = iter(range(1, 60, 3))
        for _ in range(20):
            stream.order(StopStream(f"call {next(leaving)}"))
            crowd.await_packets(6, range(0, 60, 3))
        staying = [number for number in range(60) if number % 3 != 1]
        crowd.await_packets(30, range(0, 60, 3))
        for number in staying:
            assert has_no_gap(crowd.received[number]), number
        assert len({packet.ssrc for number in staying for packet in crowd.received[number]}) == 1
        (fanout,) = next(iter(stream._pacers[0]._fanouts.values()))
        assert len(fanout._main.receivers) == fanout.count == 40, "all hear the tune now"


def test_a_receiver_counts_all_its_packets(stream: SharedStream, ear: Ear) -> None:
    stream.order(start("new", to(ear, stream)))
    packets = ear.packets(130)
    assert has_no_gap(packets)
    sent = stream.packets_sent("new")
    assert sent is not None and abs(sent - len(packets) - len(ear.waiting())) <= 1
    assert stream.stats().sent == sent and stream.playing() == {"PCMU": 1}


def test_a_caller_that_returns_from_hold_is_no_new_one(stream: SharedStream, ear: Ear) -> None:
    stream.order(start("new", to(ear, stream))._replace(position=PLAIN_FOR + 1.0))
    ear.packets(3)
    (receiver,) = stream._pacers[0].receivers
    assert receiver.fanout is not None and receiver.group is receiver.fanout._main


@pytest.mark.parametrize("codec", [PCMU, PCMA])
def test_shortly_after_an_announcement_both_loops_have_the_same_octets(stream: SharedStream, codec: Codec) -> None:
    """So the change from one to the other is not heard. The encoders of G.722 and Opus forget it in a second."""
    pair = stream.loops.get(0, codec, 20)
    assert pair.plain is not None
    octets, same = 20 * codec.octets_per_ms, []
    wait_for(lambda: pair.loop.payload_at(199 * octets, octets), "all of the tune")
    wait_for(lambda: pair.plain and pair.plain.payload_at(199 * octets, octets), "all of its twin")
    for number in range(200):
        one, other = pair.loop.payload_at(number * octets, octets), pair.plain.payload_at(number * octets, octets)
        same.append(one is not None and other is not None and bytes(one) == bytes(other))
    different = [number / 50 for number in range(200) if not same[number]]
    assert different[0] > BEGIN - 0.03 and different[-1] < END + SETTLE
