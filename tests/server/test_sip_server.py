"""The serve loop of ``sip_server.py``, with real sockets: its steps under the lock, and errors that it survives."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Union

import pytest

from moh.common.actions import Action, Address, Fault, Flow, Note, StreamBegan, StreamEnded
from moh.common.config import Settings
from moh.net.recvmmsg import MOST_READ, Datagram
from moh.net.sockets import family_of
from moh.sip.admission import Admission
from moh.sip.message import Request, Response
from sip_server import SipServer, Stopped
from tests.support.ladder import FLOW, OFFER, octets
from tests.support.running import TEST_TIMEOUT, free_ports, wait_for


class Agent:
    """A user agent that records whether the lock is held, and fails at each tick."""

    idle = False

    def __init__(self, server: SipServer) -> None:
        self._server = server
        self.admission = Admission()
        self.was_locked: list[bool] = []

    @property
    def next_due(self) -> float:
        self.was_locked.append(self._server.lock.locked())
        return 0.0

    def tick(self, now: float) -> list[Action]:
        raise LookupError("a fault in one call")


@pytest.fixture
def bind() -> str:
    return "127.0.0.1"


@pytest.fixture
def server(tmp_path: Path, bind: str) -> Iterator[SipServer]:
    """A server that does not run its loop. Its cache is empty, so that no music is ready during a test."""
    first = free_ports(4)
    settings = Settings(bind=bind, sip_port=first, rtp_ports=(first + 2, first + 3), cache=str(tmp_path))
    with SipServer(settings) as server:
        yield server


def test_the_loop_reads_the_next_due_time_under_the_lock(server: SipServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading removes entries from the heap. Without the lock, the new timer of a worker was lost, or the loop died."""
    agent = Agent(server)
    monkeypatch.setattr(server, "agent", agent)
    server.service_actions()
    assert agent.was_locked == [True]


