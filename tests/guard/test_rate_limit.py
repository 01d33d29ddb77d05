"""Token buckets, the limiter of datagrams and the limiter of streams; with literal clocks."""

from __future__ import annotations

from typing import Optional

import pytest

from moh.common.actions import Address, Flow
from moh.common.addresses import networks
from moh.guard.address_validation import AddressValidator
from moh.guard.allowances import MAX_SOURCES, PUBLIC_ALLOWANCE, TRUSTED_ALLOWANCE, Allowances
from moh.guard.rate_limit import (
    MAX_QUEUED,
    OTHER,
    TOO_MANY,
    TRUSTED_LIMIT,
    UNVALIDATED_LIMITS,
    LruTable,
    RateLimiter,
    StreamRateLimiter,
    TokenBucket,
)
from moh.sip.framing import PING

OPTIONS = b"OPTIONS sip:1@192.168.1.100 SIP/2.0\r\n"
INVITE = b"INVITE sip:1@192.168.1.100 SIP/2.0\r\n"
IN_CALL_LIMIT, OTHER_LIMIT = UNVALIDATED_LIMITS
VALIDATED = "203.0.113.9"


def test_a_table_drops_the_key_that_was_used_least_recently() -> None:
    recent: LruTable[int] = LruTable(2)
    for key in ("a", "b"):
        recent.put(key, 1)
    recent.get("a")
    recent.put("c", 1)
    assert (recent.peek("a"), recent.peek("b"), recent.peek("c")) == (1, None, 1)


def test_a_bucket_fills_up_to_its_burst() -> None:
    bucket = TokenBucket(10.0, 2.0, now=0.0)
    assert [bucket.acquire(now) for now in (0.0, 0.0, 0.0, 0.1, 0.1, 60.0, 60.0, 60.0)] == [
        True, True, False, True, False, True, True, False,
    ]  # fmt: skip


# -- datagrams -----------------------------------------------------------------------------------------------------


def datagrams(allowed: str = "", validated: Optional[str] = None) -> RateLimiter:
    return RateLimiter(Allowances(networks(allowed)), lambda host, now: host == validated, 0.0)


def accepted(limiter: RateLimiter, hosts: list[str], data: bytes, rate: int, seconds: float = 10.0) -> float:
    """Accepted datagrams a second, after the first burst, of ``rate`` a second from these hosts in turn."""
    count = 0
    for number in range(int(rate * seconds)):
        now = number / rate
        count += not limiter.refusal(hosts[number % len(hosts)], data, now) and now >= seconds / 2
    return count / (seconds / 2)


def test_of_20000_options_a_second_from_one_source_its_allowance_is_accepted() -> None:
    assert accepted(datagrams(), ["203.0.113.9"], OPTIONS, 20_000, 4.0) <= PUBLIC_ALLOWANCE.other[0] * 1.1
    assert accepted(datagrams(), ["127.0.0.1"], OPTIONS, 20_000, 4.0) <= TRUSTED_ALLOWANCE.other[0] * 1.1


def test_of_20000_datagrams_a_second_from_everywhere_the_shared_limit_is_accepted() -> None:
    hosts = [f"198.{second}.{third}.7" for second in range(100) for third in range(200)]
    assert accepted(datagrams(), hosts, OPTIONS, 20_000, 4.0) <= 210
    assert accepted(datagrams(), hosts, INVITE, 20_000, 6.0) <= 1050


def test_a_flood_rejects_no_datagram_of_a_validated_or_private_source() -> None:
    limiter = datagrams(validated=VALIDATED)
    for number in range(50_000):
        limiter.refusal(f"198.51.{number % 199}.{number % 251}", INVITE, now=number / 20_000)
    assert limiter.refusal(VALIDATED, INVITE, now=2.5) == ""
    assert limiter.refusal("192.168.1.50", OPTIONS, now=2.5) == ""


def test_500_calls_a_second_from_one_private_address_are_accepted() -> None:
    limiter = datagrams()
    for number in range(15_000):
        assert limiter.refusal("127.0.0.1", INVITE, now=number / 1500) == ""


def test_a_hundred_calls_at_once_from_a_public_pbx_are_accepted_and_so_are_their_ends() -> None:
    limiter = datagrams()
    assert not any(limiter.refusal("203.0.113.9", INVITE, now=0.0) for _ in range(500))


