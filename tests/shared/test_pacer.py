"""A pacer: offsets, feedback by literal clocks, loops that are being encoded, and faults. End to end on loopback."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from moh.common.actions import Address, StopStream
from moh.common.codecs import PCMA
from moh.shared import reachability
from moh.shared.fanout import MOST_RECEIVERS, Fanout
from moh.shared.feedback import FeedbackReport
from moh.shared.pacer import INTERNAL_ERROR, OFFSETS, Pacer
from moh.shared.shared_stream import PACKETS_PER_PACER, SharedStream
from tests.support.crowd import Crowd, start, target
from tests.support.phone import Ear, has_no_gap
from tests.support.running import wait_for
from tests.support.shared import playing, stand_in, the_end, to

NONE: frozenset[Address] = frozenset()


@pytest.fixture
def pacer(stream: SharedStream) -> Pacer:
    (only,) = stream._pacers
    return only


def test_the_offsets_are_all_milliseconds_of_the_cycle_and_neighbours_are_far_apart() -> None:
    assert sorted(OFFSETS) == list(range(20))
    assert all(abs(after - before) > 2 for before, after in zip(OFFSETS, OFFSETS[1:4]))


def test_a_full_fanout_is_followed_by_another_with_its_own_ssrc_and_offset(stream: SharedStream, pacer: Pacer) -> None:
    with Crowd(MOST_RECEIVERS + 1) as crowd:
        for number, address in enumerate(crowd.addresses):
            stream.order(start(f"call {number}", target(address, stream.port)))
        crowd.await_packets(2, range(MOST_RECEIVERS + 1))
        ssrcs = [received[0].ssrc for received in crowd.received]
        assert len(set(ssrcs[:MOST_RECEIVERS])) == 1 and ssrcs[MOST_RECEIVERS] != ssrcs[0]
        assert [fanout.offset for fanouts in pacer._fanouts.values() for fanout in fanouts] == list(OFFSETS[:2])


def test_the_lateness_of_each_packet_is_counted_for_each_receiver(stream: SharedStream, ear: Ear) -> None:
    with Ear("127.0.0.9") as other:
        stream.order(start("ann", to(ear, stream)))
        stream.order(start("bob", to(other, stream)))
        assert ear.packets(10) and other.packets(10)
        lateness = stream.call_lateness("ann")
        assert lateness is not None and 0 <= lateness < 1 and stream.call_lateness("eve") is None
    stream.order(StopStream("ann"))
    stream.order(StopStream("bob"))
    assert wait_for(lambda: not stream.stats().fanouts, "the end of the fan-out")
    assert sum(stream.lateness().counts) == stream.stats().sent
    assert stream.call_lateness("ann") is None


# -- feedback --------------------------------------------------------------------------------------------------------


def test_a_closed_port_ends_the_stream_after_two_seconds(stream: SharedStream, ear: Ear) -> None:
    with Ear() as gone:
        address = gone.address
    stream.order(start("bob", to(ear, stream)))
    stream.order(start("ann", target(Address(*address), stream.port)))
    end = the_end(stream)
    assert (end.call, end.serial, end.hopeless) == ("ann", 1, "port unreachable")
    assert end.why == f"port unreachable at 127.0.0.1:{address[1]} for 2 s (ICMP)"
    assert stream.stats().dropped == 1
    assert has_no_gap([*ear.waiting(), *ear.packets(3)])


def test_a_receiver_without_a_route_is_dropped_and_delays_no_other(
    stream: SharedStream, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From 127.0.0.1 there is no route to other machines."""
    monkeypatch.setattr(reachability, "SEND_ERROR", reachability.SEND_ERROR._replace(timeout=1.2))
    stream.order(start("bob", to(ear, stream)))
    stream.order(start("ann", target(Address("192.0.2.1", 4000), stream.port)))
    end = the_end(stream)
    assert (end.call, end.hopeless) == ("ann", "host unreachable")
    assert has_no_gap([*ear.waiting(), *ear.packets(3)])


def test_feedback_is_read_while_the_pacer_that_reads_it_has_no_receivers(music: dict[int, Path]) -> None:
    with playing(music, threads=2) as stream:
        stream._pacers[0].load = PACKETS_PER_PACER  # the first pacer is full, so the second one gets the call
        with Ear() as gone:
            address = gone.address
        stream.order(start("ann", target(Address(*address), stream.port)))
        assert the_end(stream).hopeless == "port unreachable"
        assert stream._pacers[1].load == 0


