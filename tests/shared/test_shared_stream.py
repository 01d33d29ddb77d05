"""The shared stream: calls come, go, move and fail, and no other call loses a packet. End to end on loopback."""

from __future__ import annotations

import gc
import os
import random
import socket
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

from moh.common.actions import Address, StartStream, StopStream, StreamEnded
from moh.common.codecs import CODECS, G722, OPUS, PCMA, PCMU, Codec
from moh.common.tunes import Tune, Tunes
from moh.ffmpeg.launch import encoders
from moh.sdp.media_session import SHARED_PTIMES
from moh.shared import shared_stream
from moh.shared.fanout import Fanout
from moh.shared.shared_stream import SharedStream
from tests.support.crowd import Crowd, climbing, start, target, write_wave
from tests.support.phone import Ear, Packet, has_no_gap, is_music, reports
from tests.support.running import ffmpegs_of, wait_for
from tests.support.shared import TUNE_SAMPLES, playing, stand_in, the_end, to

# -- one call --------------------------------------------------------------------------------------------------------


def test_the_music_leaves_from_the_shared_port_and_goes_on_at_the_loop_point(stream: SharedStream, ear: Ear) -> None:
    stream.order(start("ann", to(ear, stream)))
    packets = ear.packets(120)
    assert {(packet.source, packet.size, packet.payload_type, packet.marked) for packet in packets} == {
        (("127.0.0.1", stream.port), 172, 0, False)
    }
    assert has_no_gap(packets)
    steps = {(b.timestamp - a.timestamp) % 2**32 for a, b in zip(packets, packets[1:])}
    if stream.stats().skipped == 0:
        assert steps == {160}
        sound = b"".join(packet.payload for packet in packets)
        assert sound[TUNE_SAMPLES:] == sound[:-TUNE_SAMPLES], "the tune again"


@pytest.mark.parametrize(
    ("codec", "number", "ptime", "octets", "step"),
    [
        (PCMU, 0, 10, 80, 80),
        (PCMA, 8, 30, 240, 240),
        (PCMU, 127, 120, 960, 960),
        (G722, 9, 20, 160, 160),
        (OPUS, 96, 60, 240, 2880),
    ],
)
def test_each_codec_is_sent_with_its_payload_type_and_packet_length(
    stream: SharedStream, ear: Ear, codec: Codec, number: int, ptime: int, octets: int, step: int
) -> None:
    if codec.encoder not in encoders():
        pytest.skip(f"this ffmpeg has no {codec.encoder}")
    stream.order(start("ann", to(ear, stream, codec, number, ptime)))
    packets = ear.packets(20)
    assert has_no_gap(packets)
    assert {(packet.size, packet.payload_type) for packet in packets} == {(12 + octets, number)}
    steps = {(b.timestamp - a.timestamp) % 2**32 for a, b in zip(packets, packets[1:])}
    assert step in steps and all(found % step == 0 for found in steps)


def test_a_stopped_call_gets_no_more_music_and_is_reported_once(stream: SharedStream, ear: Ear) -> None:
    stream.order(start("ann", to(ear, stream)))
    ear.packets(1)
    stream.order(StopStream("ann"))
    stream.order(StopStream("ann"))
    assert the_end(stream) == StreamEnded("ann", 1, "stopped")
    assert ear.falls_silent()
    assert stream.ended() == [] and not stream.has("ann")
    stream.order(StopStream("ann"))
    assert stream.stats()[:2] == (0, 0)


def test_a_call_stopped_and_started_at_once_goes_on_with_another_ssrc(stream: SharedStream, ear: Ear) -> None:
    stream.order(start("ann", to(ear, stream)))
    first = ear.packets(1)[0]
    stream.order(StopStream("ann"))
    stream.order(start("ann", to(ear, stream), serial=2))
    wait_for(lambda: ear.packets(1)[0].ssrc != first.ssrc, "another SSRC than that of the BYE")
    assert the_end(stream).serial == 1 and stream.has("ann")


def test_a_call_by_ipv6_gets_the_same_stream(stream: SharedStream) -> None:
    with Ear("::1") as ear:
        stream.order(start("ann", to(ear, stream)))
        assert ear.packets(3)[0].source == ("::1", stream.port)


