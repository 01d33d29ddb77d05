"""Threads that cannot begin: ``start`` must not wait for ever."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading

import pytest

from moh.net import threads
from moh.net.threads import PREFERENCE, Thread, coalesce_timers, drained, prefer_this_thread


def test_a_thread_does_its_work() -> None:
    done: list[int] = []
    thread = Thread(done.append, "one", (1,))
    thread.start()
    thread.join()
    assert done == [1] and thread.daemon and thread.name == "one"


def test_a_thread_that_dies_before_it_begins_is_an_error_and_no_endless_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread dies so if there is no memory for its first steps."""
    monkeypatch.setattr(threads, "START_TIMEOUT", 0.01)
    monkeypatch.setattr(threading.Thread, "_bootstrap", lambda self: None)
    done: list[int] = []
    with pytest.raises(RuntimeError, match=r"thread one has not begun within 0\.01 s"):
        Thread(done.append, "one", (1,)).start()
    assert done == []


def test_a_thread_that_begins_too_late_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "START_TIMEOUT", 0.01)
    go_on = threading.Event()
    begins = threading.Thread._bootstrap  # type: ignore[attr-defined]

    def late(thread: threading.Thread) -> None:
        go_on.wait(10)
        begins(thread)

    monkeypatch.setattr(threading.Thread, "_bootstrap", late)
    done: list[int] = []
    thread = Thread(done.append, "one", (1,))
    with pytest.raises(RuntimeError, match=r"thread one has not begun within 0\.01 s"):
        thread.start()
    go_on.set()
    while not thread._started.is_set():
        thread._started.wait(10)
    thread.join()
    assert done == []


def test_a_queue_is_drained_in_order() -> None:
    items: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(3):
        items.put(number)
    assert drained(items) == [0, 1, 2]
    assert drained(items) == []


def niceness_of_a_preferred_thread_and_of_a_thread_that_it_starts() -> list[int]:
    found: list[int] = []

    def note() -> None:
        found.append(os.getpriority(os.PRIO_PROCESS, 0))

    def preferred() -> None:
        prefer_this_thread()
        note()
        started = threading.Thread(target=note)
        started.start()
        started.join()

    thread = threading.Thread(target=preferred)
    thread.start()
    thread.join()
    return found


def test_a_preferred_thread_alone_has_precedence() -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    preferred, started = niceness_of_a_preferred_thread_and_of_a_thread_that_it_starts()
    if preferred == own or own != 0:
        pytest.skip("needs the capability CAP_SYS_NICE, and the niceness 0")
    assert (preferred, started) == (-PREFERENCE, 0)
    assert os.getpriority(os.PRIO_PROCESS, 0) == own


def test_a_thread_that_may_not_have_precedence_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    own = os.getpriority(os.PRIO_PROCESS, 0)
    monkeypatch.setattr(os, "setpriority", forbidden)
    assert niceness_of_a_preferred_thread_and_of_a_thread_that_it_starts() == [own, own]


@pytest.mark.parametrize("policy", [os.SCHED_FIFO, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.SCHED_BATCH])
def test_a_policy_that_the_owner_has_chosen_stays(policy: int, monkeypatch: pytest.MonkeyPatch) -> None:
    changed: list[object] = []
    monkeypatch.setattr(os, "sched_getscheduler", lambda thread: policy)
    monkeypatch.setattr(os, "sched_setscheduler", lambda *arguments: changed.append(arguments))
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert niceness_of_a_preferred_thread_and_of_a_thread_that_it_starts() == [own, own]
    assert changed == []


def test_processes_that_a_thread_starts_inherit_its_timer_slack_and_other_threads_keep_theirs() -> None:
    def coalesced() -> None:
        coalesce_timers(0.002)
        found.append(subprocess.check_output(show))

    show = [sys.executable, "-c", "print(open('/proc/self/timerslack_ns').read())"]
    found = [subprocess.check_output(show)]
    thread = threading.Thread(target=coalesced)
    thread.start()
    thread.join()
    found.append(subprocess.check_output(show))
    assert [int(each) for each in found] == [50_000, 2_000_000, 50_000]
