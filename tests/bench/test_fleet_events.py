"""What an event at a server did to calls, of ``bench.fleet``: logs of SIPp and of the receiver become figures.

End to end, on real sockets: the receiver ``hear.c``.
"""

from __future__ import annotations

import math
import shutil
import socket
import struct
from pathlib import Path

import pytest

from bench.common.compiler import compiled
from bench.fleet.events import Event, bins, outcome, table
from bench.fleet.failover import with_ends
from bench.fleet.heard import FIRST, SOURCE, Heard, Hole, Music, Receiver, read_heard
from bench.fleet.phones import Call, read_calls

ONE, OTHER = "127.0.26.1", "127.0.26.2"
KILLED = Event("kill -9", ONE, 100.0, 125.0)


def music(place: int, server: str, first: float, last: float) -> Music:
    return Music(place, server, first, last, round((last - first) * 50), 0, 0)


def test_the_log_of_sipp_becomes_calls() -> None:
    log = (
        "began 1 1000.000000 5000.000000\nbegan 2 1000.000000 900000.000000\n"
        f"answered 1 1000.000000 9000.000000 {ONE} sip:moh@{ONE}:26500 moh@\n"
        "refused 2 0\nover 2 0\nbye 1 1020.000000 500000.000000\nended 1 0\nover 1 0\nbroken\nanswered 7 1.0 0.0 x\n"
    )
    first, second = read_calls(log.splitlines())
    assert first == Call(1, 1000.005, 1000.009, ONE, 1020.5, ended=True, over=True)
    assert first.set_up() == pytest.approx(4.0)
    assert second == Call(2, 1000.9, over=True)
    assert math.isnan(second.set_up())


def test_the_output_of_the_receiver_becomes_music_and_holes() -> None:
    output = f"call 3 {ONE} 1000000000 3000000000 100 2 1\nhole 3 2000000000 80000000 2 1\ndropped 4\ntwice 5\n\n"
    found = read_heard(output.splitlines())
    assert found == Heard({3: Music(3, ONE, 1.0, 3.0, 100, 2, 1)}, [Hole(3, 2.0, 0.08, 2, 1)], 4, 5)


def test_a_kill_cuts_calls_of_its_server_alone_and_delays_new_ones() -> None:
    calls = [
        Call(1, 90.0, 90.004, ONE, 110.0),  # cut off at 100
        Call(2, 91.0, 91.004, OTHER, 110.0, ended=True),
        Call(3, 100.5, 101.5, OTHER, 120.0, ended=True),  # waited a second for the dead server
        Call(4, 101.0, None),  # failed
        Call(5, 130.0, 130.1, OTHER),  # after the event
    ]
    heard = Heard(
        {0: music(0, ONE, 90.1, 100.0), 1: music(1, OTHER, 91.1, 110.0), 2: music(2, OTHER, 101.6, 120.0)}, [], 0
    )
    found = outcome(KILLED, calls, heard)
    assert (found.new, found.failed, found.failing) == (2, 1, 1.0)
    assert found.set_up_max == pytest.approx(1000.0)
    assert (found.waited, found.waiting) == (1, 0.5)
    assert (found.own, found.own_cut) == (1, 1)
    assert (found.others, found.cut, found.silent, found.lost, found.skipped) == (2, 0, 0, 0, 0)
    assert found.others_packets == pytest.approx(50 * (10.0 + 18.5))


def test_holes_count_for_the_time_and_the_server_in_which_they_are() -> None:
    calls = [Call(1, 90.0, 90.004, ONE, 140.0), Call(2, 91.0, 91.004, OTHER, 140.0)]
    heard = Heard(
        {0: music(0, ONE, 90.1, 140.0), 1: music(1, OTHER, 91.1, 140.0)},
        [Hole(0, 108.0, 8.0, 0, 400), Hole(1, 99.0, 0.06, 0, 2), Hole(1, 110.0, 0.04, 1, 0)],
        0,
    )
    found = outcome(KILLED, calls, heard)
    assert (found.own, found.own_cut) == (1, 1)
    assert (found.lost, found.skipped) == (1, 0)
    assert found.widest == pytest.approx(40.0)


