"""An exception at every call that a door of the core makes: of two calls the other goes on, and no port is lost.

Each test runs a ladder once to count the calls of functions in ``moh``, and then once for each of them, which raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from moh.sdp.media_session import MediaSession
from moh.sip.call import Call
from moh.sip.transaction import ServerTransaction
from tests.support.faults import FIRST, SECOND, Bug, World
from tests.support.forms import pure_only
from tests.support.ladder import OFFER, answer_to, invite, ok_to, request

pytestmark = pure_only
NAMED = OFFER.replace("192.168.1.77", "held.example")


def two_calls() -> World:
    world = World()
    world.call(FIRST)
    world.call(SECOND)
    return world


def two_unacknowledged() -> World:
    world = World()
    world.invites(FIRST)
    world.invites(SECOND)
    world.now = 0.5
    return world


def two_to_refresh() -> World:
    world = World()
    for phone in (FIRST, SECOND):
        world.call(phone, "Supported: timer", "Allow: INVITE, UPDATE", "Session-Expires: 90;refresher=uas")
    world.wait(20.0)
    world.now = 45.0
    return world


def two_that_wait() -> World:
    world = World()
    world.invites(FIRST, body=NAMED)
    world.invites(SECOND, body=NAMED)
    return world


def one_that_waits() -> World:
    world = World()
    world.call(SECOND)
    world.invites(FIRST, body=NAMED)
    return world


def resolve(world: World) -> None:
    for asked in world.lookups:
        world.drive(world.agent.resolved, asked, "192.168.1.88")
    world.now += 4.0
    world.drive(world.agent.tick)


def expire(world: World) -> None:
    world.now = 4.0
    world.drive(world.agent.tick)


def reinvite(world: World) -> None:
    moved = OFFER.replace("192.168.1.77", "192.168.1.78")
    more = {**world.headers(FIRST, "re"), "cseq": "CSeq: 131 INVITE"}
    world.says(invite(body=moved, to_tag=world.tags[FIRST], **more), FIRST)


def hold(world: World) -> None:
    more = {**world.headers(FIRST, "hold"), "cseq": "CSeq: 131 UPDATE"}
    body = OFFER.replace("recvonly", "inactive")
    world.says(request("UPDATE", body=body, to_tag=world.tags[FIRST], **more), FIRST)


def stream_dies(world: World) -> None:
    call = world.tags[FIRST]
    world.ending.append((call, world.playing.pop(call)))
    world.end_streams()


def two_reinvited() -> World:
    world = World()
    for phone in (FIRST, SECOND):
        world.call(phone, "Allow: INVITE, ACK, BYE", "Session-Expires: 90;refresher=uas")
    world.wait(20.0)
    world.now = 45.0
    world.drive(world.agent.tick)
    return world


def accept(world: World) -> None:
    world.says(answer_to(world.own[FIRST], 200, body=OFFER.replace("192.168.1.77", "192.168.1.78")), FIRST)


def two_refreshed() -> World:
    world = two_to_refresh()
    world.drive(world.agent.tick)
    return world


def second_is_up() -> World:
    world = World()
    world.call(SECOND)
    return world


def first_unacknowledged() -> World:
    world = second_is_up()
    world.invites(FIRST)
    return world


LADDERS: dict[str, tuple[Callable[[], World], Callable[[World], object]]] = {
    "INVITE": (second_is_up, lambda world: world.invites(FIRST)),
    "INVITE with a name": (second_is_up, lambda world: world.invites(FIRST, body=NAMED)),
    "INVITE without an offer": (second_is_up, lambda world: world.invites(FIRST, body="")),
    "ACK": (first_unacknowledged, lambda world: world.acks(FIRST)),
    "re-INVITE": (two_calls, reinvite),
    "hold": (two_calls, hold),
    "BYE": (two_calls, lambda world: world.byes(FIRST)),
    "address of a name": (one_that_waits, resolve),
    "response to a refresh": (two_refreshed, lambda world: world.says(ok_to(world.own[FIRST]), FIRST)),
    "response to a re-INVITE": (two_reinvited, accept),
    "refusal of a re-INVITE": (two_reinvited, lambda world: world.says(answer_to(world.own[FIRST], 403), FIRST)),
    "end of a stream": (two_calls, stream_dies),
}
"""What comes for the first phone alone, after what; the second has a call that plays."""


def numbers(begin: Callable[[], World], door: Callable[[World], object]) -> range:
    """The numbers of all calls that the door makes."""
    door(begin())  # which fills caches, so that later runs make fewer calls
    world = begin()
    world.injector.arm(None)
    door(world)
    assert world.injector.count > 5 and not world.faults
    return range(1, world.injector.count + 1)


@pytest.mark.parametrize("ladder", LADDERS)
def test_a_fault_in_what_comes_for_one_call_costs_that_call_only(ladder: str) -> None:
    begin, door = LADDERS[ladder]
    for number in numbers(begin, door):
        world = begin()
        before = len(world.heard[SECOND])
        world.injector.arm(number)
        door(world)
        world.injector.armed = False
        world.wait(1.0)
        assert len(world.faults) == 1, number
        assert world.goes_on(SECOND), (number, world.faults)
        assert not [what for what in world.heard[SECOND][before:] if what not in ("INVITE", "UPDATE", "200")]
        world.byes(SECOND)
        assert world.heard[SECOND][-1] == "200", number
        world.leaves_nothing()


@pytest.mark.parametrize(
    ("begin", "expected"),
    [(two_unacknowledged, "200"), (two_to_refresh, "UPDATE")],
    ids=["answers are resent", "sessions are refreshed"],
)
def test_a_fault_in_one_timer_keeps_no_call_from_its_own(begin: Callable[[], World], expected: str) -> None:
    def door(world: World) -> object:
        return world.drive(world.agent.tick)

    for number in numbers(begin, door):
        world = begin()
        for heard in world.heard.values():
            heard.clear()
        world.injector.arm(number)
        door(world)
        world.injector.armed = False
        at_once = [phone for phone in (FIRST, SECOND) if world.heard[phone]]
        first_time = world.faults[0]
        world.wait(1.0)
        assert world.faults == [first_time], number
        assert at_once or (world.heard[FIRST] and world.heard[SECOND]), (number, first_time)
        assert all(expected in world.heard[phone] for phone in (FIRST, SECOND)), (number, world.heard)
        assert world.goes_on(FIRST) and world.goes_on(SECOND)
        world.leaves_nothing()


@pytest.mark.parametrize("door", [resolve, expire], ids=["resolved", "too late"])
def test_a_fault_for_one_of_two_requests_that_wait_leaves_the_other_its_answer(
    door: Callable[[World], object],
) -> None:
    for number in numbers(two_that_wait, door):
        world = two_that_wait()
        world.injector.arm(number)
        door(world)
        world.injector.armed = False
        world.wait(8.0)
        assert len(world.faults) == 1, number
        finals = [world.heard[phone][-1] for phone in (FIRST, SECOND)]
        assert finals.count("500") <= 1 and set(finals) <= {"200", "488", "500"}, (number, finals, world.faults)
        world.leaves_nothing()


@pytest.mark.parametrize("grace", [0.0, 1.0])
def test_a_fault_at_the_stop_keeps_no_call_from_its_bye(grace: float) -> None:
    def door(world: World) -> object:
        return world.drive(world.agent.close, grace) or world.drive(world.agent.close, grace)

    for number in numbers(two_calls, door):
        world = two_calls()
        world.injector.arm(number)
        door(world)
        world.injector.armed = False
        world.wait(grace + 1.0)
        assert len(world.faults) == 1, number
        assert all("BYE" in world.heard[phone] for phone in (FIRST, SECOND)), (number, world.heard, world.faults)
        world.leaves_nothing()


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Call, "tick"), (Call, "next_due"), (Call, "finished"), (Call, "stream_ended"), (Call, "hang_up"),
        (MediaSession, "stop"), (MediaSession, "follow"), (MediaSession, "gone"), (ServerTransaction, "tick"),
    ],
)  # fmt: skip
def test_an_owner_whose_turns_always_fail_is_ended_and_gives_its_port_back(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    """The first phone holds, its stream dies and its 200 is resent: each turn of it fails, again and again."""
    world = World()
    world.call(SECOND)
    world.invites(FIRST)
    first = world.tags[FIRST]
    former = vars(owner)[name]
    call: Any = former.fget if isinstance(former, property) else former

    def fails_for_the_first(self: Any, *args: Any, **more: Any) -> Any:
        if first in (getattr(self, "id", ""), getattr(self, "call", ""), getattr(self, "to_tag", "")):
            raise Bug(name)
        return call(self, *args, **more)

    patched = property(fails_for_the_first) if isinstance(former, property) else fails_for_the_first
    monkeypatch.setattr(owner, name, patched)
    world.wait(5.0)
    if first in world.playing:
        world.ending.append((first, world.playing.pop(first)))
    world.wait(40.0)
    assert world.goes_on(SECOND)
    world.byes(FIRST)
    world.byes(SECOND)
    assert world.heard[SECOND][-1] == "200"
    world.wait(80.0)
    assert world.agent.idle and world.agent.registry.ports.free == 4
    assert not world.playing and world.faults
