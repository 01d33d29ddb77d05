"""Threads that cannot begin: ``start`` must not wait for ever."""

from __future__ import annotations

import queue
import threading

import pytest

from moh.net import threads
from moh.net.threads import Thread, drained


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
