"""The state as plain data: each part of it, by literal clocks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moh import __version__
from moh.common.actions import Flow, StreamBegan
from moh.common.codecs import PCMA, PCMU
from moh.common.config import Settings
from moh.common.errors import SettingsError
from moh.common.faults import FaultLog
from moh.common.tunes import Tunes
from moh.guard.allowances import Allowances
from moh.guard.rate_limit import RateLimiter
from moh.mastering.prepare import BUILTIN, Music
from moh.mastering.reloader import StandIn
from moh.rtp.reception import StreamReport
from moh.server.engines import Engines
from moh.server.now_playing import UNDECIDED, NowPlaying
from moh.server.state import MOST_LISTED, State, settings_rows
from moh.server.state_socket import encoded
from moh.server.statistics import Statistics
from moh.server.stream_limit import StreamLimit
from moh.server.workers import Workers
from moh.shared.shared_stream import SharedStream
from moh.sip.user_agent import UserAgent
from tests.support.ladder import FLOW, OFFER, ack, bye, invite, make_agent, octets, read, response, tag
from tests.support.running import free_ports

EPOCH = 1_790_000_000.0
"""The wall clock at 0 of the server's own clock."""
MUSIC = Music({8000: Path("/cache/8000.wav")}, 192.5, Path("/srv/hold.mp3"), 2.1, "made 10 dB quieter, it fades")


class World:
    """The state of a server that has one port for an ffmpeg, and plays music since 1.0. It is 100.0 now."""

    def __init__(self) -> None:
        self.now = 0.0
        self.agent: UserAgent = make_agent(ports=(10000, 10100), most=1, shared=10100, music=False)
        self.limiter = RateLimiter(Allowances(), lambda host, now: False, 0.0)
        self.workers = Workers(lambda request, client: None)
        self.faults = FaultLog("a test")
        settings = Settings.from_environment({"MOH_BIND": "192.0.2.9"})
        tunes, lock = Tunes(), threading.Lock()
        self.engines = Engines(tunes, SharedStream("127.0.0.1", free_ports(2), tunes))
        self.statistics = Statistics(
            self.agent, lock, self.limiter, StreamLimit(Allowances()), self.workers, self.engines, [], [self.faults]
        )
        self.now_playing = NowPlaying(settings, self.agent, lock, self.drive, self.engines)
        self.environment = {"MOH_BIND": " 192.0.2.9 ", "MOH_MUSIC": "/music.mp3", "MOH_MUSIC_ON_HOST": "./hold.mp3"}

    def begin(self) -> None:
        codecs = (PCMU, PCMA)
        self.state = State(Settings(), codecs, self.statistics, self.now_playing, self.environment)
        self.now = 1.0
        self.now_playing.use(MUSIC)
        self.now = 100.0

    def drive(self, step: Any, *args: Any) -> None:
        step(*args, now=self.now)

    def read(self) -> dict[str, Any]:
        found = self.state.read()
        encoded(found)  # raises for what is no JSON
        return found

    def call(self, number: int, now: float, body: str = OFFER) -> str:
        via = f"Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bK{number};rport"
        message = read(octets("INVITE", body=body, call_id=f"Call-ID: {number}", via=via))
        found = tag(response(self.agent.receive(message, FLOW, now)))
        self.agent.receive(ack(found, call_id=f"Call-ID: {number}"), FLOW, now)
        return found

    def hang_up(self, call: str, number: int, now: float) -> None:
        via = f"Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKbye{number};rport"
        self.agent.receive(bye(call, call_id=f"Call-ID: {number}", via=via), FLOW, now)
        self.agent.stream_gone(call, 1, "stopped", now=now)


class Clock:
    """Stands in for the module ``time`` where the state and what it reads are made."""

    def __init__(self, world: World) -> None:
        self._world = world

    def monotonic(self) -> float:
        return self._world.now

    def time(self) -> float:
        return EPOCH + self._world.now

    def sleep(self, seconds: float) -> None:
        assert seconds == 0


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World()
    for module in ("state", "call_list", "now_playing"):
        monkeypatch.setattr(f"moh.server.{module}.time", Clock(made))
    made.begin()
    yield made
    made.workers.close()
    made.engines.close()


