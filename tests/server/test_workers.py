"""The workers: one worker handles all datagrams of a source, queues are bounded, and no exception ends a worker."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from moh.common.actions import Address, Flow
from moh.net.recvmmsg import Datagram
from moh.server.workers import FOR_UNVALIDATED, TURN, WORKERS, Workers
from tests.support.running import wait_for

ANN = Address("192.0.2.1", 5060)
SERVER = Address("192.0.2.100", 5060)


def datagram(data: bytes, source: Address = ANN) -> Datagram:
    return Datagram(data, Flow(source, SERVER))


class Handler:
    """It records each turn and the thread that handled it. It waits until ``proceed`` is set."""

    def __init__(self) -> None:
        self.turns: list[tuple[Sequence[Datagram], str]] = []
        self.proceed = threading.Event()
        self.proceed.set()

    def __call__(self, turn: Sequence[Datagram], source: Address) -> None:
        assert source == turn[0].flow.remote
        self.turns.append((turn, threading.current_thread().name))
        self.proceed.wait(10)

    @property
    def handled(self) -> list[tuple[bytes, str, str]]:
        """The octets of each datagram, its source's host, and the thread."""
        return [(each.data, each.flow.remote.host, thread) for turn, thread in self.turns for each in turn]


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture
def workers(handler: Handler) -> Iterator[Workers]:
    started = Workers(handler)
    yield started
    handler.proceed.set()
    started.close()


def test_the_datagrams_of_a_source_are_handled_in_order_by_one_thread(workers: Workers, handler: Handler) -> None:
    for number in range(100):
        workers.submit(datagram(b"%d" % number), validated=True)
        workers.wake()
    wait_for(lambda: len(handler.handled) == 100, "all datagrams")
    assert [data for data, _, _ in handler.handled] == [b"%d" % number for number in range(100)]
    assert len({thread for _, _, thread in handler.handled}) == 1


def test_unvalidated_sources_have_workers_of_their_own(workers: Workers, handler: Handler) -> None:
    for number in range(200):
        workers.submit(datagram(b"", Address(f"192.0.2.{number}", 5060)), validated=number % 2 == 0)
    workers.wake()
    wait_for(lambda: len(handler.handled) == 200, "all datagrams")
    threads = {
        validated: {thread for _, host, thread in handler.handled if (int(host[8:]) % 2 == 0) == validated}
        for validated in (True, False)
    }
    assert threads[False] == {f"worker-{number}" for number in range(FOR_UNVALIDATED)}
    assert threads[True] == {f"worker-{number}" for number in range(FOR_UNVALIDATED, WORKERS)}


def test_what_a_full_queue_cannot_take_is_dropped_and_counted(
    workers: Workers, handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moh.server.workers.QUEUE", 3)
    handler.proceed.clear()
    workers.submit(datagram(b"first"), validated=True)
    workers.wake()
    wait_for(lambda: handler.handled, "the first datagram")
    for _ in range(5):
        workers.submit(datagram(b"more"), validated=True)
    workers.wake()
    assert workers.dropped == 2
    handler.proceed.set()
    wait_for(lambda: len(handler.handled) == 4, "those that waited")


def test_an_exception_is_logged_with_its_traceback_and_the_next_datagram_is_handled(
    workers: Workers, handler: Handler, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(turn: Sequence[Datagram], source: Address) -> None:
        raise AttributeError("a plain bug")

    with monkeypatch.context() as broken:
        broken.setattr(workers, "_handle", fails)
        for fault in (1, 2, 3):
            workers.submit(datagram(b"INVITE"), validated=True)
            workers.wake()
            wait_for(lambda fault=fault: workers.faults.count == fault, "a fault")  # type: ignore[misc]
    workers.submit(datagram(b"BYE"), validated=True)
    workers.wake()
    wait_for(lambda: handler.handled, "the next datagram")
    assert caplog.text.count("unexpected error in a worker: a datagram from 192.0.2.1:5060: b'INVITE'") == 1
    assert "AttributeError: a plain bug" in caplog.text


def test_at_the_end_waiting_datagrams_are_not_handled(workers: Workers, handler: Handler) -> None:
    handler.proceed.clear()
    for number in range(100):
        workers.submit(datagram(b"%d" % number), validated=True)
        workers.wake()
        wait_for(lambda: handler.handled, "the first datagram")
    closing = threading.Thread(target=workers.close)
    closing.start()
    wait_for(lambda: workers.closing, "the end")
    handler.proceed.set()
    closing.join()
    assert [data for data, _, _ in handler.handled] == [b"0"]


def test_datagrams_that_wait_are_handled_together(workers: Workers, handler: Handler) -> None:
    handler.proceed.clear()
    workers.submit(datagram(b"first"), validated=True)
    workers.wake()
    wait_for(lambda: handler.turns, "the first datagram")
    for number in range(TURN + 1):
        workers.submit(datagram(b"%d" % number), validated=True)
        workers.wake()
    handler.proceed.set()
    wait_for(lambda: len(handler.handled) == TURN + 2, "all datagrams")
    assert [len(turn) for turn, _ in handler.turns] == [1, TURN, 1]


def test_the_report_of_a_fault_holds_no_key(
    workers: Workers, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(turn: Sequence[Datagram], source: Address) -> None:
        raise LookupError("a plain bug")

    monkeypatch.setattr(workers, "_handle", fail)
    workers.submit(datagram(b"INVITE\r\n\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0c2VjcmV0\r\n"), True)
    workers.wake()
    wait_for(lambda: workers.faults.count == 1, "a fault")
    assert "AES_CM_128_HMAC_SHA1_80" in caplog.text and "c2VjcmV0" not in caplog.text
