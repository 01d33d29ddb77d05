"""Host names, asked of the system's resolver: an end-to-end test of one module."""

from __future__ import annotations

import time

from moh import resolver
from moh.resolver import Resolver, look_up


def answers(asked: Resolver, count: int) -> list[tuple[str, str]]:
    """Wait until so many answers are there, 10 s at the longest."""
    got: list[tuple[str, str]] = []
    give_up = time.monotonic() + 10
    while len(got) < count and time.monotonic() < give_up:
        got += asked.answers()
        time.sleep(0.01)
    return got


def test_a_name_is_answered_without_waiting_for_it() -> None:
    asked = Resolver()
    asked.ask("localhost")
    assert answers(asked, 1) == [("localhost", "127.0.0.1")]


def test_nonsense_has_no_address() -> None:
    assert look_up("a" * 70 + ".invalid") == ""
    assert look_up("\udcff") == ""
    assert look_up("") in ("", "127.0.0.1", "::1")


def test_too_many_names_are_answered_as_unknown_at_once() -> None:
    asked = Resolver()
    asked._started = True  # nobody works, so all of them wait
    for number in range(resolver.WAITING + 3):
        asked.ask(f"name{number}.invalid")
    assert len(asked.answers()) == 3
