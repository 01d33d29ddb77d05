"""An answer of the kernel is used for two seconds, for its host only, and the number of answers has a bound."""

from __future__ import annotations

from moh.net.remembered import MOST_ANSWERS, Remembered


class Kernel:
    """It counts the questions. Its answer is the number of questions about that host."""

    def __init__(self) -> None:
        self.asked: dict[str, int] = {}
        self.now = 0.0

    def __call__(self, host: str) -> int:
        self.asked[host] = self.asked.get(host, 0) + 1
        return self.asked[host]


def test_an_answer_is_used_for_two_seconds() -> None:
    kernel = Kernel()
    remembered = Remembered(kernel, lambda: kernel.now)
    assert [remembered("192.0.2.1"), remembered("192.0.2.1")] == [1, 1]
    kernel.now = 1.9
    assert remembered("192.0.2.1") == 1
    kernel.now = 2.0
    assert remembered("192.0.2.1") == 2


def test_each_host_has_its_own_answer() -> None:
    kernel = Kernel()
    remembered = Remembered(kernel, lambda: kernel.now)
    remembered("192.0.2.1")
    remembered("192.0.2.2")
    assert kernel.asked == {"192.0.2.1": 1, "192.0.2.2": 1}


def test_a_flood_of_hosts_fills_no_memory() -> None:
    kernel = Kernel()
    remembered = Remembered(kernel, lambda: kernel.now)
    for number in range(3 * MOST_ANSWERS):
        remembered(f"2001:db8::{number:x}")
        assert len(remembered._answers) <= MOST_ANSWERS
    assert remembered(f"2001:db8::{3 * MOST_ANSWERS - 1:x}") == 1


def test_an_exception_is_not_remembered() -> None:
    failing = True

    def ask(host: str) -> int:
        if failing:
            raise OSError
        return 7

    remembered = Remembered(ask, lambda: 0.0)
    try:
        remembered("192.0.2.1")
    except OSError:
        failing = False
    assert remembered("192.0.2.1") == 7
