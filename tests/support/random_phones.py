"""Phones that send random requests to the core, a substitute for the server, and what has to hold after each step.

``tests/sip/test_stateful.py`` has the rules by which the phones act.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Optional

from hypothesis.stateful import RuleBasedStateMachine, invariant

from moh.common.actions import Action, Address, Fault, Flow, Resolve, Send, StartStream, StopStream
from moh.common.addresses import is_private
from moh.sip.message import Request, Response
from moh.sip.parser import parse
from tests.support.ladder import SERVER, make_agent, request

FLOWS = [
    Flow(Address("192.168.1.50", 5062), SERVER),
    Flow(Address("192.168.1.51", 5060), SERVER),
    Flow(Address("203.0.113.9", 5062), SERVER),
    Flow(Address("192.168.1.52", 41000), SERVER, "TCP", 7),
    Flow(Address("203.0.113.10", 42000), SERVER, "TCP", 8),
]
HOSTS = [
    "192.168.1.77",
    "192.168.1.78",
    "198.51.100.7",
    "198.51.100.8",
    "0.0.0.0",
    "a.example",
    "b.example",
    "fd00::77",
]
NAMES = ["a.example", "b.example"]


@dataclass
class Offered:
    """An offer or an answer of a phone. Each has a port of its own, so the port of the music identifies it."""

    flow: Flow
    host: str
    acked: bool = False
    refused: bool = False

    @property
    def may_play(self) -> bool:
        return not self.refused and (self.acked or (is_private(self.flow.remote.host) and is_private(self.host)))


@dataclass
class Talk:
    """The phone's side of a call, or of an attempt to call."""

    number: int
    flow: Flow
    cseq: int = 100
    to_tag: str = ""
    invites: list[Request] = field(default_factory=list)
    offers: dict[int, Offered] = field(default_factory=dict)
    accepted: list[tuple[int, list[Offered]]] = field(default_factory=list)
    """The offers that were answered with 200, by the CSeq of their ACK."""


@dataclass
class Asked:
    """A request of a phone, and the answers to it."""

    message: Request
    octets: bytes
    flow: Flow
    when: float
    talk: Talk
    offered: list[Offered]
    finals: set[bytes] = field(default_factory=set)
    tags: set[str] = field(default_factory=set)


@dataclass
class Stream:
    serial: int
    dying: bool = False
    begun: bool = False


