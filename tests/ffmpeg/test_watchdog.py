"""What is noticed of an ffmpeg from outside, with real ffmpeg and real "port unreachable" on the loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from moh.common.actions import Address, StartStream, StopStream, Target
from moh.common.codecs import PCMU
from moh.ffmpeg.commands import ffmpeg_command
from moh.ffmpeg.supervisor import Supervisor
from moh.ffmpeg.watchdog import Watchdog, pulse
from moh.rtp.liveness import PORT_UNREACHABLE_TIMEOUT
from moh.rtp.rtcp import bye, source_description
from tests.ffmpeg.test_supervisor import STOP, music, port, stand_in, start, streams, the_end, with_tune
from tests.support.phone import Ear
from tests.support.running import ffmpegs_of, free_ports, is_free, wait_for

__all__ = ["music", "port", "streams"]

NOWHERE = "127.0.0.9"
"""Where nobody listens."""


def towards(remote: Address, port: int, serial: int = 1, local: str = "127.0.0.1") -> StartStream:
    target = Target(remote, Address(remote.host, remote.port + 1), Address(local, port), PCMU, 0, 20)
    return StartStream("call", serial, target, 0.0)


@pytest.fixture
def ear() -> Iterator[Ear]:
    with Ear() as open_ear:
        yield open_ear


# -- nobody listens ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("local", ["127.0.0.1", "192.0.2.1"], ids=["from our address", "from any address"])
def test_an_ffmpeg_that_nobody_hears_ends_without_hope(streams: Supervisor, port: int, local: str) -> None:
    streams.order(towards(Address(NOWHERE, free_ports(2)), port, local=local))
    over = the_end(streams)
    assert over.hopeless == "port unreachable"
    assert over.why.startswith(f"port unreachable at {NOWHERE}:")
    assert is_free(port)


def test_who_hangs_up_without_a_word_is_noticed(streams: Supervisor, port: int) -> None:
    with Ear() as ear:
        streams.order(start(ear, port))
        ear.packets(1)
    assert the_end(streams).hopeless


def test_who_has_no_port_for_rtcp_is_played_to(streams: Supervisor, port: int) -> None:
    """The reports of ffmpeg are refused, from the first packet on; that is no reason to end."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        ear.bind((NOWHERE, free_ports(2)))
        ear.settimeout(10)
        streams.order(towards(Address(*ear.getsockname()), port))
        for _ in range(round((PORT_UNREACHABLE_TIMEOUT + 1.5) / 0.02)):
            assert len(ear.recv(2000)) == 172
        assert streams.ended() == []


def test_who_opens_his_port_a_moment_later_hears_the_same_music(streams: Supervisor, port: int) -> None:
    address = Address("127.0.0.1", free_ports(2))
    streams.order(towards(address, port))
    wait_for(lambda: not is_free(port), "ffmpeg")
    (before,) = wait_for(lambda: ffmpegs_of(os.getpid()), "ffmpeg")
    with Ear(port=address.port) as ear:
        ear.packets(round((PORT_UNREACHABLE_TIMEOUT + 1.5) / 0.02))
        assert streams.ended() == []
        assert ffmpegs_of(os.getpid()) == [before]


def test_who_is_moved_in_time_to_where_somebody_listens_stays(streams: Supervisor, ear: Ear, port: int) -> None:
    streams.order(towards(Address(NOWHERE, free_ports(2)), port))
    wait_for(lambda: not is_free(port), "ffmpeg")
    streams.order(start(ear, port, serial=2))
    ear.packets(round((PORT_UNREACHABLE_TIMEOUT + 1.5) / 0.02))
    assert streams.ended() == []
    streams.order(StopStream("call"))
    assert (over := the_end(streams)).serial == 2
    assert not over.hopeless


def test_a_word_that_came_once_is_forgiven() -> None:
    """By the clock: refused at 0 s and 1 s, then not for 4 s, then again for 2 s."""

    class Said(socket.socket):
        error = 111

        def getsockopt(self, *_: int) -> int:  # type: ignore[override]
            return self.error

    witness = Watchdog(os.getpid(), towards(Address(NOWHERE, 4000), 4002).target, None)
    witness._rtp = said = Said()
    assert [witness.verdict(now) for now in (0.0, 1.0)] == [None, None]
    said.error = 0
    assert witness.verdict(4.5) is None
    said.error = 111
    assert [bool(witness.verdict(now)) for now in (5.0, 6.0, 7.0)] == [False, False, True]
    witness.close()


