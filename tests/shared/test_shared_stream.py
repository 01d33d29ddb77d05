"""The shared stream, end to end on the loopback: many callers, real sockets, real ffmpeg to encode.

More than 300 lines, because whoever comes, goes, moves or fails must be nothing to all the others.
"""

from __future__ import annotations

import gc
import os
import random
import socket
import struct
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from moh.common.actions import Address, StartStream, StopStream, StreamEnded
from moh.common.codecs import G722, OPUS, PCMA, PCMU, Codec
from moh.ffmpeg.launch import encoders
from moh.shared.fanout import FULL, Fanout
from moh.shared.feedback import FeedbackReport
from moh.shared.pacer import Pacer
from moh.shared.shared_stream import SharedStream
from tests.shared.test_encoded_loop import stand_in
from tests.support.crowd import Crowd, climbing, start, target, without_a_gap, write_wave
from tests.support.phone import Ear, Packet, reports
from tests.support.running import ffmpegs_of, free_ports, wait_for

NONE: frozenset[Address] = frozenset()
TUNE = 8001
"""Samples; one more than whole packets."""


@pytest.fixture
def music(tmp_path: Path) -> dict[int, Path]:
    """A second of music, at both rates."""
    return {
        8000: write_wave(tmp_path / "tune8.wav", climbing(TUNE)),
        16000: write_wave(tmp_path / "tune16.wav", climbing(2 * TUNE), 16_000),
    }


@pytest.fixture
def shared(music: dict[int, Path]) -> Iterator[Any]:
    with playing(music) as broadcast:
        yield broadcast


@pytest.fixture
def stream(music: dict[int, Path]) -> Iterator[Any]:
    with playing(music) as broadcast:
        yield broadcast


@contextmanager
def playing(music: dict[int, Path], bind: str = "127.0.0.1", threads: int = 1) -> Iterator[SharedStream]:
    broadcast = SharedStream(bind, free_ports(2), threads)
    broadcast.add_tune(music, TUNE / 8000)
    try:
        yield broadcast
    finally:
        broadcast.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pacer")]


@pytest.fixture
def ear() -> Iterator[Ear]:
    with Ear() as open_ear:
        yield open_ear


def to(ear: Ear, stream: SharedStream, codec: Codec = PCMU, payload_type: int = 0, ptime: int = 20) -> Any:
    return target(Address(*ear.address), stream.port, codec, payload_type, ptime)


def the_end(stream: SharedStream) -> StreamEnded:
    (over,) = wait_for(stream.ended, "the report of an end")
    return over


# -- one caller ------------------------------------------------------------------------------------------------------


def test_the_music_leaves_from_the_shared_port_and_goes_on_over_the_seam(shared: SharedStream, ear: Ear) -> None:
    shared.order(start("ann", to(ear, shared)))
    heard = ear.packets(120)
    assert {(packet.source, packet.size, packet.payload_type, packet.marked) for packet in heard} == {
        (("127.0.0.1", shared.port), 172, 0, False)
    }
    assert without_a_gap(heard)
    steps = {(b.timestamp - a.timestamp) % 2**32 for a, b in zip(heard, heard[1:])}
    if shared.stats().skipped == 0:
        assert steps == {160}
        sound = b"".join(packet.payload for packet in heard)
        assert sound[TUNE:] == sound[:-TUNE], "the tune again"


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
def test_each_codec_under_its_number_in_packets_of_its_length(
    stream: SharedStream, ear: Ear, codec: Codec, number: int, ptime: int, octets: int, step: int
) -> None:
    if codec.encoder not in encoders():
        pytest.skip(f"this ffmpeg has no {codec.encoder}")
    stream.order(start("ann", to(ear, stream, codec, number, ptime)))
    heard = ear.packets(20)
    assert without_a_gap(heard)
    assert {(packet.size, packet.payload_type) for packet in heard} == {(12 + octets, number)}
    steps = {(b.timestamp - a.timestamp) % 2**32 for a, b in zip(heard, heard[1:])}
    assert step in steps and all(found % step == 0 for found in steps)