def test_bound_to_all_addresses_packets_leave_from_the_one_in_the_sdp_answer(music: dict[int, Path]) -> None:
    with playing(music, bind="0.0.0.0") as stream, Ear() as ann, Ear() as bob:
        for ear, local in ((ann, "127.0.0.1"), (bob, "127.0.0.2")):
            there = to(ear, stream)._replace(local=Address(local, stream.port))
            stream.order(start(local, there))
            assert {packet.source for packet in ear.packets(3)} == {(local, stream.port)}
            report, source = ear.report()
            assert source == (local, stream.port)
            assert f"moh@{local}".encode() in report


# -- many calls -----------------------------------------------------------------------------------------------------

STAYING, CHANGING = range(0, 300, 2), range(1, 300, 2)
"""The numbers of 300 calls, in more than one fan-out. Every second call stays, the others change."""


def test_whatever_one_call_does_no_other_loses_a_packet(stream: SharedStream) -> None:
    """Calls are held and resumed, move, change the codec, start and stop, or have hosts that report closed ports."""
    chance, serials, playing_now = random.Random(7), dict.fromkeys(range(300), 0), set(range(300))

    def begin(number: int, codec: Codec = PCMU, ptime: int = 20, away: int = 0) -> None:
        serials[number] += 1
        host, port = crowd.addresses[number]
        there = target(Address(host, port + away), stream.port, codec, codec.offered_type, ptime)
        stream.order(start(f"call {number}", there, serials[number]))

    with Crowd(300) as crowd:
        for number in range(300):
            begin(number)
        crowd.await_packets(1, range(300))
        assert stream.stats().fanouts == 2
        for _ in range(40):
            for number in chance.sample(CHANGING, 10):
                if number in playing_now and chance.random() < 0.4:
                    stream.order(StopStream(f"call {number}"))
                    playing_now.discard(number)
                else:
                    begin(
                        number,
                        chance.choice((PCMU, PCMU, PCMA, G722)),
                        chance.choice((20, 20, 30)),
                        chance.choice((0, 1)),
                    )
                    playing_now.add(number)
            crowd.await_packets(1, range(0, 300, 50))
        crowd.await_packets(3, STAYING)
        for number in STAYING:
            assert has_no_gap(crowd.received[number]), number
        by_stream: dict[int, dict[int, Packet]] = {}
        for number in STAYING:
            for packet in crowd.received[number]:
                same = by_stream.setdefault(packet.ssrc, {}).setdefault(packet.sequence, packet)
                assert packet == same, "all receivers of a fan-out get the same"
        assert len(by_stream) == 2
        for number in sorted(playing_now):
            stream.order(StopStream(f"call {number}"))
        wait_for(lambda: stream.ended() == [] and stream.stats().calls == 0, "the end of all")
        wait_for(lambda: stream.stats().fanouts == 0, "the end of the fan-outs")
        assert stream.stats().lost == 0