def test_where_there_is_no_way_for_thirty_seconds_the_call_ends(listener: Listener) -> None:
    """By the clock: Linux says so each 3 s while a neighbour answers no ARP."""

    class Said(socket.socket):
        error = 113

        def getsockopt(self, *_: int) -> int:  # type: ignore[override]
            return self.error

    witness = Watchdog(os.getpid(), towards(Address(NOWHERE, 4000), 4002).target, None)
    witness._rtp = said = Said()
    assert not any(witness.verdict(now) for now in range(0, 15, 3))
    said.error = 0
    assert witness.verdict(20.5) is None
    said.error = 113
    assert [witness.verdict(now) for now in (21.0, 29.0, 36.0)] == [None] * 3, "it began anew after 8 s without"
    assert not any(witness.verdict(now) for now in (43.0, 50.0, 50.9))
    assert witness.verdict(51.0) == (
        f"host unreachable at {NOWHERE}:4000 for 30 s (ICMP, ARP or no route)",
        "host unreachable",
    )
    witness.close()


# -- the listener takes leave --------------------------------------------------------------------------------------

REPORT = source_description(7, "ann")
"""Any RTCP that is no BYE will do."""


class Listener:
    """Where a phone has its RTCP, and what it says there to the witness of an ffmpeg that is not there."""

    def __init__(self) -> None:
        first, ours = free_ports(4), free_ports(2)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", first + 3))  # as its a=rtcp says
        here = Address("127.0.0.1", first)
        target = Target(here, Address(here.host, first + 3), Address("127.0.0.1", ours), PCMU, 0, 20)
        self.witness = Watchdog(os.getpid(), target, "127.0.0.1")
        self.ours = ("127.0.0.1", ours + 1)

    def says(self, data: bytes) -> None:
        self.sock.sendto(data, self.ours)


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.witness.close()
    listener.sock.close()


def test_seven_seconds_after_an_rtcp_bye_the_listener_is_given_up(listener: Listener) -> None:
    listener.says(REPORT)
    assert listener.witness.verdict(0.0) is None
    listener.says(bye(7, "ann"))
    assert [listener.witness.verdict(now) for now in (10.0, 12.5, 16.9)] == [None] * 3
    assert listener.witness.verdict(17.0) == ("the receiver sent RTCP BYE", "RTCP BYE")


def test_who_speaks_again_after_his_bye_hears_on(listener: Listener) -> None:
    """As one who takes another SSRC."""
    listener.says(bye(7, "ann"))
    assert listener.witness.verdict(10.0) is None
    listener.says(REPORT)
    assert [listener.witness.verdict(now) for now in (13.0, 20.0)] == [None] * 2
    listener.says(bye(7, "ann"))
    listener.says(bye(7, "ann"))
    assert [bool(listener.witness.verdict(now)) for now in (30.0, 36.9, 37.0)] == [False, False, True]


def test_only_rtcp_of_the_listener_counts(listener: Listener) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.sendto(bye(7, "ann"), listener.ours)
        assert [listener.witness.verdict(now) for now in (0.0, 9.0)] == [None] * 2
    listener.says(bye(7, "ann"))
    assert listener.witness.verdict(10.0) is None
    for noise in (b"", b"\x80", b"\x80\x00" + bytes(170), bytes(1400)):
        listener.says(noise)
    assert listener.witness.verdict(17.0) is not None, "noise is no word of his"