def test_garbage_is_collected_only_while_the_server_is_idle(server: SipServer, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent(server)
    collected: list[bool] = []
    monkeypatch.setattr("moh.server.tuning.gc.collect", lambda: collected.append(agent.idle))
    monkeypatch.setattr(server, "agent", agent)
    server.service_actions()
    assert collected == []
    agent.idle = True
    server._service_at = 0.0
    server.service_actions()
    assert collected == [True]


def test_an_unexpected_error_in_the_serve_loop_is_logged_and_the_loop_goes_on(
    server: SipServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    turns: list[int] = []

    def fails_twice() -> None:
        turns.append(len(turns))
        if len(turns) <= 2:
            raise AttributeError("a plain bug")
        raise Stopped

    monkeypatch.setattr(server, "service_actions", fails_twice)
    server.serve_forever(poll_interval=0.01)
    assert turns == [0, 1, 2]
    assert caplog.text.count("unexpected error in the server: the serve loop") == 1
    assert "AttributeError: a plain bug" in caplog.text
    assert server.faults.count == 2


def test_many_datagrams_are_read_in_one_turn_and_none_is_lost(
    server: SipServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The datagrams keep their order. A datagram that finds the queue of its worker full is counted as dropped."""
    handled: list[bytes] = []
    monkeypatch.setattr(server, "handle_messages", lambda turn: handled.extend(each.data for each in turn))
    sent = [b"ACK sip:123@moh SIP/2.0 %d" % number for number in range(MOST_READ)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        for data in sent:
            phone.sendto(data, server.server_address)
        server.handle_request()
    wait_for(lambda: len(handled) == MOST_READ, "all datagrams")
    assert handled == sent

    monkeypatch.setattr("moh.server.workers.QUEUE", 0)
    server.process_request([Datagram(b"ACK sip:123@moh SIP/2.0", FLOW)], FLOW.remote)
    assert server.workers.dropped == 1


@pytest.mark.parametrize(("bind", "host"), [("127.0.0.1", "127.0.0.1"), ("::", "127.0.0.1"), ("::", "::1")])
@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_one_worker_handles_all_datagrams_of_a_phone(
    server: SipServer, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """Otherwise an ACK could be handled after the re-INVITE that was sent after it."""
    workers: list[tuple[Address, str]] = []

    def handle(turn: Sequence[Datagram]) -> None:
        workers.extend((each.flow.remote, threading.current_thread().name) for each in turn)

    monkeypatch.setattr(server, "handle_messages", handle)
    for _ in range(10):
        with socket.socket(family_of(host), socket.SOCK_DGRAM) as phone:
            for method in (b"ACK", b"INVITE"):
                phone.sendto(method + b" sip:123@moh SIP/2.0", (host, server.server_address[1]))
            server.handle_request()
    wait_for(lambda: len(workers) == 20, "all datagrams")
    assert len({remote for remote, _ in workers}) == len(set(workers))


def test_at_the_end_datagrams_in_the_queues_are_dropped(server: SipServer, monkeypatch: pytest.MonkeyPatch) -> None:
    handled: list[bytes] = []
    first = threading.Event()
    ended = threading.Event()

    def handle(turn: Sequence[Datagram]) -> None:
        handled.extend(each.data for each in turn)
        first.set()
        ended.wait(TEST_TIMEOUT)

    monkeypatch.setattr(server, "handle_messages", handle)
    for number in range(100):
        server.process_request([Datagram(b"ACK sip:123@moh SIP/2.0 %d" % number, FLOW)], FLOW.remote)
        first.wait(TEST_TIMEOUT)
    closing = threading.Thread(target=server.server_close)
    closing.start()
    wait_for(lambda: server.workers.closing, "the workers to close")
    ended.set()
    closing.join()
    assert handled == [b"ACK sip:123@moh SIP/2.0 0"]


def test_a_fault_in_one_call_does_not_end_the_loop(
    server: SipServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "agent", Agent(server))
    server.service_actions()
    assert "unexpected error in the server: tick()" in caplog.text
    assert "LookupError: a fault in one call" in caplog.text
    assert not server.lock.locked()


def test_one_message_that_fails_costs_no_other_of_its_turn(
    server: SipServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The message that fails is answered 500, and all answers of the turn leave together, at its end."""
    receive = server.agent.receive

    def fails_once(message: Union[Request, Response], flow: Flow, *, now: float) -> list[Action]:
        if message.first("call-id") == "second":
            raise LookupError("a plain bug")
        return receive(message, flow, now=now)

    monkeypatch.setattr(server.agent, "receive", fails_once)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.bind(("127.0.0.1", 0))
        phone.settimeout(TEST_TIMEOUT)
        flow = Flow(Address(*phone.getsockname()), Address("127.0.0.1", server.server_address[1]))
        arrived = [Datagram(options(call, flow), flow) for call in ("first", "second", "third")]
        server.handle_messages([arrived[0], Datagram(b"no SIP at all, but long", flow), *arrived[1:]])
        answers = [phone.recv(4096) for _ in arrived]
    assert [answer[8:11] for answer in answers] == [b"503", b"500", b"503"]  # no music is ready
    assert [b"Call-ID: " + call in answer for call, answer in zip((b"first", b"second", b"third"), answers)] == 3 * [
        True
    ]
    assert "LookupError: a plain bug" in caplog.text and not server.lock.locked()


def test_the_time_from_the_arrival_of_an_invite_to_its_answer_is_counted(server: SipServer) -> None:
    server.agent.music_ready(0, now=0.0)
    arrived = time.monotonic() - 0.15
    invite = octets("INVITE", body=OFFER)
    server.handle_messages([Datagram(invite, FLOW, arrived), Datagram(invite, FLOW, arrived)])
    set_up = server.statistics.set_up
    assert sum(set_up.counts) == 1 and 0.15 <= set_up.sum < TEST_TIMEOUT, "the second is a retransmission"


def options(call_id: str, flow: Flow) -> bytes:
    return (
        f"OPTIONS sip:moh@{flow.local} SIP/2.0\r\nVia: SIP/2.0/UDP {flow.remote};branch=z9hG4bK{call_id}\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:moh@b>\r\nCall-ID: {call_id}\r\nCSeq: 1 OPTIONS\r\n\r\n"
    ).encode()


def test_the_send_buffer_is_larger_than_usual(server: SipServer) -> None:
    """Datagrams that wait for the ARP answer of a vanished host must not fill the socket that sends all answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        usual = other.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    assert server.socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) > usual


def test_a_fault_of_the_core_reaches_the_log_with_its_traceback(
    server: SipServer, caplog: pytest.LogCaptureFixture
) -> None:
    try:
        raise LookupError("a plain bug")
    except LookupError as error:
        fault = Fault(error, "a timer")
    note = Note(logging.WARNING, "", "the other call goes on")
    server.drive(lambda now: [fault, note])
    assert "unexpected error in the server: a timer" in caplog.text and "LookupError: a plain bug" in caplog.text
    assert "the other call goes on" in caplog.text
    assert server.faults.count == 1


def test_the_end_of_a_stream_that_the_core_could_not_handle_is_reported_again(
    server: SipServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = [StreamEnded("ann", 7, "ended")]
    reported: list[str] = []

    def gone(call: str, serial: int, why: str, hopeless: str, *, now: float) -> list[Action]:
        reported.append(call)
        if len(reported) == 1:
            raise MemoryError
        return []

    monkeypatch.setattr(server.engines, "ended", lambda: [ended.pop()] if ended else [])
    monkeypatch.setattr(server.agent, "stream_gone", gone)
    for _ in range(3):
        server._service_at = 0.0
        server.service_actions()
    assert reported == ["ann", "ann"]


def test_the_beginning_of_a_stream_that_the_core_could_not_handle_is_reported_again(
    server: SipServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call whose stream the core does not know to play would count as starting to its end."""
    began = [[StreamBegan("ann", 7)], [StreamBegan("bob", 1)], []]
    reported: list[list[str]] = []

    def streams_began(streams: list[StreamBegan], *, now: float) -> list[Action]:
        reported.append([stream.call for stream in streams])
        if len(reported) == 1:
            raise MemoryError
        return []

    monkeypatch.setattr(server.engines, "began", lambda: began.pop(0))
    monkeypatch.setattr(server.agent, "streams_began", streams_began)
    for _ in range(3):
        server._service_at = 0.0
        server.service_actions()
    assert reported == [["ann"], ["ann", "bob"]]


def test_a_stop_that_the_core_could_not_handle_is_asked_for_again(
    server: SipServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def close(grace: float, *, now: float) -> list[Action]:
        asked.append(grace)
        if len(asked) == 1:
            raise MemoryError
        return []

    monkeypatch.setattr(server.agent, "close", close)
    server.stop()
    server._obey_signals(0.0)
    server._obey_signals(0.1)
    server._obey_signals(0.2)
    assert asked == [0.0, 0.0]


def test_the_report_of_a_fault_holds_no_key(
    server: SipServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(message: Union[Request, Response], flow: Flow, now: float) -> list[Action]:
        raise LookupError("a plain bug")

    monkeypatch.setattr(server.agent, "receive", fail)
    body = f"{OFFER}a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0c2VjcmV0\r\n"
    server.handle_message(octets("INVITE", body=body), FLOW)
    assert "AES_CM_128_HMAC_SHA1_80" in caplog.text and "c2VjcmV0" not in caplog.text
