"""Two phones, and an exception at a chosen call of a function in ``moh``: for tests of what one fault costs."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Optional

import moh
from moh.common.actions import Action, Address, Fault, Flow, Resolve, Send, StartStream, StopStream
from moh.sip.message import Request, Response
from tests.support.ladder import OFFER, SERVER, ack, bye, invite, make_agent, sent, tag

FOLDER = str(moh.__file__).rpartition("/")[0]
FIRST, SECOND = "a", "b"
FLOWS = {FIRST: Flow(Address("192.168.1.50", 5062), SERVER), SECOND: Flow(Address("192.168.1.51", 5062), SERVER)}


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
        while not self.drive(self.agent.close, 0.0):
            pass
        self.wait(80.0)
        assert self.agent.idle and self.agent.next_due is None, self.faults
        sizes = self.agent.table_sizes
        assert not any(size for name, size in sizes.items() if name != "look-ups"), sizes
        assert sizes["look-ups"] <= len(self.lookups)
        assert not self.playing and not self.ending
        assert self.agent.registry.ports.free == 4
        assert not self.agent.guard._unacknowledged
