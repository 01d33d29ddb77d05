"""End to end: a server that stands still for a while; and a clock on the wall that changes nothing."""

from __future__ import annotations

import os
import signal
import time

import pytest

from conftest import StartServer
from tests.chaos.crew import ENGINES, Rest, all_hear, calls, hang_up
from tests.support.phone import Ear, Phone
from tests.support.running import processes, wait_for


@pytest.mark.parametrize("engine", ENGINES)
def test_a_server_that_stands_still_for_a_while_goes_on(start_server: StartServer, engine: str) -> None:
    server = start_server(MOH_FFMPEG_CALLS=engine, MOH_LOG="info").ready()
    rest = Rest(server)
    with calls(server, 10) as held, Phone(server.address) as phone, Ear() as ear:
        server.process.send_signal(signal.SIGSTOP)
        wait_for(lambda: (server.process.pid, "T") in [found[:2] for found in processes()], "that it stands still")
        phone.send(phone.invite(ear.address))  # the kernel keeps it
        time.sleep(10.0)
        for one in held:
            one.ear.waiting()
        server.process.send_signal(signal.SIGCONT)
        answer = phone.receive()
        while answer.status < 200:
            answer = phone.receive()
        assert answer.status == 200
        phone.to_tag = answer.to_tag
        phone.ack()
        ear.packets(3)
        all_hear(held)
        assert phone.bye().status == 200
        hang_up(held)
    assert "ffmpeg hangs" not in server.log, "who was stopped himself must not think that of others"
    rest.is_well()


@pytest.mark.parametrize("pause", [10.0])
def test_a_machine_that_stands_still_for_a_while_goes_on(start_server: StartServer, pause: float) -> None:
    """As `docker pause` does it: the server and its ffmpegs, all at once."""
    server = start_server(MOH_LOG="info").ready()
    rest = Rest(server)
    with calls(server, 5) as held:
        everybody = [server.process.pid, *server.ffmpegs]
        for pid in everybody:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(pause)
        for pid in everybody:
            os.kill(pid, signal.SIGCONT)
        all_hear(held)
        hang_up(held)
    assert "ffmpeg hangs" not in server.log
    assert "music stopped by itself" not in server.log
    rest.is_well()


def test_a_second_server_says_so_and_the_first_plays_on(start_server: StartServer) -> None:
    server = start_server(MOH_LOG="info").ready()
    rest = Rest(server)
    with calls(server, 3) as held:
        second = start_server(MOH_SIP_PORT=str(server.port), MOH_RTP_PORTS=server.settings["MOH_RTP_PORTS"])
        assert second.exit_status() == 1
        all_hear(held)
        hang_up(held)
    rest.is_well()
