"""End to end: SIP over TCP and TLS with a real server (RFC 3261 §18, RFC 5626 §4.4.1)."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest

from conftest import StartServer
from tests.support.phone import Ear, Message, Phone
from tests.support.running import Address, Running, free_ports, wait_for


class Line:
    """The phone's end of a TCP or TLS connection. It sends requests and reads whole messages."""

    def __init__(self, server: Address, tls: bool = False, host: str = "") -> None:
        self.socket: socket.socket = socket.create_connection(server, 10, (host, 0))
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            self.socket = context.wrap_socket(self.socket)
        self.held = b""

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, request: bytes) -> None:
        self.socket.sendall(request)

    def more(self) -> bool:
        """Wait for more octets. Return false if the server has closed the connection."""
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            return False
        self.held += data
        return bool(data)

    def receive(self) -> Message:
        while b"\r\n\r\n" not in self.held:
            assert self.more(), "the server closed the connection"
        head, _, rest = self.held.partition(b"\r\n\r\n")
        length = int(head.lower().rpartition(b"content-length:")[2].split(b"\r\n")[0])
        while len(rest) < length:
            assert self.more(), "the server closed the connection"
            rest = self.held.partition(b"\r\n\r\n")[2]
        self.held = rest[length:]
        return Message.read(head + b"\r\n\r\n" + rest[:length], ("", 0))


def over(transport: str, phone: Phone, data: bytes) -> bytes:
    """Return the request ``data`` of ``phone``, rewritten for another transport."""
    host, port = phone.address
    return data.replace(b"SIP/2.0/UDP", f"SIP/2.0/{transport}".encode()).replace(
        f"<sip:201@{host}:{port}>".encode(), f"<sip:201@{host}:{port};transport={transport.lower()}>".encode()
    )


def call_over(line: Line, transport: str, phone: Phone, media: Address) -> Message:
    """Make a call over ``line``. Return its 200."""
    line.send(over(transport, phone, phone.invite(media)))
    assert line.receive().status == 180
    answer = line.receive()
    assert answer.status == 200
    phone.to_tag = answer.to_tag
    line.send(over(transport, phone, phone.request("ACK")))
    return answer


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_whole_call_in_pieces_of_any_size(own_server: Running, size: int) -> None:
    with Phone(own_server.address) as phone, Line(own_server.address) as line, Ear("127.0.0.2") as ear:
        data = over("TCP", phone, phone.invite(ear.address))
        for at in range(0, len(data), size):
            line.send(data[at : at + size])
        assert line.receive().status == 180
        answer = line.receive()
        assert answer.status == 200
        assert ";transport=tcp>" in answer.get("contact")
        phone.to_tag = answer.to_tag
        line.send(over("TCP", phone, phone.request("ACK")))
        assert ear.packets(5)
        line.send(over("TCP", phone, phone.request("BYE")))
        assert line.receive().status == 200
        own_server.has_no_ffmpeg()


def test_two_requests_in_one_segment_with_a_ping_between_are_all_answered(own_server: Running) -> None:
    with Phone(own_server.address) as phone, Line(own_server.address) as line:
        two = [over("TCP", phone, phone.request("OPTIONS")) for _ in range(2)]
        line.send(two[0] + b"\r\n\r\n" + two[1])
        assert line.receive().status == 200
        wait_for(lambda: line.held.startswith(b"\r\n") or line.more(), "the pong")
        assert line.held[:2] == b"\r\n"
        line.held = line.held[2:]
        assert line.receive().status == 200


def test_a_stream_without_message_boundaries_gets_400_and_is_closed(own_server: Running) -> None:
    with Phone(own_server.address) as phone, Line(own_server.address) as line:
        faulty = over("TCP", phone, phone.request("OPTIONS")).replace(b"Content-Length: 0", b"Content-Length: lots")
        line.send(faulty)
        while line.more():
            pass
        assert line.held.startswith(b"SIP/2.0 400 Content-Length is 'lots'")


def test_the_bye_of_the_server_comes_on_the_connection_of_the_call(start_server: StartServer) -> None:
    server = start_server(MOH_MAX_CALL="2s").ready()
    with Phone(server.address) as phone, Line(server.address) as line, Ear("127.0.0.2") as ear:
        call_over(line, "TCP", phone, ear.address)
        bye = line.receive()
        assert bye.first.startswith("BYE ")
        assert "SIP/2.0/TCP" in bye.get("via")


def test_the_bye_of_the_server_opens_a_connection_when_that_of_the_call_is_gone(start_server: StartServer) -> None:
    server = start_server(MOH_MAX_CALL="3s").ready()
    port = free_ports(1)
    with socket.socket() as listener, Phone(server.address) as phone, Ear("127.0.0.2") as ear:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        listener.settimeout(10)
        phone.address = ("127.0.0.1", port)
        with Line(server.address) as line:
            call_over(line, "TCP", phone, ear.address)
        assert ear.packets(5), "the music goes on without the connection"
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(10)
            assert connection.recv(65536).startswith(b"BYE sip:201@127.0.0.1:")


