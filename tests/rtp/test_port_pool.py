"""The pool of RTP ports (RFC 3550 §11)."""

from __future__ import annotations

import pytest

from moh.rtp.port_pool import PortPool, shared_port


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
    ports = PortPool(first, last)
    assert ports.free == len(taken)
    assert [ports.acquire() for _ in taken] == taken
    assert ports.acquire() is None


def test_the_default_range_holds_50_calls() -> None:
    assert PortPool(10000, 10100).free == 50


def test_what_was_freed_longest_ago_is_taken_first() -> None:
    ports = PortPool(10000, 10005)
    assert (ports.acquire(), ports.acquire()) == (10000, 10002)
    ports.release(10000)
    assert (ports.acquire(), ports.acquire(), ports.acquire()) == (10004, 10000, None)


def test_a_port_that_another_program_has_is_left_out_until_it_is_free() -> None:
    busy = {10000}
    ports = PortPool(10000, 10003, usable=lambda port: port not in busy)
    assert (ports.acquire(), ports.acquire()) == (10002, None)
    busy.clear()
    assert ports.acquire() == 10000


def test_free_and_taken_are_counted() -> None:
    ports = PortPool(10000, 10005)
    ports.acquire()
    assert (ports.free, ports.taken) == (2, 1)
    ports.release(10000)
    assert (ports.free, ports.taken) == (3, 0)


@pytest.mark.parametrize("port", [10000, 10001, 9998])
def test_what_nobody_took_cannot_be_given_back(port: int) -> None:
    with pytest.raises(ValueError, match=f"RTP port {port} was given back, but nobody had taken it"):
        PortPool(10000, 10005).release(port)


def test_nothing_is_given_back_twice() -> None:
    ports = PortPool(10000, 10005)
    ports.acquire()
    ports.release(10000)
    with pytest.raises(ValueError, match="nobody had taken it"):
        ports.release(10000)
    assert ports.free == 3


# -- the port that all others have together --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "last", "shared", "alone"),
    [
        (10000, 10100, 10100, 50),  # it has no partner, so it costs nobody a port
        (10000, 10101, 10100, 50),
        (10000, 10099, 10098, 49),
        (10001, 10004, 10004, 1),
        (10000, 10001, 10000, 0),
        (10001, 10002, 10002, 0),
        (10000, 10000, 10000, 0),
    ],
)
def test_the_shared_port_is_in_the_range_and_nobodys_own(first: int, last: int, shared: int, alone: int) -> None:
    assert shared_port(first, last) == shared
    ports = PortPool(first, last, shared=shared)
    own = [ports.acquire() for _ in range(alone)]
    assert ports.free == 0 and not ports.exhausted
    assert shared not in own
    assert {ports.acquire() for _ in range(1000)} == {shared}
    assert (ports.taken, ports.sharing) == (alone, 1000)


def test_as_ports_come_back_the_next_ones_are_alone_again() -> None:
    ports = PortPool(10000, 10100, most=50, shared=10100)
    own = [ports.acquire() for _ in range(50)]
    assert ports.acquire() == 10100
    for port in own:
        assert port is not None
        ports.release(port)
    assert [ports.acquire() for _ in range(51)] == [*own, 10100]
    assert ports.sharing == 2


def test_who_has_to_be_alone_finds_none_where_only_the_shared_one_is_left() -> None:
    ports = PortPool(10000, 10002, shared=10002)
    assert (ports.acquire(alone=True), ports.acquire(alone=True), ports.acquire()) == (10000, None, 10002)
    assert ports.sharing == 1


@pytest.mark.parametrize(("most", "own"), [(0, []), (2, [10000, 10002]), (7, [10000, 10002, 10004])])
def test_so_many_may_have_one_of_their_own(most: int, own: list[int]) -> None:
    ports = PortPool(10000, 10006, most=most, shared=10006)
    assert [ports.acquire() for _ in range(4)] == (own + [10006] * 4)[:4]
    assert ports.free == 0


def test_with_few_allowed_a_port_of_another_program_is_no_reason_to_share() -> None:
    """There are fifty to choose from, and one may be had."""
    busy = {10000, 10002, 10004}
    ports = PortPool(10000, 10100, usable=lambda port: port not in busy, most=1, shared=10100)
    assert (ports.acquire(), ports.acquire()) == (10006, 10100)


def test_without_a_shared_port_the_last_one_exhausts_them() -> None:
    ports = PortPool(10000, 10003)
    ports.acquire()
    assert not ports.exhausted
    ports.acquire()
    assert ports.exhausted and ports.acquire() is None


def test_the_shared_port_is_given_back_as_often_as_it_was_taken() -> None:
    ports = PortPool(10000, 10000, shared=10000)
    assert ports.acquire() == ports.acquire() == 10000
    ports.release(10000)
    ports.release(10000)
    with pytest.raises(ValueError, match="nobody had taken it"):
        ports.release(10000)
