"""The pure parts of ``bench.attack.floods``; and baresip as its target, end to end on real sockets."""

from __future__ import annotations

import array
import os
import shutil
import signal
import sys
import wave
from pathlib import Path
from typing import Any, cast

import pytest

from bench.attack import floods as bench_floods
from bench.attack import targets as bench_targets
from bench.attack.floods import campaign, floods, settled
from bench.attack.honest import KINDS, Call, answers, hang_up, place
from bench.attack.outcome import Row, absent, compared, table, waited
from bench.attack.targets import PEERS, Baresip, Rest, Target, counted, targets
from bench.common.compiler import compiled
from bench.common.farm import SOURCE, Farm
from bench.playing import baresip
from moh.sip.message import Request
from moh.sip.parser import parse
from tests.support.running import free_ports, wait_for

in_c = pytest.mark.skipif(
    not shutil.which("cc") or not sys.platform.startswith("linux"), reason="needs Linux and a compiler"
)
REST = Rest(50, 0, 60, 120, 0, 100)
NAN = float("nan")


def row(name: str = "OPTIONS", **said: Any) -> Row:
    """A flood that came to nothing worse than what ``said`` says."""
    did = {"seconds": 8.0, "sent": 800, "sent_octets": 8000, "answer_octets": 80}
    figures: dict[str, Any] = {
        "did": did, "before": {"spacing_p99": 20.0}, "during": {"spacing_p99": 21.0, "spacing_max": 30.0},
        "lost": (1, 2), "cpu": (3.0, 40.0), "rss": (30.0, 31.0), "kernel": 8, "told": {},
        "waits": {kind: [0.01] for kind in KINDS}, "rested": 0.0,
    }  # fmt: skip
    return Row(name, **{**figures, **said})


def test_each_flood_is_what_it_says() -> None:
    for flood in floods():
        if flood.way == "udp" and flood.data[:4] in (b"OPTI", b"INVI", b"REGI"):
            message = parse(flood.data)
            assert isinstance(message, Request) and message.fault is None, flood.name
            assert b"########" in flood.data


def test_an_honest_call_is_a_request_without_fault() -> None:
    call = Call(("203.0.113.1", 5070), ("192.0.2.1", 5060), ("192.0.2.1", 4000))
    ack = call.ack(b"SIP/2.0 200 OK\r\nTo: <sip:1@203.0.113.1>;tag=ours\r\n\r\n")
    for data, method in ((call.invite(), "INVITE"), (ack, "ACK"), (call.bye(), "BYE")):
        message = parse(data)
        assert isinstance(message, Request) and message.fault is None and message.method == method
    assert b">;tag=ours\r\n" in call.bye()


def test_what_the_server_tells_is_read() -> None:
    said = "3 ended by BYE, 20 INVITE 503; datagrams rejected: 7 for want of workers, 5 too many messages"
    assert counted(said) == {
        "ended by BYE": 3, "INVITE 503": 20, "for want of workers": 7, "too many messages": 5,
    }  # fmt: skip
    assert counted("nothing; datagrams rejected: 0 for want of workers") == {"for want of workers": 0}


def test_who_was_not_answered_counts() -> None:
    assert waited([0.002, None, 0.004, 0.003]) == "3 of 4, 3 / 4"
    assert waited([None]) == "0 of 1"


def test_the_table_has_a_row_for_each_flood() -> None:
    last = table([row()]).splitlines()[-1]
    for cell in ("OPTIONS", "100", "0.0100", "1.0", "3 -> 40", "1 / 2", "x 1.05", "1 of 1, 10 / 10", "30.0 -> 31.0",
                 "at rest after 0 s"):  # fmt: skip
        assert f" {cell} |" in last


def test_the_table_says_who_died_and_who_is_no_more_what_he_was() -> None:
    dead = row(cpu=(10.0, NAN), rss=(80.0, NAN), during={"spacing_p99": NAN}, fate="died: SIGSEGV after 2.0 s")
    sick = row(left=["hearing 50 -> 12", "descriptors 120 -> 1024"], fate="takes no calls any more")
    hurt = row(left=["threads 60 -> 61"])
    lines = table([dead, sick, hurt]).splitlines()[2:]
    for cell in ("10 -> -", "80.0 -> -", "x -", "died: SIGSEGV after 2.0 s"):
        assert f" {cell} |" in lines[0]
    assert lines[1].endswith("takes no calls any more; hearing 50 -> 12, descriptors 120 -> 1024 |")
    assert lines[2].endswith(" threads 60 -> 61 |")


