"""The snapshot of a call: what an owner may ask of it. Literal clocks."""

from __future__ import annotations

import pytest

from moh.common.actions import Address
from moh.rtp.reception import StreamReport
from moh.sip.snapshot import ENDED, ON_HOLD, PLAYING, WAITING, CallSnapshot
from moh.sip.user_agent import UserAgent
from tests.support.ladder import FLOW, OFFER, PHONE, PUBLIC_FLOW, ack, answered, bye, invite, make_agent, response, tag


def only(agent: UserAgent, now: float) -> CallSnapshot:
    (found,) = agent.snapshots(agent.call_ids, now)
    return found


def test_a_call_that_plays() -> None:
    agent = make_agent()
    call = answered(agent)
    agent.reported([StreamReport(call, 7, 500, 500, 5, 0.0, 0.002)], now=10.0)
    found = only(agent, 12.0)
    assert (found.id, found.age, found.source, found.caller) == (call, 12.0, PHONE, "201@pbx.lan")
    assert (found.state, found.played, found.codec, found.ptime) == (PLAYING, 12.0, "PCMU", 20)
    assert (found.receiver, found.port, found.shared) == (Address("192.168.1.77", 17422), 10000, False)
    assert (found.reception.passed, found.reported_before) == (500, 2.0)
    assert found.heard == "the receiver reported 1.0 % lost, jitter 2 ms" and not found.encrypted


def test_a_call_without_a_report_in_the_shared_stream() -> None:
    agent = make_agent(shared=10100, most=0)
    answered(agent)
    found = only(agent, 5.0)
    assert (found.port, found.shared, found.reported_before) == (10100, True, None)


@pytest.mark.parametrize(
    ("body", "state"), [(OFFER, WAITING), ("", WAITING), (OFFER.replace("recvonly", "inactive"), ON_HOLD)]
)
def test_a_call_that_does_not_play_says_why(body: str, state: str) -> None:
    """Towards a public address the music waits for the ACK."""
    agent = make_agent()
    agent.receive(invite(body=body), PUBLIC_FLOW, 0.0)
    found = only(agent, 2.0)
    assert (found.state, found.played) == (state, 0.0)
    assert (found.receiver is None) == (body != OFFER)


def test_an_ended_call_whose_stream_is_still_open_says_so() -> None:
    agent = make_agent()
    call = answered(agent)
    agent.receive(bye(call), FLOW, 3.0)
    assert only(agent, 4.0).state == ENDED
    agent.stream_gone(call, 1, "stopped", now=4.0)
    assert agent.call_ids == [] and agent.snapshots([call], 5.0) == []


@pytest.mark.parametrize(
    ("from_", "caller"),
    [
        ('"Front desk" <sip:201@pbx.lan>;tag=1', "201@pbx.lan"),
        ("sip:201@pbx.lan;tag=1", "201@pbx.lan"),
        ("<sips:+81-3-1234@pbx.lan:5061;transport=tls?x=y>;tag=1", "+81-3-1234@pbx.lan:5061"),
        ("<sip:pbx.lan>;tag=1", "pbx.lan"),
        ("<tel:+8131234>;tag=1", "+8131234"),
        ('"受付" <sip:201@pbx.lan>;tag=1', "201@pbx.lan"),
    ],
)
def test_the_caller_is_the_user_and_host_of_from(from_: str, caller: str) -> None:
    agent = make_agent()
    call = tag(response(agent.receive(invite(from_=f"From: {from_}"), FLOW, 0.0)))
    agent.receive(ack(call, from_=f"From: {from_}"), FLOW, 0.0)
    assert only(agent, 1.0).caller == caller
