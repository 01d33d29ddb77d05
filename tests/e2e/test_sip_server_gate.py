"""End to end: what a real server turns away, and the lines that its log has of it."""

from __future__ import annotations

import signal
import socket

from conftest import StartServer
from tests.support.phone import Ear, Phone
from tests.support.running import wait_for


def test_whom_the_owner_has_not_named_hears_nothing_and_has_one_line(start_server: StartServer) -> None:
    server = start_server(MOH_ALLOW="127.0.0.2/31").ready()
    with Phone(server.address, "127.0.0.2") as named, Phone(server.address, "127.0.0.9") as other:
        for _ in range(100):
            other.send(other.request("OPTIONS"))
        assert named.options().status == 200
        other.socket.setblocking(False)
        try:
            raise AssertionError(other.socket.recv(2000))
        except BlockingIOError:
            pass
    server.says("rejected a datagram from 127.0.0.9: not in MOH_ALLOW")
    with socket.create_connection(server.address) as connection:
        connection.settimeout(5)
        assert connection.recv(1) == b"", "127.0.0.1 may not call by TCP either"
    assert server.log.count("127.0.0.9") == 1


def test_a_flood_is_not_read_and_a_call_is_taken_meanwhile(start_server: StartServer) -> None:
    server = start_server(MOH_LOG="info").ready()
    with Phone(server.address, "127.0.0.9") as flood, Phone(server.address) as phone, Ear("127.0.0.2") as ear:
        ping = flood.request("OPTIONS")
        for _ in range(3000):
            flood.send(ping)
        phone.call(ear.address)
        assert ear.packets(10)
        phone.bye()
        flood.socket.setblocking(False)
        answers = 0
        try:
            while flood.socket.recv(2000):
                answers += 1
        except BlockingIOError:
            pass
        assert answers < 2000
    server.says("rejected a datagram from 127.0.0.9: too many messages that belong to no call")
    assert len(server.log.splitlines()) < 20


def test_the_server_tells_by_which_reasons_calls_ended_when_asked(start_server: StartServer) -> None:
    server = start_server().ready()
    with Phone(server.address) as phone, Ear("127.0.0.2") as ear:
        assert phone.ask(phone.request("REGISTER")).status == 405
        phone.call(ear.address)
        phone.bye()
        assert server.has_no_ffmpeg()

        def told() -> bool:
            server.process.send_signal(signal.SIGUSR1)
            return "1 ended by BYE" in server.log

        wait_for(told, "what ended the call")
    assert "1 REGISTER 405" in server.says("since the start: ")
    assert "datagrams rejected: 0 for want of workers" in server.log
