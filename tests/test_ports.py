"""The pool of RTP ports (RFC 3550 §11)."""

from __future__ import annotations

import pytest

from moh.ports import Ports


@pytest.mark.parametrize(
    ("first", "last", "taken"),
    [
        (10000, 10005, [10000, 10002, 10004]),
        (10000, 10004, [10000, 10002]),  # 10004 has no partner
        (10001, 10005, [10002, 10004]),
        (10000, 10001, [10000]),
        (10000, 10000, []),
        (10001, 10002, []),
        (65534, 65535, [65534]),
    ],
)
def test_ports_are_even_and_have_their_partner_in_the_range(first: int, last: int, taken: list[int]) -> None:
    ports = Ports(first, last)
    assert ports.free == len(taken)
    assert [ports.take() for _ in taken] == taken
    assert ports.take() is None


def test_the_default_range_holds_50_calls() -> None:
    assert Ports(10000, 10100).free == 50


def test_what_was_freed_longest_ago_is_taken_first() -> None:
    ports = Ports(10000, 10005)
    assert (ports.take(), ports.take()) == (10000, 10002)
    ports.give_back(10000)
    assert (ports.take(), ports.take(), ports.take()) == (10004, 10000, None)


def test_a_port_that_another_program_has_is_left_out_until_it_is_free() -> None:
    busy = {10000}
    ports = Ports(10000, 10003, usable=lambda port: port not in busy)
    assert (ports.take(), ports.take()) == (10002, None)
    busy.clear()
    assert ports.take() == 10000


def test_free_and_taken_are_counted() -> None:
    ports = Ports(10000, 10005)
    ports.take()
    assert (ports.free, ports.taken) == (2, 1)
    ports.give_back(10000)
    assert (ports.free, ports.taken) == (3, 0)


@pytest.mark.parametrize("port", [10000, 10001, 9998])
def test_what_nobody_took_cannot_be_given_back(port: int) -> None:
    with pytest.raises(ValueError, match=f"RTP port {port} was given back, but nobody had taken it"):
        Ports(10000, 10005).give_back(port)


def test_nothing_is_given_back_twice() -> None:
    ports = Ports(10000, 10005)
    ports.take()
    ports.give_back(10000)
    with pytest.raises(ValueError, match="nobody had taken it"):
        ports.give_back(10000)
    assert ports.free == 3
