"""A host name in c=: its call waits for the address, and no other does (RFC 7088 §5.4, RFC 3261 §9.2, §14.2)."""

from __future__ import annotations

import pytest

from moh.common.actions import Action, Address, Flow, Resolve, Send, StartStream, Trust
from moh.guard.allowances import PUBLIC_ALLOWANCE
from moh.sip.message import Request
from moh.sip.user_agent import UserAgent
from tests.support.ladder import (
    FLOW,
    OFFER,
    PUBLIC_FLOW,
    ack,
    answered,
    bye,
    invite,
    lookup,
    make_agent,
    methods,
    music,
    reinvite,
    request,
    response,
    sent,
    statuses,
    tag,
)

NAMED = OFFER.replace("192.168.1.77", "held.example")


def test_the_invite_gets_100_until_the_name_is_resolved() -> None:
    agent = make_agent()
    actions = agent.receive(invite(body=NAMED), FLOW, now=0.0)
    assert statuses(actions) == [100]
    assert actions[-1] == lookup("held.example")
    assert statuses(agent.receive(invite(body=NAMED), FLOW, now=0.5)) == [100], "it is looked up once"
    actions = agent.resolved(lookup("held.example"), "192.168.1.99", now=0.6)
    assert statuses(actions) == [180, 200]
    (start,) = music(actions)
    assert isinstance(start, StartStream) and start.target.remote == Address("192.168.1.99", 17422)
    assert agent.resolved(lookup("held.example"), "192.168.1.99", now=0.7) == []


def test_a_name_without_an_address_is_488_with_a_warning() -> None:
    agent = make_agent()
    agent.receive(invite(body=NAMED), FLOW, now=0.0)
    answer = response(agent.resolved(lookup("held.example"), "", now=0.6))
    assert (answer.status, (answer.first("warning") or "")[:4]) == (488, "301 ")
    assert "held.example" in (answer.first("warning") or "")
    assert agent.idle


def test_a_name_that_takes_too_long_is_488() -> None:
    agent = make_agent()
    agent.receive(invite(body=NAMED), FLOW, now=0.0)
    assert statuses(agent.tick(now=3.9)) == []
    assert statuses(agent.tick(now=4.0)) == [488]
    assert agent.resolved(lookup("held.example"), "192.168.1.99", now=9.0) == []


def test_cancel_of_a_pending_invite_is_200_and_487() -> None:
    agent = make_agent()
    agent.receive(invite(body=NAMED), FLOW, now=0.0)
    cancel = request("CANCEL", via="Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKinvite1;rport")
    actions = agent.receive(cancel, FLOW, now=0.5)
    assert statuses(actions) == [200, 487]
    assert len({tag(message) for message in sent(actions)}) == 1
    assert agent.resolved(lookup("held.example"), "192.168.1.99", now=1.0) == []
    assert agent.idle


def test_a_pending_reinvite_refuses_the_next_offer_and_bye_ends_both() -> None:
    agent = make_agent()
    call = answered(agent)
    assert statuses(agent.receive(reinvite(call, 131, NAMED), FLOW, now=1.0)) == [100]
    refusal = response(agent.receive(reinvite(call, 132, OFFER), FLOW, now=1.1))
    assert (refusal.status, refusal.first("retry-after")) == (500, "2")
    actions = agent.receive(bye(call, cseq="CSeq: 133 BYE"), FLOW, now=1.2)
    assert statuses(actions) == [200, 487]
    assert agent.calls == 0


def test_the_answer_in_an_ack_may_have_a_host_name() -> None:
    agent = make_agent()
    call = tag(response(agent.receive(invite(body=""), FLOW, now=0.0)))
    assert agent.receive(ack(call, body=NAMED), FLOW, now=0.2) == [lookup("held.example")]
    assert statuses(agent.tick(now=1.0)) == [], "the ACK has come, so the 200 is not resent"
    (start,) = music(agent.resolved(lookup("held.example"), "192.168.1.99", now=1.1))
    assert isinstance(start, StartStream) and start.target.remote.host == "192.168.1.99"


def test_an_answer_in_an_ack_whose_name_has_no_address_ends_the_call() -> None:
    agent = make_agent()
    call = tag(response(agent.receive(invite(body=""), FLOW, now=0.0)))
    agent.receive(ack(call, body=NAMED), FLOW, now=0.2)
    assert methods(agent.resolved(lookup("held.example"), "", now=1.1)) == ["BYE"]