def test_one_source_address_cannot_take_all_connections(own_server: Running) -> None:
    lines = [Line(own_server.address) for _ in range(80)]
    try:
        phone = Phone(own_server.address)
        answers = 0
        for line in lines:
            try:
                line.send(over("TCP", phone, phone.request("OPTIONS")))
                answers += line.more()
            except OSError:
                pass
        assert answers == 64
    finally:
        for line in lines:
            line.socket.close()
    with Phone(own_server.address) as phone:

        def is_answered() -> bool:
            with Line(own_server.address) as line:
                try:
                    line.send(over("TCP", phone, phone.request("OPTIONS")))
                except OSError:
                    return False
                return line.more()

        wait_for(is_answered, "an answer on a new connection")


def test_a_connection_that_reads_nothing_and_sends_garbage_is_closed(own_server: Running) -> None:
    with Phone(own_server.address) as phone, Line(own_server.address) as line:
        stray = over("TCP", phone, phone.request("BYE"))
        line.send(stray * 2000)
        line.send(stray.replace(b"Content-Length: 0", b"Content-Length: lots"))
        with pytest.raises(OSError):
            for _ in range(4000):
                line.send(bytes(65536))


def test_silent_connections_are_closed_to_make_room_for_new_ones(own_server: Running) -> None:
    silent: list[socket.socket] = []
    try:
        with Phone(own_server.address) as phone, Line(own_server.address) as early:
            early.send(over("TCP", phone, phone.request("OPTIONS")))
            assert early.receive().status == 200
            for number in range(200):
                silent.append(socket.create_connection(own_server.address, 10, (f"127.0.0.{2 + number % 8}", 0)))
                silent[-1].sendall(b"OPTIONS sip:half" if number % 2 else b"")
            silent[0].settimeout(5)
            assert silent[0].recv(1) == b"", "the oldest is closed"
            with Line(own_server.address) as late:
                late.send(over("TCP", phone, phone.request("OPTIONS")))
                assert late.receive().status == 200
            early.send(over("TCP", phone, phone.request("OPTIONS")))
            assert early.receive().status == 200, "a connection that has sent a whole message stays"
    finally:
        for one in silent:
            one.close()


def test_idle_connections_of_two_addresses_are_closed_to_make_room_for_new_ones(own_server: Running) -> None:
    lines: list[Line] = []
    with Phone(own_server.address) as phone, Line(own_server.address) as held, Ear("127.0.0.2") as ear:
        call_over(held, "TCP", phone, ear.address)
        try:
            with Phone(own_server.address) as other:
                for number in range(128):
                    lines.append(Line(own_server.address, host=f"127.0.0.{3 + number % 2}"))
                    lines[-1].send(over("TCP", other, other.request("OPTIONS")))
                    assert lines[-1].more(), f"connection {number} is refused"
                with Line(own_server.address) as late:
                    late.send(over("TCP", other, other.request("OPTIONS")))
                    assert late.receive().status == 200
            wait_for(lambda: not lines[0].more(), "the end of the connection that was idle longest")
            held.send(over("TCP", phone, phone.request("BYE")))
            assert held.receive().status == 200, "a connection with a call stays"
        finally:
            for line in lines:
                line.socket.close()
    own_server.has_no_ffmpeg()


def test_a_connection_that_sends_too_fast_is_slowed_down_and_loses_nothing(start_server: StartServer) -> None:
    server = start_server(MOH_LOG="info").ready()
    with Phone(server.address) as phone, Line(server.address, host="127.0.0.9") as line:
        line.send(over("TCP", phone, phone.request("OPTIONS")) * 500)
        for _ in range(500):
            assert line.receive().status == 200
        server.says("messages from 127.0.0.9 wait: it sends faster than its rate (TCP or TLS)")
        line.send(over("TCP", phone, phone.request("OPTIONS")) * 5000)
        server.terminate()
        assert server.exit_status() == 0


def test_tls_with_a_certificate(start_server: StartServer, tmp_path: Path) -> None:
    trustme = pytest.importorskip("trustme", reason="needs trustme: pip install -r requirements-dev.txt")
    certificate = tmp_path / "certificate.pem"
    trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    port = free_ports(1)
    server = start_server(MOH_TLS_CERT=str(certificate), MOH_TLS_PORT=str(port)).ready()
    with Phone(server.address) as phone, Line(("127.0.0.1", port), tls=True) as line, Ear("127.0.0.2") as ear:
        phone.uri = f"sips:123@127.0.0.1:{port}"
        answer = call_over(line, "TLS", phone, ear.address)
        assert f"<sips:moh@127.0.0.1:{port}>" in answer.get("contact")
        assert ear.packets(5)
        line.send(over("TLS", phone, phone.request("BYE")))
        assert line.receive().status == 200
    silent = [socket.create_connection(("127.0.0.1", port), 10, (f"127.0.0.{2 + n % 8}", 0)) for n in range(200)]
    silent[0].settimeout(5)
    assert silent[0].recv(1) == b"", "a connection without a handshake is closed to make room as well"
    for one in silent:
        one.close()
    with Phone(server.address) as phone:
        phone.uri = f"sips:123@127.0.0.1:{port}"
        phone.send(phone.request("OPTIONS"))
        assert phone.receive().status == 416, "sips is only for TLS"


def test_a_file_that_is_no_certificate_stops_the_start(start_server: StartServer, tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    server = start_server(MOH_TLS_CERT=str(nonsense))
    assert server.process.wait(20) == 1
    assert "MOH_TLS_CERT is" in server.log.splitlines()[-1]
