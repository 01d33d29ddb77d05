"""What the streams' thread does first where much is to be done, with real ffmpeg on the loopback."""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from moh.common.actions import StopStream, StreamEnded
from moh.ffmpeg.supervisor import GRACE, Supervisor
from tests.ffmpeg.test_supervisor import ear, music, port, start, streams
from tests.support.phone import Ear
from tests.support.running import ffmpegs_of, free_ports, is_free, wait_for

__all__ = ["ear", "music", "port", "streams"]


class Doings:
    """What the streams' thread has done, by the port of the call. Shut, it holds the thread up at its next start."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []
        self.held = threading.Event()
        self.open = threading.Event()
        self.open.set()

    def shut(self) -> None:
        self.held.clear()
        self.open.clear()

    def starts(self, port: int) -> int:
        return self.seen.count(("start", port))


@pytest.fixture
def doings(streams: Supervisor, monkeypatch: pytest.MonkeyPatch) -> Iterator[Doings]:
    all_of_them = Doings()

    class Watched(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, command: list[str], **more: Any) -> None:
            self.port = int(" ".join(command).partition("localrtpport=")[2].partition("&")[0])
            all_of_them.seen.append(("start", self.port))
            all_of_them.held.set()
            all_of_them.open.wait()
            super().__init__(command, **more)

        def terminate(self) -> None:
            all_of_them.seen.append(("end", self.port))
            super().terminate()

    monkeypatch.setattr("moh.ffmpeg.process.subprocess.Popen", Watched)
    yield all_of_them
    all_of_them.open.set()


def crowd(streams: Supervisor, doings: Doings, ear: Ear, count: int) -> dict[str, int]:
    """So many calls with their ports, of which the first is about to be started, and all others wait for that."""
    ports = {f"caller {number}": free_ports(2) for number in range(count)}
    doings.shut()
    for call, its_port in ports.items():
        streams.order(start(ear, its_port, call=call))
        assert doings.held.wait(10)
    return ports


def ends(streams: Supervisor, count: int) -> list[StreamEnded]:
    """Wait for so many reports."""
    found: list[StreamEnded] = []

    def all_told() -> bool:
        found.extend(streams.ended())
        return len(found) >= count

    wait_for(all_told, f"{count} reports")
    return found


def test_a_stop_overtakes_the_starts_of_others(streams: Supervisor, doings: Doings, ear: Ear, port: int) -> None:
    with Ear() as held:
        streams.order(start(held, port))
        held.packets(1)
        (first, *_) = crowd(streams, doings, ear, 5).values()
        streams.order(StopStream("call"))
        doings.open.set()
        assert ends(streams, 1)[0].call == "call"
        assert doings.seen[1:3] == [("start", first), ("end", port)]
        assert held.falls_silent()


def test_a_move_ends_the_former_before_others_are_started(
    streams: Supervisor, doings: Doings, ear: Ear, port: int
) -> None:
    with Ear() as held, Ear() as other:
        streams.order(start(held, port))
        held.packets(1)
        (first, *_) = crowd(streams, doings, ear, 3).values()
        streams.order(start(other, port, serial=2))
        doings.open.set()
        other.packets(1)
        assert doings.seen[1:3] == [("start", first), ("end", port)]
        assert held.falls_silent()
        assert streams.ended() == []


def test_the_time_until_an_ffmpeg_is_killed_begins_with_the_order(
    streams: Supervisor, doings: Doings, ear: Ear, port: int
) -> None:
    """However long the thread is held up by a start meanwhile."""
    streams.order(start(ear, port))
    ear.packets(1)
    crowd(streams, doings, ear, 1)
    streams.order(StopStream("call"))
    given = time.monotonic()
    player = streams._players["call"]
    assert player.kill_at is None
    doings.open.set()
    kill_at = wait_for(lambda: player.kill_at, "that it is asked to end")
    assert kill_at is not None and kill_at - GRACE <= given


def test_what_is_stopped_while_it_waits_is_never_started(streams: Supervisor, doings: Doings, ear: Ear) -> None:
    ports = crowd(streams, doings, ear, 20)
    for call in ports:
        streams.order(StopStream(call))
    doings.open.set()
    told = ends(streams, 20)
    assert Counter((over.call, over.serial) for over in told) == Counter((call, 1) for call in ports)
    assert [over.why for over in told].count("stopped") == 19
    assert [done for done, _ in doings.seen].count("start") == 1
    assert all(map(is_free, ports.values()))
    assert streams.ended() == []


def test_what_waits_at_the_end_is_never_started(streams: Supervisor, doings: Doings, ear: Ear) -> None:
    ports = crowd(streams, doings, ear, 20)
    closing = threading.Thread(target=streams.close)
    closing.start()
    wait_for(lambda: streams._orders.qsize() == 20, "that the thread has it to read, behind 19 starts")
    streams.order(start(ear, free_ports(2), call="too late"))
    doings.open.set()
    closing.join()
    told = streams.ended()
    assert Counter((over.call, over.serial) for over in told) == Counter((call, 1) for call in (*ports, "too late"))
    assert [over.why for over in told].count("the server stops") == 20
    assert [done for done, _ in doings.seen].count("start") == 1


def test_who_is_moved_while_he_waits_is_started_once_where_he_is_wanted(
    streams: Supervisor, doings: Doings, ear: Ear, port: int
) -> None:
    with Ear() as other:
        crowd(streams, doings, ear, 1)
        streams.order(start(ear, port, serial=1))
        streams.order(start(other, port, serial=2))
        doings.open.set()
        assert other.packets(1)[0].source == ("127.0.0.1", port)
        assert doings.starts(port) == 1
        assert streams.ended() == []
        streams.order(StopStream("call"))
        assert [over[:2] for over in ends(streams, 1)] == [("call", 2)]


def test_start_stop_start_while_it_waits_is_reported_once_and_plays(
    streams: Supervisor, doings: Doings, ear: Ear, port: int
) -> None:
    crowd(streams, doings, ear, 1)
    for order in (start(ear, port, serial=1), StopStream("call"), start(ear, port, serial=2)):
        streams.order(order)
    doings.open.set()
    wait_for(lambda: any(packet.source[1] == port for packet in ear.packets(1)), "the music")
    assert doings.starts(port) == 1
    assert streams.ended() == [StreamEnded("call", 1, "stopped")]


def test_stop_start_stop_behind_a_crowd_waits_for_the_port(
    streams: Supervisor, doings: Doings, ear: Ear, port: int
) -> None:
    """The second start was never begun, but the first ffmpeg has the port: the report waits for its end."""
    streams.order(start(ear, port, serial=1))
    ear.packets(1)
    crowd(streams, doings, ear, 3)
    for order in (StopStream("call"), start(ear, port, serial=2), StopStream("call")):
        streams.order(order)
    doings.open.set()
    (over,) = ends(streams, 1)
    assert over == StreamEnded("call", 2, "ffmpeg ended with status 255")
    assert is_free(port)
    assert doings.starts(port) == 1


def test_random_orders_end_as_the_last_of_them_says(
    streams: Supervisor, doings: Doings, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each start that is no more is reported at most once, the latest one of each call exactly once."""
    monkeypatch.setattr("moh.ffmpeg.start_queue.APART", 0.02)
    chance = random.Random(7)
    ports = {f"caller {number}": free_ports(2) for number in range(5)}
    serials: Counter[str] = Counter()
    told: list[StreamEnded] = []
    for _ in range(150):
        call = chance.choice(list(ports))
        if chance.random() < 0.6:
            serials[call] += 1
            streams.order(start(ear, ports[call], serials[call], call))
        else:
            streams.order(StopStream(call))
        if chance.random() < 0.2:
            seen = len(doings.seen)
            wait_for(lambda then=seen: len(doings.seen) > then or not streams.playing, "something done")  # type: ignore[misc]
        told += streams.ended()
    for call in ports:
        streams.order(StopStream(call))

    def all_told() -> bool:
        told.extend(streams.ended())
        return {(over.call, over.serial) for over in told} >= set(serials.items())

    wait_for(all_told, "the last report of each call")
    assert ffmpegs_of(os.getpid()) == []
    assert all(map(is_free, ports.values()))
    for call in ports:
        of_it = [over.serial for over in told if over.call == call]
        assert of_it == sorted(set(of_it)) and of_it[-1] == serials[call]


