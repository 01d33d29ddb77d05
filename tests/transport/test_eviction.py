"""Which connection makes room for the next where there are few left; with literal clocks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from moh.common.actions import Address, Flow
from moh.transport.tcp import FRESH, HELLO, MAX_CONNECTIONS, MAX_PER_HOST, SPARE, TcpServer
from tests.support.ladder import FLOW, answered, bye, make_agent
from tests.transport.test_tcp import listening

FEW = MAX_CONNECTIONS - SPARE


@dataclass
class There:
    """A connection as far as it counts when room is to be made."""

    host: str
    heard: float
    spoke: bool = True
    began: float = 0.0
    dialled: bool = False
    ending: bool = False
    client_address: Address = field(init=False)

    def __post_init__(self) -> None:
        self.client_address = Address(self.host, 5060)

    def cut(self) -> None:
        self.ending = True


def crowded(server: TcpServer, *there: There) -> None:
    """These connections are open."""
    server._open = dict(enumerate(there, 1))  # type: ignore[arg-type]
    server._sources = {}
    for each in there:
        server._sources[each.host] = server._sources.get(each.host, 0) + 1


def goes(server: TcpServer, now: float, source: str = "192.0.2.9") -> Any:
    return server._least_missed(source, now)


def test_who_never_spoke_makes_room_first_and_then_who_was_silent_longest() -> None:
    with listening() as server:
        there = [There(f"192.0.2.{number % 2}", 1000.0 - number) for number in range(FEW)]
        there[5].spoke = there[7].spoke = False
        crowded(server, *there)
        for number in (5, 7, FEW - 1, FEW - 2):
            assert goes(server, 2000.0) is there[number]
            there[number].ending = True
            server._open[1000 + number] = There("192.0.2.0", 1999.0)  # type: ignore[assignment]


def test_who_has_just_come_has_time_for_his_first_message_unless_many_come_and_say_nothing() -> None:
    with listening() as server:
        there = [There(f"192.0.2.{number}", 1000.0 + number, began=1000.0) for number in range(FEW)]
        late = [There("198.51.100.1", 2000.0, spoke=False, began=2000.0) for _ in range(SPARE // 2)]
        crowded(server, *there, *late)
        assert goes(server, 2000.0 + HELLO / 2) is there[0]
        assert goes(server, 2000.0 + HELLO) is late[0]
        crowded(server, *there, *late, There("198.51.100.1", 2000.0, spoke=False, began=2000.0))
        assert goes(server, 2000.0 + HELLO / 2) is late[0], "it is a flood of them"


def test_by_whose_connection_a_call_goes_keeps_it() -> None:
    used = set(range(1, FEW))
    with listening(in_use=lambda: used) as server:
        there = [There(f"192.0.2.{number}", float(number)) for number in range(FEW)]
        crowded(server, *there)
        assert goes(server, 2000.0) is there[FEW - 1]
        used.add(FEW)
        assert goes(server, 2001.0) is None


def test_where_calls_use_all_the_source_with_most_of_them_makes_room_for_one_that_has_fewer() -> None:
    used = set(range(1, FEW + 1))
    with listening(in_use=lambda: used) as server:
        hosts = ["192.0.2.3", "192.0.2.3", *("192.0.2.1", "192.0.2.2") * (FEW // 2 - 1)]
        there = [There(host, 1000.0 - number) for number, host in enumerate(hosts)]
        crowded(server, *there)
        assert goes(server, 2000.0) is there[FEW - 1], "silent longest of the source that has most"
        assert goes(server, 2000.0, "192.0.2.1") is None, "his own are as many"


def test_which_calls_go_where_is_asked_once_for_all_and_not_for_each_that_comes() -> None:
    asked: list[float] = []
    now = 2000.0

    def in_use() -> set[int]:
        asked.append(now)
        return set()

    with listening(in_use=in_use) as server:
        crowded(server, *(There("192.0.2.1", 1.0) for _ in range(FEW)))
        for _ in range(1000):
            goes(server, now)
            now += FRESH / 100
        assert len(asked) <= 11


def test_who_was_heard_since_it_was_asked_may_have_a_call_by_now() -> None:
    with listening() as server:
        crowded(server, *(There(f"192.0.2.{number}", 1.0) for number in range(FEW)))
        assert goes(server, 2000.0) is not None
        for each in server._open.values():
            each.heard = 2000.1
        assert goes(server, 2000.2) is None
        assert goes(server, 2000.3) is not None


def test_while_there_is_room_enough_nobody_makes_any() -> None:
    with listening() as server:
        crowded(server, *(There("192.0.2.1", 1.0) for _ in range(FEW - 1)), There("192.0.2.1", 1.0, ending=True))
        assert goes(server, 2000.0) is None


def test_a_full_house_is_no_end() -> None:
    """All places are taken by calls; one call ends. The next who comes finds none, and the one after him does."""
    with listening() as server:
        there = [There(f"192.0.2.{number}", float(number)) for number in range(MAX_CONNECTIONS)]
        crowded(server, *there)
        assert not server.verify_request(None, ("198.51.100.1", 5060))
        assert there[0].ending


def test_addresses_of_one_subscriber_of_ipv6_are_one_source() -> None:
    with listening() as server:
        welcome = [server.verify_request(None, (f"2001:db8::{number:x}", 5060, 0, 0)) for number in range(100)]
        assert sum(welcome) == MAX_PER_HOST
        assert server.verify_request(None, ("2001:db8:0:1::1", 5060, 0, 0))
        for number in range(MAX_PER_HOST):
            server._release(f"2001:db8::{number:x}")
        server._release("2001:db8:0:1::2")
        assert server._sources == {}


def test_the_core_tells_by_which_connections_calls_go() -> None:
    agent = make_agent()
    assert agent.connections == set()
    to_tag = answered(agent, flow=Flow(FLOW.remote, FLOW.local, "TCP", 7))
    assert agent.connections == {7}
    moved = Flow(FLOW.remote, FLOW.local, "TLS", 8)
    agent.receive(bye(to_tag), moved, now=1.0)
    agent.stream_gone(to_tag, 1, "ended", now=1.0)
    assert agent.connections == set()