def test_the_server(world: World) -> None:
    found = world.read()
    assert list(found) == [
        "version", "compiled", "pid", "now", "started", "ready", "stopping", "draining", "busy", "trouble", "uri",
        "uri_advice", "settings", "music", "names", "codecs", "calls", "ended", "refusals", "warnings", "loops",
        "totals", "histograms", "findings",
    ]  # fmt: skip
    assert (found["version"], found["now"], found["started"]) == (__version__, EPOCH + 100.0, EPOCH)
    assert (found["ready"], found["stopping"], found["trouble"]) == (True, False, "")
    assert (found["uri"], found["codecs"], found["findings"]) == ("sip:123@192.0.2.9:5060", ["PCMU", "PCMA"], [])
    world.agent.close(0.0, now=100.0)
    assert world.read()["stopping"] is True


def test_the_settings_are_as_the_owner_wrote_them(world: World) -> None:
    rows = {row["name"]: row for row in world.read()["settings"]}
    assert list(rows) == [name for name, _, _ in Settings.table()]
    assert (rows["MOH_BIND"]["value"], rows["MOH_BIND"]["default"]) == ("192.0.2.9", "0.0.0.0")
    assert rows["MOH_MUSIC"]["value"] == "./hold.mp3", "the path on the owner's machine"
    assert rows["MOH_LOG"]["value"] == "info" and rows["MOH_LOG"]["help"].startswith("logged: debug")
    assert settings_rows({})[0]["value"] == "0.0.0.0"


def test_the_music(world: World) -> None:
    assert world.read()["music"] == {
        "name": "hold.mp3", "builtin": False, "live": False, "since": EPOCH + 1.0, "seconds": 192.5, "loudness": -24.0,
        "gain": -10.0, "number": 0, "summary": MUSIC.summary(), "files": {"8000": "/cache/8000.wav"},
    }  # fmt: skip


def test_before_the_music_is_ready_there_is_none(world: World) -> None:
    playing = NowPlaying(Settings(), make_agent(music=False), threading.Lock(), world.drive, world.engines)
    state = State(Settings(), (), world.statistics, playing, {})
    assert state.read()["music"] is None and state.read()["uri"] == ""


def test_the_built_in_piece_says_so_and_what_is_wrong(world: World) -> None:
    world.now_playing.use(StandIn(Music({}, 48.0, BUILTIN, 0.5, "as loud as it was")))
    found = world.read()
    assert (found["music"]["builtin"], found["music"]["gain"], found["trouble"]) == (True, 0.0, UNDECIDED)
    world.now_playing.use(SettingsError("Cannot play 'hold.mp3': it is almost silent"))
    assert world.read()["trouble"] == "Cannot play 'hold.mp3': it is almost silent"


# -- calls ---------------------------------------------------------------------------------------------------------


def test_a_call_with_an_ffmpeg(world: World) -> None:
    call = world.call(1, now=90.0)
    world.agent.reported([StreamReport(call, 7, 500, 400, 4, 0.0, 0.002)], now=98.0)
    assert world.read()["calls"] == {"now": 1, "playing": [], "listed": [{
        "id": call[:8], "caller": "201@pbx.lan", "dialled": "123", "name": "",
            "source": "192.168.1.50:5062", "test": False, "transport": "udp",
        "answered": EPOCH + 90.0, "age": 10.0, "state": "plays", "played": 10.0, "codec": "PCMU", "ptime": 20,
        "receiver": "192.168.1.77:17422", "port": 10000, "engine": "ffmpeg", "encrypted": False, "packets": 500,
        "packets_estimated": True, "lateness": None, "loss": 0.01, "jitter": 0.002, "reported_before": 2.0,
        "heard": "the receiver reported 1.0 % lost, jitter 2 ms",
    }]}  # fmt: skip


