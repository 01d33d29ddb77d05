"""The table of loops: what is made, dropped and kept within its memory. With stand-ins for the loops; no ffmpeg."""

from __future__ import annotations

import gc
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from moh.common.codecs import OPUS, PCMA, PCMU
from moh.common.faults import FaultLog
from moh.common.tunes import Tune, Tunes
from moh.shared import loops as module
from moh.shared.encoded_loop import Plan
from moh.shared.loops import DROPPED_AFTER, SPARED_FOR, Loops
from tests.support.shared import FakeLoop

HOUR = Tune({8000: Path("hour.wav"), 16_000: Path("hour16.wav")}, 3600.0)
TWIN = Tune(HOUR.files, 60.0, plain={8000: Path("plain.wav")}, plain_for=20.0, announcements=((10.0, 15.0),))
RING = Tune({8000: Path("ring.wav")}, 120.0, began=70.0)


class Whole(FakeLoop):
    """A stand-in for a loop that is encoded as a whole."""

    def __init__(self, music: Path, seconds: float, codec: Any, ptime: int, *_: object) -> None:
        super().__init__()
        self.music, self.plan = music, Plan(codec, ptime, seconds)


class Live(FakeLoop):
    """A stand-in for a loop that is encoded as it plays."""

    def __init__(self, music: Path, seconds: float, codec: Any, ptime: int, began: float, *_: object) -> None:
        super().__init__()
        self.music, self.began, self.closed, self.woken = music, began, 0, 0

    def wake(self) -> None:
        self.woken += 1

    def close(self, timeout: float) -> None:
        self.closed += 1


class Clock:
    """The time of the table."""

    def __init__(self) -> None:
        self.now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "EncodedLoop", Whole)
    monkeypatch.setattr(module, "LiveLoop", Live)
    monkeypatch.setattr("moh.shared.loops.time.monotonic", lambda: clock.now)
    return clock


def table(*tunes: Tune) -> Loops:
    known = Tunes()
    for tune in tunes:
        known.add(tune)
    return Loops(known, lambda loop: None, FaultLog("a test"))


def test_there_is_one_loop_for_each_tune_and_codec_and_for_opus_each_length_of_a_frame(clock: Clock) -> None:
    loops = table(HOUR, HOUR)
    pairs = {
        loops.get(tune, codec, ptime)
        for tune in (0, 1)
        for codec, ptime in ((PCMU, 20), (PCMU, 30), (PCMA, 20), (OPUS, 20), (OPUS, 60))
    }
    assert len(pairs) == len(loops) == 8
    assert loops.octets == 4 * 28_800_000 + 4 * 14_400_000


def test_a_tune_has_a_plain_twin_where_it_says_so(clock: Clock) -> None:
    loops = table(HOUR, TWIN)
    assert loops.get(0, PCMU, 20).plain is None and loops.get(0, PCMU, 20).plain_for == 0.0
    pair = loops.get(1, PCMU, 20)
    assert isinstance(pair.loop, Whole) and isinstance(pair.plain, Whole)
    assert (pair.loop.music, pair.plain.music) == (Path("hour.wav"), Path("plain.wav"))
    assert (pair.plain_for, pair.announcements.wait(12.0)) == (20.0, 4.0)
    assert loops.get(1, OPUS, 20).plain is None, "it has no such file"


def test_live_music_is_encoded_as_it_plays_and_woken_by_each_receiver(clock: Clock) -> None:
    loops = table(RING)
    live = loops.get(0, PCMU, 20).loop
    assert isinstance(live, Live) and (live.music, live.began, live.woken) == (Path("ring.wav"), 70.0, 1)
    assert loops.get(0, PCMU, 20).loop is live and live.woken == 2
    assert loops.octets == 0


def test_a_loop_that_has_failed_is_made_anew(clock: Clock) -> None:
    loops = table(HOUR)
    former = loops.get(0, PCMU, 20)
    former.loop.failure = "the disk is full"
    assert loops.get(0, PCMU, 20) is not former and len(loops) == 1


