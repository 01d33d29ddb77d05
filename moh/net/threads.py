"""A thread whose ``start()`` cannot block for ever. It is for threads that are started while the server serves.

``threading.Thread.start`` waits until the new thread has reported that it runs. A thread that finds no memory for its
first steps dies before that, and ``start`` would wait until the server ends, with all locks that its caller holds.
Threads that are started together with the server do not need this class. ``drained`` reads a queue between threads.
"""

from __future__ import annotations

import ctypes
import os
import queue
import threading
from collections.abc import Callable
from typing import Any, Optional, TypeVar

Item = TypeVar("Item")

PREFERENCE = 5
"""By how much the niceness of a preferred thread is lower. Its share of a busy core is three times that of another."""
PR_SET_TIMERSLACK = 29
"""The number of this command of ``prctl``, as in ``linux/prctl.h``."""
START_TIMEOUT = 1.0
"""Seconds that a thread may take to begin; it takes milliseconds, unless there is no memory."""


class BoundedEvent(threading.Event):
    """An event on which ``wait`` without a timeout does not wait for ever."""

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Wait, for ``START_TIMEOUT`` at most where no other timeout is given."""
        return super().wait(START_TIMEOUT if timeout is None else timeout)


class Thread(threading.Thread):
    """A daemon thread.

    ``start`` raises ``RuntimeError`` if the system cannot create the thread, or if the thread does not begin in time.
    """

    def __init__(self, target: Callable[..., object], name: str, args: tuple[Any, ...] = ()) -> None:
        super().__init__(name=name, daemon=True)
        self._started = BoundedEvent()  # what ``start`` of the standard library waits for, at least from 3.9 to 3.14
        self._work: list[Callable[[], object]] = [lambda: target(*args)]  # empty once the thread or ``start`` took it

    def start(self) -> None:
        """Start the thread. After ``RuntimeError`` the work is not done, now or later."""
        super().start()
        if not self._started.is_set() and self._take_work() is not None:
            raise RuntimeError(f"thread {self.name} has not begun within {START_TIMEOUT:g} s")

    def run(self) -> None:
        """Do the work, unless ``start`` has given up."""
        work = self._take_work()
        if work is not None:
            work()

    def _take_work(self) -> Optional[Callable[[], object]]:
        try:
            return self._work.pop()  # only one of two threads gets it
        except IndexError:
            return None


def prefer_this_thread() -> None:
    """Give the calling thread precedence over the other threads and children of the server, where that is permitted.

    It needs the capability CAP_SYS_NICE or a limit RLIMIT_NICE. Without them, nothing changes. Threads and processes
    that the thread starts do not inherit the precedence. Where the owner has chosen another scheduling policy for the
    server, such as real time, the thread keeps that.
    """
    try:
        if os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK != os.SCHED_OTHER:
            return
        os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) - PREFERENCE)
    except OSError:
        pass


def coalesce_timers(slack: float) -> None:
    """Let the kernel wake the calling thread up to ``slack`` seconds late, and the processes that it starts after.

    The kernel then wakes several of them at once, which takes less of the processor than one after another. Where the
    kernel refuses, nothing changes.
    """
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, ctypes.c_ulong(round(slack * 1e9)), 0, 0, 0)


def drained(items: queue.SimpleQueue[Item]) -> list[Item]:
    """All that is in the queue now; for one thread that reads it."""
    found: list[Item] = []
    while True:
        try:
            found.append(items.get_nowait())
        except queue.Empty:
            return found
