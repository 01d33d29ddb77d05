"""End to end, with real ffmpegs on the loopback: a receiver is gone, or an ffmpeg hangs or needs too much memory."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from moh.common.actions import Address, StartStream, Target
from moh.common.codecs import PCMU
from moh.ffmpeg.launch import DATA_LIMIT_MB, OOM_SCORE
from moh.ffmpeg.supervisor import Supervisor
from moh.ffmpeg.watchdog import voluntary_sleeps
from moh.rtp.liveness import PORT_UNREACHABLE_TIMEOUT
from moh.rtp.rtcp import bye
from tests.ffmpeg.supervised import STOP, stand_in, start, supervisor_of, the_end
from tests.support.phone import Ear
from tests.support.running import ffmpegs_of, free_ports, is_free, wait_for

CLOSED = "127.0.0.9"
"""A host whose ports are closed."""
LONGER = round((PORT_UNREACHABLE_TIMEOUT + 1.5) / 0.02)
"""The number of packets of a call that lasts longer than ``PORT_UNREACHABLE_TIMEOUT``."""


def start_towards(remote: Address, port: int, local: str = "127.0.0.1") -> StartStream:
    target = Target(remote, Address(remote.host, remote.port + 1), Address(local, port), PCMU, 0, 20)
    return StartStream("call", 1, target, 0.0)


# -- a receiver that is gone ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("local", ["127.0.0.1", "192.0.2.1"], ids=["from the local address", "from any address"])
def test_an_ffmpeg_whose_receiver_has_no_open_port_ends_for_good(supervisor: Supervisor, port: int, local: str) -> None:
    supervisor.order(start_towards(Address(CLOSED, free_ports(2)), port, local))
    ended = the_end(supervisor)
    assert ended.hopeless == "port unreachable"
    assert ended.why.startswith(f"port unreachable at {CLOSED}:")
    assert is_free(port)


def test_a_receiver_that_closes_its_port_is_noticed(supervisor: Supervisor, port: int) -> None:
    with Ear() as ear:
        supervisor.order(start(ear, port))
        ear.packets(1)
    assert the_end(supervisor).hopeless == "port unreachable"


def test_a_receiver_without_a_port_for_rtcp_gets_music(supervisor: Supervisor, port: int) -> None:
    """The kernel refuses ffmpeg's RTCP reports from the first one on. The call must go on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        ear.bind((CLOSED, free_ports(2)))
        ear.settimeout(10)
        supervisor.order(start_towards(Address(*ear.getsockname()), port))
        for _ in range(LONGER):
            assert len(ear.recv(2000)) == 172
        assert supervisor.ended() == []


def test_a_receiver_that_opens_its_port_a_moment_later_gets_the_same_ffmpeg(supervisor: Supervisor, port: int) -> None:
    address = Address("127.0.0.1", free_ports(2))
    supervisor.order(start_towards(address, port))
    wait_for(lambda: not is_free(port), "ffmpeg")
    (before,) = wait_for(lambda: ffmpegs_of(os.getpid()), "ffmpeg")
    with Ear(port=address.port) as ear:
        ear.packets(LONGER)
        assert supervisor.ended() == []
        assert ffmpegs_of(os.getpid()) == [before]


def test_a_call_that_is_moved_in_time_to_an_open_port_stays(supervisor: Supervisor, ear: Ear, port: int) -> None:
    supervisor.order(start_towards(Address(CLOSED, free_ports(2)), port))
    wait_for(lambda: not is_free(port), "ffmpeg")
    supervisor.order(start(ear, port, serial=2))
    ear.packets(LONGER)
    assert supervisor.ended() == []
    supervisor.order(STOP)
    ended = the_end(supervisor)
    assert (ended.serial, ended.hopeless) == (2, "")


