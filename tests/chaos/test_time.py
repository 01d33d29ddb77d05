"""End to end: a server, or a whole machine, is stopped for a while. And a second server starts on the same ports."""

from __future__ import annotations

import os
import signal
import time

import pytest

from conftest import StartServer
from tests.chaos.support import ENGINES, Rest, all_hear, calls, hang_up
from tests.support.phone import Ear, Phone
from tests.support.running import processes, wait_for

PAUSE = 10.0
"""Seconds for which the processes are stopped."""


@pytest.mark.parametrize("engine", ENGINES)
def test_a_server_that_was_stopped_for_a_while_plays_on(start_server: StartServer, engine: str) -> None:
    server = start_server(MOH_FFMPEG_CALLS=engine, MOH_LOG="info").ready()
    rest = Rest(server)
    with calls(server, 10) as held, Phone(server.address) as phone, Ear() as ear:
        server.process.send_signal(signal.SIGSTOP)
        wait_for(lambda: (server.process.pid, "T") in [found[:2] for found in processes()], "the server to stop")
        invite = phone.invite(ear.address)
        phone.send(invite)  # the kernel keeps the INVITE until the server goes on
        time.sleep(PAUSE)
        for one in held:
            one.ear.waiting()
        server.process.send_signal(signal.SIGCONT)
        phone.accept(phone.final(invite))
        ear.packets(3)
        all_hear(held)
        assert phone.bye().status == 200
        hang_up(held)
    assert "ffmpeg hangs" not in server.log, "the pause of the server must not count as one of its ffmpegs"
    rest.is_well()


def test_a_machine_that_was_stopped_for_a_while_plays_on(start_server: StartServer) -> None:
    """The test stops the server and its ffmpegs at once, as `docker pause` does."""
    server = start_server(MOH_LOG="info").ready()
    rest = Rest(server)
    with calls(server, 5) as held:
        pids = [server.process.pid, *server.ffmpegs]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(PAUSE)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        all_hear(held)
        hang_up(held)
    assert "ffmpeg hangs" not in server.log
    assert "music stopped by itself" not in server.log
    rest.is_well()


def test_a_second_server_on_the_same_ports_ends_and_the_first_plays_on(start_server: StartServer) -> None:
    server = start_server(MOH_LOG="info").ready()
    rest = Rest(server)
    with calls(server, 3) as held:
        second = start_server(MOH_SIP_PORT=str(server.port), MOH_RTP_PORTS=server.settings["MOH_RTP_PORTS"])
        assert second.exit_status() == 1
        all_hear(held)
        hang_up(held)
    rest.is_well()
