"""When connections run short, one is evicted for a new one. With literal clocks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from moh.common.actions import Address, Flow
from moh.transport.tcp import (
    FIRST_MESSAGE_TIME,
    MAX_CONNECTIONS,
    MAX_PER_SOURCE,
    SPARE_CONNECTIONS,
    USE_LIFETIME,
    TcpServer,
)
from tests.support.ladder import FLOW, answered, bye, make_agent
from tests.transport.test_tcp import listening

FULL = MAX_CONNECTIONS - SPARE_CONNECTIONS


@dataclass
class Played:
    """A stand-in for a connection. It has the attributes that the eviction reads."""

    host: str
    received_at: float
    has_spoken: bool = True
    opened_at: float = 0.0
    outbound: bool = False
    closing: bool = False
    client_address: Address = field(init=False)

    def __post_init__(self) -> None:
        self.client_address = Address(self.host, 5060)

    def abort(self) -> None:
        self.closing = True


def put_open(server: TcpServer, *present: Played) -> None:
    """Make ``present`` the open connections of ``server``."""
    server._open = dict(enumerate(present, 1))  # type: ignore[arg-type]
    server._sources = {}
    for each in present:
        server._sources[each.host] = server._sources.get(each.host, 0) + 1


def evicted(server: TcpServer, now: float, source: str = "192.0.2.9") -> Any:
    return server._find_evictable(source, now)


def test_a_connection_without_a_message_goes_first_and_then_the_one_silent_longest() -> None:
    with listening() as server:
        present = [Played(f"192.0.2.{number % 2}", 1000.0 - number) for number in range(FULL)]
        present[5].has_spoken = present[7].has_spoken = False
        put_open(server, *present)
        for number in (5, 7, FULL - 1, FULL - 2):
            assert evicted(server, 2000.0) is present[number]
            present[number].closing = True
            server._open[1000 + number] = Played("192.0.2.0", 1999.0)  # type: ignore[assignment]


def test_a_new_connection_has_time_for_its_first_message_unless_many_are_silent() -> None:
    with listening() as server:
        present = [Played(f"192.0.2.{number}", 1000.0 + number, opened_at=1000.0) for number in range(FULL)]
        late = [
            Played("198.51.100.1", 2000.0, has_spoken=False, opened_at=2000.0) for _ in range(SPARE_CONNECTIONS // 2)
        ]
        put_open(server, *present, *late)
        assert evicted(server, 2000.0 + FIRST_MESSAGE_TIME / 2) is present[0]
        assert evicted(server, 2000.0 + FIRST_MESSAGE_TIME) is late[0]
        put_open(server, *present, *late, Played("198.51.100.1", 2000.0, has_spoken=False, opened_at=2000.0))
        assert evicted(server, 2000.0 + FIRST_MESSAGE_TIME / 2) is late[0], "many are silent"


def test_a_connection_that_a_call_uses_stays() -> None:
    used = set(range(1, FULL))
    with listening(connections_in_use=lambda: used) as server:
        present = [Played(f"192.0.2.{number}", float(number)) for number in range(FULL)]
        put_open(server, *present)
        assert evicted(server, 2000.0) is present[FULL - 1]
        used.add(FULL)
        assert evicted(server, 2001.0) is None


def test_when_calls_use_all_connections_the_source_with_the_most_loses_one() -> None:
    used = set(range(1, FULL + 1))
    with listening(connections_in_use=lambda: used) as server:
        hosts = ["192.0.2.3", "192.0.2.3", *("192.0.2.1", "192.0.2.2") * (FULL // 2 - 1)]
        present = [Played(host, 1000.0 - number) for number, host in enumerate(hosts)]
        put_open(server, *present)
        assert evicted(server, 2000.0) is present[FULL - 1], "silent longest of the source with most connections"
        assert evicted(server, 2000.0, "192.0.2.1") is None, "the new one's source has as many"


def test_the_connections_in_use_are_collected_for_many_new_connections_together() -> None:
    asked: list[float] = []
    now = 2000.0

    def in_use() -> set[int]:
        asked.append(now)
        return set()

    with listening(connections_in_use=in_use) as server:
        put_open(server, *(Played("192.0.2.1", 1.0) for _ in range(FULL)))
        for _ in range(1000):
            evicted(server, now)
            now += USE_LIFETIME / 100
        assert len(asked) <= 11


def test_a_connection_that_received_something_since_may_have_a_call() -> None:
    with listening() as server:
        put_open(server, *(Played(f"192.0.2.{number}", 1.0) for number in range(FULL)))
        assert evicted(server, 2000.0) is not None
        for each in server._open.values():
            each.received_at = 2000.1
        assert evicted(server, 2000.2) is None
        assert evicted(server, 2000.3) is not None


def test_with_enough_room_no_connection_is_evicted() -> None:
    with listening() as server:
        put_open(server, *(Played("192.0.2.1", 1.0) for _ in range(FULL - 1)), Played("192.0.2.1", 1.0, closing=True))
        assert evicted(server, 2000.0) is None


def test_without_any_room_a_new_connection_is_refused_and_makes_room_for_the_next() -> None:
    """Calls use all connections until one call ends."""
    with listening() as server:
        present = [Played(f"192.0.2.{number}", float(number)) for number in range(MAX_CONNECTIONS)]
        put_open(server, *present)
        assert not server.verify_request(None, ("198.51.100.1", 5060))
        assert present[0].closing


def test_the_ipv6_addresses_of_one_subscriber_are_one_source() -> None:
    with listening() as server:
        accepted = [server.verify_request(None, (f"2001:db8::{number:x}", 5060, 0, 0)) for number in range(100)]
        assert sum(accepted) == MAX_PER_SOURCE
        assert server.verify_request(None, ("2001:db8:0:1::1", 5060, 0, 0))
        for number in range(MAX_PER_SOURCE):
            server._release(f"2001:db8::{number:x}")
        server._release("2001:db8:0:1::2")
        assert server._sources == {}


def test_the_core_knows_which_connections_calls_use() -> None:
    agent = make_agent()
    assert agent.connections == set()
    to_tag = answered(agent, flow=Flow(FLOW.remote, FLOW.local, "TCP", 7))
    assert agent.connections == {7}
    moved = Flow(FLOW.remote, FLOW.local, "TLS", 8)
    agent.receive(bye(to_tag), moved, now=1.0)
    agent.stream_gone(to_tag, 1, "ended", now=1.0)
    assert agent.connections == set()