def test_two_names_without_an_address_are_488_and_each_is_looked_up_once() -> None:
    agent = make_agent()
    two = NAMED + "m=audio 17424 RTP/AVP 0\nc=IN IP4 other.example\n"
    assert agent.receive(invite(body=two), FLOW, now=0.0)[-1] == lookup("held.example")
    assert agent.resolved(lookup("held.example"), "", now=1.0) == [lookup("other.example")], "and no second 100"
    assert agent.next_due == 4.0, "all names have one deadline together"
    assert statuses(agent.resolved(lookup("other.example"), "", now=2.0)) == [488]


def test_of_two_names_the_one_with_an_address_gets_the_music() -> None:
    agent = make_agent()
    two = NAMED + "m=audio 17424 RTP/AVP 0\nc=IN IP4 other.example\n"
    agent.receive(invite(body=two), FLOW, now=0.0)
    agent.resolved(lookup("held.example"), "", now=1.0)
    (start,) = music(agent.resolved(lookup("other.example"), "192.168.1.98", now=2.0))
    assert isinstance(start, StartStream) and start.target.remote == Address("192.168.1.98", 17424)


def test_a_pending_invite_that_comes_again_by_another_way_is_482() -> None:
    agent = make_agent()
    agent.receive(invite(body=NAMED), FLOW, now=0.0)
    other_way = invite(body=NAMED, via="Via: SIP/2.0/UDP 192.168.1.60:5060;branch=z9hG4bKfork")
    assert statuses(agent.receive(other_way, FLOW, now=0.1)) == [482]
    agent.resolved(lookup("held.example"), "192.168.1.99", now=0.6)
    assert agent.calls == 1


def test_a_request_that_overtakes_a_pending_reinvite_does_not_make_it_old() -> None:
    agent = make_agent()
    call = answered(agent)
    agent.receive(reinvite(call, 131, NAMED), FLOW, now=1.0)
    digits = request("INFO", to_tag=call, cseq="CSeq: 132 INFO")
    assert statuses(agent.receive(digits, FLOW, now=1.1)) == [200]
    assert statuses(agent.resolved(lookup("held.example"), "192.168.1.99", now=1.2)) == [200]


def test_a_name_in_a_multipart_answer() -> None:
    agent = make_agent()
    call = tag(response(agent.receive(invite(body=""), FLOW, now=0.0)))
    body = f"--x\nContent-Type: application/sdp\n\n{NAMED}--x--\n"
    answer = ack(call, "Content-Type: multipart/mixed;boundary=x", body=body)
    assert agent.receive(answer, FLOW, now=0.2) == [lookup("held.example")]
    assert len(music(agent.resolved(lookup("held.example"), "192.168.1.99", now=0.3))) == 1


def test_a_stopping_server_refuses_pending_requests() -> None:
    agent = make_agent()
    agent.receive(invite(body=NAMED), FLOW, now=0.0)
    assert statuses(agent.close(0.0, now=1.0)) == [503]
    assert agent.resolved(lookup("held.example"), "192.168.1.99", now=1.1) == []


# -- how many ------------------------------------------------------------------------------------------------------


def calling(number: int, name: str, flow: Flow = PUBLIC_FLOW) -> Request:
    via = f"Via: SIP/2.0/UDP {flow.remote.host};branch=z9hG4bK{number};rport"
    return invite(body=NAMED.replace("held.example", name), via=via, call_id=f"Call-ID: {number}")


def fill(agent: UserAgent, flow: Flow = PUBLIC_FLOW, now: float = 0.0) -> list[Resolve]:
    """So many names as one stranger may have looked up at once."""
    actions: list[Action] = []
    for number in range(PUBLIC_ALLOWANCE.names):
        actions += agent.receive(calling(number, f"silent{number}.example", flow), flow, now)
    asked = [action for action in actions if isinstance(action, Resolve)]
    assert len(asked) == PUBLIC_ALLOWANCE.names
    return asked


def test_one_source_gets_503_for_more_than_a_few_look_ups_at_once() -> None:
    agent = make_agent()
    asked = fill(agent)
    refused = agent.receive(calling(9, "one-more.example"), PUBLIC_FLOW, now=0.1)
    assert (response(refused).status, response(refused).first("retry-after")) == (503, "5")
    assert lookup("one-more.example", PUBLIC_FLOW, Trust.UNVALIDATED) not in refused
    assert agent.receive(calling(10, "one-more.example", FLOW), FLOW, now=0.1)[-1] == lookup("one-more.example")
    agent.resolved(asked[0], "", now=0.2)
    assert statuses(agent.receive(calling(11, "one-more.example"), PUBLIC_FLOW, now=0.3)) == [100]


