"""What the loop's thread may do while the workers change the same tables; a real shell round an agent of our own."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from moh.common.actions import Action, Address, Flow, Note, Send, StartStream
from moh.common.config import Settings
from moh.net.recvmmsg import MOST_READ
from moh.net.sockets import family_of
from sip_server import SipServer, Stopped
from tests.support.crowd import target
from tests.support.ladder import FLOW
from tests.support.running import free_ports, wait_for


class Agent:
    """Looks who calls; stumbles over each tick."""

    idle = False

    def __init__(self, server: SipServer) -> None:
        self._server = server
        self.looked_under_the_lock: list[bool] = []

    @property
    def next_due(self) -> float:
        self.looked_under_the_lock.append(self._server.lock.locked())
        return 0.0

    def tick(self, now: float) -> list[Action]:
        raise LookupError("a fault in one call")


@pytest.fixture
def bind() -> str:
    return "127.0.0.1"


@pytest.fixture
def shell(tmp_path: Path, bind: str) -> Iterator[SipServer]:
    """Its cache is empty, so that no music is ready before a test has ended."""
    port = str(free_ports(1))
    settings = Settings.from_environment({"MOH_BIND": bind, "MOH_SIP_PORT": port, "MOH_CACHE": str(tmp_path)})
    with SipServer(settings) as server:
        yield server


def test_the_loop_looks_at_the_schedule_under_the_lock(shell: SipServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """To look is to tidy up the heap: without the lock a worker's new timer was lost, or the loop died."""
    agent = Agent(shell)
    monkeypatch.setattr(shell, "agent", agent)
    shell.service_actions()
    assert agent.looked_under_the_lock == [True]


def test_garbage_is_collected_only_while_the_server_is_idle(shell: SipServer, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent(shell)
    collected: list[bool] = []
    monkeypatch.setattr("moh.server.tuning.gc.collect", lambda: collected.append(agent.idle))
    monkeypatch.setattr(shell, "agent", agent)
    shell.service_actions()
    assert collected == []
    agent.idle = True
    shell._service_at = 0.0
    shell.service_actions()
    assert collected == [True]


def test_an_unexpected_error_in_the_serve_loop_is_logged_and_the_loop_goes_on(
    shell: SipServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    turns: list[int] = []

    def fails_twice() -> None:
        turns.append(len(turns))
        if len(turns) <= 2:
            raise AttributeError("a plain bug")
        raise Stopped

    monkeypatch.setattr(shell, "service_actions", fails_twice)
    shell.serve_forever(poll_interval=0.01)
    assert turns == [0, 1, 2]
    assert caplog.text.count("unexpected error in the server: the serve loop") == 1
    assert "AttributeError: a plain bug" in caplog.text
    assert shell.faults.count == 2


def test_a_crowd_is_read_in_one_turn_and_none_of_it_is_lost(shell: SipServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, though the loop takes a turn for many; and what is more than a worker can take is counted."""
    taken: list[bytes] = []
    monkeypatch.setattr(shell, "handle_message", lambda data, flow: taken.append(data))
    sent = [b"ACK sip:123@moh SIP/2.0 %d" % number for number in range(MOST_READ)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        for data in sent:
            phone.sendto(data, shell.server_address)
        shell.handle_request()
    wait_for(lambda: len(taken) == MOST_READ, "all datagrams")
    assert taken == sent

    monkeypatch.setattr("moh.server.workers.QUEUE", 0)
    shell.process_request((b"ACK sip:123@moh SIP/2.0", "127.0.0.1"), ("127.0.0.1", 9))
    assert shell.workers.dropped == 1


@pytest.mark.parametrize(("bind", "host"), [("127.0.0.1", "127.0.0.1"), ("::", "127.0.0.1"), ("::", "::1")])
@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 on this machine")
def test_all_that_one_phone_sends_has_one_worker(shell: SipServer, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """Whichever way of reading brought it: else an ACK may be looked at after the re-INVITE behind it."""
    workers: list[tuple[Address, str]] = []
    monkeypatch.setattr(
        shell, "handle_message", lambda data, flow: workers.append((flow.remote, threading.current_thread().name))
    )
    for _ in range(10):
        with socket.socket(family_of(host), socket.SOCK_DGRAM) as phone:
            for method in (b"ACK", b"INVITE"):
                phone.sendto(method + b" sip:123@moh SIP/2.0", (host, shell.server_address[1]))
            shell.handle_request()
    wait_for(lambda: len(workers) == 20, "all datagrams")
    assert len({remote for remote, _ in workers}) == len(set(workers))


def test_at_the_end_nobody_waits_for_what_is_still_in_the_queues(
    shell: SipServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[bytes] = []
    first = threading.Event()
    ended = threading.Event()

    def take(data: bytes, flow: object) -> None:
        taken.append(data)
        first.set()
        ended.wait(10)

    monkeypatch.setattr(shell, "handle_message", take)
    for number in range(100):
        shell.process_request((b"ACK sip:123@moh SIP/2.0 %d" % number, "127.0.0.1"), ("127.0.0.1", 9))
    first.wait(10)
    closing = threading.Thread(target=shell.server_close)
    closing.start()
    wait_for(lambda: shell.workers.closing, "the end")
    ended.set()
    closing.join()
    assert taken == [b"ACK sip:123@moh SIP/2.0 0"]


def test_a_fault_in_one_call_does_not_end_the_loop(
    shell: SipServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shell, "agent", Agent(shell))
    shell.service_actions()
    assert "unexpected error in the server: tick()" in caplog.text
    assert "LookupError: a fault in one call" in caplog.text
    assert not shell.lock.locked()


def test_what_fails_keeps_nothing_else_from_being_done_and_leaves_no_call_waiting(
    shell: SipServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A stream that could not be ordered is one that has ended; what the core asks for then is done as well."""
    order, note = StartStream("ann", 7, target(Address("192.0.2.1", 4000), 10000), 0.0), Note(logging.INFO, "", "done")
    done: list[Action] = []

    def perform(action: Action) -> None:
        if action is not note:
            raise OSError("no file is left")
        done.append(action)

    def gone(call: str, serial: int, why: str, *, now: float) -> list[Action]:
        assert (call, serial, now) == ("ann", 7, told[0])
        return [note]

    def step(now: float) -> list[Action]:
        told.append(now)
        return [Send(b"", Address("192.0.2.1", 5060), FLOW), order, note]

    told: list[float] = []
    monkeypatch.setattr(shell, "perform", perform)
    monkeypatch.setattr(shell.agent, "stream_gone", gone)
    shell.drive(step)
    assert done == [note, note]
    assert "unexpected error in the server: action Send" in caplog.text
    assert shell.faults.count == 2


def test_what_cannot_be_sent_again_and_again_has_one_line(shell: SipServer, caplog: pytest.LogCaptureFixture) -> None:
    """To everybody nothing may be sent, so the kernel says no each time, as it does where its buffer is full."""
    caplog.set_level(logging.INFO)
    flow = Flow(Address("127.0.0.1", 9), Address("127.0.0.1", shell.server_address[1]))
    for _ in range(100):
        with shell.lock:
            shell.perform(Send(b"BYE", Address("255.255.255.255", 9), flow))
    assert caplog.text.count("could not send to 255.255.255.255:9: Permission denied") == 1
    assert "100 could not be sent" in shell.agent.tally.summary()


def test_a_host_that_is_gone_does_not_fill_what_all_answers_leave_through(shell: SipServer) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        usual = other.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    assert shell.socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) > usual
