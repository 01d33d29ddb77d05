"""How connections are held back and dialled (RFC 3261 §18): real sockets, and the rest of the server is played."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from moh.common.actions import Address, Flow, Send
from moh.sip.framing import PING, PONG
from moh.transport.tcp import MAX_DIALLED, MAX_DIALLED_FOR, TcpServer
from tests.support.running import wait_for

HERE = Address("127.0.0.1", 0)
OPTIONS = b"OPTIONS sip:a@b SIP/2.0\r\nCSeq: %d OPTIONS\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def listening(**given: Any) -> Iterator[TcpServer]:
    given = {"take": lambda data, flow: None, "in_use": set, **given}
    with TcpServer(HERE, **given) as server:
        yield server


def door(server: TcpServer) -> tuple[str, int]:
    """Where it listens."""
    return ("127.0.0.1", int(server.server_address[1]))


@contextmanager
def serving(**given: Any) -> Iterator[tuple[TcpServer, socket.socket]]:
    """A server that takes connections, and the other end of one."""
    with listening(**given) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            with socket.create_connection(door(server), 10) as client:
                yield server, client
        finally:
            server.close_connections()
            server.shutdown()
            thread.join()


def test_a_connection_that_gets_no_thread_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(_: object) -> None:
        raise RuntimeError("can't start new thread")

    with listening() as server:
        monkeypatch.setattr("threading.Thread.start", no_thread)
        server.send(Send(b"", Address("127.0.0.1", 9), flow_of(9)))
        with socket.create_connection(door(server)):
            server.handle_request()
        assert server._sources == {} and server._dialled == {}


# -- who sends too fast --------------------------------------------------------------------------------------------


def test_what_comes_too_fast_waits_and_is_taken_in_order() -> None:
    taken: list[bytes] = []
    sent = [OPTIONS % number for number in range(50)]
    with serving(take=lambda data, flow: taken.append(data), wait=lambda host, data: 0.001) as (_, client):
        client.sendall(b"".join(sent))
        wait_for(lambda: len(taken) == len(sent), "all messages")
        assert taken == sent


def test_each_message_takes_its_place_once_and_so_does_a_read_that_brings_none() -> None:
    places: list[bytes] = []
    hosts: set[str] = set()

    def wait(host: str, data: bytes) -> float:
        hosts.add(host)
        places.append(data)
        return 0.001

    taken: list[bytes] = []
    with serving(take=lambda data, flow: taken.append(data), wait=wait) as (_, client):
        message = OPTIONS % 1
        client.sendall(message[:9])
        wait_for(lambda: places == [b""], "the place of half a message")
        client.sendall(message[9:] + 3 * PING + message)
        wait_for(lambda: len(taken) == 2, "both messages")
        assert places == [b"", message, 3 * PING, message]
        assert hosts == {"127.0.0.1"}
        client.settimeout(10)
        assert client.recv(100) == 3 * PONG


def cut(server: TcpServer) -> None:
    for each in list(server._open.values()):
        each.cut()


@pytest.mark.parametrize("end", [TcpServer.close_connections, cut], ids=["stop", "room"])
def test_who_is_held_back_is_not_read_and_keeps_nobody_waiting(end: Callable[[TcpServer], None]) -> None:
    taken: list[bytes] = []
    asked = threading.Event()

    def wait(host: str, data: bytes) -> float:
        asked.set()
        return 3600.0

    with serving(take=lambda data, flow: taken.append(data), wait=wait) as (server, client):
        client.sendall(OPTIONS % 1)
        assert asked.wait(10)
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            for _ in range(4000):
                client.send(bytes(65536))
        end(server)
        client.settimeout(10)
        try:
            assert client.recv(1) == b""
        except ConnectionError:
            pass  # closed with octets of ours unread
        wait_for(lambda: not server._open, "its end")
        assert taken == []


def test_who_leaves_while_he_is_held_back_has_what_he_sent_taken() -> None:
    taken: list[bytes] = []
    with serving(take=lambda data, flow: taken.append(data), wait=lambda host, data: 0.05) as (server, client):
        client.sendall(OPTIONS % 1 + OPTIONS % 2)
        client.shutdown(socket.SHUT_WR)
        wait_for(lambda: len(taken) == 2, "both messages")
        wait_for(lambda: not server._open, "its end")


# -- who is dialled ------------------------------------------------------------------------------------------------


def flow_of(port: int) -> Flow:
    """Of a connection that is gone."""
    return Flow(Address("127.0.0.1", port), HERE, "TCP", 0)


def test_what_is_for_the_same_end_goes_by_one_connection_that_takes_nobodys_place() -> None:
    with serving() as (server, _), socket.create_server(("127.0.0.1", 0)) as phone:
        wait_for(lambda: server._open, "the caller")
        to = Address(*phone.getsockname())
        sent = [b"BYE %d\r\n" % number for number in range(10)]
        for data in sent:
            server.send(Send(data, to, flow_of(to.port)))
        phone.settimeout(10)
        line, _ = phone.accept()
        with line:
            line.settimeout(10)
            heard = b""
            while len(heard) < len(b"".join(sent)):
                heard += line.recv(1000)
            assert heard == b"".join(sent)
            assert server._sources == {"127.0.0.1": 1}
        wait_for(lambda: not server._dialled, "its end")
        phone.setblocking(False)
        with pytest.raises(BlockingIOError):
            phone.accept()


def test_so_many_are_dialled_at_once_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as server:
        monkeypatch.setattr("moh.transport.tcp.Thread.start", lambda thread: None)
        for number in range(1, 2 * MAX_DIALLED + 1):
            caller = flow_of(5060)._replace(remote=Address(f"192.0.2.{number}", 5060))
            server.send(Send(b"BYE", caller.remote, caller))
        assert len(server._dialled) == server.refused == MAX_DIALLED
        assert server._sources == {}


def test_whoever_has_us_dial_where_nobody_answers_leaves_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as server:
        monkeypatch.setattr("moh.transport.tcp.Thread.start", lambda thread: None)
        for port in range(1, MAX_DIALLED + 1):
            server.send(Send(b"BYE", Address(f"198.51.100.{port}", port), flow_of(port)))
        honest = flow_of(5060)._replace(remote=Address("192.0.2.77", 5060))
        server.send(Send(b"BYE", honest.remote, honest))
        assert honest.remote in server._dialled and len(server._dialled) == MAX_DIALLED_FOR + 1
        for to, waiting in list(server._dialled.items()):
            server._forget_dial(to, waiting)
        assert server._dialled_for == {}


def test_whom_we_dialled_we_leave_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moh.transport.connection.DIALLED", 0.2)
    with serving(in_use=lambda: set(range(100))) as (server, _), socket.create_server(("127.0.0.1", 0)) as phone:
        to = Address(*phone.getsockname())
        server.send(Send(b"BYE", to, flow_of(to.port)))
        phone.settimeout(10)
        line, _ = phone.accept()
        with line:
            line.settimeout(10)
            assert line.recv(100) == b"BYE"
            assert line.recv(100) == b"", "though he is silent and a call goes by it"
        wait_for(lambda: not server._dialled, "its end")
