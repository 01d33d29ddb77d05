"""A child that converses: its messages and orders are bounded, and none of them is waited for.

End to end: real processes, which are small programs. ``test_page_process`` has what all children have in common.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

from moh.common.faults import FaultLog
from moh.server import child as module
from moh.server.child import Child, Message
from tests.support.running import is_running, wait_for

Start = Callable[[str], Child]

ENDED = "the test has ended: %s. Calls go on; it starts again in %g s"
ECHO = """
import json, sys
for line in sys.stdin:
    print(json.dumps({"what": "echo", "of": json.loads(line)}), flush=True)
"""


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a child that is a Python program."""
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.05)
    started: list[Child] = []

    def run(program: str) -> Child:
        command = [sys.executable, "-c", textwrap.dedent(program)]
        child = Child("the test", ENDED, command, FaultLog("a test"), converses=True)
        started.append(child)
        child.start()
        wait_for(lambda: child.starts, "the process")
        return child

    yield run
    for child in started:
        child.close()


def received(child: Child, count: int) -> list[Message]:
    """Return so many messages."""
    found: list[Message] = []
    wait_for(lambda: len(found.__iadd__(child.drain(50))) >= count, f"{count} messages")
    return found


def test_orders_and_messages_are_lines(start: Start) -> None:
    child = start(ECHO)
    child.send({"do": "want", "names": ["jazz", "日本\n"]})
    child.send({"do": "check"})
    expected = [{"do": "want", "names": ["jazz", "日本\n"]}, {"do": "check"}]
    assert received(child, 2) == [{"what": "echo", "of": each} for each in expected]
    assert child.drain(50) == []


def test_what_a_child_prints_to_standard_error_is_logged(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    start("import sys; print('INFO one\\rtwo\\nDEBUG three\\nodd', file=sys.stderr, flush=True); sys.stdin.read()")
    wait_for(lambda: len(caplog.records) >= 3, "three lines")
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("INFO", "one\ntwo"), ("DEBUG", "three"), ("WARNING", "odd"),
    ]  # fmt: skip


def test_what_is_no_message_costs_one_line_of_the_log(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    child = start(
        """
        import sys
        print("garbage")
        print("[1]\\n" * 1000)
        print("[" * 100000)
        print('{"what": "end"}', flush=True)
        sys.stdin.read()
        """
    )
    assert received(child, 1) == [{"what": "end"}]
    assert [each.getMessage() for each in caplog.records] == ["the test sent what is no message: b'garbage'"]


def test_a_message_without_an_end_takes_bounded_memory(
    start: Start, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_MESSAGE", 1000)
    child = start("import sys; print('x' * 5000); print('{}', flush=True); sys.stdin.read()")
    assert received(child, 1) == [{}]
    assert len(caplog.records) == 1


def test_a_child_that_floods_waits_for_the_server(start: Start) -> None:
    child = start(
        """
        import json, sys
        for number in range(5000):
            print(json.dumps({"number": number, "text": "x" * 200}), flush=True)
        sys.stdin.read()
        """
    )
    wait_for(lambda: len(child._messages) >= module.MOST_MESSAGES, "the messages")
    time.sleep(0.1)
    assert len(child._messages) < module.MOST_MESSAGES + module.PART / 200
    found = received(child, 5000)[:5000]
    assert [each["number"] for each in found] == list(range(5000)), "none is lost"


def test_a_child_that_reads_no_orders_is_started_again(
    start: Start, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_ORDERS", 1 << 20)
    child = start("import time; time.sleep(60)")
    for _ in range(20):
        child.send({"text": "x" * 100_000})
    wait_for(lambda: child.starts == 2, "the second process")
    assert "the test has ended: signal 9, it does not read its orders. Calls go on" in caplog.text


def test_a_new_process_gets_no_order_of_its_predecessor(start: Start) -> None:
    child = start("import sys, time; sys.stdin.close(); time.sleep(60)")
    first = child.pid
    assert first is not None
    child.send({"do": "check"})
    child._command = [sys.executable, "-c", ECHO]
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: child.starts == 2, "the second process")
    child.send({"do": "new"})
    assert received(child, 1) == [{"what": "echo", "of": {"do": "new"}}]


def test_a_grandchild_that_holds_the_output_open_hides_no_end(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ALIVE_EVERY", 0.05)
    child = start("import subprocess; subprocess.Popen(['sleep', '5']); raise SystemExit(3)")
    wait_for(lambda: child.starts >= 2, "the second process", 3)


@pytest.mark.parametrize("program", [ECHO, "import time; time.sleep(60)"])
def test_a_child_ends_when_it_is_closed(start: Start, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "END_TIMEOUT", 0.3)
    child = start(program)
    number = child.pid
    child.end()
    child.close()
    assert number is not None and not is_running(number)
    assert child.has_ended
    child.send({"do": "check"})
    assert child.drain(50) == []


def test_a_child_that_cannot_be_started_is_reported_and_closes_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    child = Child("the test", ENDED, [str(tmp_path / "missing")], FaultLog("a test"), converses=True)
    child.send({"do": "check"})
    child.start()
    assert child.pid is None
    wait_for(lambda: "the test has ended: it cannot be started: No such file" in caplog.text, "the line")
    child.close()
