"""An exception at every call that a door of the core makes: of two calls the other goes on, and no port is lost.

Each test runs a ladder once to count the calls of functions in ``moh``, and then once for each of them, which raises.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Optional

import pytest

import moh
from moh.common.actions import Action, Address, Fault, Flow, Resolve, Send, StartStream, StopStream
from moh.sdp.media_session import MediaSession
from moh.sip.call import Call
from moh.sip.message import Request, Response
from moh.sip.transaction import ServerTransaction
from tests.support.ladder import OFFER, SERVER, ack, bye, invite, make_agent, ok_to, request, sent, tag

FOLDER = str(moh.__file__).rpartition("/")[0]
FIRST, SECOND = "a", "b"
FLOWS = {FIRST: Flow(Address("192.168.1.50", 5062), SERVER), SECOND: Flow(Address("192.168.1.51", 5062), SERVER)}
NAMED = OFFER.replace("192.168.1.77", "held.example")


class Bug(Exception):
    """The exception that the tests inject."""


class Injector:
    """Counts the calls of functions in ``moh`` while it is ``armed``, and raises ``Bug`` at the number ``at``."""

    def __init__(self) -> None:
        self.armed = False
        self.at: Optional[int] = None
        self.count = 0

    def arm(self, at: Optional[int]) -> None:
        self.armed, self.at = True, at

    def __enter__(self) -> Injector:
        self._former = sys.getprofile()
        if self.armed:
            sys.setprofile(self._profile)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(self._former)

    def _profile(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        # the end of a generator is a call too, but no exception that it raises goes anywhere
        if event == "call" and code.co_filename.startswith(FOLDER) and not code.co_flags & inspect.CO_GENERATOR:
            self.count += 1
            if self.count == self.at:
                raise Bug(frame.f_code.co_name)


class World:
    """Two phones, the agent, and a server that performs its actions as ``sip_server.py`` does."""

    def __init__(self) -> None:
        self.agent = make_agent(ports=(10000, 10007))
        self.now = 0.0
        self.playing: dict[str, int] = {}
        self.ending: list[tuple[str, int]] = []
        self.tags: dict[str, str] = {}
        self.heard: dict[str, list[str]] = {FIRST: [], SECOND: []}
        """Statuses and methods that each phone has received."""
        self.own: dict[str, Request] = {}
        """The latest request of the server to each phone."""
        self.lookups: list[Resolve] = []
        self.injector = Injector()
        self.faults: list[BaseException] = []

    def drive(self, step: Callable[..., list[Action]], *args: Any) -> bool:
        """Take one step and perform its actions; whether it raised no exception."""
        try:
            with self.injector:
                actions = step(*args, now=self.now)
        except Bug as error:
            self.faults.append(error)
            return False
        for action in actions:
            if isinstance(action, StartStream):
                self.playing[action.call] = action.serial
            elif isinstance(action, StopStream) and action.call in self.playing:
                self.ending.append((action.call, self.playing.pop(action.call)))
            elif isinstance(action, Fault):
                assert isinstance(action.error, Bug), action.error
                self.faults.append(action.error)
            elif isinstance(action, Resolve):
                self.lookups.append(action)
        for action in actions:
            if isinstance(action, Send):
                self.hear(FIRST if action.flow == FLOWS[FIRST] else SECOND, action)
        return True

    def hear(self, phone: str, action: Send) -> None:
        (message,) = sent([action])
        if isinstance(message, Response):
            self.heard[phone].append(str(message.status))
            if message.status == 200 and message.cseq.method == "INVITE":
                self.tags[phone] = tag(message)
        else:
            self.heard[phone].append(message.method)
            self.own[phone] = message

    def says(self, message: Any, phone: str) -> None:
        if not self.drive(self.agent.receive, message, FLOWS[phone]):
            self.drive(self.agent.refuse, message, FLOWS[phone], 500, "Unexpected error")

    def invites(self, phone: str, *extra: str, body: str = OFFER) -> None:
        self.says(invite(*extra, body=body, **self.headers(phone, "INVITE")), phone)

    def acks(self, phone: str) -> None:
        self.says(ack(self.tags[phone], **self.headers(phone, "ACK")), phone)

    def byes(self, phone: str, cseq: int = 140) -> None:
        more = {**self.headers(phone, "BYE"), "cseq": f"CSeq: {cseq} BYE"}
        self.says(bye(self.tags[phone], **more), phone)

    def headers(self, phone: str, method: str) -> dict[str, str]:
        via = f"Via: SIP/2.0/UDP {FLOWS[phone].remote};branch=z9hG4bK{method}{phone};rport"
        return {"call_id": f"Call-ID: {phone}", "via": via}

    def call(self, phone: str, *extra: str) -> None:
        self.invites(phone, *extra)
        self.acks(phone)

    def goes_on(self, phone: str) -> bool:
        """Whether the call of a phone is up and its music plays."""
        call = self.agent.registry.calls.get(self.tags.get(phone, ""))
        return call is not None and not call.ended and call.media.playing and call.id in self.playing

    def wait(self, seconds: float) -> None:
        """Let time pass from timer to timer; streams end when the next timer expires after they have been stopped."""
        until = self.now + seconds
        while self.now < until:
            due = self.agent.next_due
            self.now = until if due is None else min(until, max(due, self.now + 0.05))
            self.drive(self.agent.tick)
            self.end_streams()

    def end_streams(self) -> None:
        ending, self.ending = self.ending, []
        for stream in ending:
            if not self.drive(self.agent.stream_gone, *stream, "ended"):
                self.ending.append(stream)

    def leaves_nothing(self) -> None:
        """End all calls; then nothing may be left of them."""
        while not self.drive(self.agent.close):
            pass
        self.wait(80.0)
        assert self.agent.idle and self.agent.next_due is None, self.faults
        sizes = self.agent.table_sizes
        assert not any(size for name, size in sizes.items() if name != "look-ups"), sizes
        assert sizes["look-ups"] <= len(self.lookups)
        assert not self.playing and not self.ending
        assert self.agent.registry.ports.free == 4
        assert not self.agent.guard._unacknowledged


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
        assert not [what for what in world.heard[SECOND][before:] if what not in ("UPDATE", "200")]
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
