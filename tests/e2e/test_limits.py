"""End to end: a real server rejects sources by the owner's list and by rate limits, and logs what it rejects."""

from __future__ import annotations

import signal
import socket

from conftest import StartServer
from tests.support.phone import Ear, Phone
from tests.support.running import wait_for


def test_a_source_outside_of_moh_allow_gets_no_answer_and_one_log_line(start_server: StartServer) -> None:
    server = start_server(MOH_ALLOW="127.0.0.2/31").ready()
    with Phone(server.address, "127.0.0.2") as named, Phone(server.address, "127.0.0.9") as other:
        for _ in range(100):
            other.send(other.request("REGISTER"))
        assert named.options().status == 200
        assert count_answers(other) == 0
    server.says("rejected a datagram from 127.0.0.9: not in MOH_ALLOW")
    with socket.create_connection(server.address) as connection:
        connection.settimeout(5)
        assert connection.recv(1) == b"", "127.0.0.1 must not connect by TCP either"
    assert server.log.count("127.0.0.9") == 1


def count_answers(phone: Phone) -> int:
    """Return how many datagrams have arrived at the phone, and discard them."""
    phone.socket.setblocking(False)
    answers = 0
    try:
        while phone.socket.recv(2000):
            answers += 1
    except BlockingIOError:
        pass
    return answers


def test_a_flood_is_limited_and_another_source_can_call_during_it(start_server: StartServer) -> None:
    server = start_server(MOH_LOG="info").ready()
    with Phone(server.address, "127.0.0.9") as flood, Phone(server.address) as phone, Ear("127.0.0.2") as ear:
        ping = flood.request("OPTIONS")
        for _ in range(3000):
            flood.send(ping)
        phone.call(ear.address)
        assert ear.packets(10)
        phone.bye()
        assert count_answers(flood) < 2000
    server.says("rejected a datagram from 127.0.0.9: too many messages that belong to no call")
    assert len(server.log.splitlines()) < 20


def test_sigusr1_logs_how_many_calls_ended_for_which_reason(start_server: StartServer) -> None:
    server = start_server().ready()
    with Phone(server.address) as phone, Ear("127.0.0.2") as ear:
        assert phone.ask(phone.request("REGISTER")).status == 405
        phone.call(ear.address)
        phone.bye()
        assert server.has_no_ffmpeg()

        def the_log_counts_the_bye() -> bool:
            server.process.send_signal(signal.SIGUSR1)
            return "1 ended by BYE" in server.log

        wait_for(the_log_counts_the_bye, "the reason of the end in the log")
    assert "1 REGISTER 405" in server.says("since the start: ")
    assert "datagrams rejected: 0 for want of workers" in server.log