def test_an_ffmpeg_whose_listener_took_leave_ends_without_hope(
    streams: Supervisor, ear: Ear, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moh.ffmpeg.watchdog.BYE_TIMEOUT", 1.0)
    streams.order(start(ear, port))
    assert ear.packets(1)[0].source == ("127.0.0.1", port)
    ear.send_rtcp(bye(7, "ann"), ("127.0.0.1", port + 1))
    over = the_end(streams)
    assert (over.why, over.hopeless) == ("the receiver sent RTCP BYE", "RTCP BYE")
    assert is_free(port)


def test_an_ffmpeg_too_old_for_a_witness_plays_all_the_same(
    music: Path, ear: Ear, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.which("ffmpeg")
    stand_in(
        tmp_path, monkeypatch, "if '-localaddr' in sys.argv: sys.exit(\"Unrecognized option 'localaddr'.\")\n"
        f"os.execv({real!r}, sys.argv)",
    )  # fmt: skip
    streams = with_tune({8000: music}, 0.5)
    try:
        streams.order(start(ear, port))
        assert ear.packets(2)[0].source == ("127.0.0.1", port)
        assert streams.ended() == []
        streams.order(STOP)
        assert the_end(streams).serial == 1
    finally:
        streams.close()


def test_srtp_has_no_witness_since_ffmpeg_hands_nothing_on_to_it() -> None:
    here = Address("127.0.0.1", 4000)
    plain = ffmpeg_command(Path("a.wav"), 1.0, Target(here, here, here, PCMU, 0, 20), 0.0, True, shared=True)
    assert plain[plain.index("-localaddr") + 1] == "127.0.0.1&reuse=1"
    assert "localaddr=" not in " ".join(plain)


# -- ffmpegs that hang ---------------------------------------------------------------------------------------------


def test_an_ffmpeg_that_is_stopped_is_noticed_and_killed(streams: Supervisor, ear: Ear, port: int) -> None:
    if pulse(os.getpid()) is None:
        pytest.skip("needs Linux' /proc")
    streams.order(start(ear, port))
    ear.packets(1)
    (ffmpeg,) = ffmpegs_of(os.getpid())
    os.kill(ffmpeg, signal.SIGSTOP)
    (over,) = wait_for(streams.ended, "the report of an end", 30)
    assert (over.why, over.hopeless) == ("ffmpeg hangs", "")
    assert ffmpegs_of(os.getpid()) == []
    assert is_free(port)


@pytest.mark.parametrize("does", ["time.sleep(600)", "while True: pass"], ids=["nothing", "too much"])
def test_an_ffmpeg_that_never_plays_is_noticed_and_killed(
    does: str, music: Path, ear: Ear, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if pulse(os.getpid()) is None:
        pytest.skip("needs Linux' /proc")
    stand_in(tmp_path, monkeypatch, does)
    streams = with_tune({8000: music}, 0.5)
    try:
        streams.order(start(ear, port))
        (over,) = wait_for(streams.ended, "the report of an end", 30)
        assert over.why == "ffmpeg hangs"
    finally:
        streams.close()


def test_where_nobody_tells_nothing_is_seen() -> None:
    assert pulse(2**22 + 1) is None
    witness = Watchdog(2**22 + 1, towards(Address(NOWHERE, 4000), 4002).target, None)
    assert not any(witness.hangs() for _ in range(100))
    assert witness.verdict(0.0) is None


# -- memory --------------------------------------------------------------------------------------------------------


def test_an_ffmpeg_that_eats_memory_fails_by_itself(
    music: Path, ear: Ear, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not shutil.which("setpriv") or sys.platform != "linux":
        pytest.skip("needs setpriv, and Linux for its limits")
    stand_in(tmp_path, monkeypatch, "eaten = [bytearray(1 << 20) for _ in range(1000)]; time.sleep(600)")
    streams = with_tune({8000: music}, 0.5)
    try:
        streams.order(start(ear, port))
        assert "ffmpeg ended with status 1" in the_end(streams).why
    finally:
        streams.close()


def test_ffmpegs_are_what_the_kernel_takes_first(streams: Supervisor, ear: Ear, port: int) -> None:
    if not shutil.which("setpriv") or not Path("/proc/self/oom_score_adj").exists():
        pytest.skip("needs setpriv, and Linux' /proc")
    streams.order(start(ear, port))
    ear.packets(1)
    (ffmpeg,) = ffmpegs_of(os.getpid())
    assert Path(f"/proc/{ffmpeg}/oom_score_adj").read_text() == "900\n"
    limits = subprocess.run(["cat", f"/proc/{ffmpeg}/limits"], capture_output=True, text=True).stdout
    assert next(line.split()[3:5] for line in limits.splitlines() if line.startswith("Max data size")) == [
        str(256 * 2**20)] * 2  # fmt: skip