def test_a_source_outside_of_moh_allow_is_rejected() -> None:
    limiter = datagrams("192.168.0.0/16, 203.0.113.0/24, 2001:db8::/32")
    assert limiter.refusal("198.51.100.7", INVITE, now=0.0) == "not in MOH_ALLOW"
    assert limiter.refusal("10.0.0.1", INVITE, now=0.0) == "not in MOH_ALLOW"
    assert limiter.refusal("2001:db9::1", INVITE, now=0.0) == "not in MOH_ALLOW"
    for host in ("192.168.1.1", "::ffff:192.168.1.1", "203.0.113.9", "2001:db8::1"):
        assert limiter.refusal(host, INVITE, now=0.0) == ""


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "192.168.1.10", "198.51.100.10", "2001:db8::10"])
def test_this_machine_may_always_ask_options(host: str) -> None:
    """The health check of a server that listens on one address comes from that address."""
    limiter = datagrams("203.0.113.7")
    local = "127.0.0.1" if host.startswith("127") else host
    assert limiter.refusal(host, OPTIONS, 0.0, local) == "" and limiter.is_known(host, 0.0, local)
    assert limiter.refusal(host, INVITE, 0.0, local) == "not in MOH_ALLOW"
    assert limiter.refusal(host, b"OPTIONS", 0.0, local) == "not in MOH_ALLOW"
    assert any(limiter.refusal(host, OPTIONS, 0.0, local) for _ in range(500)), "with its own rate"


def test_another_machine_may_not_ask_options_though_it_is_beside_this_one() -> None:
    limiter = datagrams("203.0.113.7")
    for host, local in (
        ("192.168.1.11", "192.168.1.10"),
        ("2001:db8::11", "2001:db8::10"),
        ("172.17.0.1", "127.0.0.1"),
    ):
        assert limiter.refusal(host, OPTIONS, 0.0, local) == "not in MOH_ALLOW"
        assert not limiter.is_known("198.51.100.7", 0.0, local)


def test_a_flood_from_everywhere_does_not_reject_the_health_check_of_a_public_address() -> None:
    limiter = datagrams()
    for number in range(1000):
        limiter.refusal(f"198.18.{number // 250}.{number % 250}", OPTIONS, 0.0, "198.51.100.10")
    assert limiter.refusal("198.51.100.9", OPTIONS, 0.0, "198.51.100.10") == TOO_MANY[OTHER]
    assert limiter.refusal("198.51.100.10", OPTIONS, 0.0, "198.51.100.10") == ""


def test_a_flood_from_everywhere_leaves_no_state_and_rejects_no_known_source() -> None:
    validator = AddressValidator()
    flow = Flow(Address(VALIDATED, 5060), Address("192.0.2.100", 5060))
    validator.validate(flow, flow, now=0.0)
    limiter = RateLimiter(Allowances(), validator.is_host_validated, now=0.0)
    rejected = [limiter.refusal(f"198.18.{n // 250}.{n % 250}", OPTIONS, now=0.0) for n in range(1000)]
    assert sum(map(bool, rejected)) == 600 and len(limiter._sources) == 400
    for host in (VALIDATED, "192.168.1.1"):
        assert limiter.refusal(host, OPTIONS, now=0.0) == "" and limiter.is_known(host, now=0.0)
    assert limiter.refusal("198.51.100.7", INVITE, now=0.0) == "" and not limiter.is_known("198.51.100.7", now=0.0)


def test_all_private_sources_share_a_limit_outside_of_calls() -> None:
    limiter = datagrams()
    rejected = [limiter.refusal(f"10.1.{n // 250}.{n % 250}", OPTIONS, now=0.0) for n in range(5000)]
    assert sum(map(bool, rejected)) == 3000
    assert limiter.refusal("10.9.9.9", INVITE, now=0.0) == ""
    assert limiter.refusal("10.9.9.9", OPTIONS, now=1.0) == ""


def test_a_named_network_is_trusted_and_the_whole_internet_is_only_allowed() -> None:
    limiter = datagrams("203.0.113.9, 0.0.0.0/0, ::/0")
    assert [limiter.refusal("203.0.113.9", OPTIONS, now=0.0) for _ in range(300)] == [""] * 300
    assert limiter.refusal("198.51.100.7", OPTIONS, now=0.0) == ""
    assert any(limiter.refusal("198.51.100.7", OPTIONS, now=0.0) for _ in range(300))


def test_a_keep_alive_is_too_short() -> None:
    assert datagrams().refusal("192.168.1.50", b"\r\n\r\n", now=0.0) == "too short"


def test_the_table_of_the_datagram_limiter_is_bounded() -> None:
    limiter = datagrams()
    for number in range(2 * MAX_SOURCES):
        limiter.refusal(f"198.51.{number // 250}.{number % 250}", OPTIONS, now=number / 100)
    assert len(limiter._sources) == MAX_SOURCES


# -- streams -------------------------------------------------------------------------------------------------------


