"""The log thread writes all lines in order, delays no other thread and loses no line at the end."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator

import pytest

from moh.server.log_format import JsonFormatter
from moh.server.log_handler import MOST_OCTETS, WRITTEN_AT_ONCE, LogHandler, memory_of
from moh.server.message_log import Redacted
from tests.support.ladder import FLOW
from tests.support.running import ROOT, wait_for

Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


def record(text: str, *values: object) -> logging.LogRecord:
    return logging.LogRecord("moh", logging.INFO, "", 0, text, values, None)


def test_lines_are_written_in_their_order(pipe: Pipe) -> None:
    handler = LogHandler(pipe[1])
    for number in range(100):
        handler.handle(record("line %d", number))
    handler.flush()
    assert os.read(pipe[0], 65536).decode() == "".join(f"line {number}\n" for number in range(100))


def test_a_reader_that_sleeps_delays_no_thread_and_the_dropped_lines_are_counted(pipe: Pipe) -> None:
    long = record("%s", "x" * 200_000)  # more than a pipe takes
    handler = LogHandler(pipe[1], most_octets=memory_of(long) + 50 * memory_of(record("line %d", 1)))
    handler.handle(long)
    time.sleep(0.1)  # the thread of the log begins to write the line, and hangs
    began = time.monotonic()
    for number in range(80):
        handler.handle(record("line %d", number))
    assert time.monotonic() - began < 5.0, "a thread waited for the reader"
    handler.handle(record("the last"))
    read_so_far = b""
    os.set_blocking(pipe[0], False)

    def all_is_read() -> bool:
        nonlocal read_so_far
        try:
            read_so_far += os.read(pipe[0], 65536)
        except BlockingIOError:
            pass
        return b"dropped" in read_so_far

    wait_for(all_is_read, "the count of what was dropped")
    lines = read_so_far.decode().splitlines()[1:]
    assert lines == [f"line {n}" for n in range(50)] + ["dropped 31 lines of the log: more came than could be written"]


def test_lines_that_wait_take_a_bounded_number_of_octets(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """20,000 messages of 9,000 octets would take 180 MB."""
    handler = LogHandler(pipe[1])
    goes_on = threading.Event()
    monkeypatch.setattr(handler, "_write", lambda octets: goes_on.wait(60))
    tracemalloc.start()
    try:
        for number in range(20_000):
            handler.handle(record("< from %s by %s%s", FLOW.remote, "UDP", Redacted(b"%d" % number + bytes(9_000))))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        goes_on.set()
        handler.flush()
    assert 0.5 * MOST_OCTETS < taken < 1.1 * MOST_OCTETS


@pytest.mark.parametrize("octets", [0, 300, 65_535])
def test_the_memory_of_a_line_is_what_it_takes(octets: int) -> None:
    tracemalloc.start()
    try:
        lines = [record("< from %s by %s%s", FLOW.remote, "UDP", Redacted(bytes(octets) + b"x")) for _ in range(200)]
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 1.1 * sum(map(memory_of, lines)) < 4 * taken


def test_a_text_of_many_megabytes_is_written_piece_by_piece(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Formatted at once, the lines would take their memory a second time, and escaped ones four times more."""
    handler = LogHandler(pipe[1])
    written: list[int] = []

    def write(octets: bytes) -> bool:
        written.append(len(octets))
        time.sleep(0.001)
        return True

    monkeypatch.setattr(handler, "_write", write)
    for number in range(2_000):
        handler.handle(record("%d %s", number, "x" * 8_000))
    handler.flush()
    assert sum(written) > 16_000_000
    assert max(written) < WRITTEN_AT_ONCE + 20_000


def test_lines_that_cannot_be_written_are_counted_and_have_one_line_on_the_standard_error(
    pipe: Pipe, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full. When it has room again, the log has a line about the missing lines."""
    handler = LogHandler(pipe[1])
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        monkeypatch.setattr(handler, "_descriptor", full)
        for number in range(3):
            handler.handle(record("line %d", number))
            handler.flush()
        monkeypatch.setattr(handler, "_descriptor", pipe[1])
        handler.handle(record("the next"))
        handler.flush()
    finally:
        os.close(full)
    assert os.read(pipe[0], 65536).decode().splitlines() == [
        "the next", "dropped 3 lines of the log: more came than could be written",
    ]  # fmt: skip
    assert capfd.readouterr().err == "The log cannot be written: No space left on device; lines are dropped\n"


def test_a_line_that_cannot_be_formatted_silences_no_other(pipe: Pipe) -> None:
    handler = LogHandler(pipe[1])
    handler.handle(record("%d", "no number"))
    handler.handle(record("the next"))
    handler.flush()
    said = os.read(pipe[0], 65536).decode().splitlines()
    assert len(said) == 2 and "could not be formatted" in said[0] and said[1] == "the next"


def test_a_closed_pipe_has_one_line_on_the_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    handler = LogHandler(writing)
    for _ in range(3):
        handler.handle(record("unread"))
        handler.flush()
    os.close(writing)
    assert capfd.readouterr().err == "The log cannot be written: Broken pipe; lines are dropped\n"


def test_at_the_end_of_the_interpreter_nothing_is_lost() -> None:
    program = (
        "import logging; from moh.server.log_handler import LogHandler; "
        "logging.basicConfig(handlers=[LogHandler(1)], level=10)\n"
        "for number in range(5000): logging.info('line %d', number)"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ran.stderr == ""
    assert ran.stdout.splitlines() == [f"INFO:root:line {number}" for number in range(5000)]


def test_an_unexpected_error_is_logged_with_its_traceback_and_the_thread_goes_on(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = LogHandler(pipe[1])
    logger = logging.getLogger("moh")
    logger.addHandler(handler)
    try:
        with monkeypatch.context() as broken:
            broken.setattr(handler, "_write", None)  # a plain bug: 'NoneType' object is not callable
            handler.handle(record("lost"))
            wait_for(lambda: handler.faults.count, "the fault")
        handler.handle(record("the next"))
        handler.flush()
        written = os.read(pipe[0], 65536).decode()
    finally:
        logger.removeHandler(handler)
    assert "unexpected error in the log's thread" in written and "TypeError" in written
    assert written.endswith("the next\n")


def test_each_line_of_a_log_of_json_is_an_object_whatever_happens(
    pipe: Pipe, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the line about dropped lines, the one that cannot be formatted, and the one on the standard error."""
    monkeypatch.setenv("MOH_LOG_FORMAT", "json")
    handler = LogHandler(pipe[1])
    handler.setFormatter(JsonFormatter())
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        monkeypatch.setattr(handler, "_descriptor", full)
        handler.handle(record("line %d", 1))
        handler.flush()
        monkeypatch.setattr(handler, "_descriptor", pipe[1])
        handler.handle(record("%d", "no number"))
        handler.flush()
    finally:
        os.close(full)
    written = os.read(pipe[0], 65536).decode().splitlines()
    messages = [json.loads(line)["message"] for line in written]
    assert messages[0].startswith("a line of the log could not be formatted: '%d'")
    assert messages[1:] == ["dropped 1 line of the log: more came than could be written"]
    complaint = json.loads(capfd.readouterr().err)
    assert complaint["message"] == "The log cannot be written: No space left on device; lines are dropped"
    assert complaint["level"] == "error"
