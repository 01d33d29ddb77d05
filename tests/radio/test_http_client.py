"""Tests of the HTTP client against servers that misbehave. End to end: by sockets on the loopback."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import trustme

from moh.common.addresses import networks
from moh.radio import http_client
from moh.radio.destinations import SourceFailed
from moh.radio.http_client import HttpClient, target_of
from tests.radio.stations import Behave, Station, answers, page

CLIENT = HttpClient(networks("127.0.0.0/8"))


@pytest.fixture
def station() -> Iterator[Station]:
    with Station(answers(b"")) as made:
        yield made


def refusal(station: Station, behave: Behave) -> str:
    station.behave = behave
    with pytest.raises(SourceFailed) as caught:
        body(station)
    return str(caught.value)


def body(station: Station, path: str = "/", most: int = 1 << 20) -> bytes:
    answer = CLIENT.open(station.url(path))
    try:
        return answer.read_all(most)
    finally:
        answer.close()


# -- addresses ---------------------------------------------------------------------------------------------------------


def test_an_address_is_taken_apart() -> None:
    target = target_of("HTTPS://user:p%40ss@Radio.Example/a b?x=1#part".replace(" ", "%20"))
    assert (target.secure, target.host, target.port) == (True, "radio.example", 443)
    assert target.path == "/a%20b?x=1"
    assert target.url == "https://radio.example/a%20b?x=1"
    assert target.credentials == "user:p@ss"
    assert "p@ss" not in repr(target)
    assert target_of("http://[2001:db8::1]:8000").url == "http://[2001:db8::1]:8000/"
    assert target_of("http://x/ä").path == "/%C3%A4"


@pytest.mark.parametrize(
    "address, why",
    [
        ("file:///etc/passwd", "is no address of HTTP"),
        ("ftp://x/", "is no address of HTTP"),
        ("jazz.mp3", "is no address of HTTP"),
        ("http://", "names no host"),
        ("http://x:99999/", "is no address;"),
        ("http://[x/", "is no address;"),
        ("http://x/\r\nHost: y", "is no address;"),
        ("http://x/" + "a" * 2048, "is no address;"),
        ("http://x/\ud800", "is no address;"),
        ("http://\ud800/", "is no address;"),
        ("ftp://me:secret@x/", "^'ftp://x/' is no address of HTTP"),
    ],
)
def test_what_is_no_address_is_refused(address: str, why: str) -> None:
    with pytest.raises(SourceFailed, match=why) as caught:
        target_of(address)
    assert str(caught.value).isprintable()


# -- answers -----------------------------------------------------------------------------------------------------------


def test_a_body_ends_with_its_length_its_chunks_or_its_connection(station: Station) -> None:
    station.behave = answers(page("200 OK", b"abc") + b"more")
    assert body(station) == b"abc"
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n"
    station.behave = answers(chunked)
    assert body(station) == b"abcdefg"
    station.behave = answers(b"ICY 200 OK\r\nicy-name: x\r\n\r\nabc")
    assert body(station) == b"abc"
    station.behave = answers(b"HTTP/1.0 200\n\nabc")
    assert body(station) == b"abc"


def test_the_request_says_what_is_wanted(station: Station) -> None:
    station.behave = answers(page("200 OK"))
    address = station.url("/x").replace("http://", "http://me:secret@")
    CLIENT.open(address, {"Icy-MetaData": "1"}).close()
    lines = station.requests[0].split("\r\n")
    assert lines[0] == "GET /x HTTP/1.1"
    assert {
        f"Host: 127.0.0.1:{station.port}", "Accept-Encoding: identity", "Icy-MetaData: 1", "Connection: close",
        "Authorization: Basic bWU6c2VjcmV0",
    } <= set(lines)  # fmt: skip


def test_a_redirect_is_followed_and_does_not_take_the_password_along(station: Station) -> None:
    def behave(connection: socket.socket, path: str) -> None:
        connection.sendall(page("302 Found", Location="b?c") if path == "/a" else page("200 OK", b"there"))

    station.behave = behave
    answer = CLIENT.open(station.url("/a").replace("http://", "http://me:secret@"))
    assert answer.read_all(100) == b"there"
    assert answer.url == station.url("/b?c")
    assert "Authorization" in station.requests[0]
    assert "Authorization" not in station.requests[1]


@pytest.mark.parametrize(
    "answer, why",
    [
        (page("404 Not Found"), "the address answers 404 Not Found"),
        (page("401 Unauthorized"), "the address answers 401 Unauthorized"),
        (page("503 Se\x1brvice"), "the address answers 503 Se rvice"),
        (page("302 Found"), "the address answers 302 Found"),
        (page("200 OK", b"x", Content_Encoding="gzip"), "the answer is compressed (gzip); expected music as it is"),
        (b"SSH-2.0-x\r\n\r\n", "the address answers 'SSH-2.0-x'; expected HTTP"),
        (b"", "the connection was closed before an answer came"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 5000, "the head of the answer has more than 16384 octets"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 30000, "the head of the answer has more than 16384 octets"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b" " * 300,
            "the answer is cut into chunks that cannot be read",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
            "the answer is cut into chunks that cannot be read",
        ),
    ],
)
def test_the_reason_says_what_the_address_answers(station: Station, answer: bytes, why: str) -> None:
    assert refusal(station, answers(answer)) == why


def test_redirects_have_an_end(station: Station) -> None:
    def endless(connection: socket.socket, path: str) -> None:
        connection.sendall(page("301 Moved", Location=f"{path}x"))

    assert refusal(station, endless) == "the address redirects more than 8 times"
    assert len(station.requests) == 9
    circle = refusal(station, answers(page("301 Moved", Location="/")))
    assert circle == f"the address redirects in a circle, by {station.url()}"


@pytest.mark.parametrize("place", ["http://169.254.169.254/latest", "http://[::1]:1/", "http://10.0.0.1/"])
def test_a_redirect_into_a_private_network_is_refused(station: Station, place: str) -> None:
    assert "is not on the internet; MOH_ALLOW_RADIO=" in refusal(station, answers(page("302 Found", Location=place)))


def test_a_redirect_to_a_file_is_refused(station: Station) -> None:
    found = refusal(station, answers(page("302 Found", Location="file:///etc/passwd")))
    assert found == "'file:///etc/passwd' is no address of HTTP; expected http:// or https:// at its beginning"


def test_a_head_that_does_not_come_is_not_waited_for(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "HEAD_TIMEOUT", 0.4)
    assert refusal(station, lambda connection, _: time.sleep(1)) == "no answer came within 0 s"

    def slow_head(connection: socket.socket, path: str) -> None:
        for _ in range(20):
            connection.sendall(b"x")
            time.sleep(0.1)

    assert refusal(station, slow_head) == "no answer came within 0 s"


def test_a_body_that_does_not_come_is_not_waited_for(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "STALL", 0.3)

    def stalls(connection: socket.socket, _: str) -> None:
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nx")
        time.sleep(1)

    assert refusal(station, stalls) == "it has sent nothing for 0 s"


def test_a_list_has_an_end(station: Station) -> None:
    station.behave = answers(page("200 OK", b"x" * 101))
    with pytest.raises(SourceFailed, match="has more than 100 octets"):
        body(station, most=100)


def test_another_thread_can_end_a_read(station: Station) -> None:
    def behave(connection: socket.socket, _: str) -> None:
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nx")
        time.sleep(5)

    station.behave = behave
    answer = CLIENT.open(station.url())
    assert answer.read() == b"x"
    answer.abort()
    assert answer.read() == b""


# -- TLS ---------------------------------------------------------------------------------------------------------------


def test_https_needs_a_certificate_that_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    def secure(connection: socket.socket, _: str) -> None:
        raise AssertionError

    with Station(secure) as station:

        def serve(connection: socket.socket) -> None:
            try:
                with context.wrap_socket(connection, server_side=True) as inner:
                    inner.recv(4096)
                    inner.sendall(page("200 OK", b"secret music"))
            except OSError:
                pass

        station._serve = serve  # type: ignore[method-assign]
        address = station.url().replace("http:", "https:")
        with pytest.raises(SourceFailed, match=r"^the certificate of 127.0.0.1 is not trusted: "):
            HttpClient(networks("127.0.0.0/8")).open(address)
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        assert HttpClient(networks("127.0.0.0/8")).open(address).read_all(100) == b"secret music"


def test_no_encrypted_octets_are_read_after_an_abort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    has_sent, has_ended = threading.Event(), threading.Event()

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as inner:
            inner.recv(4096)
            inner.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
            inner.sendall(bytes(50000))
            has_sent.set()
            has_ended.wait(10)

    with Station(answers(b"")) as station:
        station._serve = serve  # type: ignore[method-assign]
        answer = HttpClient(networks("127.0.0.0/8")).open(station.url().replace("http:", "https:"))
        assert has_sent.wait(10)
        answer.abort()
        body = b""
        with suppress(SourceFailed):  # the system may report the end as a reset
            while octets := answer.read():
                body += octets
        has_ended.set()
    assert body == bytes(len(body)), "music, and not what is on the wire"


def test_https_to_a_port_without_tls_is_reported(station: Station) -> None:
    station.behave = answers(page("200 OK"))
    with pytest.raises(SourceFailed, match=r"^(no TLS with 127.0.0.1: |the connection failed: |no answer came)"):
        CLIENT.open(station.url().replace("http:", "https:"))
