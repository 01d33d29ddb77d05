"""The trace: which messages it has, and that nothing waits for its file."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path

import pytest

from moh.common.actions import Address, Flow, Send
from moh.server import trace as module
from moh.server.trace import MOST_LONG_WAITING, MOST_WAITING, Trace
from tests.support.capture import packets
from tests.support.ladder import FLOW, PHONE, SERVER
from tests.support.running import wait_for

OVER_TLS = FLOW._replace(transport="TLS", connection=7, remote=Address("192.168.1.51", 40000))
OTHER = Address("192.168.1.99", 5060)
OK = b"SIP/2.0 200 OK\r\n\r\n"


def test_messages_have_their_addresses_times_and_transports(tmp_path: Path) -> None:
    path = tmp_path / "moh.pcapng"
    trace = Trace(str(path))
    before = time.time()
    trace.received(b"INVITE", FLOW)
    trace.sent(Send(OK, OTHER, FLOW))
    trace.received(b"BYE", OVER_TLS)
    trace.sent(Send(OK, OTHER, OVER_TLS))
    trace.received(b"OPTIONS", FLOW, "rejected: not in MOH_ALLOW")
    trace.close()
    after = time.time()
    found = packets(path)
    assert [(each.source, each.to, each.data) for each in found] == [
        (PHONE, SERVER, b"INVITE"),
        (SERVER, OTHER, OK),
        (OVER_TLS.remote, SERVER, b"BYE"),
        (SERVER, OVER_TLS.remote, OK),
        (PHONE, SERVER, b"OPTIONS"),
    ]
    assert [each.options[1].decode() for each in found] == [
        "SIP by UDP", "SIP by UDP", "SIP by TLS, shown as UDP", "SIP by TLS, shown as UDP",
        "SIP by UDP; rejected: not in MOH_ALLOW",
    ]  # fmt: skip
    assert [each.options[2][0] for each in found] == [1, 2, 1, 2, 1], "inbound and outbound"
    assert all(before - 1 <= each.microseconds / 1e6 <= after + 1 for each in found)


def test_with_an_address_it_has_the_messages_of_that_phone_alone(tmp_path: Path) -> None:
    trace = Trace(str(tmp_path / "moh.pcapng"), PHONE.host)
    trace.received(b"INVITE", FLOW)
    trace.received(b"INVITE", Flow(OTHER, SERVER))
    trace.sent(Send(OK, PHONE, FLOW))
    trace.sent(Send(OK, OTHER, FLOW))
    trace.close()
    assert [each.data for each in packets(tmp_path / "moh.pcapng")] == [b"INVITE", OK]


def test_keys_are_overwritten(tmp_path: Path) -> None:
    trace = Trace(str(tmp_path / "moh.pcapng"))
    message = (
        b"INVITE\r\n\r\nv=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n"
    )
    trace.received(message, FLOW)
    trace.close()
    (found,) = packets(tmp_path / "moh.pcapng")
    assert found.data == message[:-42] + b"x" * 40 + b"\r\n"


def test_the_file_is_there_from_the_start_and_the_log_says_where(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "moh.pcapng"
    trace = Trace(str(path), PHONE.host)
    wait_for(lambda: path.exists() and path.stat().st_size > 0, "the file")
    trace.close()
    assert packets(path) == []
    assert caplog.messages == [
        f"trace: the SIP messages of 192.168.1.50 go to {path}, and when it has 20 MB, it becomes {path}.1"
    ]


def test_a_file_that_cannot_be_written_has_one_line_and_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(module, "RETRY_AFTER", 0.0)
    path = tmp_path / "folder" / "moh.pcapng"
    trace = Trace(str(path))
    for _ in range(3):
        before = trace._missing
        trace.received(b"lost", FLOW)
        wait_for(lambda: trace._missing > before, "the message counts as missing")  # noqa: B023 -- used at once
    path.parent.mkdir()
    trace.received(b"the next", FLOW)
    wait_for(path.exists, "the file")
    trace.close()
    assert [each.data for each in packets(path)] == [b"the next"]
    assert caplog.messages[1:] == [
        f"the trace (MOH_TRACE) cannot be written to {path}: No such file or directory",
        "the trace is written again; 3 messages are missing",
    ]


def test_a_file_that_hangs_delays_no_message_and_takes_a_bounded_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a network share that does not answer."""
    goes_on = threading.Event()
    write = os.write

    def hang(descriptor: int, octets: bytes) -> int:
        goes_on.wait(60)
        return write(descriptor, octets)

    monkeypatch.setattr(os, "write", hang)
    trace = Trace(str(tmp_path / "moh.pcapng"))
    began = time.monotonic()
    for _ in range(3 * MOST_WAITING):
        trace.received(bytes(65535), FLOW)
        trace.received(b"INVITE", FLOW)
    assert time.monotonic() - began < 5.0, "a message waited for the file"
    assert trace._waiting.qsize() <= MOST_WAITING
    waiting = [trace._waiting.get() for _ in range(trace._waiting.qsize())]
    assert sum(len(each.data) > 4096 for each in waiting if each is not None) <= MOST_LONG_WAITING
    goes_on.set()
    trace.received(b"INVITE", FLOW)
    trace.close()
    assert "messages are missing in the trace: more came than could be written" in caplog.text


def test_an_unexpected_error_is_reported_and_the_thread_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = Trace(str(tmp_path / "moh.pcapng"))
    with monkeypatch.context() as broken:
        broken.setattr(trace._file, "write", None)  # a plain bug: 'NoneType' object is not callable
        trace.received(b"INVITE", FLOW)
        wait_for(lambda: trace.faults.count, "the fault")
    trace.received(b"BYE", FLOW)
    trace.close()
    assert [each.data for each in packets(tmp_path / "moh.pcapng")] == [b"BYE"]
    assert "unexpected error in the trace" in caplog.text


def test_a_message_that_cannot_be_written_costs_no_other_message(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trace = Trace(str(tmp_path / "moh.pcapng"))
    trace.received(b"INVITE", FLOW)
    trace.received(b"odd", FLOW._replace(remote=Address("phone.lan", 5060)))
    trace.received(b"BYE", FLOW)
    trace.close()
    assert [each.data for each in packets(tmp_path / "moh.pcapng")] == [b"INVITE", b"BYE"]
    assert "unexpected error in the trace: the trace of a message from phone.lan:5060 to " in caplog.text


def test_a_fault_of_the_trace_costs_no_message_of_a_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = Trace(str(tmp_path / "moh.pcapng"))

    def fails() -> int:
        raise MemoryError

    with monkeypatch.context() as broken:
        broken.setattr("time.time_ns", fails)
        trace.received(b"INVITE", FLOW)
        trace.sent(Send(b"SIP/2.0 200 OK", FLOW.remote, FLOW))
    trace.close()
    assert trace.faults.count == 2
