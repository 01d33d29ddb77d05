"""End to end: the sequence in which a busy ``Supervisor`` starts and ends real ffmpegs on the loopback."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from moh.common.actions import StopStream, StreamEnded
from moh.ffmpeg.spawn import Process, start_process
from moh.ffmpeg.supervisor import KILL_AFTER, Supervisor
from tests.ffmpeg.supervised import start
from tests.support.phone import Ear
from tests.support.running import ffmpegs_of, free_ports, is_free, wait_for


class Steps:
    """It logs each start and end of an ffmpeg, with its port. After ``shut`` it blocks the supervisor's next start."""

    def __init__(self) -> None:
        self.log: list[tuple[str, int]] = []
        self.blocked = threading.Event()
        self.open = threading.Event()
        self.open.set()

    def shut(self) -> None:
        self.blocked.clear()
        self.open.clear()

    def starts(self, port: int) -> int:
        return self.log.count(("start", port))


@pytest.fixture
def steps(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> Iterator[Steps]:
    seen = Steps()

    def watched(command: list[str]) -> Process:
        port = int(" ".join(command).partition("localrtpport=")[2].partition("&")[0])
        seen.log.append(("start", port))
        seen.blocked.set()
        seen.open.wait()
        process = start_process(command)
        terminate = process.terminate

        def logged() -> None:
            seen.log.append(("end", port))
            terminate()

        monkeypatch.setattr(process, "terminate", logged)
        return process

    monkeypatch.setattr("moh.ffmpeg.process.start_process", watched)
    yield seen
    seen.open.set()


def crowd(supervisor: Supervisor, steps: Steps, ear: Ear, count: int) -> dict[str, int]:
    """Order ``count`` calls and return their ports. The start of the first is blocked, and all others wait for it."""
    ports = {f"caller {number}": free_ports(2) for number in range(count)}
    steps.shut()
    for call, its_port in ports.items():
        supervisor.order(start(ear, its_port, call=call))
        assert steps.blocked.wait(10)
    return ports


def ends(supervisor: Supervisor, count: int) -> list[StreamEnded]:
    """Wait for ``count`` reports of an end, and return them."""
    found: list[StreamEnded] = []

    def all_reported() -> bool:
        found.extend(supervisor.ended())
        return len(found) >= count

    wait_for(all_reported, f"{count} reports")
    return found


def test_a_stop_overtakes_the_starts_of_others(supervisor: Supervisor, steps: Steps, ear: Ear, port: int) -> None:
    with Ear() as held:
        supervisor.order(start(held, port))
        held.packets(1)
        (first, *_) = crowd(supervisor, steps, ear, 5).values()
        supervisor.order(StopStream("call"))
        steps.open.set()
        assert ends(supervisor, 1)[0].call == "call"
        assert steps.log[1:3] == [("start", first), ("end", port)]
        assert held.falls_silent()


def test_a_move_ends_the_old_ffmpeg_before_others_are_started(
    supervisor: Supervisor, steps: Steps, ear: Ear, port: int
) -> None:
    with Ear() as held, Ear() as other:
        supervisor.order(start(held, port))
        held.packets(1)
        (first, *_) = crowd(supervisor, steps, ear, 3).values()
        supervisor.order(start(other, port, serial=2))
        steps.open.set()
        other.packets(1)
        assert steps.log[1:3] == [("start", first), ("end", port)]
        assert held.falls_silent()
        assert supervisor.ended() == []


def test_the_time_until_an_ffmpeg_is_killed_begins_with_the_order(
    supervisor: Supervisor, steps: Steps, ear: Ear, port: int
) -> None:
    """A start that blocks the thread for long does not change that time."""
    supervisor.order(start(ear, port))
    ear.packets(1)
    crowd(supervisor, steps, ear, 1)
    supervisor.order(StopStream("call"))
    given = time.monotonic()
    ffmpeg = supervisor._ffmpegs["call"]
    assert ffmpeg.kill_at is None
    steps.open.set()
    kill_at = wait_for(lambda: ffmpeg.kill_at, "SIGTERM")
    assert kill_at is not None and kill_at - KILL_AFTER <= given


def test_a_call_that_is_stopped_while_it_waits_is_never_started(supervisor: Supervisor, steps: Steps, ear: Ear) -> None:
    ports = crowd(supervisor, steps, ear, 20)
    for call in ports:
        supervisor.order(StopStream(call))
    steps.open.set()
    reported = ends(supervisor, 20)
    assert Counter((each.call, each.serial) for each in reported) == Counter((call, 1) for call in ports)
    assert [each.why for each in reported].count("stopped") == 19
    assert [done for done, _ in steps.log].count("start") == 1
    assert all(map(is_free, ports.values()))
    assert supervisor.ended() == []


def test_a_call_that_waits_at_the_end_is_never_started(supervisor: Supervisor, steps: Steps, ear: Ear) -> None:
    ports = crowd(supervisor, steps, ear, 20)
    closing = threading.Thread(target=supervisor.close)
    closing.start()
    wait_for(lambda: supervisor._orders.qsize() == 20, "that the thread has it to read, behind 19 starts")
    supervisor.order(start(ear, free_ports(2), call="too late"))
    steps.open.set()
    closing.join()
    reported = supervisor.ended()
    assert Counter((each.call, each.serial) for each in reported) == Counter((call, 1) for call in (*ports, "too late"))
    assert [each.why for each in reported].count("the server stops") == 20
    assert [done for done, _ in steps.log].count("start") == 1


def test_a_call_that_is_moved_while_it_waits_is_started_once_at_its_new_target(
    supervisor: Supervisor, steps: Steps, ear: Ear, port: int
) -> None:
    with Ear() as other:
        crowd(supervisor, steps, ear, 1)
        supervisor.order(start(ear, port, serial=1))
        supervisor.order(start(other, port, serial=2))
        steps.open.set()
        assert other.packets(1)[0].source == ("127.0.0.1", port)
        assert steps.starts(port) == 1
        assert supervisor.ended() == []
        supervisor.order(StopStream("call"))
        assert [each[:2] for each in ends(supervisor, 1)] == [("call", 2)]


def test_start_stop_start_while_it_waits_is_reported_once_and_plays(
    supervisor: Supervisor, steps: Steps, ear: Ear, port: int
) -> None:
    crowd(supervisor, steps, ear, 1)
    for order in (start(ear, port, serial=1), StopStream("call"), start(ear, port, serial=2)):
        supervisor.order(order)
    steps.open.set()
    wait_for(lambda: any(packet.source[1] == port for packet in ear.packets(1)), "the music")
    assert steps.starts(port) == 1
    assert supervisor.ended() == [StreamEnded("call", 1, "stopped")]


def test_stop_start_stop_behind_a_crowd_waits_for_the_port(
    supervisor: Supervisor, steps: Steps, ear: Ear, port: int
) -> None:
    """The second start never began. But the first ffmpeg has the port, so the report waits for the end of it."""
    supervisor.order(start(ear, port, serial=1))
    ear.packets(1)
    crowd(supervisor, steps, ear, 3)
    for order in (StopStream("call"), start(ear, port, serial=2), StopStream("call")):
        supervisor.order(order)
    steps.open.set()
    (ended,) = ends(supervisor, 1)
    assert ended == StreamEnded("call", 2, "ffmpeg ended with status 255")
    assert is_free(port)
    assert steps.starts(port) == 1


def test_random_orders_end_as_the_last_of_them_says(
    supervisor: Supervisor, steps: Steps, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of each call's last start is reported exactly once, that of each earlier start at most once."""
    monkeypatch.setattr("moh.ffmpeg.start_queue.STARTS_APART", 0.02)
    chance = random.Random(7)
    ports = {f"caller {number}": free_ports(2) for number in range(5)}
    serials: Counter[str] = Counter()
    reported: list[StreamEnded] = []
    for _ in range(150):
        call = chance.choice(list(ports))
        if chance.random() < 0.6:
            serials[call] += 1
            supervisor.order(start(ear, ports[call], serials[call], call))
        else:
            supervisor.order(StopStream(call))
        if chance.random() < 0.2:
            seen = len(steps.log)
            wait_for(lambda then=seen: len(steps.log) > then or not supervisor.playing, "a step")  # type: ignore[misc]
        reported += supervisor.ended()
    for call in ports:
        supervisor.order(StopStream(call))

    def all_reported() -> bool:
        reported.extend(supervisor.ended())
        return {(each.call, each.serial) for each in reported} >= set(serials.items())

    wait_for(all_reported, "the last report of each call")
    assert ffmpegs_of(os.getpid()) == []
    assert all(map(is_free, ports.values()))
    for call in ports:
        of_it = [each.serial for each in reported if each.call == call]
        assert of_it == sorted(set(of_it)) and of_it[-1] == serials[call]


# -- again and again -----------------------------------------------------------------------------------------------


def test_a_call_that_is_moved_again_at_once_is_silent_first(
    supervisor: Supervisor, steps: Steps, ear: Ear, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No ffmpeg is started in between. In this test "at once" means within an hour, so that a slow test is no fault."""
    monkeypatch.setattr("moh.ffmpeg.start_queue.STARTS_APART", 3600.0)
    supervisor.order(start(ear, port, serial=1))
    ear.packets(1)
    with Ear() as other, Ear() as third:
        for serial in range(2, 10):
            supervisor.order(start(other if serial % 2 else ear, port, serial))
        assert ear.falls_silent(), "the former ffmpeg has ended"
        supervisor.order(start(third, free_ports(2), call="another"))
        third.packets(1)
        assert steps.starts(port) == 1
        assert other.heard_nothing()
    supervisor.order(StopStream("call"))
    assert ends(supervisor, 1) == [StreamEnded("call", 9, "stopped")]


def test_a_call_that_is_held_and_resumed_again_at_once_is_silent_first(
    supervisor: Supervisor, steps: Steps, ear: Ear, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moh.ffmpeg.start_queue.STARTS_APART", 3600.0)
    supervisor.order(start(ear, port, serial=1))
    ear.packets(1)
    supervisor.order(StopStream("call"))
    assert ends(supervisor, 1)[0].serial == 1
    supervisor.order(start(ear, port, serial=2))
    with Ear() as other:
        supervisor.order(start(other, free_ports(2), call="another"))
        other.packets(1)
        assert steps.starts(port) == 1
    supervisor.order(StopStream("call"))
    assert ends(supervisor, 1) == [StreamEnded("call", 2, "stopped")]


def test_the_last_of_many_moves_is_played(supervisor: Supervisor, steps: Steps, ear: Ear, port: int) -> None:
    with Ear() as other:
        for serial in range(1, 30):
            supervisor.order(start(ear, port, serial))
            wait_for(lambda: not supervisor._orders.qsize(), "the thread to read it")
        supervisor.order(start(other, port, 30))
        other.packets(3)
        assert ear.falls_silent()
        assert supervisor.ended() == []
        supervisor.order(StopStream("call"))
        assert [each[:2] for each in ends(supervisor, 1)] == [("call", 30)]
