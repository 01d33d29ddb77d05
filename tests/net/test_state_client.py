"""The reader of a server's state meets servers that answer, refuse, hang or talk nonsense. End to end."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from moh.net import state_client
from moh.net.state_client import NoState, read_state, state_name, user_of_peer
from tests.support.running import free_ports


class Server:
    """A server that sends ``answer`` to one reader, and with ``hang`` never closes the connection."""

    def __init__(self, answer: bytes, hang: bool = False) -> None:
        self.port = free_ports(1)
        self._answer, self._hang = answer, hang
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.bind(state_name("127.0.0.1", self.port))
        self._sock.listen(1)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):  # a reader may leave early
            connection, _ = self._sock.accept()
            with connection:
                connection.sendall(self._answer)
                if self._hang:
                    self._end.wait()

    def read(self, timeout: float = 5.0) -> object:
        return read_state("127.0.0.1", self.port, timeout)

    def close(self) -> None:
        self._end.set()
        self._sock.close()


def complaint(server: Server, timeout: float = 5.0) -> str:
    with pytest.raises(NoState) as caught:
        server.read(timeout)
    server.close()
    return str(caught.value)


def test_the_state_is_one_json_object() -> None:
    state = {"version": "1.2.3", "calls": {"now": 0, "listed": []}, "trouble": "音楽" * 100_000}
    server = Server(json.dumps(state).encode())
    assert server.read() == state
    server.close()


def test_without_a_server_the_settings_are_named() -> None:
    with pytest.raises(NoState, match=r"no server runs here with MOH_BIND 127\.0\.0\.1 and MOH_SIP_PORT \d+"):
        read_state("127.0.0.1", free_ports(1))


@pytest.mark.parametrize("answer", [b"[1]", b"{", b"null", b"\xff\xfe", b"HTTP/1.1 200 OK"])
def test_nonsense_is_named(answer: bytes) -> None:
    assert complaint(Server(answer)) == f"the server's state is no JSON object: it begins with {answer!r}"


def test_a_server_of_root_that_closes_at_once_refuses_an_ordinary_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(state_client, "user_of_peer", lambda sock: 0)
    assert complaint(Server(b"")) == "the server does not answer user 1000; expected its own user, or root"


def test_a_server_of_the_same_user_that_closes_at_once_has_met_a_fault() -> None:
    assert complaint(Server(b"")) == "the server has closed the connection without an answer; its log says why"


def test_a_server_that_hangs_is_given_up() -> None:
    assert complaint(Server(b"{", hang=True), timeout=0.1) == "the server does not answer within 0.1 s"


def test_a_state_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_client, "MOST_OCTETS", 1000)
    assert complaint(Server(b"[" * 2000, hang=True)) == "the server's state has more than 1000 octets"


@pytest.fixture
def full() -> Iterator[int]:
    """The port of a server whose queue of readers is full."""
    port = free_ports(1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(state_name("127.0.0.1", port))
        sock.listen(0)
        waiting = []
        while True:
            reader = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            waiting.append(reader)
            reader.setblocking(False)
            try:
                reader.connect(state_name("127.0.0.1", port))
            except BlockingIOError:
                break
        yield port
        for reader in waiting:
            reader.close()


def test_a_server_with_a_full_queue_is_given_up(full: int) -> None:
    with pytest.raises(NoState, match=r"the server does not answer within 0\.2 s"):
        read_state("127.0.0.1", full, 0.2)


def test_another_users_program_is_not_read_by_an_ordinary_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(state_client, "user_of_peer", lambda sock: 4711)
    said = complaint(Server(b"{}"))
    assert said == "a program of user 4711 answers in place of the server; expected user 1000"


def test_the_user_of_the_other_end_is_known() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert user_of_peer(one) == os.geteuid()


def test_the_process_is_the_one_that_is_seen_from_here() -> None:
    """A server in a container gives its number there."""
    assert Server(b'{"pid": 1, "ready": true}').read() == {"pid": os.getpid(), "ready": True}
