"""End to end with real sockets, without the core: rate-limited, outbound and failing connections (RFC 3261 §18)."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from moh.common.actions import Address, Flow, Send
from moh.sip.framing import PING, PONG
from moh.transport.tcp import MAX_OUTBOUND, MAX_OUTBOUND_PER_SOURCE, NOT_OPENED, TcpServer
from tests.support.running import wait_for

HERE = Address("127.0.0.1", 0)
OPTIONS = b"OPTIONS sip:a@b SIP/2.0\r\nCSeq: %d OPTIONS\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def listening(**given: Any) -> Iterator[TcpServer]:
    given = {"handle_message": lambda data, flow: None, "connections_in_use": set, **given}
    with TcpServer(HERE, **given) as server:
        yield server


def address_of(server: TcpServer) -> tuple[str, int]:
    """Return the address at which the server listens."""
    return ("127.0.0.1", int(server.server_address[1]))


@contextmanager
def serving(**given: Any) -> Iterator[tuple[TcpServer, socket.socket]]:
    """Yield a server that accepts connections, and the client's end of one connection."""
    with listening(**given) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            with socket.create_connection(address_of(server), 10) as client:
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
        with socket.create_connection(address_of(server)):
            server.handle_request()
        assert server._sources == {} and server._outbound == {}


# -- the rate limit -------------------------------------------------------------------------------------------------


def test_messages_above_the_rate_wait_and_keep_their_order() -> None:
    handled: list[bytes] = []
    sent = [OPTIONS % number for number in range(50)]
    with serving(handle_message=lambda data, flow: handled.append(data), delay=lambda host, data: 0.001) as (_, client):
        client.sendall(b"".join(sent))
        wait_for(lambda: len(handled) == len(sent), "all messages")
        assert handled == sent


def test_each_message_counts_once_and_so_does_a_read_without_a_message() -> None:
    counted: list[bytes] = []
    hosts: set[str] = set()

    def delay(host: str, data: bytes) -> float:
        hosts.add(host)
        counted.append(data)
        return 0.001

    handled: list[bytes] = []
    with serving(handle_message=lambda data, flow: handled.append(data), delay=delay) as (_, client):
        message = OPTIONS % 1
        client.sendall(message[:9])
        wait_for(lambda: counted == [b""], "the count of half a message")
        client.sendall(message[9:] + 3 * PING + message)
        wait_for(lambda: len(handled) == 2, "both messages")
        assert counted == [b"", message, 3 * PING, message]
        assert hosts == {"127.0.0.1"}
        client.settimeout(10)
        assert client.recv(100) == 3 * PONG


def abort(server: TcpServer) -> None:
    for each in list(server._open.values()):
        each.abort()


@pytest.mark.parametrize("end", [TcpServer.close_connections, abort], ids=["close", "abort"])
def test_a_connection_above_its_rate_is_not_read_and_can_be_closed(end: Callable[[TcpServer], None]) -> None:
    handled: list[bytes] = []
    asked = threading.Event()

    def delay(host: str, data: bytes) -> float:
        asked.set()
        return 3600.0

    with serving(handle_message=lambda data, flow: handled.append(data), delay=delay) as (server, client):
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
            pass  # the server has closed the connection before it read all octets of this side
        wait_for(lambda: not server._open, "its end")
        assert handled == []


def test_messages_that_wait_are_handled_although_the_client_has_closed() -> None:
    handled: list[bytes] = []
    with serving(handle_message=lambda data, flow: handled.append(data), delay=lambda host, data: 0.05) as (
        server,
        client,
    ):
        client.sendall(OPTIONS % 1 + OPTIONS % 2)
        client.shutdown(socket.SHUT_WR)
        wait_for(lambda: len(handled) == 2, "both messages")
        wait_for(lambda: not server._open, "its end")


# -- outbound connections-------------------------------------------------------------------------------------------


def flow_of(port: int) -> Flow:
    """Return the flow of a connection that is closed."""
    return Flow(Address("127.0.0.1", port), HERE, "TCP", 0)