def test_a_peer_is_compared_flood_by_flood() -> None:
    theirs = [row(during={"spacing_p99": 42.0}, cpu=(3.0, 20.0)), row("INVITE", cpu=(3.0, NAN))]
    lines = compared([row(), row("INVITE")], theirs, "peer").splitlines()[2:]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert cells[0] == ["OPTIONS", "21.00", "42.00", "x 2.00", "40", "20", "x 0.50"]
    assert cells[1] == ["INVITE", "21.00", "21.00", "x 1.00", "40", "-", "x -"]


def test_packets_of_calls_that_fell_silent_are_missed() -> None:
    assert absent(due=50 * 400, calls=50, seconds=8.0) == 0
    assert absent(due=50 * 398, calls=50, seconds=8.01) == 0  # the beginning and the end
    assert absent(due=40 * 398, calls=50, seconds=8.0) == 10 * 398
    assert absent(due=0, calls=0, seconds=8.0) == 0


def test_a_peer_that_is_not_installed_has_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(baresip, "NAME", "no-such-program")
    monkeypatch.setitem(PEERS, "baresip", (Baresip, baresip.is_here, "baresip-core"))
    found = targets(tmp_path, tmp_path / "sip_server.py", ["baresip"])
    assert [target.name for target in found] == ["moh"]
    assert capsys.readouterr().err.splitlines() == [
        "baresip is not installed (package baresip-core): only our own server is flooded"
    ]
    with pytest.raises(RuntimeError, match="not installed"):
        baresip.configure(tmp_path, ("127.0.0.1", 5060), tmp_path / "music.wav")


def test_the_configuration_of_baresip_is_what_was_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(baresip, "modules", lambda: Path("/shelf"))
    monkeypatch.setattr(baresip, "NAME", "sh")
    words = baresip.configure(tmp_path, ("192.0.2.1", 5070), Path("/a.wav"), "123", range(10000, 10100))
    assert words == ["sh", "-4", "-f", str(tmp_path)]
    lines = (tmp_path / "config").read_text().splitlines()
    for line in ("module_path /shelf", "net_interface 192.0.2.1", "sip_listen 192.0.2.1:5070",
                 "rtp_ports 10000-10099", "audio_source aufile,/a.wav"):  # fmt: skip
        assert line in lines
    assert (tmp_path / "accounts").read_text().startswith("<sip:123@192.0.2.1>;regint=0;answermode=auto;")


