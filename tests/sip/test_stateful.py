"""Several phones do whatever comes to their mind, in any order; what the core must keep then is looked at each step.

``MOH_STATEFUL=5000`` makes it that many conversations instead of a few. More than 300 lines, because the phones, the
shell and what is watched share one state.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Optional

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from moh.common.actions import Action, Address, Flow, Resolve, Send, StartStream, StopStream
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
EXTRAS = [
    *([[]] * 10),
    ["Supported: timer", "Allow: INVITE, ACK, BYE, UPDATE", "Session-Expires: 90;refresher=uas"],
    ["Supported: timer", "Session-Expires: 90;refresher=uac"],
    ["Supported: timer"],
    ["Session-Expires: 0", "Allow: UPDATE"],
    ["Supported: timer", "Session-Expires: 60"],
    ["Session-Expires: soon"],
    ["Require: 100rel"],
    ["Require: teleport"],
    ["Contact: nobody"],  # comes second to a good one, which the first of the list shadows
]
BODIES = [*(["plain"] * 8), "none", "none", "two names", "hold", "off", "unfit", "garbage", "multipart"]
INDEX = st.integers(0, 1000)
STEPS = st.sampled_from([1] * 8 + [2, 0, -1])


@dataclass
class Offered:
    """An offer or answer of a phone; its port says which one the music follows."""

    flow: Flow
    host: str
    acked: bool = False
    refused: bool = False

    @property
    def may_play(self) -> bool:
        return not self.refused and (self.acked or (is_private(self.flow.remote.host) and is_private(self.host)))


@dataclass
class Talk:
    """One phone's end of one call, or of what should become one."""

    number: int
    flow: Flow
    cseq: int = 100
    to_tag: str = ""
    invites: list[Request] = field(default_factory=list)
    offers: dict[int, Offered] = field(default_factory=dict)
    accepted: list[tuple[int, list[Offered]]] = field(default_factory=list)
    """The offers that a 200 came to, by the CSeq that their ACK has."""


@dataclass
class Asked:
    """A request of a phone, and what it heard."""

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


