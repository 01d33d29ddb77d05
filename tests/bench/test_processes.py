"""Processor time and memory of processes. End to end: real processes, which start others and end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from bench.common.processes import Spent, children, prefer, private_memory, share, spent, used

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")
WORK = "sum(range(10**7))"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', '{WORK}; input()']); {WORK}; input()"


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[bytes]]:
    """A process whose child works and waits for a line. Then the child ends, and the process works and waits itself."""
    process = subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, bufsize=0)
    try:
        while not children(process.pid):
            time.sleep(0.01)
        yield process
    finally:
        process.communicate()


def test_a_share_is_the_work_of_all_processes_that_both_readings_have() -> None:
    before = {1: Spent(1.0, 10.0), 2: Spent(5.0, 10.0), 3: Spent(0.0, 10.0)}
    after = {1: Spent(2.0, 12.0), 2: Spent(5.5, 12.0), 4: Spent(9.0, 12.0)}
    assert share(before, after) == 75.0


def test_the_work_of_children_counts_before_and_after_their_end(parent: subprocess.Popen[bytes]) -> None:
    (child,) = children(parent.pid)
    while spent([child])[child].seconds < 0.05:
        time.sleep(0.01)
    alone, family = spent([parent.pid])[parent.pid].seconds, used([parent.pid])[parent.pid].seconds
    assert family > alone + 0.05
    assert list(used([parent.pid, child])) == [parent.pid]  # the child counts once
    assert parent.stdin is not None
    parent.stdin.write(b"\n")
    while children(parent.pid):
        time.sleep(0.01)
    assert used([parent.pid])[parent.pid].seconds >= family - 0.02  # the system counts ended children by ticks of 10 ms


def test_the_work_of_ended_threads_counts() -> None:
    before = spent([os.getpid()])[os.getpid()].seconds
    thread = threading.Thread(target=lambda: sum(range(10**7)))
    thread.start()
    thread.join()
    assert spent([os.getpid()])[os.getpid()].seconds > before + 0.02


def test_an_ended_process_has_no_figures() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert spent([process.pid]) == used([process.pid]) == {}
    assert private_memory([process.pid]) == 0


def test_private_memory_is_the_sum() -> None:
    own = private_memory([os.getpid()])
    assert 1e6 < own < private_memory([os.getpid(), os.getpid()]) < 3 * own


def test_threads_keep_their_differences_of_niceness() -> None:
    code = "import os, threading; t = threading.Thread(target=lambda: (os.setpriority(os.PRIO_PROCESS, threading."
    code += "get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + 2), print(flush=True), input())); t.start()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdout.readline()
        prefer([process.pid], 15)
        threads = {int(thread) for thread in os.listdir(f"/proc/{process.pid}/task")}
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == 15
        assert {os.getpriority(os.PRIO_PROCESS, thread) for thread in threads} == {15, 17}
    finally:
        process.communicate(b"\n")
