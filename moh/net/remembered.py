"""Answers of the kernel that are remembered for a moment, since to ask takes system calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

LIFETIME = 2.0
"""Seconds for which an answer is used: a changed interface or route is noticed no later than that."""
MOST_ANSWERS = 1024
"""Most answers that are remembered. Before one more is added, all are forgotten: a flood fills no memory."""

Answer = TypeVar("Answer")


class Remembered(Generic[Answer]):
    """A function of a host that calls ``ask`` at most once in ``LIFETIME`` for each host. Not thread-safe.

    A system call on a socket releases the interpreter's lock. A thread that holds the server's lock has to wait for the
    interpreter's lock then, and all threads that need the server's lock wait with it.
    """

    def __init__(self, ask: Callable[[str], Answer], clock: Callable[[], float]) -> None:
        """``clock`` returns seconds that never go back."""
        self._ask = ask
        self._clock = clock
        self._answers: dict[str, tuple[Answer, float]] = {}

    def __call__(self, host: str) -> Answer:
        """The answer for ``host``."""
        now = self._clock()
        known = self._answers.get(host)
        if known is not None and now < known[1]:
            return known[0]
        if len(self._answers) >= MOST_ANSWERS:
            self._answers.clear()
        answer = self._ask(host)
        self._answers[host] = (answer, now + LIFETIME)
        return answer