def test_orders_from_many_threads_leave_nothing_behind(music: dict[int, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream has two pacers. For each call a thread starts and stops it again and again."""
    monkeypatch.setattr(shared_stream, "PACKETS_PER_PACER", 200)
    with playing(music, threads=2) as stream, Ear() as ear:

        def calls_repeatedly(call: str) -> None:
            for serial in range(1, 300, 3):
                stream.order(start(call, to(ear, stream), serial))
                stream.order(start(call, to(ear, stream, PCMA, 8), serial + 1))
                stream.order(StopStream(call))
                stream.order(start(call, to(ear, stream), serial + 2))
            stream.order(StopStream(call))

        threads = [threading.Thread(target=calls_repeatedly, args=(f"call {number}",)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ends: list[StreamEnded] = []

        def all_reported() -> bool:
            ends.extend(stream.ended())
            return len([end for end in ends if end.serial == 300]) == 8

        wait_for(all_reported, "the last end of each call")
        assert len({(end.call, end.serial) for end in ends}) == len(ends)
        assert stream.stats().calls == 0
        assert [pacer.load for pacer in stream._pacers] == [0, 0]
        assert ear.falls_silent()


# -- payload types, codecs and packet lengths ------------------------------------------------------------------------


def test_callers_of_all_payload_types_codecs_and_packet_lengths_cost_few_wake_ups(stream: SharedStream) -> None:
    """600 calls all differ in payload type, codec or packet length.

    There is one fan-out for each pair of a codec and a packet length.
    """
    codecs = [codec for codec in CODECS if codec.encoder in encoders()]
    shapes = [
        (number, codec, ptime) for number in range(128) for codec in codecs for ptime in SHARED_PTIMES
    ][:600]  # fmt: skip
    with Crowd(600) as crowd:
        for number, (payload_type, codec, ptime) in enumerate(shapes):
            there = target(crowd.addresses[number], stream.port, codec, payload_type, ptime)
            stream.order(start(f"call {number}", there))
        crowd.await_packets(3, range(600))
        assert stream.stats().fanouts == len(codecs) * len(SHARED_PTIMES)
        ssrcs = set()
        for (payload_type, codec, ptime), received in zip(shapes, crowd.received):
            assert {(each.payload_type, each.size) for each in received} == {
                (payload_type, 12 + codec.octets_per_ms * ptime)
            }
            assert has_no_gap(received)
            ssrcs |= {each.ssrc for each in received}
        assert len(ssrcs) == len(codecs) * len(SHARED_PTIMES)


def test_another_payload_type_in_a_reinvite_is_sent_and_takes_no_packet_from_another_call(
    stream: SharedStream, ear: Ear
) -> None:
    with Ear() as steady:
        stream.order(start("bob", to(steady, stream, payload_type=0)))
        stream.order(start("ann", to(ear, stream, payload_type=96)))
        assert ear.packets(3)[0].payload_type == 96
        stream.order(start("ann", to(ear, stream, payload_type=111), serial=2))
        wait_for(lambda: ear.packets(1)[0].payload_type == 111, "the other payload type")
        assert {each.payload_type for each in ear.packets(5)} == {111}
        packets = [*steady.waiting(), *steady.packets(3)]
        assert has_no_gap(packets) and {each.payload_type for each in packets} == {0}


def test_the_thread_is_chosen_by_packets_a_second(
    music: dict[int, Path], ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the two threads, the first takes 300 packets a second before the second gets any."""
    monkeypatch.setattr(shared_stream, "PACKETS_PER_PACER", 300)
    with playing(music, threads=2) as stream:
        first, second = stream._pacers

        def begin(call: str, ptime: int, serial: int = 1) -> tuple[int, int]:
            stream.order(start(call, to(ear, stream, ptime=ptime), serial))
            return first.load, second.load

        assert [begin(f"call {number}", 60) for number in range(3)][-1] == (48, 0)
        assert [begin(f"call {number}", 20) for number in range(3, 9)][-1] == (348, 0), "50 more than it has room for"
        assert begin("call 9", 40) == (348, 25)
        assert begin("call 8", 40, serial=2) == (323, 25), "a call stays where it is"
        assert begin("call 7", 60, serial=2) == (289, 25)
        assert begin("call 10", 20) == (339, 25)
        assert begin("call 11", 20) == (339, 75)
        for number in range(12):
            stream.order(StopStream(f"call {number}"))
        wait_for(lambda: stream.ended() == [] and stream.stats().calls == 0, "the end of all")
        assert (first.load, second.load) == (0, 0)


# -- tunes -----------------------------------------------------------------------------------------------------------


def test_an_old_tune_plays_on_for_its_calls_and_its_memory_is_freed_after_the_last_one(
    ear: Ear, music: dict[int, Path], tmp_path: Path
) -> None:
    tunes = Tunes()
    with playing(music, tunes=tunes) as stream:
        stream.order(start("ann", to(ear, stream)))
        ear.packets(3)
        former = weakref.ref(stream.loops.get(0, PCMU, 20).loop)
        new = write_wave(tmp_path / "new.wav", climbing(5000))
        assert tunes.add(Tune({8000: new, 16000: new}, 5000 / 8000)) == 1
        tunes.keep({1})
        stream.keep({1})
        for path in music.values():
            path.unlink()
        with Ear() as late:
            stream.order(start("bob", to(late, stream), tune=1))
            assert late.packets(2)[0].ssrc != ear.packets(60)[0].ssrc
        assert former() is not None
        stream.order(StopStream("ann"))
        the_end(stream)
        wait_for(lambda: gc.collect() >= 0 and former() is None, "the memory of the former tune")


def test_music_that_cannot_be_encoded_ends_each_waiting_call_and_the_next_call_tries_again(
    stream: SharedStream, ear: Ear, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        stand_in(tmp_path, broken, "sys.exit('no more ffmpeg today')")
        stream.order(start("ann", to(ear, stream)))
        stream.order(start("bob", to(ear, stream)))
        ends: list[StreamEnded] = []

        def both() -> bool:
            ends.extend(stream.ended())
            return len(ends) == 2

        wait_for(both, "both ends")
        assert {end.call for end in ends} == {"ann", "bob"}
        assert all("no more ffmpeg today" in end.why and not end.hopeless for end in ends)
    stream.order(start("ann", to(ear, stream), serial=2))
    assert ear.packets(3)


def test_an_encoding_that_breaks_off_ends_its_calls(
    stream: SharedStream, ear: Ear, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = tmp_path / "go on"
    with monkeypatch.context() as broken:
        script = (
            f"out.write(bytes(9600 + 8000)); out.flush()\nwhile not os.path.exists({str(go_on)!r}): time.sleep(0.01)"
        )
        stand_in(tmp_path, broken, script + "\nsys.exit('the disk is full')")
        stream.order(start("ann", to(ear, stream)))
        ear.packets(3)
        go_on.touch()
        end = the_end(stream)
        assert end.call == "ann" and "the disk is full" in end.why
    stream.order(start("ann", to(ear, stream), serial=2))
    wait_for(lambda: is_music(ear.packets(1)), "music, not the zeros of before")
    assert has_no_gap(ear.packets(60))


def test_the_stream_is_closed_while_music_is_being_encoded(
    music: dict[int, Path], ear: Ear, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch, "out.write(bytes(9000)); out.flush(); time.sleep(1); out.write(bytes(99_000))")
    with playing(music) as stream:
        stream.order(start("ann", to(ear, stream)))
        wait_for(lambda: ffmpegs_of(os.getpid()) != [], "the encoding")
        stream.close()
        assert the_end(stream).why == "the server stops"
    wait_for(lambda: not [each for each in threading.enumerate() if each.name == "encoder"], "the end of the encoding")


# -- nothing is left-------------------------------------------------------------------------------------------------


def test_thousands_of_calls_leave_nothing_behind(stream: SharedStream) -> None:
    with Ear() as ear:
        there = to(ear, stream)
        for number in range(3000):
            stream.order(start(f"call {number}", there))
        wait_for(lambda: stream.stats().fanouts == 15, "fifteen fan-outs", 30)
        for number in range(3000):
            stream.order(StopStream(f"call {number}"))
        wait_for(lambda: stream.ended() == [] and stream.stats().calls == 0, "the end of all", 30)
    wait_for(lambda: stream.stats().fanouts == 0, "the end of the fan-outs")

    def left() -> int:
        gc.collect()
        return sum(isinstance(thing, Fanout) for thing in gc.get_objects())

    wait_for(lambda: left() == 0, "the memory of the fan-outs")
    (pacer,) = stream._pacers
    wait_for(lambda: not (pacer.receivers or pacer._reports or pacer._schedule), "the end of all tables")
    assert not pacer._fanouts and not pacer._reachability and not pacer._waiting and set(pacer._load.values()) == {0}


def test_close_sends_bye_to_all_and_frees_the_port(music: dict[int, Path], ear: Ear) -> None:
    files = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    with playing(music) as stream:
        port = stream.port
        stream.order(start("ann", to(ear, stream)))
        ear.packets(1)
        stream.close()
        assert stream.ended() == [StreamEnded("ann", 1, "the server stops")]
        stream.order(StartStream("late", 1, to(ear, stream), 0.0))
        stream.order(StopStream("late"))
        while 203 not in reports(ear.report()[0]):
            pass
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", port))
    if files:  # the encoder may take a moment to end
        wait_for(lambda: len(os.listdir("/proc/self/fd")) <= files, "no open file left")


def test_a_port_in_use_is_an_error() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="Address already in use"):
            SharedStream("127.0.0.1", other.getsockname()[1], Tunes())


def test_without_ipv6_calls_by_ipv6_end_and_the_others_play(
    music: dict[int, Path], ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    makes = socket.socket

    def only_ipv4(family: int = socket.AF_INET, *more: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return makes(family, *more)

    monkeypatch.setattr(socket, "socket", only_ipv4)
    with playing(music) as stream:
        monkeypatch.undo()
        stream.order(start("eve", target(Address("::1", 4000), stream.port)))
        assert the_end(stream).why == "this machine has no IPv6 to reach [::1]:4000"
        stream.order(start("ann", to(ear, stream)))
        assert ear.packets(1)
