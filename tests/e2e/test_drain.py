"""End to end: a server is taken out of service by SIGUSR2 or by its own limit, and no call is lost."""

from __future__ import annotations

import os
import signal

from conftest import StartServer
from tests.support.phone import Ear, Phone


def test_a_server_that_drains_keeps_its_calls_and_takes_calls_again(start_server: StartServer, held: Ear) -> None:
    server = start_server().ready()
    with Phone(server.address) as ann, Phone(server.address) as bob:
        ann.call(held.address)
        os.kill(server.process.pid, signal.SIGUSR2)
        server.says("the server drains: 1 call may go on; OPTIONS is answered by 503 from now on")
        assert bob.options().status == 503
        bob.call(held.address)
        assert bob.bye().status == 200, "taken, since a proxy may not have noticed yet"
        held.waiting()
        held.packets(10)
        os.kill(server.process.pid, signal.SIGUSR2)
        server.says("the server takes calls again")
        with Phone(server.address) as carl:
            assert carl.options().status == 200
        assert ann.bye().status == 200


def test_a_busy_server_refuses_options_first(start_server: StartServer, held: Ear) -> None:
    server = start_server(MOH_BUSY_AT="1").ready()
    with Phone(server.address) as ann, Phone(server.address) as bob:
        assert bob.options().status == 200
        ann.call(held.address)
        assert bob.options().status == 503
        server.says("the server is busy: 1 call, and MOH_BUSY_AT is 1;")
        bob.call(held.address)
        with Phone(server.address) as carl:
            assert carl.ask(carl.invite(held.address)).status == 503, "a tenth above the limit"
            carl.ack()
        assert bob.bye().status == 200
        assert ann.bye().status == 200
        server.says("the server is busy no longer")
        with Phone(server.address) as dora:
            assert dora.options().status == 200
