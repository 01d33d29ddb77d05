"""Several phones act at random, in any order; after each step what has to hold is checked.

``MOH_STATEFUL=5000`` runs that many conversations instead of a few.
"""

from __future__ import annotations

import os
from typing import Optional

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from moh.common.actions import Flow, Send, StreamBegan
from moh.sip.message import Request
from moh.sip.parser import parse
from moh.sip.transaction import transaction_key
from tests.support.ladder import answer_to
from tests.support.random_phones import FLOWS, HOSTS, NAMES, Asked, Phones, Talk, octets

EXTRAS = [
    *([[]] * 10),
    ["Supported: timer", "Allow: INVITE, ACK, BYE, UPDATE", "Session-Expires: 90;refresher=uas"],
    ["Supported: timer", "Allow: INVITE, ACK, BYE", "Session-Expires: 90;refresher=uas"],
    ["Supported: timer", "Session-Expires: 90;refresher=uac"],
    ["Supported: timer"],
    ["Session-Expires: 0", "Allow: UPDATE"],
    ["Supported: timer", "Session-Expires: 60"],
    ["Session-Expires: soon"],
    ["Require: 100rel"],
    ["Require: teleport"],
    ["Contact: unreadable"],  # behind a good one, which is the first of the list and counts
]
BODIES = [*(["plain"] * 8), "none", "none", "two names", "hold", "off", "unfit", "garbage", "multipart"]
INDEX = st.integers(0, 1000)
STEPS = st.sampled_from([1] * 8 + [2, 0, -1])


class Conversations(Phones):
    """The rules: what phones send, what the server reports, and time."""

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
        """Retransmit a request while its transaction exists; by TCP nothing is retransmitted."""
        asked = self.asked[-1 - index % min(len(self.asked), 5)]
        if not asked.flow.reliable and self.now - asked.when < 4.0:
            self.send(asked)

    @precondition(lambda self: self.asked)
    @rule(index=INDEX)
    def fork(self, index: int) -> None:
        """A copy of a first INVITE comes another way."""
        former = self.asked[-1 - index % min(len(self.asked), 5)]
        if former.message.method != "INVITE" or former.message.to.tag or former.message.all("require"):
            return
        self.count += 1
        via = f"SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKfork{self.count};rport"
        text = former.message.via.text
        again = parse(former.octets.replace(text.encode(), via.encode()))
        assert isinstance(again, Request)
        asked = Asked(again, octets(again), former.flow, self.now, former.talk, [])
        if transaction_key(former.message) not in self.agent.registry.transactions:
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
        more = {"contact": "Contact: unreadable"} if spoiled else {}
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
        """To the last INVITE that was answered with 200, or to another; perhaps twice."""
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
        asked = self.ask("ACK", talk, via=f"Via: {last.via.text}", cseq=f"CSeq: {last.cseq.number} ACK")
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
        status=st.sampled_from([100, 200, 200, 200, 403, 405, 408, 422, 480, 481, 491, 500, 603]),
        extra=st.sampled_from(
            ["X: y", "Session-Expires: 90;refresher=uas", "Session-Expires: 0", "Session-Expires: x"]
        ),
        kind=st.sampled_from(BODIES),
        host=st.sampled_from(HOSTS),
    )
    def answer(self, index: int, status: int, extra: str, kind: str, host: str) -> None:
        own, send = self.own[-1 - index % min(len(self.own), 5)]
        content, body = [extra], ""
        if own.method == "INVITE" and status == 200:
            body, more = self.body(kind, host, self.owner[own.from_.tag], acked=True)
            self.offering = []
            content += more
        self.do(self.agent.receive(answer_to(own, status, *content, body=body), send.flow, self.now))

    # -- what the server reports-----------------------------------------------------------------------------------

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
    def discard_unwanted(self) -> None:
        """The resolver asks whether its look-ups are still wanted."""
        self.resolving = {asked for asked in self.resolving if not self.agent.discard_unwanted(asked)}

    @precondition(lambda self: self.streams)
    @rule(index=INDEX, step=st.sampled_from([0, 0, 0, -1]))
    def begins(self, index: int, step: int) -> None:
        """The first packet of a stream has left, or had left of a stream that was replaced by another."""
        call = sorted(self.streams)[-1 - index % min(len(self.streams), 3)]
        stream = self.streams[call]
        stream.begun = stream.begun or step == 0
        self.do(self.agent.streams_began([StreamBegan(call, stream.serial + step)], self.now))
        self.do(self.agent.streams_began([StreamBegan("unknown", 1)], self.now))

    @precondition(lambda self: self.streams)
    @rule(index=INDEX, dies=st.booleans())
    def gone(self, index: int, dies: bool) -> None:
        """A stopped stream ends; or one dies, as ffmpeg may."""
        call = sorted(self.streams)[-1 - index % min(len(self.streams), 3)]
        if self.streams[call].dying or dies:
            stream = self.streams.pop(call)
            self.do(self.agent.stream_gone(call, stream.serial, "ended", now=self.now))

    @precondition(lambda self: self.serials)
    @rule(index=INDEX)
    def stale(self, index: int) -> None:
        """A report of a stream that was replaced by another, or of an unknown call, changes nothing."""
        call = sorted(self.serials)[index % len(self.serials)]
        assert self.agent.stream_gone(call, self.serials[call] - 1, "ended", now=self.now) == []
        assert self.agent.stream_gone("unknown", 1, "ended", now=self.now) == []

    @rule(length=st.sampled_from([0.0, 0.05, 0.3, 0.5, 1.0, 4.0, 20.0, 33.0, 60.0]), jump=st.booleans())
    def wait(self, length: float, jump: bool) -> None:
        """Time passes in one jump, or as in the server, from one timer to the next."""
        until = self.now + length
        steps = 0
        while not jump and (due := self.agent.next_due) is not None and due <= until:
            self.now = max(self.now, due)
            self.do(self.agent.tick(self.now))
            steps += 1
            assert steps < 3000, "timers that expire do not make way for later ones"
        self.now = until
        self.do(self.agent.tick(until))

    @rule(dice=st.integers(0, 30))
    def close(self, dice: int) -> None:
        if dice == 30:
            self.do(self.agent.close(0.0, now=self.now))
            assert self.agent.calls == 0


TestConversations = Conversations.TestCase
TestConversations.settings = settings(
    max_examples=int(os.environ.get("MOH_STATEFUL", "150")),
    stateful_step_count=60,
    deadline=None,
    derandomize="MOH_STATEFUL" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)