def test_a_look_up_counts_until_it_is_over_even_if_no_request_waits_for_it() -> None:
    agent = make_agent()
    asked = fill(agent)
    agent.tick(4.0)
    assert not agent.pending
    assert statuses(agent.receive(calling(9, "one-more.example"), PUBLIC_FLOW, now=4.1)) == [503]
    assert agent.discard_unwanted(asked[0]), "no request waits for it any more"
    assert statuses(agent.receive(calling(10, "one-more.example"), PUBLIC_FLOW, now=4.2)) == [100]
    assert not agent.discard_unwanted(lookup("one-more.example", PUBLIC_FLOW, Trust.UNVALIDATED))


def test_a_name_is_looked_up_once_for_all_calls_of_a_source() -> None:
    agent = make_agent()
    assert agent.receive(calling(1, "pbx.example", FLOW), FLOW, now=0.0)[-1] == lookup("pbx.example")
    for number in range(2, 50):
        assert [type(action) for action in agent.receive(calling(number, "pbx.example", FLOW), FLOW, now=0.1)] == [Send]
    assert statuses(agent.resolved(lookup("pbx.example"), "192.168.1.99", now=0.2)) == [180, 200] * 49


@pytest.mark.parametrize("way", [PUBLIC_FLOW, PUBLIC_FLOW._replace(transport="TCP", connection=1)])
def test_a_source_that_is_validated_by_its_call_is_not_trusted(way: Flow) -> None:
    """Two addresses with four silent names each would keep those of private networks waiting."""
    agent = make_agent()
    answered(agent, flow=way)
    asked = agent.receive(calling(1, "silent.example", way), way, now=1.0)[-1]
    assert isinstance(asked, Resolve) and asked.trust is Trust.VALIDATED
    asked = agent.receive(calling(2, "pbx.example", FLOW), FLOW, now=1.0)[-1]
    assert isinstance(asked, Resolve) and asked.trust is Trust.TRUSTED


def test_the_look_up_of_an_unvalidated_source_is_not_shared_with_trusted_ones() -> None:
    """Otherwise a failed look-up of an unvalidated source would fail those of trusted sources as well."""
    agent = make_agent()
    agent.receive(calling(1, "pbx.example"), PUBLIC_FLOW, now=0.0)
    assert agent.receive(calling(2, "pbx.example", FLOW), FLOW, now=0.0)[-1] == lookup("pbx.example")
    assert statuses(agent.resolved(lookup("pbx.example", PUBLIC_FLOW, Trust.UNVALIDATED), "", now=0.1)) == [488]
    assert statuses(agent.resolved(lookup("pbx.example"), "192.168.1.99", now=0.2)) == [180, 200]


def test_one_look_up_too_many_within_a_call_is_503_and_the_call_goes_on() -> None:
    agent = make_agent()
    call = answered(agent, flow=PUBLIC_FLOW)
    fill(agent, now=1.0)
    assert statuses(agent.receive(reinvite(call, 131, NAMED), PUBLIC_FLOW, now=1.1)) == [503]
    assert agent.calls == 1 and len(agent.pending) == PUBLIC_ALLOWANCE.names


def test_one_look_up_too_many_for_the_answer_in_an_ack_ends_the_call() -> None:
    agent = make_agent()
    call = tag(response(agent.receive(invite(body=""), PUBLIC_FLOW, now=0.0)))
    fill(agent)
    assert methods(agent.receive(ack(call, body=NAMED), PUBLIC_FLOW, now=0.2)) == ["BYE"]


# -- UPDATE --------------------------------------------------------------------------------------------------------


def test_a_pending_update_gets_no_provisional_answer() -> None:
    agent = make_agent()
    call = answered(agent)
    update = request("UPDATE", body=NAMED, to_tag=call, cseq="CSeq: 131 UPDATE")
    assert agent.receive(update, FLOW, now=1.0) == [lookup("held.example")]
    assert agent.receive(update, FLOW, now=1.5) == []
    actions = agent.resolved(lookup("held.example"), "192.168.1.99", now=1.6)
    assert statuses(actions) == [200] and len(music(actions)) == 1
