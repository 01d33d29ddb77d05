"""A thread that nobody waits for for ever.

``threading.Thread.start`` waits until the new thread says that it runs. One that finds no memory for its very first
steps dies without a word; then whoever began it would wait to the end of the server, with all the locks that he holds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Optional

BEGINS = 1.0
"""Seconds that a thread may take to begin; milliseconds, unless there is no memory."""


class Began(threading.Event):
    """What ``start`` waits for."""

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Wait, but not for ever."""
        return super().wait(BEGINS if timeout is None else timeout)


class Thread(threading.Thread):
    """A daemon. ``start`` raises ``RuntimeError`` where the system has no thread, or no memory for it to begin."""

    def __init__(self, target: Callable[..., object], name: str, args: tuple[Any, ...] = ()) -> None:
        super().__init__(name=name, daemon=True)
        self._started = Began()  # where the library has what it waits for, from 3.9 to 3.14 at the least
        self._work: list[Callable[[], object]] = [lambda: target(*args)]  # until somebody takes it

    def start(self) -> None:
        """Begin; after ``RuntimeError`` nothing is done, now or later."""
        super().start()
        if not self._started.is_set() and self._take() is not None:
            raise RuntimeError("a thread does not begin, most likely for want of memory")

    def run(self) -> None:
        """Do what it was made for, unless it comes too late."""
        work = self._take()
        if work is not None:
            work()

    def _take(self) -> Optional[Callable[[], object]]:
        try:
            return self._work.pop()  # one alone gets it
        except IndexError:
            return None