class Phones(RuleBasedStateMachine):
    """The phones, the server with its streams and its resolver, and the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.agent = make_agent(ports=(10000, 10011), longest_call=900.0)
        self.now = 0.0
        self.count = 0
        self.talks: list[Talk] = []
        self.asked: list[Asked] = []
        self.by_branch: dict[tuple[str, str], Asked] = {}
        self.streams: dict[str, Stream] = {}
        self.serials: dict[str, int] = {}
        self.owner: dict[str, Talk] = {}
        self.own: list[tuple[Request, Send]] = []
        self.own_cseq: dict[str, dict[str, int]] = {}
        self.resolving: set[Resolve] = set()
        self.offering: list[Offered] = []
        self.failed = False

    # -- the server ------------------------------------------------------------------------------------------------

    def do(self, actions: list[Action]) -> None:
        self.failed = True  # until all actions are done
        for action in actions:
            if isinstance(action, Fault):
                raise action.error
            if isinstance(action, Send):
                self.read(action)
            elif isinstance(action, StartStream):
                self.start(action)
            elif isinstance(action, StopStream):
                stream = self.streams[action.call]
                assert not stream.dying, "a stream that does not play is stopped"
                stream.dying = True
            elif isinstance(action, Resolve):
                assert action not in self.resolving, "a look-up that runs already is started"
                self.resolving.add(action)
        self.failed = False

    def start(self, action: StartStream) -> None:
        assert action.serial == self.serials.get(action.call, 0) + 1
        self.serials[action.call] = action.serial
        self.streams[action.call] = Stream(action.serial)
        offered = self.owner[action.call].offers[action.target.remote.port]
        assert offered.may_play, f"music for {action.target.remote} that was refused, or before its ACK"

    def read(self, send: Send) -> None:
        message = parse(send.data)
        if isinstance(message, Request):
            self.read_request(message, send)
            return
        assert isinstance(message, Response)
        asked = self.by_branch[message.via.params["branch"], message.cseq.method]
        assert send.flow == asked.flow
        to_tag = (message.first("to") or "").partition(";tag=")[2]
        if message.status == 100:
            assert to_tag == asked.message.to.tag, "100 makes no dialog"
            if asked.finals:  # the core has forgotten the refusal, so it handles the retransmission as a new request
                assert not (is_private(asked.flow.remote.host) or asked.flow.reliable), "answered, and begun anew"
                asked.finals.clear()
                asked.tags.clear()
                for offered in asked.offered:
                    offered.refused = False
            return
        assert to_tag
        asked.tags.add(to_tag)
        assert len(asked.tags) == 1, f"{asked.message.method} was answered with the tags {asked.tags}"
        if message.status == 200 and message.cseq.method in ("INVITE", "UPDATE"):
            assert message.first("contact") and message.first("allow"), "a dialog needs them"
        if message.status < 200:
            assert not asked.finals, "provisional after final"
            return
        if asked.message.method in ("INVITE", "UPDATE"):
            asked.finals.add(send.data)
            assert len(asked.finals) == 1, "two answers to one request"
        if message.cseq.method == "INVITE" and message.status == 200:
            asked.talk.to_tag = to_tag
            asked.talk.accepted.append((message.cseq.number, asked.offered))
            self.owner[to_tag] = asked.talk
        if message.status >= 300:
            for offered in asked.offered:
                offered.refused = True

    def read_request(self, message: Request, send: Send) -> None:
        assert message.method in ("BYE", "UPDATE", "INVITE", "ACK")
        numbers = self.own_cseq.setdefault(message.from_.tag, {})
        branch = message.via.branch
        if message.method == "ACK":
            assert message.cseq.number in numbers.values(), "an ACK to no INVITE"
            return
        if branch in numbers:
            assert numbers[branch] == message.cseq.number
            assert not send.flow.reliable, "nothing is sent twice by TCP"
            return
        assert message.cseq.number == len(numbers) + 1, "a gap in our CSeq"
        assert message.to.tag and message.from_.tag in self.owner
        numbers[branch] = message.cseq.number
        self.own.append((message, send))

    # -- what phones send ------------------------------------------------------------------------------------------

    def ask(self, method: str, talk: Talk, *extra: str, body: str = "", branch: str = "", **more: str) -> Asked:
        self.count += 1
        flow = talk.flow
        via = f"Via: SIP/2.0/{flow.transport} {flow.remote};branch={branch or f'z9hG4bK{self.count}'};rport"
        message = request(
            method,
            *extra,
            body=body,
            **{
                "via": via,
                "cseq": f"CSeq: {talk.cseq} {method}",
                "call_id": f"Call-ID: {talk.number}",
                "from_": f"From: <sip:{talk.number}@pbx.lan>;tag=phone{talk.number}",
                "to_tag": talk.to_tag,
                "contact": f"Contact: <sip:{talk.number}@{flow.remote}>",
                **more,
            },
        )
        asked = Asked(message, octets(message), flow, self.now, talk, self.offering)
        self.offering = []
        if method != "ACK":
            self.by_branch[message.via.branch, method] = asked
            self.asked.append(asked)
        return asked

    def send(self, asked: Asked) -> None:
        message = parse(asked.octets)
        assert isinstance(message, Request)
        self.do(self.agent.receive(message, asked.flow, self.now))

    def body(self, kind: str, host: str, talk: Talk, acked: bool = False) -> tuple[str, list[str]]:
        """Return a body of kind ``kind``, with a port of its own, and the header lines of its Content-Type."""
        if kind == "none":
            return "", []
        if kind == "garbage":
            return "garbage\n", []
        lines = ["v=0", "o=- 1 1 IN IP4 192.168.1.50", "s=-", "t=0 0"]
        direction = "inactive" if kind == "hold" else "sendrecv"
        hosts = NAMES if kind == "two names" else [host]
        for one in hosts:
            self.count += 1
            port = 2000 + self.count * 2
            offered = Offered(talk.flow, one, acked)
            talk.offers[port] = offered
            self.offering.append(offered)
            formats = "18" if kind == "unfit" else "0 8"
            shown = 0 if kind == "off" else port
            family = "IP6" if ":" in one else "IP4"
            lines += [f"m=audio {shown} RTP/AVP {formats}", f"c=IN {family} {one}", f"a={direction}"]
        text = "\n".join([*lines, ""])
        if kind == "multipart":
            head = ["--x", "Content-Type: application/sdp", "", ""]
            return "\n".join(head) + text + "--x--\n", ["Content-Type: multipart/mixed;boundary=x"]
        return text, []

    def pick(self, index: int) -> Optional[Talk]:
        known = [talk for talk in self.talks if talk.to_tag]
        return known[-1 - index % min(len(known), 3)] if known else None

    # -- what has to hold ------------------------------------------------------------------------------------------

    @invariant()
    def each_call_has_a_port_and_each_port_a_call(self) -> None:
        assert len(self.agent.registry.ports._taken) == len(self.agent.registry.calls)
        assert set(self.streams) <= set(self.agent.registry.calls)
        assert {call.id for call in self.agent.registry.dialogs.values()} == set(self.agent.registry.calls)

    @invariant()
    def the_calls_with_a_stream_are_those_that_should_have_one(self) -> None:
        for call in self.agent.registry.calls.values():
            stream = self.streams.get(call.id)
            assert call.media.stream_open == (stream is not None)
            assert call.media.playing == (stream is not None and not stream.dying)
            assert not (call.ended and call.media.playing)

    @invariant()
    def the_streams_that_count_as_starting_are_those_that_have_not_begun(self) -> None:
        starting = {call for call, stream in self.streams.items() if not (stream.dying or stream.begun)}
        assert self.agent.registry.starts._starting == starting
        assert starting.isdisjoint(self.agent.registry.starts._awaited)

    @invariant()
    def each_transaction_has_a_timer_or_a_deadline(self) -> None:
        for transaction in self.agent.registry.transactions.values():
            waits = self.agent.pending.holds(transaction.key)
            assert waits or transaction.next_due is not None
        due = self.agent.next_due
        assert due is None or not self.agent.pending or due <= self.now + 4.0

    def teardown(self) -> None:
        if self.failed:
            return  # the first failure is the one to report
        self.end_all(lambda: self.do(self.agent.close(0.0, now=self.now)))
        assert self.agent.idle and self.agent.next_due is None
        agent = self.agent
        assert not any(size for name, size in agent.table_sizes.items() if name != "look-ups")
        assert not agent.registry.ports._taken and not self.streams
        withheld = "not sent to an unvalidated address" in agent.tally.counts
        for asked in self.asked:
            unpaid = withheld and not (is_private(asked.flow.remote.host) or asked.flow.reliable)
            answered = asked.tags or asked.message.method == "ACK"
            assert answered or unpaid, f"{asked.message.method} never got a final answer"

    def end_all(self, end: Callable[[], None]) -> None:
        """Call ``end``, which ends all calls, and let 200 s pass. In this time the stopped streams end."""
        end()
        until = self.now + 200.0
        while self.now < until:
            self.now += 0.5
            self.do(self.agent.tick(self.now))
            for call in [call for call, stream in self.streams.items() if stream.dying]:
                self.do(self.agent.stream_gone(call, self.streams.pop(call).serial, "ended", now=self.now))
            self.each_call_has_a_port_and_each_port_a_call()


def octets(message: Request) -> bytes:
    lines = [f"{message.method} {message.uri} SIP/2.0", *(f"{name}: {value}" for name, value in message.headers)]
    return "\r\n".join([*lines, "", ""]).encode() + message.body