def test_after_stop_it_is_silent_and_reported_once(shared: SharedStream, ear: Ear) -> None:
    shared.order(start("ann", to(ear, shared)))
    ear.packets(1)
    shared.order(StopStream("ann"))
    shared.order(StopStream("ann"))
    assert the_end(shared) == StreamEnded("ann", 1, "stopped")
    assert ear.falls_silent()
    assert shared.ended() == [] and not shared.has("ann")
    shared.order(StopStream("ann"))
    assert shared.stats()[:2] == (0, 0)


def test_stop_start_in_a_burst_goes_on_playing(stream: SharedStream, ear: Ear) -> None:
    stream.order(start("ann", to(ear, stream)))
    first = ear.packets(1)[0]
    stream.order(StopStream("ann"))
    stream.order(start("ann", to(ear, stream), serial=2))
    wait_for(lambda: ear.packets(1)[0].ssrc != first.ssrc, "the second stream, by another SSRC than took leave")
    assert the_end(stream).serial == 1 and stream.has("ann")


def test_a_caller_by_ipv6_hears_the_same_stream(stream: SharedStream) -> None:
    with Ear("::1") as ear:
        stream.order(start("ann", to(ear, stream)))
        assert ear.packets(3)[0].source == ("::1", stream.port)


def test_bound_to_all_it_leaves_from_the_address_that_the_answer_named(music: dict[int, Path]) -> None:
    with playing(music, bind="0.0.0.0") as stream, Ear() as ann, Ear() as bob:
        for ear, local in ((ann, "127.0.0.1"), (bob, "127.0.0.2")):
            there = to(ear, stream)._replace(local=Address(local, stream.port))
            stream.order(start(local, there))
            assert {packet.source for packet in ear.packets(3)} == {(local, stream.port)}
            report, source = ear.report()
            assert source == (local, stream.port)
            assert f"moh@{local}".encode() in report


# -- all the others --------------------------------------------------------------------------------------------------

FAITHFUL, FICKLE = range(0, 300, 2), range(1, 300, 2)
"""Of 300 callers, in more than one batch, every second one stays."""


def test_whatever_one_caller_does_no_other_loses_a_packet(shared: SharedStream) -> None:
    """Hold, resume, retarget, codec change, coming and going, and machines that say that nobody listens there."""
    chance, serials, playing_now = random.Random(7), dict.fromkeys(range(300), 0), set(range(300))

    def begin(number: int, codec: Codec = PCMU, ptime: int = 20, away: int = 0) -> None:
        serials[number] += 1
        host, port = crowd.addresses[number]
        there = target(Address(host, port + away), shared.port, codec, codec.offered_type, ptime)
        shared.order(start(f"call {number}", there, serials[number]))

    with Crowd(300) as crowd:
        for number in range(300):
            begin(number)
        crowd.hears(1, range(300))
        assert shared.stats().batches == 2
        for _ in range(40):
            for number in chance.sample(FICKLE, 10):
                if number in playing_now and chance.random() < 0.4:
                    shared.order(StopStream(f"call {number}"))
                    playing_now.discard(number)
                else:
                    begin(
                        number,
                        chance.choice((PCMU, PCMU, PCMA, G722)),
                        chance.choice((20, 20, 30)),
                        chance.choice((0, 1)),
                    )
                    playing_now.add(number)
            crowd.hears(1, range(0, 300, 50))
        crowd.hears(3, FAITHFUL)
        for number in FAITHFUL:
            assert without_a_gap(crowd.heard[number]), number
        by_stream: dict[int, dict[int, Packet]] = {}
        for number in FAITHFUL:
            for packet in crowd.heard[number]:
                same = by_stream.setdefault(packet.ssrc, {}).setdefault(packet.sequence, packet)
                assert packet == same, "all of a batch hear the same"
        assert len(by_stream) == 2
        for number in sorted(playing_now):
            shared.order(StopStream(f"call {number}"))
        wait_for(lambda: shared.ended() == [] and shared.stats().callers == 0, "the end of all")
        wait_for(lambda: shared.stats().batches == 0, "the end of the batches")
        assert shared.stats().lost == 0


