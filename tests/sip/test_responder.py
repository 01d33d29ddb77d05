"""Answers and refusals: what they carry, where they go, and what is kept of them (RFC 3261 §8.2.6, §18.2)."""

from __future__ import annotations

from moh.common.actions import Address, Send
from tests.support.ladder import (
    FLOW,
    OFFER,
    PHONE,
    ack,
    invite,
    make_agent,
    request,
    response,
    sent,
    statuses,
    tag,
)


def test_all_answers_of_one_call_carry_its_tag() -> None:
    agent = make_agent()
    actions = agent.receive(invite(), FLOW, now=0.0)
    tags = {tag(message) for message in sent(actions)}
    assert len(tags) == 1 and "" not in tags
    second = agent.receive(
        invite(call_id="Call-ID: other", via="Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKother"), FLOW, now=1.0
    )
    assert tag(response(second)) not in tags


def test_a_refused_invite_is_resent_until_its_ack_and_takes_no_port() -> None:
    agent = make_agent()
    only_g729 = OFFER.replace("RTP/AVP 0 8 101", "RTP/AVP 18")
    actions = agent.receive(invite(body=only_g729), FLOW, now=0.0)
    answer = response(actions)
    assert answer.status == 488
    assert (answer.first("warning") or "").startswith("305 ")
    assert statuses(agent.tick(now=0.5)) == [488]
    to_refusal = ack(tag(answer), via="Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKinvite1;rport")
    assert agent.receive(to_refusal, FLOW, now=0.6) == []
    assert statuses(agent.tick(now=1.5)) == []
    assert agent.idle


def test_a_faulty_request_is_refused_statelessly() -> None:
    agent = make_agent()
    actions = agent.receive(invite(cseq="CSeq: lots INVITE"), FLOW, now=0.0)
    (answer, _) = actions
    assert isinstance(answer, Send) and answer.data.startswith(b"SIP/2.0 400 CSeq is 'lots INVITE'; expected")
    assert agent.next_due is None
    assert agent.receive(ack("x", cseq="CSeq: lots ACK"), FLOW, now=0.0) == [], "an ACK is never answered"


def test_an_unknown_extension_is_420_and_named() -> None:
    answer = response(make_agent().receive(invite("Require: 100rel, teleport"), FLOW, now=0.0))
    assert (answer.status, answer.first("unsupported")) == (420, "teleport")


def test_answers_copy_record_route_and_all_vias_and_our_bye_follows_the_route() -> None:
    agent = make_agent()
    routes = ["<sip:10.0.0.1;lr;ftag=1>", "<sip:10.0.0.2;lr>"]
    via = (
        "Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKp1\r\nVia: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKp2, "
        "SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKp3"
    )
    actions = agent.receive(invite(*(f"Record-Route: {route}" for route in routes), via=via), FLOW, now=0.0)
    answer = response(actions)
    assert answer.all("record-route") == routes
    assert [item.partition(";branch=")[2].partition(";")[0] for item in answer.listed("via")] == [
        "z9hG4bKp1",
        "z9hG4bKp2",
        "z9hG4bKp3",
    ]
    (end,) = [action for action in agent.close(0.0, now=1.0) if isinstance(action, Send)]
    assert end.to == Address("10.0.0.1", 5060)
    (message,) = sent([end])
    assert message.all("route") == routes


def test_an_answer_goes_to_the_source_port_with_rport_and_to_the_port_in_the_via_without() -> None:
    agent = make_agent()
    (with_rport, *_) = agent.receive(request("OPTIONS"), FLOW, now=0.0)
    assert isinstance(with_rport, Send) and with_rport.to == PHONE
    (without,) = agent.receive(request("OPTIONS", via="Via: SIP/2.0/UDP phone.lan:5099;branch=z9hG4bKx"), FLOW, now=0.0)
    assert isinstance(without, Send) and without.to == Address("192.168.1.50", 5099)
