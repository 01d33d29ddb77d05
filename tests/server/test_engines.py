"""The port of a call selects its engine. End to end, with real ffmpeg and the shared stream."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from moh.common.actions import PROBE, Address, StopStream, StreamEnded
from moh.common.tunes import Tune, Tunes
from moh.server.engines import Engines
from moh.shared.shared_stream import SharedStream
from tests.support.crowd import climbing, start, target, write_wave
from tests.support.phone import Ear
from tests.support.running import ffmpegs_of, free_ports, wait_for


@pytest.fixture
def files(tmp_path: Path) -> dict[int, Path]:
    return {8000: write_wave(tmp_path / "tune.wav", climbing())}


@pytest.fixture
def engines(files: dict[int, Path]) -> Iterator[Engines]:
    tunes = Tunes()
    both = Engines(tunes, SharedStream("127.0.0.1", free_ports(2), tunes))
    assert both.add_tune(Tune(files, 1.0)) == 0
    yield both
    both.close()
    assert ffmpegs_of(os.getpid()) == []


@pytest.fixture
def ear() -> Iterator[Ear]:
    with Ear() as open_ear:
        yield open_ear


def shared_port(engines: Engines) -> int:
    return engines.shared.port


def test_the_shared_port_is_the_shared_stream_and_any_other_is_an_ffmpeg(engines: Engines, ear: Ear) -> None:
    with Ear() as other:
        own = free_ports(2)
        engines.order(start("ann", target(Address(*ear.address), own)))
        engines.order(start("bob", target(Address(*other.address), shared_port(engines))))
        assert ear.packets(1)[0].source[1] == own
        assert other.packets(1)[0].source[1] == shared_port(engines)
        said = engines.summary()
        assert re.match(r"1 by ffmpeg, 1 in the shared stream \(1 fan-out, \d+ packets?, 0 not sent, ", said), said

        assert engines.playing() == {("PCMU", "ffmpeg"): 1, ("PCMU", "shared"): 1}

        engines.order(StopStream("bob"))
        assert other.falls_silent()
        assert ear.packets(1), "the other call plays on"
        (over,) = engines.ended()
        assert (over.call, over.why) == ("bob", "stopped")

        engines.order(StopStream("ann"))
        (over,) = wait_for(engines.ended, "the end of ffmpeg")
        assert over.call == "ann" and over.why.startswith("ffmpeg ended")
        assert not sum(engines.playing().values())


def test_both_engines_play_the_tune_with_the_same_number(engines: Engines, ear: Ear, tmp_path: Path) -> None:
    flat = climbing()
    flat[:] = type(flat)("h", [1000] * len(flat))
    assert engines.add_tune(Tune({8000: write_wave(tmp_path / "flat.wav", flat)}, 1.0)) == 1
    for call, port in (("ann", free_ports(2)), ("bob", shared_port(engines))):
        engines.order(start(call, target(Address(*ear.address), port), tune=1))
        assert len(set(ear.packets(5)[4].payload)) == 1
        engines.order(StopStream(call))
        wait_for(engines.ended, "the end")
        assert ear.falls_silent()


def test_a_stop_of_an_unknown_call_does_nothing(engines: Engines) -> None:
    engines.order(StopStream("nobody"))
    assert engines.ended() == []


def test_the_stream_of_the_health_check_is_kept_apart_from_those_of_calls(engines: Engines, ear: Ear) -> None:
    engines.order(start(PROBE, target(Address(*ear.address), free_ports(2))))
    assert ear.packets(3)
    engines.order(StopStream(PROBE))
    assert ear.falls_silent()

    def ends() -> list[StreamEnded]:
        assert not engines.ended() and not engines.began()
        return engines.take_probe_ends()

    assert [end.call for end in wait_for(ends, "the end")] == [PROBE]
    assert (engines.streams_begun, engines.ffmpegs.starts) == (0, 0)