def test_a_call_of_the_shared_stream(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.call(1, now=90.0)
    world.call(2, now=95.0)
    monkeypatch.setattr(world.engines, "packets_sent", lambda call: 249)
    monkeypatch.setattr(world.engines, "lateness", lambda call: 0.0007)
    state = State(Settings(), (), world.statistics, world.now_playing, {})
    newest, oldest = state.read()["calls"]["listed"]
    assert (newest["engine"], newest["packets"], newest["packets_estimated"]) == ("shared", 249, False)
    assert (newest["lateness"], newest["loss"], newest["jitter"], newest["port"]) == (0.0007, None, None, 10100)
    assert (oldest["engine"], oldest["lateness"]) == ("ffmpeg", None)


def test_a_test_call_of_this_machine_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moh.server.state.is_ours", lambda host: host == FLOW.local.host)
    for number, flow in enumerate((FLOW, Flow(FLOW.local, FLOW.local))):
        via = f"Via: SIP/2.0/UDP {flow.remote};branch=z9hG4bK{number};rport"
        message = invite(from_=f"From: <sip:201@{flow.remote.host}>;tag=1", call_id=f"Call-ID: {number}", via=via)
        world.agent.receive(message, flow, 90.0)
    assert [row["test"] for row in world.read()["calls"]["listed"]] == [True, False]


def test_a_call_on_hold_has_no_receiver(world: World) -> None:
    world.call(1, 90.0, OFFER.replace("recvonly", "inactive"))
    (row,) = world.read()["calls"]["listed"]
    assert (row["state"], row["receiver"], row["codec"], row["packets"]) == ("on hold, no music", None, "", 0)


def test_of_many_calls_the_newest_are_listed_first(world: World) -> None:
    calls = [world.call(number, now=50.0 + number / 100) for number in range(MOST_LISTED + 30)]
    found = world.read()["calls"]
    assert found["now"] == MOST_LISTED + 30
    assert [row["id"] for row in found["listed"]] == [call[:8] for call in calls[: -MOST_LISTED - 1 : -1]]


def test_an_ended_call_stays_with_its_reason(world: World) -> None:
    first, second = world.call(1, now=90.0), world.call(2, now=91.0)
    world.hang_up(first, 1, now=95.0)
    (row,) = world.read()["ended"]
    assert (row["id"], row["state"], row["age"], row["answered"]) == (first[:8], "ended", 5.0, EPOCH + 90.0)
    assert (row["ended"], row["reason"], row["why"]) == (EPOCH + 95.0, "BYE", "BYE from the caller")
    world.hang_up(second, 2, now=96.0)
    assert [each["id"] for each in world.read()["ended"]] == [second[:8], first[:8]]
    assert world.read()["ended"][1] is row, "it is made once"
    assert world.read()["calls"] == {"now": 0, "listed": [], "playing": []}


def test_an_ended_call_keeps_its_place_in_time_when_the_wall_clock_is_set(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without a battery for its clock sets it some time after the server's start."""
    world.hang_up(world.call(1, now=90.0), 1, now=95.0)
    world.read()
    monkeypatch.setattr(f"{__name__}.EPOCH", EPOCH + 3600.0)
    found = world.read()
    assert (found["now"], found["ended"][0]["ended"]) == (EPOCH + 100.0, EPOCH + 95.0)
    assert found["ended"][0]["answered"] == EPOCH + 90.0


# -- refusals ------------------------------------------------------------------------------------------------------


def test_refusals_have_their_latest_text_source_and_time(world: World) -> None:
    world.agent.receive(invite(body=OFFER.replace("RTP/AVP 0 8", "RTP/AVP 18")), FLOW, 80.0)
    world.limiter.tally.count_and_should_log("not in MOH_ALLOW", "192.0.2.7", 90.0)
    world.limiter.tally.count_and_should_log("not in MOH_ALLOW", "192.0.2.8", 91.0)
    world.agent.tally.count_and_should_log("nothing arrives", "192.0.2.9", 92.0, "the receiver has reported")
    found = world.read()
    rejected, refused = found["refusals"]
    assert rejected == {
        "reason": "not in MOH_ALLOW", "kind": "rejected", "count": 2, "source": "192.0.2.8", "at": EPOCH + 91.0,
        "text": "rejected a datagram from 192.0.2.8: not in MOH_ALLOW",
    }  # fmt: skip
    assert (refused["reason"], refused["kind"], refused["count"]) == ("INVITE 488", "refused", 1)
    assert (refused["source"], refused["at"]) == (FLOW.remote.host, EPOCH + 80.0)
    assert refused["text"].startswith(f"refused 'INVITE' from {FLOW.remote}: 488 No stream to play to")
    (warning,) = found["warnings"]
    assert (warning["reason"], warning["text"]) == ("nothing arrives", "the receiver has reported")


def test_what_each_call_from_the_internet_does_is_no_warning(world: World) -> None:
    world.agent.tally.count_and_should_log("answered, not acknowledged yet", "203.0.113.7", 90.0)
    assert world.read()["warnings"] == []
    assert world.read()["totals"]["events"] == {"answered, not acknowledged yet": 1}


# -- totals --------------------------------------------------------------------------------------------------------


def test_the_totals_of_a_new_server(world: World) -> None:
    assert world.read()["totals"] == {
        "calls": [], "ended": {}, "refused": {}, "rejected": {}, "delayed": {}, "events": {}, "answered": 0,
        "last_call": None, "packets": {"ffmpeg": 0, "shared": 0}, "not_sent": 0, "skipped": 0, "ffmpeg_starts": 0,
        "ffmpeg_restarts": 0, "unexpected_errors": 0, "dropped_datagrams": 0, "reported_lost": 0,
        "reported_expected": 0,
    }  # fmt: skip


def test_the_calls_that_play_by_codec_and_engine(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.engines, "playing", lambda: {("PCMU", "ffmpeg"): 2, ("opus", "shared"): 3})
    assert world.read()["calls"]["playing"] == [
        {"codec": "PCMU", "engine": "ffmpeg", "count": 2},
        {"codec": "opus", "engine": "shared", "count": 3},
    ]


def test_the_totals(world: World) -> None:
    ann, bob = world.call(1, now=10.0), world.call(2, now=20.0)
    world.agent.reported([StreamReport(bob, 7, 500, 400, 4, 0.0, 0.002)], now=30.0)
    world.agent.stream_gone(ann, 1, "ffmpeg ended with status 1", now=35.0)
    world.hang_up(bob, 2, now=40.0)
    world.agent.tally.count("INVITE 488")
    world.agent.tally.count("scanner")
    world.limiter.tally.count("not in MOH_ALLOW")
    world.workers.dropped = 7
    world.engines.ffmpegs.starts, world.engines.ffmpegs.retries = 3, 1
    world.faults.report(MemoryError(), 0.0)
    found = world.read()["totals"]
    assert found["calls"] == [
        {"codec": "PCMU", "engine": "ffmpeg", "count": 1},
        {"codec": "PCMU", "engine": "shared", "count": 1},
    ]
    assert (found["ended"], found["refused"], found["events"]) == ({"BYE": 1}, {"INVITE 488": 1}, {"scanner": 1})
    assert (found["rejected"], found["dropped_datagrams"]) == ({"not in MOH_ALLOW": 1}, 7)
    assert (found["answered"], found["last_call"], found["unexpected_errors"]) == (2, EPOCH + 20.0, 1)
    assert (found["ffmpeg_starts"], found["ffmpeg_restarts"]) == (3, 2)
    assert (found["reported_lost"], found["reported_expected"]) == (4, 400)


def test_the_histograms(world: World) -> None:
    call = world.call(1, now=10.0)
    world.agent.streams_began([StreamBegan(call, 1, 10.03)], now=10.06)
    world.statistics.note_set_up([10.0], now=10.003)
    found = world.read()["histograms"]
    assert list(found) == ["lateness", "setup", "first_packet"]
    for each, values in ((found["lateness"], 0), (found["setup"], 1), (found["first_packet"], 1)):
        assert len(each["counts"]) == len(each["bounds"]) + 1 and each["bounds"] == sorted(each["bounds"])
        assert sum(each["counts"]) == values
    assert found["setup"]["sum"] == pytest.approx(0.003)
    assert found["setup"]["counts"][found["setup"]["bounds"].index(0.005)] == 1
