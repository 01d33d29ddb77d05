"""The tables of the user agent: what is found in them again, and that each entry leaves them."""

from __future__ import annotations

from moh.common.actions import Send
from tests.support.ladder import FLOW, ack, answered, bye, invite, make_agent, response, statuses, tag


def test_a_retransmitted_invite_gets_the_same_answer_and_makes_no_second_call() -> None:
    agent = make_agent()
    first = agent.receive(invite(), FLOW, now=0.0)
    final = [action for action in first if isinstance(action, Send)][-1]
    for again in range(1, 5):
        assert agent.receive(invite(), FLOW, now=0.05 * again) == [final]
    assert agent.calls == 1


def test_an_invite_that_comes_again_by_another_way_is_482() -> None:
    agent = make_agent()
    agent.receive(invite(), FLOW, now=0.0)
    other_way = invite(via="Via: SIP/2.0/UDP 192.168.1.60:5060;branch=z9hG4bKfork")
    assert statuses(agent.receive(other_way, FLOW, now=0.1)) == [482]
    assert agent.calls == 1


def test_bye_for_an_unknown_call_is_481() -> None:
    agent = make_agent()
    answered(agent)
    assert statuses(agent.receive(bye("wrong"), FLOW, now=1.0)) == [481]
    assert statuses(agent.receive(bye(""), FLOW, now=1.0)) == [481]
    assert agent.calls == 1


def test_a_call_whose_bye_is_never_answered_is_forgotten_after_32_seconds() -> None:
    agent = make_agent()
    to_tag = answered(agent)
    agent.close(now=0.0)
    agent.stream_gone(to_tag, 1, "ended", now=0.1)
    for quarter in range(1, 140):
        agent.tick(now=quarter / 4)
    assert agent.idle


def test_after_200_calls_all_tables_are_empty() -> None:
    agent = make_agent()
    for number in range(200):
        changed = {"call_id": f"Call-ID: {number}", "from_": f"From: <sip:a@b>;tag={number}"}
        via = f"Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bK{number}"
        to_tag = tag(response(agent.receive(invite(via=via, **changed), FLOW, now=number)))
        agent.receive(ack(to_tag, via=via + "a", **changed), FLOW, now=number)
        agent.receive(bye(to_tag, via=via + "b", **changed), FLOW, now=number)
        agent.stream_gone(to_tag, 1, "ended", now=number)
    agent.tick(now=300.0)
    assert agent.idle and agent.next_due is None
    assert not any(agent.table_sizes.values())
    assert not agent.registry.ports._taken