def test_music_is_prolonged_to_the_sample(tmp_path: Path) -> None:
    tune, longer = tmp_path / "tune.wav", tmp_path / "longer.wav"
    for samples in (b"", array.array("h", range(3000)).tobytes()):
        with wave.open(str(tune), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(samples)
        if not samples:
            with pytest.raises(ValueError, match="no sound"):
                baresip.prolonged(tune, longer, 1.0)
    assert baresip.prolonged(tune, longer, 1.0) == longer
    with wave.open(str(longer), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 8000)
        heard = array.array("h", file.readframes(9000))
    assert list(heard) == [number % 3000 for number in range(8000)]


class Played:
    """A target, or a farm, of a play: says what it was given, one after another."""

    name, plays_once, pid = "played", True, 0

    def __init__(self, *rests: Rest, fates: tuple[str, ...] = ()) -> None:
        self._rests, self._fates = list(rests), list(fates)
        self.started = 0

    def start(self) -> None:
        self.started += 1

    def finish(self) -> None:
        pass

    close = finish

    def processes(self) -> list[int]:
        return []

    def said(self) -> str:
        return "its last words"

    def rest(self, _: object) -> Rest:
        if not self._rests:
            raise FileNotFoundError("/proc/1/task")
        return self._rests.pop(0)

    def fate(self, seconds: float = 0.0) -> str:
        return self._fates.pop(0) if self._fates else ""


def settles(played: Played, takes_calls: bool, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Rest]:
    monkeypatch.setattr(bench_floods, "answers", lambda server: takes_calls)
    return settled(cast(Target, played), cast(Farm, None), REST)[:2]


def test_after_a_flood_it_is_said_what_became_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    hurt = REST._replace(threads=61)
    assert settles(Played(hurt, REST), True, monkeypatch) == ("", REST)
    assert settles(Played(REST), False, monkeypatch) == ("takes no calls any more", REST)
    assert settles(Played(REST, fates=("died: SIGSEGV",)), False, monkeypatch) == ("died: SIGSEGV", REST)
    assert settles(Played(hurt, fates=("died: SIGABRT",)), True, monkeypatch) == ("died: SIGABRT", hurt)
    monkeypatch.setattr(bench_floods, "LINGER", -1.0)
    assert settles(Played(hurt, REST), True, monkeypatch) == ("", hurt)


@pytest.mark.parametrize(
    ("fates", "taken", "started"),
    [
        (("", "", ""), (50, 50, 50), 1),
        (("died: SIGSEGV", "", ""), (50, 50, 50), 2),
        (("takes no calls any more", "died: SIGSEGV", ""), (50, 50, 50), 3),
        (("", "", ""), (50, 38, 50, 50), 2),  # what was left of the first flood was in the way of the second
        (("", ""), (12, 12), 1),  # more than that it does not take
    ],
)
def test_who_is_no_use_any_more_is_started_anew(
    fates: tuple[str, ...], taken: tuple[int, ...], started: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    target, counts, measured = Played(), list(taken), []
    monkeypatch.setattr(bench_floods, "Farm", lambda *_: Played())
    monkeypatch.setattr(bench_floods, "on_hold", lambda _: [cast(Call, None)] * counts.pop(0))
    monkeypatch.setattr(bench_floods, "hang_up", lambda server, call: True)
    monkeypatch.setattr(bench_floods, "prefer", lambda *_: None)
    monkeypatch.setattr(bench_floods, "SETTLE", 0.0)

    def measure(*given: Any) -> Row:
        measured.append(given[-1])
        return row(fate=fates[len(measured) - 1])

    monkeypatch.setattr(bench_floods, "measure", measure)
    rows = campaign(cast(Target, target), floods()[: len(fates)], tmp_path, 1.0)
    assert [one.fate for one in rows] == list(fates) and not counts
    assert target.started == started and measured == [count for count in taken if count != 38]


@in_c
@pytest.mark.skipif(not baresip.is_here(), reason="BARESIP IS MISSING, so it was not flooded: package baresip-core")
@pytest.mark.parametrize("name", sorted(PEERS))
def test_baresip_holds_calls_and_is_seen_to_die(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ("127.0.0.1", free_ports(2))
    monkeypatch.setattr(bench_targets, "SERVER", server)
    monkeypatch.setattr(bench_targets, "MUSIC", 60.0)
    farm = Farm(compiled(SOURCE, tmp_path), [], "udp", "127.1.0.0", 2, 1, 120.0, 24300)
    target = PEERS[name][0](tmp_path)
    try:
        target.start()
        alone = target.rest(farm)
        call = place(server, ("127.1.0.1", farm.port))
        assert call is not None
        wait_for(lambda: target.rest(farm).hearing == 1, "music")
        up = target.rest(farm)
        # its ports are not told from those of others here, as they are in the namespace of a run
        assert up.descriptors > alone.descriptors and up.threads > alone.threads
        assert hang_up(server, call)
        wait_for(lambda: target.rest(farm)[2:5] == alone[2:5], "all as before", 30.0)
        assert os.readlink(f"/proc/{target.pid}/cwd") == str(target.shelf)
        os.kill(target.pid, signal.SIGKILL)
        assert target.fate(10.0) == "died: SIGKILL"
        assert target.rss() != target.rss()  # nan
        fate, _, _ = settled(target, farm, alone)
        assert fate == "died: SIGKILL"
        target.start()
        assert not target.fate() and answers(server)
    finally:
        target.finish()
        farm.close()