# -- again and again -----------------------------------------------------------------------------------------------


def test_who_is_moved_again_at_once_hears_silence_first(
    streams: Supervisor, doings: Doings, ear: Ear, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not one ffmpeg after the other. Here "at once" is an hour, so that it is not over before we look."""
    monkeypatch.setattr("moh.ffmpeg.start_queue.APART", 3600.0)
    streams.order(start(ear, port, serial=1))
    ear.packets(1)
    with Ear() as other, Ear() as third:
        for serial in range(2, 10):
            streams.order(start(other if serial % 2 else ear, port, serial))
        assert ear.falls_silent(), "what plays to a wrong place has ended"
        streams.order(start(third, free_ports(2), call="another"))
        third.packets(1)
        assert doings.starts(port) == 1
        assert other.heard_nothing()
    streams.order(StopStream("call"))
    assert ends(streams, 1) == [StreamEnded("call", 9, "stopped")]


def test_who_is_held_and_resumed_again_at_once_hears_silence_first(
    streams: Supervisor, doings: Doings, ear: Ear, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moh.ffmpeg.start_queue.APART", 3600.0)
    streams.order(start(ear, port, serial=1))
    ear.packets(1)
    streams.order(StopStream("call"))
    assert ends(streams, 1)[0].serial == 1
    streams.order(start(ear, port, serial=2))
    with Ear() as other:
        streams.order(start(other, free_ports(2), call="another"))
        other.packets(1)
        assert doings.starts(port) == 1
    streams.order(StopStream("call"))
    assert ends(streams, 1) == [StreamEnded("call", 2, "stopped")]


def test_the_last_of_many_moves_is_played(streams: Supervisor, doings: Doings, ear: Ear, port: int) -> None:
    with Ear() as other:
        for serial in range(1, 30):
            streams.order(start(ear, port, serial))
            wait_for(lambda: not streams._orders.qsize(), "that it is read")
        streams.order(start(other, port, 30))
        other.packets(3)
        assert ear.falls_silent()
        assert streams.ended() == []
        streams.order(StopStream("call"))
        assert [over[:2] for over in ends(streams, 1)] == [("call", 30)]
