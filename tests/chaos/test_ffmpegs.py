"""End to end: both engines, with ffmpegs that are killed, that hang, that cannot start or that exhaust the memory."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
from pathlib import Path

import pytest

from conftest import StartServer
from tests.chaos.support import ENGINES, SLOW, BadFfmpeg, Rest, all_hear, calls, hang_up, music_fails
from tests.support.phone import Ear, Phone
from tests.support.running import free_ports, is_running, wait_for

EXHAUST_MEMORY = """import sys
try:
    blocks = [bytearray(1 << 20) for _ in range(4000)]
except MemoryError:
    sys.exit("no memory is left")
"""


def test_when_half_of_fifty_ffmpegs_are_killed_all_calls_get_music_again(start_server: StartServer) -> None:
    first = free_ports(102)
    server = start_server(MOH_LOG="info", MOH_RTP_PORTS=f"{first}-{first + 100}").ready()
    rest = Rest(server)
    chance = random.Random(1)
    with calls(server, 50) as held:
        victims = chance.sample(server.ffmpegs, 25)
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not any(map(is_running, victims)), "the end of the killed ffmpegs")
        all_hear(held)
        wait_for(lambda: server.log.count("music stopped by itself") == 25, "a log line for each")
        hang_up(held)
    rest.is_well()


def test_call_gets_bye_when_its_ffmpeg_keeps_dying(start_server: StartServer) -> None:
    server = start_server(MOH_LOG="info").ready()
    rest = Rest(server)
    with calls(server, 6) as held:
        unlucky, lucky = held[:3], held[3:]
        for one in unlucky:
            os.kill(one.ffmpeg(server), signal.SIGKILL)
        wait_for(lambda: server.log.count("music stopped by itself") == 3, "the log lines of the three")
        all_hear(held)
        for one in unlucky:
            os.kill(one.ffmpeg(server), signal.SIGKILL)
        assert all("the music failed twice" in one.is_ended_by_the_server().get("reason") for one in unlucky)
        print("ended by BYE: 3 calls whose ffmpegs died twice within a minute")
        all_hear(lucky)
        hang_up(lucky)
    rest.is_well()


def test_an_ffmpeg_that_hangs_is_replaced(start_server: StartServer) -> None:
    server = start_server(MOH_LOG="info").ready()
    rest = Rest(server)
    with calls(server, 3) as held:
        stopped = [one.ffmpeg(server) for one in held[:2]]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: not any(map(is_running, stopped)), "the end of the stopped ffmpegs", SLOW)
        wait_for(lambda: len(server.ffmpegs) == 3, "new ffmpegs in their place")
        all_hear(held)
        assert server.log.count("ffmpeg hangs") == 2
        hang_up(held)
    rest.is_well()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("does", "why"),
    [
        ("exec sleep 600", "ffmpeg hangs"),
        ("echo something is broken >&2; exit 1", "something is broken"),
        (f"exec {sys.executable} -c '{EXHAUST_MEMORY}'", "no memory is left"),
    ],
    ids=["hangs", "cannot start", "exhausts memory"],
)
def test_a_bad_ffmpeg_ends_its_call_and_no_other(
    start_server: StartServer, tmp_path: Path, engine: str, does: str, why: str
) -> None:
    if "blocks" in does and not shutil.which("setpriv"):
        pytest.skip("needs setpriv, which limits the memory of an ffmpeg: apt-get install util-linux")
    bad_ffmpeg = BadFfmpeg(tmp_path, does)
    server = start_server(MOH_FFMPEG_CALLS=engine, PATH=bad_ffmpeg.path).ready()
    rest = Rest(server)
    with calls(server, 2) as good, Ear() as ear, Phone(server.address) as phone, bad_ffmpeg.in_use():
        music_fails(phone, ear)
        server.says(why)
        all_hear(good)
        hang_up(good)
    rest.is_well()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_killed_server_leaves_no_ffmpeg_and_no_port(start_server: StartServer, engine: str) -> None:
    server = start_server(MOH_FFMPEG_CALLS=engine, MOH_LOG="info").ready()
    with calls(server, 20) as held:
        ffmpegs = server.ffmpegs
        assert len(ffmpegs) == (20 if engine != "0" else 0)
        server.process.kill()
        server.process.wait()
        wait_for(lambda: not any(map(is_running, ffmpegs)), "the end of the server's ffmpegs")
        assert all(one.ear.falls_silent() for one in held)
        print(f"no orphan: {len(ffmpegs)} ffmpegs died with their server")
