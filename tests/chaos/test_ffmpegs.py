"""End to end: ffmpegs that are killed, hang, cannot start, eat memory, in both engines."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
from pathlib import Path

import pytest

from conftest import StartServer
from tests.chaos.crew import ENGINES, SLOW, Rest, all_hear, calls, hang_up
from tests.support.phone import Ear, Phone
from tests.support.running import free_ports, is_running, wait_for

EATER = """import sys
try:
    eaten = [bytearray(1 << 20) for _ in range(4000)]
except MemoryError:
    sys.exit("no memory is left")
"""


def shelf(folder: Path, script: str = "") -> dict[str, str]:
    """A PATH on which ffmpeg is another one, once there is a file ``spoilt`` beside it."""
    binary = folder / "bin" / "ffmpeg"
    binary.parent.mkdir()
    real = shutil.which("ffmpeg")
    binary.write_text(f'#!/bin/sh\n[ -e "{folder}/spoilt" ] || exec {real} "$@"\n{script}\n')
    binary.chmod(0o755)
    return {"PATH": f"{binary.parent}{os.pathsep}{os.environ['PATH']}"}


def test_of_fifty_calls_random_ones_lose_their_ffmpeg_and_all_hear_music(start_server: StartServer) -> None:
    first = free_ports(102)
    server = start_server(MOH_LOG="info", MOH_RTP_PORTS=f"{first}-{first + 100}").ready()
    rest = Rest(server)
    chance = random.Random(1)
    with calls(server, 50) as held:
        victims = chance.sample(server.ffmpegs, 25)
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not any(map(is_running, victims)), "their ends")
        all_hear(held)
        wait_for(lambda: server.log.count("music stopped by itself") == 25, "a line each")
        hang_up(held)
    rest.is_well()


def test_whose_ffmpeg_dies_again_and_again_gets_a_bye_and_the_others_hear_on(start_server: StartServer) -> None:
    server = start_server(MOH_LOG="info").ready()
    rest = Rest(server)
    with calls(server, 6) as held:
        unlucky, lucky = held[:3], held[3:]
        for one in unlucky:
            os.kill(one.ffmpeg(server), signal.SIGKILL)
        wait_for(lambda: server.log.count("music stopped by itself") == 3, "that they are started again")
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
        wait_for(lambda: not any(map(is_running, stopped)), "they are noticed", SLOW)
        wait_for(lambda: len(server.ffmpegs) == 3, "others in their place")
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
        (f"exec {sys.executable} -c '{EATER}'", "no memory is left"),
    ],
    ids=["hangs", "cannot start", "eats memory"],
)
def test_who_gets_a_bad_ffmpeg_gets_a_bye_and_who_has_a_good_one_hears_on(
    start_server: StartServer, tmp_path: Path, engine: str, does: str, why: str
) -> None:
    if "eaten" in does and not shutil.which("setpriv"):
        pytest.skip("needs setpriv (util-linux), by which an ffmpeg has a limit")
    server = start_server(MOH_FFMPEG_CALLS=engine, **shelf(tmp_path, does)).ready()
    rest = Rest(server)
    with calls(server, 2) as good, Ear() as ear, Phone(server.address) as phone:
        (tmp_path / "spoilt").touch()
        # in another codec, since the shared stream has encoded the first already
        answer = phone.ask(phone.invite(ear.address).replace(b"RTP/AVP 0 8 101", b"RTP/AVP 8 101 0"))
        assert answer.status == 200
        phone.to_tag = answer.to_tag
        phone.ack()
        reason = phone.await_request("BYE", SLOW).get("reason")
        assert "the music failed twice" in reason or "could not be encoded" in reason
        server.says(why)
        all_hear(good)
        hang_up(good)
        (tmp_path / "spoilt").unlink()
    rest.is_well()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_killed_server_leaves_no_ffmpeg_and_no_port(start_server: StartServer, engine: str) -> None:
    server = start_server(MOH_FFMPEG_CALLS=engine, MOH_LOG="info").ready()
    with calls(server, 20) as held:
        ffmpegs = server.ffmpegs
        assert len(ffmpegs) == (20 if engine != "0" else 0)
        server.process.kill()
        server.process.wait()
        wait_for(lambda: not any(map(is_running, ffmpegs)), "the end of its ffmpegs")
        assert all(one.ear.falls_silent() for one in held)
        print(f"no orphan: {len(ffmpegs)} ffmpegs died with their server")
