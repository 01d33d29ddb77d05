"""The tables of the user agent: what is found in them again, and that each entry leaves them."""

from __future__ import annotations

import pytest

from moh.common.actions import Action, Fault, Send
from moh.common.counters import Counters
from moh.guard.address_validation import AddressValidator
from moh.rtp.port_pool import PortPool
from moh.sip.call import Call
from moh.sip.registry import Registry
from moh.sip.transaction import Answer, ServerTransaction, Unacknowledged
from tests.support.forms import pure_only
from tests.support.ladder import (
    FLOW,
    PHONE,
    ack,
    answered,
    bye,
    invite,
    make_agent,
    methods,
    music,
    response,
    statuses,
    tag,
)


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
    agent.close(0.0, now=0.0)
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


# -- settling ------------------------------------------------------------------------------------------------------


def registry() -> Registry:
    return Registry(PortPool(10000, 10100), AddressValidator(), Counters())


def opened(tables: Registry, branch: str = "z9hG4bKa") -> ServerTransaction:
    return tables.open_transaction((branch, "192.168.1.50:5062", "BYE"), "BYE", "ours", FLOW, PHONE)


def test_a_touched_transaction_has_its_timer_after_settling_and_not_before() -> None:
    tables = registry()
    opened(tables).respond(Answer(200, "ours"), bye("ours"), now=1.0)
    assert tables.next_due is None
    tables.settle(1.0)
    assert tables.next_due == 33.0


def test_a_transaction_that_is_gone_leaves_every_table_when_it_is_settled() -> None:
    tables = registry()
    opened(tables).respond(Answer(200, "ours"), bye("ours"), now=1.0)
    tables.settle(1.0)
    for owner in tables.due(33.0):
        tables.touch(owner)
        assert owner.tick(33.0) == []
    tables.settle(1.0)
    assert not tables.transactions and not tables.timers


def test_a_forgotten_transaction_is_not_settled_over_the_one_that_replaces_it() -> None:
    tables = registry()
    tables.forget_transaction(opened(tables))
    later = opened(tables)
    later.respond(Answer(200, "ours"), bye("ours"), now=2.0)
    tables.settle(1.0)
    assert list(tables.transactions.values()) == [later] and tables.timers == 1


@pure_only
def test_a_call_that_was_touched_is_settled_even_if_the_end_of_its_stream_raises_an_exception(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agent = make_agent()
    to_tag = answered(agent)
    (stop,) = music(agent.receive(bye(to_tag, cseq="CSeq: 131 BYE"), FLOW, now=1.0))
    with monkeypatch.context() as patched:
        patched.setattr(Call, "stream_ended", end_and_raise)
        faults = agent.stream_gone(stop.call, 1, "ended", now=1.1)
    assert [str(fault.error) for fault in faults if isinstance(fault, Fault)] == ["a bug", "a bug"], "tried twice"
    assert agent.idle and not agent.registry.ports._taken


def end_and_raise(call: Call, serial: int, *_: object) -> list[Action]:
    call.media.gone(serial, 1.1)
    raise RuntimeError("a bug")


def test_a_bye_that_cannot_be_made_has_changed_nothing_and_is_sent_later() -> None:
    agent = make_agent(longest_call=60.0)
    call = agent.registry.calls[answered(agent)]
    new_token = call._new_token
    call._new_token = raise_a_bug
    (fault,) = agent.tick(now=60.0)
    assert isinstance(fault, Fault) and str(fault.error) == "a bug"
    assert not call.ended and call.media.playing
    call._new_token = new_token
    assert methods(agent.tick(now=60.5)) == ["BYE"] and call.ended and not call.media.playing


def raise_a_bug() -> str:
    raise RuntimeError("a bug")


@pure_only
def test_a_timer_that_raises_an_exception_holds_up_no_other_and_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = make_agent(longest_call=60.0)
    answered(agent)
    agent.receive(invite(call_id="Call-ID: b", via="Via: SIP/2.0/UDP 192.168.1.50;branch=z9hG4bKb"), FLOW, now=0.0)
    agent.tick(now=0.5)
    with monkeypatch.context() as patched:
        patched.setattr(Unacknowledged, "schedule_next", lambda *_: 1 / 0)
        (fault,) = agent.tick(now=1.5)
        assert isinstance(fault, Fault) and isinstance(fault.error, ZeroDivisionError)
    assert agent.next_due == 2.0, "after T1"
    assert statuses(agent.tick(now=2.0)) == [200]


@pure_only
def test_an_invite_that_raises_an_exception_leaves_no_port_and_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = make_agent()
    with monkeypatch.context() as patched:
        patched.setattr(Call, "answer_invite", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            agent.receive(invite(), FLOW, now=0.0)
    assert statuses(agent.refuse(invite(), FLOW, 500, "Unexpected error", now=0.0)) == [500]
    assert not any(agent.table_sizes.values()) and not agent.registry.ports._taken