def ends_of(pacer: Pacer, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Record the ends of streams. Without this, the test's thread would end them, which only the pacer's thread may."""
    ends: list[tuple[str, str]] = []
    monkeypatch.setattr(pacer, "_end", lambda receiver, why, hopeless: ends.append((receiver.call, hopeless)))
    return ends


def test_a_receiver_gets_music_until_thirty_seconds_of_host_unreachable_are_over(
    stream: SharedStream, pacer: Pacer, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By literal clocks, in the place of the thread's own."""
    stream.order(start("ann", to(ear, stream)))
    ear.packets(1)
    ends = ends_of(pacer, monkeypatch)
    report = FeedbackReport(NONE, NONE, NONE, host_unreachable=frozenset({Address(*ear.address)}))
    for now in (0.0, 7.5, 15.0, 22.5):
        pacer._handle_feedback(report, now)
    assert has_no_gap([*ear.waiting(), *ear.packets(3)]) and ends == []
    pacer._handle_feedback(report, 30.0)
    assert ends == [("ann", "host unreachable")]


def test_a_receiver_that_sent_bye_is_dropped_when_its_next_report_is_due(
    stream: SharedStream, pacer: Pacer, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By literal clocks, in the place of the thread's own."""
    stream.order(start("ann", to(ear, stream)))
    ear.packets(1)
    (ann,) = pacer.receivers
    ends = ends_of(pacer, monkeypatch)
    rtcp = frozenset({Address(ear.address[0], ear.address[1] + 1)})
    pacer._handle_feedback(FeedbackReport(NONE, rtcp, NONE), 0.0)
    pacer._report(ann, 6.9)
    assert ends == []
    pacer._report(ann, 7.0)
    assert ends == [("ann", "RTCP BYE")]


def test_a_receiver_at_a_silent_host_is_paused_without_bye_and_resumed_on_the_same_ssrc(
    stream: SharedStream, ear: Ear
) -> None:
    """The receiver's host is reported as silent once. Then there is no further error for five seconds."""
    with Ear("127.0.0.9") as other:
        stream.order(start("ann", to(ear, stream)))
        stream.order(start("bob", to(other, stream)))
        before = ear.packets(1)[0]
        stream.command_all(FeedbackReport(NONE, NONE, NONE, silent_hosts=frozenset({ear.address[0]})))
        wait_for(lambda: not ear.waiting(), "silence")
        assert has_no_gap([*other.waiting(), *other.packets(20)])
        after = ear.packets(1)[0]
        assert (after.ssrc, stream.ended()) == (before.ssrc, [])
        assert (after.sequence - before.sequence) % 2**16 > 100, "the others got these packets"


# -- loops that are being encoded --------------------------------------------------------------------------------------


def test_all_calls_that_wait_for_a_codec_get_it_from_one_encoding(
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
        crowd.await_packets(2, range(7))
        crowd.await_packets(2, range(8, 20))
        assert crowd.received[7] == []
        assert lines.read_text() == "x"
        assert [end.call for end in stream.ended()] == ["call 7"]


def test_a_receiver_that_cannot_join_when_its_loop_begins_ends_and_the_others_get_music(
    stream: SharedStream, pacer: Pacer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = pacer._sources.find
    failed: list[str] = []

    def fails_once(*args: Any) -> str:
        if not failed:
            failed.append("ann")
            raise MemoryError("none is left")
        return source(*args)

    monkeypatch.setattr(pacer._sources, "find", fails_once)
    stand_in(tmp_path, monkeypatch, "time.sleep(0.1); out.write(bytes(100_000)); out.flush(); time.sleep(9)")
    with Crowd(3) as crowd:
        for name, address in zip(("ann", "bob", "cat"), crowd.addresses):
            stream.order(start(name, target(address, stream.port)))
        end = the_end(stream)
        assert (end.call, end.why) == ("ann", INTERNAL_ERROR)
        crowd.await_packets(2, range(1, 3))
        assert crowd.received[0] == []


# -- faults of this program --------------------------------------------------------------------------------------------


def test_a_bug_in_a_turn_is_logged_with_its_traceback_and_counted_and_the_music_goes_on(
    stream: SharedStream, pacer: Pacer, ear: Ear, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stream.order(start("ann", to(ear, stream)))
    ear.packets(1)
    turn, failures = pacer._turn, iter(range(3))

    def fails_three_times() -> None:
        if next(failures, None) is not None:
            raise AttributeError("a plain bug")
        turn()

    monkeypatch.setattr(pacer, "_turn", fails_three_times)
    wait_for(lambda: stream.faults.count == 3, "three faults")
    ear.waiting()
    assert has_no_gap(ear.packets(10))
    assert caplog.text.count("unexpected error in the shared stream") == 1, "one traceback in ten seconds"
    assert "Traceback" in caplog.text and "AttributeError: a plain bug" in caplog.text


def test_a_memory_error_in_a_turn_is_counted_and_not_logged(
    stream: SharedStream, pacer: Pacer, ear: Ear, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stream.order(start("ann", to(ear, stream)))
    ear.packets(1)
    turn, failures = pacer._turn, iter(range(1))

    def fails_once() -> None:
        if next(failures, None) is not None:
            raise MemoryError
        turn()

    monkeypatch.setattr(pacer, "_turn", fails_once)
    wait_for(lambda: stream.faults.count == 1, "the fault")
    assert ear.packets(10) and "unexpected" not in caplog.text


def test_an_order_that_cannot_be_carried_out_ends_its_stream_and_no_other(stream: SharedStream, ear: Ear) -> None:
    stream.order(start("ann", to(ear, stream)))
    ear.packets(1)
    with Ear() as other:
        stream.order(start("bob", to(other, stream), tune=7))
        assert "tune is 7" in the_end(stream).why
        stream.order(start("bob", to(other, stream), serial=2))
        assert other.packets(1)
        stream.order(start("bob", to(other, stream), serial=3, tune=7))
        assert the_end(stream).serial == 3
        assert other.falls_silent()
    assert has_no_gap([*ear.waiting(), *ear.packets(2)])


def test_a_fanout_that_fails_ends_and_the_others_play_on(
    stream: SharedStream, ear: Ear, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with Ear() as other:
        stream.order(start("ann", to(ear, stream)))
        stream.order(start("bob", to(other, stream, PCMA, 8)))
        ear.packets(1), other.packets(1)
        send_due = Fanout.send_due

        def fails(fanout: Fanout, now: float) -> None:
            if fanout.key.codec is PCMA:
                raise RuntimeError("a plain bug")
            send_due(fanout, now)

        monkeypatch.setattr(Fanout, "send_due", fails)
        end = the_end(stream)
        assert (end.call, end.why, end.hopeless) == ("bob", INTERNAL_ERROR, "")
        assert "RuntimeError: a plain bug" in caplog.text
        assert other.falls_silent()
        assert has_no_gap([*ear.waiting(), *ear.packets(3)])
        monkeypatch.setattr(Fanout, "send_due", send_due)
        stream.order(start("bob", to(other, stream, PCMA, 8), serial=2))
        assert other.packets(1)


@pytest.mark.parametrize("method", ["_report", "_poll", "_check_reachability"])
def test_a_bug_between_two_packets_does_not_end_the_music(
    stream: SharedStream, pacer: Pacer, ear: Ear, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = threading.Event()

    def fails(*_: object) -> None:
        called.set()
        raise RuntimeError("a plain bug")

    monkeypatch.setattr(pacer, method, fails)
    stream.order(start("ann", to(ear, stream)))
    wait_for(called.is_set, method)
    ear.waiting()
    assert has_no_gap(ear.packets(10))
    assert stream.faults.count > 0


def test_a_fault_after_each_packet_does_not_end_the_music(
    stream: SharedStream, pacer: Pacer, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = threading.Event()

    def fails() -> bool:
        called.set()
        raise MemoryError("none is left")

    monkeypatch.setattr(pacer._feedback, "is_congested", fails)
    stream.order(start("ann", to(ear, stream)))
    wait_for(called.is_set, "the fault")
    ear.waiting()
    assert has_no_gap(ear.packets(10))
    stream.order(StopStream("ann"))
    assert the_end(stream).why == "stopped"


def test_a_bye_that_cannot_be_sent_keeps_no_receiver(
    stream: SharedStream, pacer: Pacer, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise MemoryError("none is left")

    stream.order(start("ann", to(ear, stream)))
    ear.packets(1)
    monkeypatch.setattr(pacer._reports, "send_bye", fails)
    stream.order(StopStream("ann"))
    assert the_end(stream).why == "stopped"
    assert ear.falls_silent()