def test_calls_of_other_servers_that_are_cut_off_or_silent_are_found() -> None:
    calls = [
        Call(1, 90.0, 90.0, OTHER, 120.0),
        Call(2, 101.0, 101.0, OTHER, 120.0),
        Call(3, 102.0, 102.0, OTHER, 102.5),
    ]
    heard = Heard({0: music(0, OTHER, 90.1, 110.0)}, [], 0)
    found = outcome(KILLED, calls, heard)
    assert (found.cut, found.silent) == (1, 1)  # the third call is too short to be silent


def test_the_table_has_a_column_for_each_event() -> None:
    quiet = outcome(Event("all servers", "", 90.0, 100.0), [Call(1, 91.0, 91.004, ONE, 140.0)], Heard({}, [], 0))
    lines = table([quiet, outcome(KILLED, [], Heard({}, [], 0))]).splitlines()
    assert [cell.strip() for cell in lines[0].split("|")] == ["", "", "all servers", "kill -9", ""]
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == ["new calls", "1", "0"]
    assert "| – |" in next(line for line in lines if "calls that its server had" in line).replace("  ", "")


def test_an_event_ends_when_the_next_one_begins() -> None:
    moments = [
        Event("all servers", "", 90.0, 0.0), Event("kill -9", ONE, 100.0, 0.0), Event("back", ONE, 115.0, 0.0),
        Event("drain", OTHER, 125.0, 0.0),
    ]  # fmt: skip
    ends = [(event.name, event.until) for event in with_ends(moments, 180.0)]
    assert ends == [("all servers", 100.0), ("kill -9", 125.0), ("back", 115.0), ("drain", 180.0)]


def test_bins_show_the_calls_with_music_and_those_that_failed() -> None:
    calls = [Call(1, 10.0, 10.0, ONE, 14.0), Call(2, 10.7, None)]
    heard = Heard({0: music(0, ONE, 10.1, 13.9)}, [Hole(0, 13.0, 1.5, 0, 75)], 0)
    found = bins(calls, heard, [ONE, OTHER])
    assert [one.hearing for one in found] == [[1, 0]] * 3 + [[0, 0]] * 3 + [[1, 0]] * 2
    assert [(one.answered, one.failed) for one in found[:3]] == [(1, 0), (0, 1), (0, 0)]
    assert bins([], heard, [ONE]) == []


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
def test_the_receiver_counts_what_each_call_lacks(tmp_path: Path) -> None:
    receiver = Receiver(compiled(SOURCE, tmp_path), 4, 26940, 20)
    first, second = FIRST, FIRST[:-1] + "2"
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two,
    ):
        one.bind((ONE, 0))
        two.bind((OTHER, 0))
        for sender, host, sequence, timestamp in (
            (one, first, 65535, 0), (one, first, 0, 160), (one, first, 2, 480), (one, first, 1, 320),  # out of order
            (one, first, 3, 960),  # two left out
            (two, first, 9, 0),  # another server plays to the first call
            (one, second, 5, 0), (one, second, 8, 480),  # two lost
        ):  # fmt: skip
            sender.sendto(struct.pack("!BBHII", 0x80, 0, sequence, timestamp, 7) + bytes(160), (host, 26940))
        one.sendto(bytes([0x80, 200]) + bytes(26), (second, 26940))  # RTCP
    found = receiver.result()
    assert sorted((one.place, one.server, one.packets, one.lost, one.skipped) for one in found.music.values()) == [
        (0, ONE, 5, 0, 2), (2, ONE, 2, 2, 0),
    ]  # fmt: skip
    assert [(hole.place, hole.lost, hole.skipped) for hole in found.holes] == [(0, 1, 0), (0, 0, 2), (2, 2, 0)]
    assert (found.dropped, found.twice) == (0, 1)
