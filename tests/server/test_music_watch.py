"""How the server finds out whether music leaves it. The engines are a stand-in; the socket that listens is real."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Optional, Union

import pytest

from moh.common.actions import PROBE, StartStream, StopStream, StreamEnded
from moh.common.codecs import PCMU
from moh.server.music_watch import EVERY, EVERY_IN_TROUBLE, GROWS_WITHIN, HEARD_WITHIN, TROUBLE, MusicWatch
from moh.shared.shared_stream import SharedStreamStats
from tests.support.ladder import make_agent

RTP, RTCP = bytes((0x80, 0)) + bytes(170), bytes((0x80, 200)) + bytes(26)
SHARED = 10006


class Engines:
    """A stand-in: it keeps orders, and plays when the test says so."""

    def __init__(self) -> None:
        self.orders: list[Union[StartStream, StopStream]] = []
        self.ends: list[StreamEnded] = []
        self.streams_begun = 0
        self.calls = self.sent = 0

    @property
    def shared(self) -> Engines:
        return self

    def stats(self) -> SharedStreamStats:
        return SharedStreamStats(self.calls, min(1, self.calls), self.sent, 0, 0, 0, 0, 0)

    def order(self, action: Union[StartStream, StopStream]) -> None:
        self.orders.append(action)

    def take_probe_ends(self) -> list[StreamEnded]:
        ends, self.ends = self.ends, []
        return ends

    @property
    def start(self) -> StartStream:
        start = [each for each in self.orders if isinstance(each, StartStream)][-1]
        assert start.call == PROBE
        return start

    def plays(self, *packets: bytes) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for packet in packets:
                sock.sendto(packet, self.start.target.remote)

    def end(self, why: str = "stopped") -> None:
        self.ends.append(StreamEnded(PROBE, self.start.serial, why))


class Watched:
    """A watch with an agent and a stand-in for the engines, at the time ``now``."""

    def __init__(self, most: Optional[int] = None) -> None:
        self.agent = make_agent(ports=(10000, 10007), most=most, shared=SHARED)
        self.engines = Engines()
        self.now = 100.0
        self.tune: Optional[int] = 0
        self.watch = MusicWatch(
            "0.0.0.0", PCMU, self.agent, threading.Lock(), self.engines, lambda: self.tune,  # type: ignore[arg-type]
        )  # fmt: skip

    @property
    def health(self) -> str:
        """What the health check is told now: empty if all is well, ``?`` while it is not known."""
        health = self.agent.health
        return health.no_music if health.music_known else "?"

    def goes_on(self, seconds: float = 0.0) -> str:
        self.now += seconds
        self.watch.service(self.now)
        return self.health

    def asks(self) -> None:
        self.agent.health.music_asked = True
        self.goes_on()


@pytest.fixture
def watched() -> Iterator[Watched]:
    one = Watched()
    yield one
    one.watch.close()


def test_nothing_is_played_unless_the_health_check_asks(watched: Watched) -> None:
    watched.goes_on(1.0)
    assert not watched.engines.orders


def test_three_packets_of_music_are_enough(watched: Watched) -> None:
    watched.asks()
    target = watched.engines.start.target
    assert (target.remote.host, target.local.port, target.codec) == ("127.0.0.1", 10000, PCMU)
    watched.engines.plays(RTP, RTCP, RTP)
    assert watched.goes_on(0.1) == "?"
    watched.engines.plays(RTP)
    assert watched.goes_on(0.1) == ""
    assert watched.engines.orders[-1] == StopStream(PROBE)
    free = watched.agent.registry.ports.free
    watched.engines.end()
    watched.goes_on(0.1)
    assert watched.agent.registry.ports.free == free + 1, "the port is there for calls again"
    assert watched.agent.idle, "it was no call"


def test_it_is_known_for_a_while_and_then_asked_anew(watched: Watched) -> None:
    watched.asks()
    watched.engines.plays(RTP, RTP, RTP)
    watched.goes_on()
    watched.engines.end()
    watched.goes_on()
    watched.asks()
    assert len(watched.engines.orders) == 2, "a start and a stop"
    assert watched.goes_on(EVERY - 0.1) == ""
    assert watched.goes_on(0.2) == "?"
    watched.asks()
    assert len(watched.engines.orders) == 3 and watched.engines.start.serial == 2


def test_without_a_packet_in_time_no_music_leaves(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    watched.asks()
    assert watched.goes_on(HEARD_WITHIN - 0.1) == "?"
    assert watched.goes_on(0.2) == f"{TROUBLE}0 packets were heard in 5 s"
    watched.engines.end()
    watched.goes_on()
    assert watched.goes_on(EVERY_IN_TROUBLE) == "?"
    watched.asks()
    watched.engines.plays(RTP, RTP, RTP)
    assert watched.goes_on() == ""
    assert [record.levelname for record in caplog.records] == ["ERROR"], "and a line at info when all is well again"


def test_a_stream_that_ends_by_itself_says_why(watched: Watched) -> None:
    watched.asks()
    watched.engines.end("ffmpeg does not start: No such file or directory")
    assert watched.goes_on() == f"{TROUBLE}ffmpeg does not start: No such file or directory"
    assert watched.agent.registry.ports.free == 3


def test_calls_that_began_to_play_show_that_music_leaves(watched: Watched) -> None:
    watched.engines.streams_begun = 2
    watched.asks()
    assert watched.health == "" and not watched.engines.orders
    watched.goes_on(EVERY)
    watched.asks()
    assert watched.engines.start, "no call has begun since"


def test_with_all_calls_in_the_shared_stream_that_one_is_heard() -> None:
    watched = Watched(most=0)
    watched.asks()
    assert watched.engines.start.target.local.port == SHARED
    watched.watch.close()


def test_the_packets_of_a_shared_stream_with_receivers_have_to_grow() -> None:
    watched = Watched(most=0)
    watched.engines.calls, watched.engines.sent = 3, 1000
    watched.asks()
    assert watched.goes_on(GROWS_WITHIN - 0.1) == "?"
    assert watched.goes_on(0.2) == f"{TROUBLE}the shared stream sends nothing to 3 calls"
    watched.goes_on(EVERY_IN_TROUBLE)
    watched.asks()
    watched.engines.sent = 1003
    assert watched.goes_on(0.1) == "" and not watched.engines.orders


def test_a_shared_stream_that_plays_says_nothing_of_ffmpeg(watched: Watched) -> None:
    watched.engines.calls, watched.engines.sent = 3, 1000
    watched.asks()
    watched.engines.sent = 1003
    assert watched.goes_on(0.1) == "?"
    assert watched.engines.start.target.local.port == 10000


def test_before_the_first_music_nothing_is_played(watched: Watched) -> None:
    watched.tune = None
    watched.asks()
    assert not watched.engines.orders
