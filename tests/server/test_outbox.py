"""Messages leave in their order when the outbox is emptied. End to end: real sockets on loopback."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, cast

import pytest

from moh.common.actions import Address, Flow, Send
from moh.common.counters import Counters
from moh.server.outbox import Outbox
from moh.server.trace import Trace
from moh.transport.tcp import TcpServer
from tests.support.capture import packets


class Scene(NamedTuple):
    phone: socket.socket
    outbox: Outbox
    counters: Counters
    flow: Flow
    streamed: list[Send]


class Listener:
    """A listener for TCP that records what it is to send."""

    transport = "TCP"

    def __init__(self) -> None:
        self.sent: list[Send] = []

    def send(self, send: Send) -> None:
        self.sent.append(send)


@pytest.fixture
def scene() -> Iterator[Scene]:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone,
    ):
        for each in (sock, phone):
            each.bind(("127.0.0.1", 0))
            each.setblocking(False)
        counters, listener = Counters(), Listener()
        flow = Flow(Address(*phone.getsockname()), Address(*sock.getsockname()))
        yield Scene(phone, Outbox(sock, [cast(TcpServer, listener)], counters), counters, flow, listener.sent)


def test_messages_by_udp_wait_and_leave_in_their_order(scene: Scene) -> None:
    for number in range(100):
        scene.outbox.add(Send(b"%d" % number, scene.flow.remote, scene.flow))
    with pytest.raises(BlockingIOError):
        scene.phone.recv(100)
    scene.outbox.flush()
    assert [scene.phone.recv(100) for _ in range(100)] == [b"%d" % number for number in range(100)]
    scene.outbox.flush()
    with pytest.raises(BlockingIOError):
        scene.phone.recv(100)


def test_messages_by_tcp_go_to_their_listener_at_once(scene: Scene) -> None:
    over_tcp, over_tls = (scene.flow._replace(transport=transport, connection=3) for transport in ("TCP", "TLS"))
    scene.outbox.add(Send(b"200", over_tcp.remote, over_tcp))
    scene.outbox.add(Send(b"200", over_tls.remote, over_tls))
    assert scene.streamed == [Send(b"200", over_tcp.remote, over_tcp)]


def test_datagrams_that_cannot_be_sent_to_one_address_have_one_log_line(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """The kernel refuses each datagram to the broadcast address, as it does when its buffer is full."""
    caplog.set_level(logging.INFO)
    for _ in range(100):
        scene.outbox.add(Send(b"BYE", Address("255.255.255.255", 9), scene.flow))
        scene.outbox.flush()
    assert caplog.text.count("could not send to 255.255.255.255:9: Permission denied") == 1
    assert scene.counters.counts["could not be sent"] == 100


def test_messages_that_leave_are_noted_in_the_trace(scene: Scene, tmp_path: Path) -> None:
    trace = Trace(str(tmp_path / "moh.pcapng"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        outbox = Outbox(sock, [], scene.counters, trace)
        outbox.add(Send(b"by UDP", scene.flow.remote, scene.flow))
        outbox.add(Send(b"by TCP", scene.flow.remote, scene.flow._replace(transport="TCP")))
    trace.close()
    assert [each.data for each in packets(tmp_path / "moh.pcapng")] == [b"by UDP", b"by TCP"]