def test_all_messages_to_one_phone_go_by_one_outbound_connection_that_counts_for_no_source() -> None:
    with serving() as (server, _), socket.create_server(("127.0.0.1", 0)) as phone:
        wait_for(lambda: server._open, "the accepted connection")
        to = Address(*phone.getsockname())
        sent = [b"BYE %d\r\n" % number for number in range(10)]
        for data in sent:
            server.send(Send(data, to, flow_of(to.port)))
        phone.settimeout(10)
        line, _ = phone.accept()
        with line:
            line.settimeout(10)
            received = b""
            while len(received) < len(b"".join(sent)):
                received += line.recv(1000)
            assert received == b"".join(sent)
            assert server._sources == {"127.0.0.1": 1}
        wait_for(lambda: not server._outbound, "its end")
        phone.setblocking(False)
        with pytest.raises(BlockingIOError):
            phone.accept()


def test_outbound_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as server:
        monkeypatch.setattr("moh.transport.tcp.Thread.start", lambda thread: None)
        for number in range(1, 2 * MAX_OUTBOUND + 1):
            caller = flow_of(5060)._replace(remote=Address(f"192.0.2.{number}", 5060))
            server.send(Send(b"BYE", caller.remote, caller))
        assert len(server._outbound) == server.refused[NOT_OPENED] == MAX_OUTBOUND
        assert server._sources == {}


def test_one_source_cannot_use_all_outbound_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as server:
        monkeypatch.setattr("moh.transport.tcp.Thread.start", lambda thread: None)
        for port in range(1, MAX_OUTBOUND + 1):
            server.send(Send(b"BYE", Address(f"198.51.100.{port}", port), flow_of(port)))
        honest = flow_of(5060)._replace(remote=Address("192.0.2.77", 5060))
        server.send(Send(b"BYE", honest.remote, honest))
        assert honest.remote in server._outbound and len(server._outbound) == MAX_OUTBOUND_PER_SOURCE + 1
        for to, waiting in list(server._outbound.items()):
            server._forget_outbound(to, waiting)
        assert server._outbound_for == {}


def test_an_outbound_connection_has_a_limited_lifetime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moh.transport.connection.OUTBOUND_LIFETIME", 0.2)
    with (
        serving(connections_in_use=lambda: set(range(100))) as (server, _),
        socket.create_server(("127.0.0.1", 0)) as phone,
    ):
        to = Address(*phone.getsockname())
        server.send(Send(b"BYE", to, flow_of(to.port)))
        phone.settimeout(10)
        line, _ = phone.accept()
        with line:
            line.settimeout(10)
            assert line.recv(100) == b"BYE"
            assert line.recv(100) == b"", "although a call uses it"
        wait_for(lambda: not server._outbound, "its end")


# -- unexpected errors ---------------------------------------------------------------------------------------------


def test_a_bug_in_the_accept_loop_is_logged_and_counted_and_the_loop_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("moh.transport.tcp.RETRY_AFTER", 0.01)
    with serving() as (server, _):

        def buggy_turn() -> None:
            if server.faults.count < 3:
                raise AttributeError("a plain bug")

        server.service_actions = buggy_turn  # type: ignore[method-assign]
        wait_for(lambda: server.faults.count == 3, "three failing turns")
        with socket.create_connection(address_of(server), 10) as client:
            client.sendall(PING)
            assert client.recv(100) == PONG
    assert caplog.text.count("Traceback") == 1, "the next one only after a while"
    assert "unexpected error in the TCP server: accepting connections" in caplog.text
    assert "AttributeError: a plain bug" in caplog.text


def test_a_bug_in_a_connection_is_logged_and_ends_that_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    def buggy(data: bytes, flow: Flow) -> None:
        raise AttributeError("a plain bug")

    with serving(handle_message=buggy) as (server, client):
        with socket.create_connection(address_of(server), 10) as other:
            client.sendall(OPTIONS % 1)
            assert client.recv(100) == b""
            other.sendall(PING)
            assert other.recv(100) == PONG
        assert server.faults.count == 1
    assert "unexpected error in the TCP server: the connection of ('127.0.0.1', " in caplog.text
    assert "AttributeError: a plain bug" in caplog.text


def test_a_bug_in_an_outbound_connection_is_logged_and_makes_room(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def buggy(*_: object) -> None:
        raise AttributeError("a plain bug")

    monkeypatch.setattr("moh.transport.connection.OutboundConnection._converse", buggy)
    with serving() as (server, _), socket.create_server(("127.0.0.1", 0)) as phone:
        to = Address(*phone.getsockname())
        server.send(Send(b"BYE", to, flow_of(to.port)))
        wait_for(lambda: server.faults.count == 1 and not server._outbound, "the fault")
    assert f"unexpected error in the TCP server: the outbound connection to {to}" in caplog.text