class Phones(RuleBasedStateMachine):
    """The phones, the shell with its streams and its resolver, and the clock."""

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

    # -- the shell -------------------------------------------------------------------------------------------------

    def do(self, actions: list[Action]) -> None:
        self.failed = True  # unless it comes to its end
        for action in actions:
            if isinstance(action, Send):
                self.hear(action)
            elif isinstance(action, StartStream):
                self.start(action)
            elif isinstance(action, StopStream):
                stream = self.streams[action.call]
                assert not stream.dying, "a stream that does not play is stopped"
                stream.dying = True
            elif isinstance(action, Resolve):
                assert action not in self.resolving, "asked twice"
                self.resolving.add(action)
        self.failed = False

    def start(self, action: StartStream) -> None:
        assert action.serial == self.serials.get(action.call, 0) + 1
        self.serials[action.call] = action.serial
        self.streams[action.call] = Stream(action.serial)
        offered = self.owner[action.call].offers[action.target.remote.port]
        assert offered.may_play, f"music for {action.target.remote} that was refused, or before its ACK"

    def hear(self, send: Send) -> None:
        message = parse(send.data)
        if isinstance(message, Request):
            self.hear_request(message, send)
            return
        assert isinstance(message, Response)
        asked = self.by_branch[message.via.params["branch"], message.cseq.method]
        assert send.flow == asked.flow
        to_tag = (message.first("to") or "").partition(";tag=")[2]
        if message.status == 100:
            assert to_tag == asked.message.to.tag, "100 makes no dialog"
            if asked.finals:  # nothing was kept of its refusal, so that its retransmission is handled as a new request
                assert not (is_private(asked.flow.remote.host) or asked.flow.reliable), "answered, and begun anew"
                asked.finals.clear()
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

    def hear_request(self, message: Request, send: Send) -> None:
        assert message.method in ("BYE", "UPDATE")
        numbers = self.own_cseq.setdefault(message.from_.tag, {})
        branch = message.via.branch
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
            via=via,
            **{
                "cseq": f"CSeq: {talk.cseq} {method}",
                "call_id": f"Call-ID: {talk.number}",
                "from_": f"From: <sip:{talk.number}@pbx.lan>;tag=phone{talk.number}",
                "to_tag": talk.to_tag,
                "contact": f"Contact: <sip:{talk.number}@{flow.remote}>",
                **more,
            },
        )
        asked = Asked(message, _octets(message), flow, self.now, talk, self.offering)
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
        """A body of that kind with a port of its own, and its Content-Type."""
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

    @rule(flow=st.sampled_from(FLOWS), kind=st.sampled_from(BODIES), host=st.sampled_from(HOSTS), extra=INDEX)
    def invite(self, flow: Flow, kind: str, host: str, extra: int) -> None:
        talk = Talk(len(self.talks), flow)
        self.talks.append(talk)
        body, content = self.body(kind, host, talk)
        asked = self.ask("INVITE", talk, *EXTRAS[extra % len(EXTRAS)], *content, body=body)
        talk.invites.append(asked.message)
        self.send(asked)

    @precondition(lambda self: self.asked)
    @rule(index=INDEX)
    def repeat(self, index: int) -> None:
        """The same request again, as long as its transaction surely lives; by TCP nothing is repeated."""
        asked = self.asked[-1 - index % min(len(self.asked), 5)]
        if not asked.flow.reliable and self.now - asked.when < 4.0:
            self.send(asked)

    @precondition(lambda self: self.asked)
    @rule(index=INDEX)
    def fork(self, index: int) -> None:
        """A first INVITE by another way."""
        former = self.asked[-1 - index % min(len(self.asked), 5)]
        if former.message.method != "INVITE" or former.message.to.tag or former.message.all("require"):
            return
        self.count += 1
        via = f"SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKfork{self.count};rport"
        text = former.message.via.text
        again = parse(former.octets.replace(text.encode(), via.encode()))
        assert isinstance(again, Request)
        asked = Asked(again, _octets(again), former.flow, self.now, former.talk, [])
        if (
            self.agent.registry.transactions.get((former.message.via.branch, former.message.via.sent_by, "INVITE"))
            is None
        ):
            return
        refused = any(not data.startswith(b"SIP/2.0 200") for data in former.finals)
        if refused or self.now - former.when > 20:
            return
        self.by_branch[again.via.branch, "INVITE"] = asked
        before = len(self.agent.registry.calls) + len(self.agent.pending)
        actions = self.agent.receive(again, former.flow, self.now)
        assert any(isinstance(a, Send) and a.data.startswith(b"SIP/2.0 482") for a in actions)
        assert len(self.agent.registry.calls) + len(self.agent.pending) == before

    @rule(
        index=INDEX,
        method=st.sampled_from(["INVITE", "UPDATE"]),
        kind=st.sampled_from(BODIES),
        host=st.sampled_from(HOSTS),
        extra=INDEX,
        step=STEPS,
        spoiled=st.sampled_from([False] * 5 + [True]),
        moved=st.sampled_from([None, None, None, *FLOWS]),
    )
    def change(
        self,
        index: int,
        method: str,
        kind: str,
        host: str,
        extra: int,
        step: int,
        spoiled: bool,
        moved: Optional[Flow],
    ) -> None:
        if (talk := self.pick(index)) is None:
            return
        talk.cseq += step
        talk.flow = moved or talk.flow
        body, content = self.body(kind, host, talk, acked=method == "UPDATE")
        more = {"contact": "Contact: nobody at all"} if spoiled else {}
        asked = self.ask(method, talk, *EXTRAS[extra % len(EXTRAS)], *content, body=body, **more)
        if method == "INVITE":
            talk.invites.append(asked.message)
        self.send(asked)

    @rule(index=INDEX, method=st.sampled_from(["INFO", "OPTIONS", "REFER"]), step=STEPS)
    def other(self, index: int, method: str, step: int) -> None:
        if (talk := self.pick(index)) is not None:
            talk.cseq += step
            self.send(self.ask(method, talk))

    @rule(
        index=INDEX,
        kind=st.sampled_from(BODIES),
        host=st.sampled_from(HOSTS),
        step=st.sampled_from([0, 0, 0, 0, 1, -1]),
        times=st.integers(1, 2),
    )
    def ack(self, index: int, kind: str, host: str, step: int, times: int) -> None:
        """To the last INVITE that was answered 200, or to another; perhaps twice."""
        if (talk := self.pick(index)) is None:
            return
        kept = talk.cseq
        talk.cseq = talk.invites[-1].cseq.number + step
        for number, offers in talk.accepted:
            for offered in offers:
                offered.acked = offered.acked or number == talk.cseq
        body, content = self.body(kind, host, talk, acked=True)
        asked = self.ask("ACK", talk, *content, body=body)
        talk.cseq = kept
        for _ in range(times):
            self.send(asked)

    @precondition(lambda self: self.talks)
    @rule(index=INDEX)
    def ack_of_refusal(self, index: int) -> None:
        talk = self.talks[-1 - index % min(len(self.talks), 5)]
        last = talk.invites[-1]
        asked = self.ask("ACK", talk, branch=last.via.branch, cseq=f"CSeq: {last.cseq.number} ACK")
        answered = self.by_branch[last.via.branch, "INVITE"]
        if any(not data.startswith(b"SIP/2.0 200") for data in answered.finals):
            assert self.agent.receive(asked.message, asked.flow, self.now) == []

    @rule(index=INDEX, step=STEPS)
    def bye(self, index: int, step: int) -> None:
        if (talk := self.pick(index)) is not None:
            talk.cseq += step
            self.send(self.ask("BYE", talk))

    @precondition(lambda self: self.talks)
    @rule(index=INDEX)
    def cancel(self, index: int) -> None:
        talk = self.talks[-1 - index % min(len(self.talks), 5)]
        last = talk.invites[-1]
        key = (last.via.branch, "CANCEL")
        if key not in self.by_branch:
            number = f"CSeq: {last.cseq.number} CANCEL"
            self.send(self.ask("CANCEL", talk, branch=last.via.branch, cseq=number, to_tag=last.to.tag))

    @precondition(lambda self: self.own)
    @rule(
        index=INDEX,
        status=st.sampled_from([100, 200, 200, 200, 403, 408, 422, 481, 491, 500, 603]),
        extra=st.sampled_from(
            ["X: y", "Session-Expires: 90;refresher=uas", "Session-Expires: 0", "Session-Expires: x"]
        ),
    )
    def answer(self, index: int, status: int, extra: str) -> None:
        own, send = self.own[-1 - index % min(len(self.own), 5)]
        lines = [f"SIP/2.0 {status} Whatever", *(f"Via: {value}" for value in own.all("via")), extra]
        lines += [f"{name}: {own.first(name)}" for name in ("from", "to", "call-id", "cseq")]
        message = parse("\r\n".join([*lines, "", ""]).encode())
        assert isinstance(message, Response)
        self.do(self.agent.receive(message, send.flow, self.now))

    # -- what the shell tells --------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES), address=st.sampled_from(["192.168.1.90", "198.51.100.9", "", "fd00::90"]))
    def resolved(self, name: str, address: str) -> None:
        pending = sorted(asked for asked in self.resolving if asked.name == name)
        if not pending:
            return
        self.resolving.difference_update(pending)
        for talk in self.talks:
            for offered in talk.offers.values():
                if offered.host == name:
                    offered.host = address
        for asked in pending:
            self.do(self.agent.resolved(asked, address, self.now))

    @rule()
    def unasked(self) -> None:
        """The turn of the names has come for which nobody waits any more."""
        self.resolving = {asked for asked in self.resolving if not self.agent.discard_unwanted(asked)}

    @precondition(lambda self: self.streams)
    @rule(index=INDEX, unasked=st.booleans())
    def gone(self, index: int, unasked: bool) -> None:
        """A stream that was stopped is gone; or one dies, as ffmpeg may."""
        call = sorted(self.streams)[-1 - index % min(len(self.streams), 3)]
        if self.streams[call].dying or unasked:
            stream = self.streams.pop(call)
            self.do(self.agent.stream_gone(call, stream.serial, "ended", now=self.now))

    @precondition(lambda self: self.serials)
    @rule(index=INDEX)
    def stale(self, index: int) -> None:
        """News of a stream that has been followed by another, or of a call that nobody knows any more."""
        call = sorted(self.serials)[index % len(self.serials)]
        assert self.agent.stream_gone(call, self.serials[call] - 1, "ended", now=self.now) == []
        assert self.agent.stream_gone("nobody", 1, "ended", now=self.now) == []

    @rule(length=st.sampled_from([0.0, 0.05, 0.3, 0.5, 1.0, 4.0, 20.0, 33.0, 60.0]), jump=st.booleans())
    def wait(self, length: float, jump: bool) -> None:
        """Time goes by, in one jump or as the shell does it, from one due time to the next."""
        until = self.now + length
        steps = 0
        while not jump and (due := self.agent.next_due) is not None and due <= until:
            self.now = max(self.now, due)
            self.do(self.agent.tick(self.now))
            steps += 1
            assert steps < 3000, "the clock does not get on"
        self.now = until
        self.do(self.agent.tick(until))

    @rule(dice=st.integers(0, 30))
    def close(self, dice: int) -> None:
        if dice == 30:
            self.do(self.agent.close(now=self.now))
            assert self.agent.calls == 0

    # -- what has to hold ------------------------------------------------------------------------------------------

    @invariant()
    def each_call_has_a_port_and_each_port_a_call(self) -> None:
        assert len(self.agent.registry.ports._taken) == len(self.agent.registry.calls)
        assert set(self.streams) <= set(self.agent.registry.calls)
        assert {call.id for call in self.agent.registry.dialogs.values()} == set(self.agent.registry.calls)

    @invariant()
    def who_plays_is_who_should(self) -> None:
        for call in self.agent.registry.calls.values():
            stream = self.streams.get(call.id)
            assert call.media.stream_open == (stream is not None)
            assert call.media.playing == (stream is not None and not stream.dying)
            assert not (call.ended and call.media.playing)

    @invariant()
    def whatever_lives_is_going_to_be_woken(self) -> None:
        for transaction in self.agent.registry.transactions.values():
            waits = self.agent.pending.holds(transaction.key)
            assert waits or transaction.next_due is not None
        due = self.agent.next_due
        assert due is None or not self.agent.pending or due <= self.now + 4.0

    def teardown(self) -> None:
        if self.failed:
            return  # what went wrong first is what should be read
        self.end_all(lambda: self.do(self.agent.close(now=self.now)))
        assert self.agent.idle and self.agent.next_due is None
        agent = self.agent
        assert not any(size for name, size in agent.table_sizes.items() if name != "look-ups")
        assert not agent.registry.ports._taken and not self.streams
        for asked in self.asked:
            assert asked.tags or asked.message.method == "ACK", f"{asked.message.method} never got a final answer"

    def end_all(self, end: Callable[[], None]) -> None:
        """End all calls and let 200 s go by, in which the streams go as they were asked to."""
        end()
        until = self.now + 200.0
        while self.now < until:
            self.now += 0.5
            self.do(self.agent.tick(self.now))
            for call in [call for call, stream in self.streams.items() if stream.dying]:
                self.do(self.agent.stream_gone(call, self.streams.pop(call).serial, "ended", now=self.now))
            self.each_call_has_a_port_and_each_port_a_call()


def _octets(message: Request) -> bytes:
    lines = [f"{message.method} {message.uri} SIP/2.0", *(f"{name}: {value}" for name, value in message.headers)]
    return "\r\n".join([*lines, "", ""]).encode() + message.body


TestPhones = Phones.TestCase
TestPhones.settings = settings(
    max_examples=int(os.environ.get("MOH_STATEFUL", "150")),
    stateful_step_count=60,
    deadline=None,
    derandomize="MOH_STATEFUL" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)