def test_a_batch_takes_so_many_and_the_next_one_is_another_stream(stream: SharedStream) -> None:
    with Crowd(FULL + 1) as crowd:
        for number, address in enumerate(crowd.addresses):
            stream.order(start(f"call {number}", target(address, stream.port)))
        crowd.hears(2, range(FULL + 1))
        ssrcs = [heard[0].ssrc for heard in crowd.heard]
        assert len(set(ssrcs[:FULL])) == 1 and ssrcs[FULL] != ssrcs[0]


def test_orders_of_many_threads_leave_nothing_behind(music: dict[int, Path]) -> None:
    """By two pacing threads: each call is started and stopped again and again by a thread of its own."""
    with playing(music, threads=2) as stream:
        stream._choose = lambda: _in_turn(stream)  # type: ignore[method-assign]
        with Ear() as ear:

            def caller(call: str) -> None:
                for serial in range(1, 300, 3):
                    stream.order(start(call, to(ear, stream), serial))
                    stream.order(start(call, to(ear, stream, PCMA, 8), serial + 1))
                    stream.order(StopStream(call))
                    stream.order(start(call, to(ear, stream), serial + 2))
                stream.order(StopStream(call))

            threads = [threading.Thread(target=caller, args=(f"call {number}",)) for number in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            ends: list[StreamEnded] = []

            def all_told() -> bool:
                ends.extend(stream.ended())
                return len([over for over in ends if over.serial == 300]) == 8

            wait_for(all_told, "the last end of each call")
            assert len({(over.call, over.serial) for over in ends}) == len(ends)
            assert stream.stats().callers == 0
            assert [pacer.callers for pacer in stream._pacers] == [0, 0]
            assert ear.falls_silent()


def _in_turn(stream: SharedStream) -> Pacer:
    if len(stream._pacers) < 2:
        stream._pacers.append(Pacer(stream.frames, stream.report_to_all, 1, stream._sockets, stream._ended))
    pacer = min(stream._pacers, key=lambda each: each.callers)
    pacer.callers += 1
    return pacer


# -- RTCP ------------------------------------------------------------------------------------------------------------


def words(data: bytes, kind: int) -> tuple[int, ...]:
    """The numbers of the packet of that type in a compound."""
    while data[1] != kind:
        data = data[4 * (struct.unpack("!H", data[2:4])[0] + 1) :]
    count = struct.unpack("!H", data[2:4])[0]
    return struct.unpack(f"!{count}I", data[4 : 4 + 4 * count])


def test_each_caller_hears_reports_of_his_own_and_a_farewell(stream: SharedStream, ear: Ear) -> None:
    with Ear() as early:
        stream.order(start("bob", to(early, stream)))
        early.packets(30)
        stream.order(start("ann", to(ear, stream)))
        first = ear.packets(1)[0]
        report, source = ear.report()
        assert reports(report) == [200, 202]
        assert source == ("127.0.0.1", stream.port)
        ssrc, _, _, _, packets, octets = words(report, 200)
        heard = 1 + len(ear.waiting())
        assert ssrc == first.ssrc and packets <= heard and octets == packets * 160, "not what went out before him"
        assert b"moh@127.0.0.1" in report
        stream.order(StopStream("ann"))
        farewell, _ = ear.report()
        assert reports(farewell) == [200, 202, 203]
        assert words(farewell, 203) == (first.ssrc,)
        assert early.packets(1)


def test_who_left_before_the_first_packet_gets_no_farewell_from_a_stranger(stream: SharedStream, ear: Ear) -> None:
    stream.order(start("ann", to(ear, stream)))
    stream.order(StopStream("ann"))
    the_end(stream)
    assert ear.heard_nothing()


def test_of_the_place_for_rtcp_only_the_port_is_followed(stream: SharedStream, ear: Ear) -> None:
    """As with an ffmpeg of one's own: a stranger is not to be sent what somebody else asked for."""
    with Ear("127.0.0.9", ear.address[1]) as stranger:
        rtcp = Address("127.0.0.9", ear.address[1] + 1)
        stream.order(start("ann", to(ear, stream)._replace(remote_rtcp=rtcp)))
        assert reports(ear.report()[0]) == [200, 202]
        stream.order(StopStream("ann"))
        assert reports(ear.report()[0]) == [200, 202, 203]
        stranger._rtcp.setblocking(False)
        with pytest.raises(BlockingIOError):
            stranger._rtcp.recv(100)


def test_what_comes_back_is_read_and_counted(stream: SharedStream, ear: Ear) -> None:
    stream.order(start("ann", to(ear, stream)))
    ear.packets(1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        for data in (b"\x80\xc9\0\1" + bytes(4), b"\x80\0" + bytes(170), b"", b"\xff" * 1400, b"\x80\xc8\xff\xff"):
            phone.sendto(data, ("127.0.0.1", stream.port))
    wait_for(lambda: stream.stats().heard == 5, "five datagrams")
    assert stream.stats().reports == 2
    assert ear.packets(1)


# -- who is gone -----------------------------------------------------------------------------------------------------


def test_where_nobody_listens_for_two_seconds_the_stream_ends_without_hope(stream: SharedStream, ear: Ear) -> None:
    with Ear() as gone:
        address = gone.address
    stream.order(start("bob", to(ear, stream)))
    stream.order(start("ann", target(Address(*address), stream.port)))
    over = the_end(stream)
    assert (over.call, over.serial, over.hopeless) == ("ann", 1, "port unreachable")
    assert over.why == f"port unreachable at 127.0.0.1:{address[1]} for 2 s (ICMP)"
    assert stream.stats().deaf == 1
    assert without_a_gap([*ear.waiting(), *ear.packets(3)])


class Ends:
    """Takes the place of a pacer's ends of streams: when it ends one by the literal clock ``at``, and why in vain."""

    def __init__(self, pacer: Pacer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at = 0.0
        self.found: list[tuple[float, str]] = []
        monkeypatch.setattr(pacer, "_end", lambda member, why, hopeless: self.found.append((self.at, hopeless)))


@pytest.mark.parametrize(
    ("told", "given_up"),
    [
        ([0.0, 1.0, 1.99], []),
        ([0.0, 1.0, 2.0], [2.0]),
        ([0.0, 2.9], [2.9]),
        ([0.0, 3.1, 5.0], []),
        ([0.0, 3.1, 5.2], [5.2]),
    ],
)
def test_how_long_a_machine_has_to_say_so(
    stream: SharedStream, ear: Ear, told: list[float], given_up: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By literal clocks, in the place of the thread's own."""
    stream.order(start("ann", to(ear, stream)))
    ear.packets(1)
    (pacer,) = stream._pacers
    news = FeedbackReport(frozenset({Address(*ear.address), Address("127.0.0.1", 9)}), NONE, NONE)
    stopped = Ends(pacer, monkeypatch)
    for now in told:
        stopped.at = now
        pacer._doubt(news, now)
    assert stopped.found == [(now, "port unreachable") for now in given_up]


@pytest.mark.parametrize(
    ("told", "given_up"),
    [
        ([each * 7.5 for each in range(4)], []),
        ([each * 7.5 for each in range(5)], [30.0]),
        ([0.0, 7.0, 15.1, 22.0, 29.0, 37.0, 45.0], []),
        ([0.0, 7.0, 15.1, 22.0, 29.0, 37.0, 45.0, 45.1], [45.1]),
    ],
)
def test_how_long_somebody_on_the_way_has_to_say_that_there_is_none(
    stream: SharedStream, ear: Ear, told: list[float], given_up: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By literal clocks, in the place of the thread's own. He is played to meanwhile, and another one there as well."""
    stream.order(start("ann", to(ear, stream)))
    ear.packets(1)
    (pacer,) = stream._pacers
    stopped = Ends(pacer, monkeypatch)
    for now in told:
        stopped.at = now
        pacer._doubt(FeedbackReport(NONE, NONE, NONE, astray=frozenset({Address(*ear.address)})), now)
        pacer._doubt(FeedbackReport(NONE, NONE, NONE, astray=frozenset({Address(ear.address[0], 9)})), now + 3.0)
    assert stopped.found == [(now, "host unreachable") for now in given_up]
    assert without_a_gap([*ear.waiting(), *ear.packets(3)])


def test_to_whom_no_interface_leads_for_long_the_stream_ends_without_hope(
    shared: SharedStream, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From 127.0.0.1 there is no way to other machines. Nobody else is kept waiting for that."""
    monkeypatch.setattr("moh.shared.pacer.HOST_UNREACHABLE_TIMEOUT", 1.2)
    shared.order(start("bob", to(ear, shared)))
    shared.order(start("ann", target(Address("192.0.2.1", 4000), shared.port)))
    over = the_end(shared)
    assert (over.call, over.hopeless) == ("ann", "host unreachable")
    assert without_a_gap([*ear.waiting(), *ear.packets(3)])


@pytest.mark.parametrize(
    ("told", "given_up"),
    [
        ([each / 2 for each in range(60)], []),
        ([each / 2 for each in range(61)], [30.0]),
        ([each * 1.5 for each in range(21)], [30.0]),
        ([*(each / 2 for each in range(59)), 30.6, 32.0], []),
    ],
)
def test_how_long_no_interface_has_to_lead_there(
    stream: SharedStream, told: list[float], given_up: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By literal clocks, in the place of the thread's own."""
    (pacer,) = stream._pacers
    attend = pacer._attend
    monkeypatch.setattr(pacer, "_attend", lambda now: None)
    stream.order(start("ann", target(Address("192.0.2.1", 4000), stream.port)))
    wait_for(lambda: any(batch.astray for _, _, batch in list(pacer._due)), "a packet that finds no way")
    stopped = Ends(pacer, monkeypatch)
    for now in told:
        stopped.at = now
        attend(now)
    assert stopped.found == [(now, "host unreachable") for now in given_up]


def test_what_comes_back_is_read_though_the_first_thread_has_no_callers(music: dict[int, Path], ear: Ear) -> None:
    with playing(music, threads=2) as stream:
        _in_turn(stream).callers += 9  # so that the next one is for the second thread
        with Ear() as gone:
            address = gone.address
        stream._choose = lambda: _in_turn(stream)  # type: ignore[method-assign]
        stream.order(start("ann", target(Address(*address), stream.port)))
        assert the_end(stream).hopeless


@pytest.mark.parametrize(
    ("told", "given_up"),
    [
        ([("left", 0.0), ("report", 6.9)], []),
        ([("left", 0.0), ("report", 7.0)], [7.0]),
        ([("left", 0.0), ("left", 3.0), ("report", 7.0)], [7.0]),
        ([("left", 0.0), ("spoke", 3.0), ("report", 9.0)], []),
        ([("spoke", 0.0), ("report", 9.0)], []),
    ],
)
def test_who_took_leave_by_rtcp_is_given_up_unless_he_speaks_again(
    stream: SharedStream,
    ear: Ear,
    told: list[tuple[str, float]],
    given_up: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By literal clocks, in the place of the thread's own."""
    stream.order(start("ann", to(ear, stream)))
    ear.packets(1)
    (pacer,) = stream._pacers
    (member,) = pacer._members.values()
    ended: list[str] = []
    monkeypatch.setattr(pacer, "_end", lambda member, why, hopeless: ended.append(why))
    stopped = []
    source = frozenset({Address(ear.address[0], ear.address[1] + 1)})
    for what, now in told:
        if what == "report":
            pacer._report(member, now)
        else:
            pacer._doubt(
                FeedbackReport(NONE, source if what == "left" else NONE, source if what == "spoke" else NONE), now
            )
        stopped += [now for why in ended if why == "the receiver sent RTCP BYE"]
        ended.clear()
    assert stopped == given_up


# -- tunes -----------------------------------------------------------------------------------------------------------


def test_a_tune_is_forgotten_when_nobody_needs_it_and_who_hears_it_hears_it_on(
    stream: SharedStream, ear: Ear, music: dict[int, Path], tmp_path: Path
) -> None:
    stream.order(start("ann", to(ear, stream)))
    ear.packets(3)
    former = weakref.ref(stream.frames(0, PCMU, 20))
    new = write_wave(tmp_path / "new.wav", climbing(5000))
    assert stream.add_tune({8000: new, 16000: new}, 5000 / 8000) == 1
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


def test_all_who_wait_for_one_codec_hear_it_from_one_encoding(
    stream: SharedStream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = tmp_path / "begun"
    script = (
        f"open({str(lines)!r}, 'a').write('x'); time.sleep(0.1); out.write(bytes(100_000)); out.flush(); time.sleep(9)"
    )
    stand_in(tmp_path, monkeypatch, script)
    with Crowd(20) as crowd:
        for number, address in enumerate(crowd.addresses):
            stream.order(start(f"call {number}", target(address, stream.port)))
        stream.order(StopStream("call 7"))
        crowd.hears(2, range(7))
        crowd.hears(2, range(8, 20))
        assert crowd.heard[7] == []
        assert lines.read_text() == "x"
        assert [over.call for over in stream.ended()] == ["call 7"]


def test_music_that_cannot_be_encoded_ends_each_waiting_call_and_the_next_tries_again(
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
        assert {over.call for over in ends} == {"ann", "bob"}
        assert all("no more ffmpeg today" in over.why and not over.hopeless for over in ends)
    stream.order(start("ann", to(ear, stream), serial=2))
    assert ear.packets(3)


def test_an_encoding_that_breaks_off_ends_the_calls_that_would_fall_silent(
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
        over = the_end(stream)
        assert over.call == "ann" and "the disk is full" in over.why
    stream.order(start("ann", to(ear, stream), serial=2))
    wait_for(lambda: len(set(ear.packets(1)[0].payload)) > 50, "music, not the zeros of before")
    assert without_a_gap(ear.packets(60))


def test_closed_while_music_is_still_being_encoded(
    music: dict[int, Path], ear: Ear, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch, "out.write(bytes(9000)); out.flush(); time.sleep(1); out.write(bytes(99_000))")
    with playing(music) as stream:
        stream.order(start("ann", to(ear, stream)))
        wait_for(lambda: ffmpegs_of(os.getpid()) != [], "the encoding")
        stream.close()
        assert the_end(stream).why == "the server stops"
    wait_for(lambda: not [each for each in threading.enumerate() if each.name == "frames"], "the end of the encoding")


# -- faults of our own -----------------------------------------------------------------------------------------------


def test_an_order_that_cannot_be_carried_out_is_reported_and_the_rest_goes_on(stream: SharedStream, ear: Ear) -> None:
    stream.order(start("ann", to(ear, stream)))
    ear.packets(1)
    with Ear() as other:
        stream.order(start("bob", to(other, stream), tune=7))
        assert "IndexError" in the_end(stream).why
        stream.order(start("bob", to(other, stream), serial=2))
        assert other.packets(1)
        stream.order(start("bob", to(other, stream), serial=3, tune=7))
        assert the_end(stream).serial == 3
        assert other.falls_silent()
    assert without_a_gap([*ear.waiting(), *ear.packets(2)])


def test_a_batch_that_stumbles_ends_and_the_others_play_on(
    stream: SharedStream, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Ear() as other:
        stream.order(start("ann", to(ear, stream)))
        stream.order(start("bob", to(other, stream, PCMA, 8)))
        ear.packets(1), other.packets(1)
        plays = Fanout.send_due

        def stumble(batch: Fanout, now: float) -> None:
            if batch.shape.codec is PCMA:
                raise RuntimeError("a fault of ours")
            plays(batch, now)

        monkeypatch.setattr(Fanout, "send_due", stumble)
        over = the_end(stream)
        assert over.call == "bob" and "stumbled" in over.why
        assert other.falls_silent()
        assert without_a_gap([*ear.waiting(), *ear.packets(3)])
        monkeypatch.setattr(Fanout, "send_due", plays)
        stream.order(start("bob", to(other, stream, PCMA, 8), serial=2))
        assert other.packets(1)


@pytest.mark.parametrize("door", ["_report", "_look"])
def test_a_fault_between_two_packets_is_no_end_of_the_music(
    stream: SharedStream, ear: Ear, door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stumbled = threading.Event()

    def stumble(*_: object) -> None:
        stumbled.set()
        raise RuntimeError("a fault of ours")

    (pacer,) = stream._pacers
    monkeypatch.setattr(pacer, door, stumble)
    stream.order(start("ann", to(ear, stream)))
    wait_for(stumbled.is_set, door)
    ear.waiting()
    assert without_a_gap(ear.packets(10))


def test_a_fault_after_each_packet_is_no_end_of_the_music(
    stream: SharedStream, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    stumbled = threading.Event()

    def stumble() -> bool:
        stumbled.set()
        raise MemoryError("none is left")

    (pacer,) = stream._pacers
    monkeypatch.setattr(pacer._post, "crowded", stumble)
    stream.order(start("ann", to(ear, stream)))
    wait_for(stumbled.is_set, "the fault")
    ear.waiting()
    assert without_a_gap(ear.packets(10))
    stream.order(StopStream("ann"))
    assert the_end(stream).why == "stopped"


def test_who_cannot_join_when_his_music_is_ready_is_told_and_the_others_hear_it(
    stream: SharedStream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pacer,) = stream._pacers
    way_out = pacer._way_out
    full: list[str] = []

    def stumble(*args: Any) -> str:
        if not full:
            full.append("of ann")
            raise MemoryError("none is left")
        return way_out(*args)

    monkeypatch.setattr(pacer, "_way_out", stumble)
    stand_in(tmp_path, monkeypatch, "time.sleep(0.1); out.write(bytes(100_000)); out.flush(); time.sleep(9)")
    with Crowd(3) as crowd:
        for name, address in zip(("ann", "bob", "cat"), crowd.addresses):
            stream.order(start(name, target(address, stream.port)))
        over = the_end(stream)
        assert over.call == "ann" and "stumbled" in over.why
        crowd.hears(2, range(1, 3))
        assert crowd.heard[0] == []


# -- nothing stays ---------------------------------------------------------------------------------------------------


def test_thousands_who_come_and_go_leave_nothing(stream: SharedStream) -> None:
    with Ear() as ear:
        there = to(ear, stream)
        for number in range(3000):
            stream.order(start(f"call {number}", there))
        wait_for(lambda: stream.stats().batches == 15, "fifteen batches", 30)
        for number in range(3000):
            stream.order(StopStream(f"call {number}"))
        wait_for(lambda: stream.ended() == [] and stream.stats().callers == 0, "the end of all", 30)
    wait_for(lambda: stream.stats().batches == 0, "the end of the batches")

    def left() -> int:
        gc.collect()
        return sum(isinstance(thing, Fanout) for thing in gc.get_objects())

    wait_for(lambda: left() == 0, "the memory of the batches")
    (pacer,) = stream._pacers
    wait_for(lambda: not (pacer._members or pacer._reports or pacer._due or pacer._doubts), "nobody")
    assert not pacer._batches and not pacer._waiting and set(pacer._load.values()) == {0}


def test_close_takes_leave_of_all_and_frees_the_port(music: dict[int, Path], ear: Ear) -> None:
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
    if files:  # its encoder may need a moment to end
        wait_for(lambda: len(os.listdir("/proc/self/fd")) <= files, "no open file left")


def test_a_port_that_somebody_has_is_an_error() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as squatter:
        squatter.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="Address already in use"):
            SharedStream("127.0.0.1", squatter.getsockname()[1])


def test_without_ipv6_its_callers_are_told_and_the_others_play(
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