def test_an_ffmpeg_whose_receiver_sent_rtcp_bye_ends_for_good(
    supervisor: Supervisor, ear: Ear, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moh.ffmpeg.watchdog.BYE_TIMEOUT", 1.0)
    supervisor.order(start(ear, port))
    assert ear.packets(1)[0].source == ("127.0.0.1", port)
    ear.send_rtcp(bye(7, "ann"), ("127.0.0.1", port + 1))
    ended = the_end(supervisor)
    assert (ended.why, ended.hopeless) == ("the receiver sent RTCP BYE", "RTCP BYE")
    assert is_free(port)


def test_an_ffmpeg_too_old_to_share_its_port_plays_all_the_same(
    music: Path, ear: Ear, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = shutil.which("ffmpeg")
    stand_in(
        tmp_path, monkeypatch, "if '-localaddr' in sys.argv: sys.exit(\"Unrecognized option 'localaddr'.\")\n"
        f"os.execv({real!r}, sys.argv)",
    )  # fmt: skip
    supervisor = supervisor_of({8000: music}, 0.5)
    try:
        supervisor.order(start(ear, port))
        assert ear.packets(2)[0].source == ("127.0.0.1", port)
        assert supervisor.ended() == []
        assert "this ffmpeg has no option localaddr" in caplog.text
        supervisor.order(STOP)
        assert the_end(supervisor).serial == 1
    finally:
        supervisor.close()


# -- ffmpegs that hang ---------------------------------------------------------------------------------------------


def test_an_ffmpeg_that_is_stopped_by_a_signal_is_killed(supervisor: Supervisor, ear: Ear, port: int) -> None:
    if voluntary_sleeps(os.getpid()) is None:
        pytest.skip("needs Linux' /proc")
    supervisor.order(start(ear, port))
    ear.packets(1)
    (ffmpeg,) = ffmpegs_of(os.getpid())
    os.kill(ffmpeg, signal.SIGSTOP)
    ended = the_end(supervisor, 30)
    assert (ended.why, ended.hopeless) == ("ffmpeg hangs", "")
    assert ffmpegs_of(os.getpid()) == []
    assert is_free(port)


@pytest.mark.parametrize("does", ["time.sleep(600)", "while True: pass"], ids=["nothing", "too much"])
def test_an_ffmpeg_that_never_plays_is_killed(
    does: str, music: Path, ear: Ear, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if voluntary_sleeps(os.getpid()) is None:
        pytest.skip("needs Linux' /proc")
    stand_in(tmp_path, monkeypatch, does)
    supervisor = supervisor_of({8000: music}, 0.5)
    try:
        supervisor.order(start(ear, port))
        assert the_end(supervisor, 30).why == "ffmpeg hangs"
    finally:
        supervisor.close()


# -- memory --------------------------------------------------------------------------------------------------------


def test_an_ffmpeg_that_needs_too_much_memory_fails(
    music: Path, ear: Ear, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not shutil.which("setpriv") or sys.platform != "linux":
        pytest.skip("needs setpriv, and Linux for its limits")
    stand_in(tmp_path, monkeypatch, "eaten = [bytearray(1 << 20) for _ in range(1000)]; time.sleep(600)")
    supervisor = supervisor_of({8000: music}, 0.5)
    try:
        supervisor.order(start(ear, port))
        assert "ffmpeg ended with status 1" in the_end(supervisor).why
    finally:
        supervisor.close()


def test_ffmpegs_are_what_the_kernel_kills_first(supervisor: Supervisor, ear: Ear, port: int) -> None:
    if not shutil.which("setpriv") or not Path("/proc/self/oom_score_adj").exists():
        pytest.skip("needs setpriv, and Linux' /proc")
    supervisor.order(start(ear, port))
    ear.packets(1)
    (ffmpeg,) = ffmpegs_of(os.getpid())
    assert Path(f"/proc/{ffmpeg}/oom_score_adj").read_text() == f"{OOM_SCORE}\n"
    limits = subprocess.run(["cat", f"/proc/{ffmpeg}/limits"], capture_output=True, text=True).stdout
    assert next(line.split()[3:5] for line in limits.splitlines() if line.startswith("Max data size")) == [
        str(DATA_LIMIT_MB * 2**20)] * 2  # fmt: skip
