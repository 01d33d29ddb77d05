"""The log's own thread: all lines in order, none waited for, none lost at the end."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from moh.server.log_handler import LogHandler
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
    journal = LogHandler(pipe[1])
    for number in range(100):
        journal.handle(record("line %d", number))
    journal.flush()
    assert os.read(pipe[0], 65536).decode() == "".join(f"line {number}\n" for number in range(100))


def test_a_reader_that_sleeps_holds_up_nobody_and_hears_what_was_dropped(pipe: Pipe) -> None:
    journal = LogHandler(pipe[1], room=50)
    journal.handle(record("%s", "x" * 200_000))  # more than a pipe takes
    time.sleep(0.1)  # the thread writes it, and hangs
    began = time.monotonic()
    for number in range(80):
        journal.handle(record("line %d", number))
    assert time.monotonic() - began < 5.0, "it waited for the reader"
    journal.handle(record("the last"))
    heard = b""
    os.set_blocking(pipe[0], False)

    def all_is_heard() -> bool:
        nonlocal heard
        try:
            heard += os.read(pipe[0], 65536)
        except BlockingIOError:
            pass
        return b"dropped" in heard

    wait_for(all_is_heard, "the count of what was dropped")
    lines = heard.decode().splitlines()[1:]
    assert lines == [f"line {n}" for n in range(50)] + [
        "31 lines of the log were dropped: more came than could be written"
    ]


def test_a_line_that_cannot_be_put_together_silences_no_other(pipe: Pipe) -> None:
    journal = LogHandler(pipe[1])
    journal.handle(record("%d", "no number"))
    journal.handle(record("the next"))
    journal.flush()
    said = os.read(pipe[0], 65536).decode().splitlines()
    assert len(said) == 2 and "could not be written" in said[0] and said[1] == "the next"


def test_a_reader_who_has_gone_is_no_reason_to_stumble() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    journal = LogHandler(writing)
    journal.handle(record("to nobody"))
    journal.flush()
    os.close(writing)


def test_at_the_end_of_the_interpreter_nothing_is_lost() -> None:
    program = (
        "import logging; from moh.server.log_handler import LogHandler; "
        "logging.basicConfig(handlers=[LogHandler(1)], level=10)\n"
        "for number in range(5000): logging.info('line %d', number)"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ran.stderr == ""
    assert ran.stdout.splitlines() == [f"INFO:root:line {number}" for number in range(5000)]