def streams(allowed: str = "") -> StreamRateLimiter:
    return StreamRateLimiter(Allowances(networks(allowed)), 0.0)


def read(limiter: StreamRateLimiter, hosts: list[str], data: bytes, until: float) -> int:
    """Messages read until then from connections that always have a next one, a connection for each host."""
    turns = [(0.0, host) for host in hosts]
    count = 0
    while turns[0][0] < until:
        now, host = turns.pop(0)
        count += 1
        turns.append((now + limiter.delay(host, data, now), host))
        turns.sort()
    return count


@pytest.mark.parametrize(
    ("host", "data", "rate"),
    [
        ("203.0.113.9", OPTIONS, PUBLIC_ALLOWANCE.other),
        ("203.0.113.9", INVITE, PUBLIC_ALLOWANCE.in_call),
        ("203.0.113.9", b"", PUBLIC_ALLOWANCE.in_call),
        ("203.0.113.9", 100 * PING, PUBLIC_ALLOWANCE.in_call),
        ("192.168.1.50", OPTIONS, TRUSTED_ALLOWANCE.other),
        ("192.168.1.50", INVITE, TRUSTED_ALLOWANCE.in_call),
    ],
)
def test_streams_of_one_source_are_read_at_the_rate_of_its_datagrams(
    host: str, data: bytes, rate: tuple[float, float]
) -> None:
    most = rate[1] + 5.0 * rate[0]
    assert most - 1 <= read(streams(), 16 * [host], data, 5.0) <= most + 17


def test_a_source_within_its_rate_never_waits() -> None:
    limiter = streams()
    assert not any(limiter.delay("203.0.113.9", INVITE, number / 100) for number in range(10_000))
    assert not any(limiter.delay("192.168.1.50", INVITE, 200 + number / 2000) for number in range(20_000))


def test_a_hundred_calls_at_once_from_a_public_pbx_do_not_wait() -> None:
    limiter = streams()
    assert not any(limiter.delay("203.0.113.9", INVITE, 0.0) for _ in range(500))


@pytest.mark.parametrize(("data", "rate"), [(OPTIONS, OTHER_LIMIT), (INVITE, IN_CALL_LIMIT), (b"", IN_CALL_LIMIT)])
def test_all_public_sources_share_a_limit(data: bytes, rate: tuple[float, float]) -> None:
    """A source that has an IPv6 network is thousands of sources."""
    hosts = [f"2001:db8:{number:x}::1" for number in range(100)]
    assert read(streams(), hosts, data, 4.0) <= rate[1] + 4 * rate[0] + len(hosts)


def test_streams_of_all_private_sources_share_a_limit_outside_of_calls() -> None:
    limiter = streams()
    hosts = [f"10.1.0.{number}" for number in range(100)]
    assert read(limiter, hosts, OPTIONS, 4.0) <= TRUSTED_LIMIT[1] + 4 * TRUSTED_LIMIT[0] + len(hosts)
    assert limiter.delay("10.9.9.9", INVITE, 4.0) == 0.0


def test_in_a_flood_another_caller_waits_no_longer_than_the_queue_takes() -> None:
    limiter = streams()
    read(limiter, [f"198.51.100.{number}" for number in range(250)], INVITE, 10.0)
    assert 0.0 < limiter.delay("203.0.113.9", INVITE, 10.0) <= MAX_QUEUED / IN_CALL_LIMIT[0]
    assert limiter.delay("192.168.1.50", INVITE, 10.0) == 0.0


def test_reconnecting_all_the_time_delays_no_other_source_beyond_the_queue() -> None:
    limiter = streams()
    for number in range(100_000):
        limiter.delay(f"198.51.{number % 100}.1", INVITE, 0.0)
    assert limiter.delay("203.0.113.9", INVITE, 0.0) == MAX_QUEUED / IN_CALL_LIMIT[0]
    assert limiter.delay("203.0.113.9", INVITE, 1.0) == 0.0


def test_streams_from_a_named_network_have_the_rates_of_a_private_one() -> None:
    limiter = streams("203.0.113.9, 0.0.0.0/0")
    assert not any(limiter.delay("203.0.113.9", OPTIONS, 0.0) for _ in range(400))
    assert limiter.delay("198.51.100.7", OPTIONS, 0.0) == 0.0
    assert any(limiter.delay("198.51.100.7", OPTIONS, 0.0) for _ in range(60))


def test_the_table_of_the_stream_limiter_is_bounded() -> None:
    limiter = streams()
    for number in range(2 * MAX_SOURCES):
        limiter.delay(f"198.51.{number // 250}.{number % 250}", OPTIONS, float(number))
    assert len(limiter._sources) == MAX_SOURCES
