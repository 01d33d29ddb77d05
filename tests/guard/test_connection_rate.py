"""How fast may be read what comes by TCP and TLS; with literal clocks."""

from __future__ import annotations

import pytest

from moh.common.addresses import networks
from moh.guard.address_validation import HOUSE, MOST_SOURCES, STRANGER, STRANGERS, TRUSTED
from moh.guard.connection_rate import MOST_WAITING, StreamRateLimiter
from moh.sip.framing import PING

OPTIONS = b"OPTIONS sip:1@192.168.1.100 SIP/2.0\r\n"
INVITE = b"INVITE sip:1@192.168.1.100 SIP/2.0\r\n"


def turnstile(allowed: str = "") -> StreamRateLimiter:
    return StreamRateLimiter(networks(allowed), 0.0)


def read(door: StreamRateLimiter, hosts: list[str], data: bytes, until: float) -> int:
    """How many messages are read until then of connections that have always more, one from each host."""
    turns = [(0.0, host) for host in hosts]
    count = 0
    while turns[0][0] < until:
        now, host = turns.pop(0)
        count += 1
        turns.append((now + door.delay(host, data, now), host))
        turns.sort()
    return count


@pytest.mark.parametrize(
    ("host", "data", "rate"),
    [
        ("203.0.113.9", OPTIONS, STRANGER.others),
        ("203.0.113.9", INVITE, STRANGER.datagrams),
        ("203.0.113.9", b"", STRANGER.datagrams),
        ("203.0.113.9", 100 * PING, STRANGER.datagrams),
        ("192.168.1.50", OPTIONS, TRUSTED.others),
        ("192.168.1.50", INVITE, TRUSTED.datagrams),
    ],
)
def test_one_source_is_read_as_fast_as_its_datagrams_would_be(
    host: str, data: bytes, rate: tuple[float, float]
) -> None:
    most = rate[1] + 5.0 * rate[0]
    assert most - 1 <= read(turnstile(), 16 * [host], data, 5.0) <= most + 17


def test_who_keeps_to_it_never_waits() -> None:
    door = turnstile()
    assert not any(door.delay("203.0.113.9", INVITE, number / 100) for number in range(10_000))
    assert not any(door.delay("192.168.1.50", INVITE, 200 + number / 2000) for number in range(20_000))


def test_a_hundred_calls_at_once_of_a_public_pbx_do_not_wait() -> None:
    door = turnstile()
    assert not any(door.delay("203.0.113.9", INVITE, 0.0) for _ in range(500))


@pytest.mark.parametrize(("data", "rate"), [(OPTIONS, STRANGERS[1]), (INVITE, STRANGERS[0]), (b"", STRANGERS[0])])
def test_all_public_sources_together_have_a_rate(data: bytes, rate: tuple[float, float]) -> None:
    """Whoever has a network of IPv6 is thousands of sources."""
    hosts = [f"2001:db8:{number:x}::1" for number in range(100)]
    assert read(turnstile(), hosts, data, 4.0) <= rate[1] + 4 * rate[0] + len(hosts)


def test_all_private_sources_together_may_ask_so_often_and_call_in_spite_of_it() -> None:
    door = turnstile()
    hosts = [f"10.1.0.{number}" for number in range(100)]
    assert read(door, hosts, OPTIONS, 4.0) <= HOUSE[1] + 4 * HOUSE[0] + len(hosts)
    assert door.delay("10.9.9.9", INVITE, 4.0) == 0.0


def test_in_a_flood_of_others_an_honest_caller_waits_no_longer_than_all_places_take() -> None:
    door = turnstile()
    read(door, [f"198.51.100.{number}" for number in range(250)], INVITE, 10.0)
    assert 0.0 < door.delay("203.0.113.9", INVITE, 10.0) <= MOST_WAITING / STRANGERS[0][0]
    assert door.delay("192.168.1.50", INVITE, 10.0) == 0.0


def test_who_connects_anew_all_the_time_keeps_nobody_waiting_for_what_he_left() -> None:
    door = turnstile()
    for number in range(100_000):
        door.delay(f"198.51.{number % 100}.1", INVITE, 0.0)
    assert door.delay("203.0.113.9", INVITE, 0.0) == MOST_WAITING / STRANGERS[0][0]
    assert door.delay("203.0.113.9", INVITE, 1.0) == 0.0


def test_who_is_named_has_more() -> None:
    door = turnstile("203.0.113.9, 0.0.0.0/0")
    assert not any(door.delay("203.0.113.9", OPTIONS, 0.0) for _ in range(400))
    assert door.delay("198.51.100.7", OPTIONS, 0.0) == 0.0
    assert any(door.delay("198.51.100.7", OPTIONS, 0.0) for _ in range(60))


def test_its_table_is_bounded() -> None:
    door = turnstile()
    for number in range(2 * MOST_SOURCES):
        door.delay(f"198.51.{number // 250}.{number % 250}", OPTIONS, float(number))
    assert len(door._sources) == MOST_SOURCES
