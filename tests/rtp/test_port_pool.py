"""The pool of RTP ports (RFC 3550 §11)."""

from __future__ import annotations

import pytest

from moh.rtp.port_pool import PortPool, shared_port


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (10000, 10005, [10000, 10002, 10004]),
        (10000, 10004, [10000, 10002]),  # 10004 has no odd partner
        (10001, 10005, [10002, 10004]),
        (10000, 10001, [10000]),
        (10000, 10000, []),
        (10001, 10002, []),
        (65534, 65535, [65534]),
    ],
)
def test_ports_are_even_and_have_their_partner_in_the_range(first: int, last: int, expected: list[int]) -> None:
    ports = PortPool(first, last)
    assert ports.free == len(expected)
    assert [ports.acquire() for _ in expected] == expected
    assert ports.acquire() is None


def test_the_default_range_holds_50_calls() -> None:
    assert PortPool(10000, 10100).free == 50


def test_the_port_that_was_freed_longest_ago_is_given_out_first() -> None:
    ports = PortPool(10000, 10005)
    assert (ports.acquire(), ports.acquire()) == (10000, 10002)
    ports.release(10000)
    assert (ports.acquire(), ports.acquire(), ports.acquire()) == (10004, 10000, None)


def test_a_port_of_another_program_is_skipped_until_it_is_free() -> None:
    busy = {10000}
    ports = PortPool(10000, 10003, usable=lambda port: port not in busy)
    assert (ports.acquire(), ports.acquire()) == (10002, None)
    busy.clear()
    assert ports.acquire() == 10000


def test_free_ports_are_counted() -> None:
    ports = PortPool(10000, 10005)
    ports.acquire()
    assert ports.free == 2
    ports.release(10000)
    assert ports.free == 3


@pytest.mark.parametrize("port", [10000, 10001, 9998])
def test_a_port_that_was_not_acquired_cannot_be_released(port: int) -> None:
    with pytest.raises(ValueError, match=f"RTP port {port} was released, but it was not acquired"):
        PortPool(10000, 10005).release(port)


def test_a_port_cannot_be_released_twice() -> None:
    ports = PortPool(10000, 10005)
    ports.acquire()
    ports.release(10000)
    with pytest.raises(ValueError, match="it was not acquired"):
        ports.release(10000)
    assert ports.free == 3


# -- the shared port ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "last", "shared", "alone"),
    [
        (10000, 10100, 10100, 50),  # 10100 has no odd partner, so no call could have it alone
        (10000, 10101, 10100, 50),
        (10000, 10099, 10098, 49),
        (10001, 10004, 10004, 1),
        (10000, 10001, 10000, 0),
        (10001, 10002, 10002, 0),
        (10000, 10000, 10000, 0),
    ],
)
def test_the_shared_port_is_in_the_range_and_not_among_the_others(
    first: int, last: int, shared: int, alone: int
) -> None:
    assert shared_port(first, last) == shared
    ports = PortPool(first, last, shared=shared)
    own = [ports.acquire() for _ in range(alone)]
    assert ports.free == 0 and not ports.exhausted
    assert shared not in own
    assert {ports.acquire() for _ in range(1000)} == {shared}
    assert len(set(own)) == alone and ports.sharing == 1000


def test_after_a_release_the_next_call_has_a_port_of_its_own_again() -> None:
    ports = PortPool(10000, 10100, most=50, shared=10100)
    own = [ports.acquire() for _ in range(50)]
    assert ports.acquire() == 10100
    for port in own:
        assert port is not None
        ports.release(port)
    assert [ports.acquire() for _ in range(51)] == [*own, 10100]
    assert ports.sharing == 2


def test_a_call_that_must_be_alone_does_not_get_the_shared_port() -> None:
    ports = PortPool(10000, 10002, shared=10002)
    assert (ports.acquire(alone=True), ports.acquire(alone=True), ports.acquire()) == (10000, None, 10002)
    assert ports.sharing == 1


def test_a_call_that_should_share_gets_the_shared_port_unless_it_must_be_alone() -> None:
    ports = PortPool(10000, 10100, shared=10100)
    assert (ports.acquire(share=True), ports.acquire(alone=True, share=True), ports.acquire()) == (10100, 10000, 10002)
    assert ports.sharing == 1


def test_without_a_shared_port_a_call_that_should_share_gets_a_port_of_its_own() -> None:
    assert PortPool(10000, 10001).acquire(share=True) == 10000


@pytest.mark.parametrize(("most", "own"), [(0, []), (2, [10000, 10002]), (7, [10000, 10002, 10004])])
def test_the_calls_with_a_port_of_their_own_are_limited(most: int, own: list[int]) -> None:
    ports = PortPool(10000, 10006, most=most, shared=10006)
    assert [ports.acquire() for _ in range(4)] == (own + [10006] * 4)[:4]
    assert ports.free == 0


def test_ports_of_other_programs_do_not_count_towards_the_limit() -> None:
    """The limit is one call. Other programs have some of the fifty ports, and the call gets any other port."""
    busy = {10000, 10002, 10004}
    ports = PortPool(10000, 10100, usable=lambda port: port not in busy, most=1, shared=10100)
    assert (ports.acquire(), ports.acquire()) == (10006, 10100)


def test_without_a_shared_port_the_pool_is_exhausted_with_its_last_port() -> None:
    ports = PortPool(10000, 10003)
    ports.acquire()
    assert not ports.exhausted
    ports.acquire()
    assert ports.exhausted and ports.acquire() is None


def test_the_shared_port_is_released_as_often_as_it_was_acquired() -> None:
    ports = PortPool(10000, 10000, shared=10000)
    assert ports.acquire() == ports.acquire() == 10000
    ports.release(10000)
    ports.release(10000)
    with pytest.raises(ValueError, match="it was not acquired"):
        ports.release(10000)
