"""End to end: real connections to the page, of browsers that mean well and of others."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from random import Random
from typing import NamedTuple

import pytest

from moh.http import web_server
from tests.http.sample_state import sample_state
from tests.support.page import Page, served
from tests.support.running import wait_for

GET = b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.fixture
def page() -> Iterator[Page]:
    with served(sample_state(), connections=20) as found:
        yield found


class Heard(NamedTuple):
    """What came before the end of a connection."""

    status: int
    head: str
    body: bytes


def connect(page: Page) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", page.port), 10)
    sock.settimeout(10)
    return sock


def rest(sock: socket.socket) -> Heard:
    """Read to the end of the connection, which the page closes."""
    octets = b""
    try:
        while part := sock.recv(65536):
            octets += part
    except ConnectionResetError:
        pass
    head, _, body = octets.partition(b"\r\n\r\n")
    return Heard(int(head.split()[1]) if head else 0, head.decode(), body)


def ask(page: Page, request: bytes) -> Heard:
    with connect(page) as sock:
        sock.sendall(request)
        return rest(sock)


def test_a_connection_carries_one_request(page: Page) -> None:
    heard = ask(page, (GET % b"/state.json") * 2)
    assert heard.status == 200 and "\r\nConnection: close" in heard.head
    assert json.loads(heard.body)["version"] == "1.2.3", "one answer and no more"
    assert "\r\nServer:" not in heard.head


def test_the_server_is_asked_once_however_many_browsers_ask(page: Page) -> None:
    for _ in range(50):
        assert ask(page, GET % b"/state.json").status == 200
    assert page.reads <= 3


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n", 421),
        (b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\n\r\nabcd", 405),
        (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"INVITE sip:123@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1\r\n\r\n", 400),
        (b"GET /static/..%2f..%2fconfig.py HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 404),
        (b"GET /%00 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 404),
        (b"GET /%ff HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 404),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ],
)
def test_a_request_that_is_none_gets_a_clear_answer(page: Page, request_: bytes, status: int) -> None:
    heard = ask(page, request_)
    assert heard.status == status, heard
    assert len(heard.body.strip()) > 10
    assert ask(page, GET % b"/healthz").status == 200


PIECES = (
    b"\r\n", b"\r", b"\n", b"\0", b"\xff", b" ", b":", b"%00", b"../", b"HTTP/9.9", b"\xe3\x81\x82", b"Host: a\r\n",
    b"Content-Length: -1\r\n", b"Content-Length: 99\r\n", b"Transfer-Encoding: chunked\r\n", b"Upgrade: h2c\r\n",
    b"Accept: " + bytes(range(128, 256)) + b"\r\n", b"Host: \xff\r\n", b"Range: bytes=\xb2-\r\n",
)  # fmt: skip
"""What is written into damaged requests."""
REQUESTS = (
    b'GET /state.json HTTP/1.1\r\nHost: 127.0.0.1\r\nIf-None-Match: "x"\r\nOrigin: null\r\n\r\n',
    b"GET /metrics HTTP/1.1\r\nHost: [::1]:80\r\nAccept: application/openmetrics-text;version=1.0.0\r\n\r\n",
    b"HEAD / HTTP/1.0\r\nHost: localhost\r\nRange: bytes=0-5\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    b"1\r\na\r\n0\r\n\r\n",
)


def test_damaged_requests_cause_no_fault(page: Page, caplog: pytest.LogCaptureFixture) -> None:
    random = Random(1)
    for _ in range(300):
        request = bytearray(random.choice(REQUESTS))
        for _ in range(random.randrange(1, 4)):
            place = random.randrange(len(request))
            request[place : place + random.randrange(10)] = random.choice(PIECES)
        with connect(page) as sock:
            sock.sendall(request)
            sock.shutdown(socket.SHUT_WR)
            assert rest(sock).status != 500, request
    assert ask(page, GET % b"/healthz").status == 200
    assert "unexpected error" not in caplog.text and "Traceback" not in caplog.text


def test_a_browser_that_sends_its_request_slowly_is_told_so(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_server, "REQUEST_TIME", 0.5)
    with connect(page) as sock, connect(page) as silent:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        began = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() < began + 10:  # a field every 50 ms, for ever
                sock.sendall(b"X: y\r\n")
                time.sleep(0.05)
        assert time.monotonic() < began + 5
        assert rest(silent).status == 408


def test_more_connections_than_there_is_room_for_make_room(page: Page) -> None:
    """The one that has waited longest is closed, with a reason. A request that comes now is answered at once."""
    with ExitStack() as stack:
        idle = [stack.enter_context(connect(page)) for _ in range(60)]
        assert ask(page, GET % b"/healthz").body == b"ok\n"
        first = rest(idle[0])
        assert first.status == 503 and b"too many connections" in first.body
        idle[-1].sendall(GET % b"/healthz")
        assert rest(idle[-1]).body == b"ok\n", "the youngest are still there"


def test_a_browser_that_reads_nothing_holds_up_no_other(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_server, "STALLED", 0.5)
    page.state = sample_state(settings=[{"name": "MOH_MUSIC", "value": "x" * 5_000_000}])
    with ExitStack() as stack:
        readers = []
        for _ in range(8):
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.settimeout(10)
            sock.connect(("127.0.0.1", page.port))
            sock.sendall(GET % b"/state.json")
            readers.append(sock)
        began = time.monotonic()
        assert ask(page, GET % b"/healthz").status == 200
        assert time.monotonic() < began + 2
        time.sleep(2)
        heard = rest(readers[0])
        assert len(heard.body) < 5_000_000, "the page has closed the connection"


def test_an_error_while_a_connection_is_accepted_leaves_the_page_open(
    page: Page, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(self: web_server.WebServer) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(web_server.WebServer, "_surplus", fails)
        with ExitStack() as stack:
            for _ in range(25):
                stack.enter_context(connect(page))
            wait_for(lambda: "ZeroDivisionError" in caplog.text, "the traceback")
    assert ask(page, GET % b"/healthz").status == 200