def test_an_unknown_tune_is_an_error(clock: Clock) -> None:
    with pytest.raises(LookupError):
        table().get(3, PCMU, 20)


def test_loops_without_receivers_are_dropped_after_ten_minutes(clock: Clock) -> None:
    loops = table(HOUR, HOUR)
    used, unused = loops.get(0, PCMU, 20), loops.get(1, PCMU, 20)
    for _ in range(6):
        clock.now += DROPPED_AFTER / 6 - 0.01
        loops.drop_unused({used}, clock.now)
    assert len(loops) == 2 and loops.get(1, PCMU, 20) is unused
    clock.now += DROPPED_AFTER
    loops.drop_unused({used}, clock.now)
    assert len(loops) == 1 and loops.get(0, PCMU, 20) is used


def test_the_loops_of_dropped_tunes_are_dropped(clock: Clock) -> None:
    loops = table(HOUR, HOUR)
    loops.get(0, PCMU, 20), loops.get(1, PCMU, 20)
    loops.keep({1})
    assert len(loops) == 1


def test_beyond_the_memory_a_loop_is_encoded_as_it_plays(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_OCTETS", 60_000_000)
    loops = table(HOUR, HOUR, HOUR)
    first, second, third = (loops.get(number, PCMU, 20) for number in range(3))
    assert isinstance(first.loop, Whole) and isinstance(second.loop, Whole)
    assert isinstance(third.loop, Live) and third.loop.began == 1000.0, "from its beginning"


def test_both_twins_are_encoded_as_they_play_if_one_is(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_OCTETS", 900_000)
    pair = table(TWIN).get(0, PCMU, 20)
    assert isinstance(pair.loop, Live) and isinstance(pair.plain, Live)
    assert pair.loop.began == pair.plain.began


def test_loops_without_receivers_make_room_the_longest_unused_first(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_OCTETS", 60_000_000)
    loops = table(HOUR, HOUR, HOUR, HOUR)
    loops.get(1, PCMU, 20)
    clock.now += 1.0
    loops.get(0, PCMU, 20)
    clock.now += SPARED_FOR + 1.0
    assert isinstance(loops.get(2, PCMU, 20).loop, Whole)
    assert sorted(key[0] for key in loops._pairs) == [0, 2]
    clock.now += SPARED_FOR
    loops.drop_unused(set(loops._pairs.values()), clock.now)
    assert isinstance(loops.get(3, PCMU, 20).loop, Live), "both that are in memory have receivers"


def test_memory_counts_until_the_last_receiver_of_a_dropped_tune_has_left(clock: Clock) -> None:
    loops = table(HOUR)
    heard = loops.get(0, PCMU, 20)
    loops.keep(set())
    assert len(loops) == 0 and loops.octets == 28_800_000
    del heard
    gc.collect()
    assert loops.octets == 0


def test_close_ends_all_live_loops_also_those_of_dropped_tunes(clock: Clock) -> None:
    loops = table(RING, RING)
    live = [loops.get(number, PCMU, 20).loop for number in (0, 1)]
    loops.keep({1})
    loops.close()
    assert [each.closed for each in live if isinstance(each, Live)] == [2, 2]


def test_a_thousand_tunes_that_come_and_go_leave_nothing(clock: Clock) -> None:
    tunes = Tunes()
    loops = Loops(tunes, lambda loop: None, FaultLog("a test"))
    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for number in range(1000):
        clock.now += 1.0
        tune = tunes.add((HOUR, TWIN, RING)[number % 3])
        loops.get(tune, PCMU, 20)
        tunes.keep({tune, tune - 1})
        loops.keep({tune, tune - 1})
    gc.collect()
    assert len(loops) == 2 and loops.octets <= 28_800_000 + 2 * 480_000
    assert sum(isinstance(thing, (Whole, Live)) for thing in gc.get_objects()) <= 3
    assert threading.active_count() <= threads and len(os.listdir("/proc/self/fd")) <= files
    assert time.monotonic() == 2000.0
