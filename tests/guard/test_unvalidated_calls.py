"""Limits on calls and scanners of unvalidated sources, and the log of them; with literal clocks."""

from __future__ import annotations

import pytest

from moh.common.actions import Address, Flow, Trust
from moh.common.addresses import networks
from moh.guard.address_validation import MAX_UNVALIDATED_CALLS, AddressValidator
from moh.guard.allowances import PUBLIC_ALLOWANCE, TRUSTED_ALLOWANCE, Allowances
from moh.sip.message import Request
from moh.sip.parser import parse
from moh.sip.user_agent import UserAgent
from tests.guard.callers import SHORT_OFFER, UNFIT_OFFER, VICTIM, caller, forged, public_flows
from tests.support.ladder import (
    FLOW,
    OFFER,
    PUBLIC_FLOW,
    SERVER,
    ack,
    answered,
    bye,
    lookup,
    make_agent,
    methods,
    notes,
    request,
    response,
    statuses,
    tag,
)


def test_a_hundred_calls_at_once_from_one_pbx_are_accepted() -> None:
    agent = make_agent(ports=(10000, 12000))
    tags = [tag(response(agent.receive(caller(number), PUBLIC_FLOW, now=0.0))) for number in range(100)]
    for number, to_tag in enumerate(tags):
        agent.receive(ack(to_tag, call_id=f"Call-ID: {number}"), PUBLIC_FLOW, now=0.1)
    assert agent.calls == 100


def test_a_source_without_acks_gets_503_which_leaves_no_state() -> None:
    agent = make_agent(ports=(10000, 12000))
    for number in range(PUBLIC_ALLOWANCE.unacknowledged):
        assert statuses(agent.receive(caller(number), PUBLIC_FLOW, now=0.0)) == [200]
    transactions = len(agent.registry.transactions)
    answer = response(agent.receive(caller(1000), PUBLIC_FLOW, now=0.1))
    assert (answer.status, answer.first("retry-after")) == (503, "5")
    assert len(agent.registry.transactions) == transactions
    assert statuses(agent.receive(caller(1001, VICTIM), VICTIM, now=0.2)) == [200], "other sources can call"
    agent.tick(32.0)
    assert statuses(agent.receive(caller(1002), PUBLIC_FLOW, now=32.1)) == [200]


def test_beyond_512_calls_the_oldest_without_ack_ends() -> None:
    agent = make_agent(ports=(10000, 14000))
    honest = answered(agent, flow=Flow(Address("203.0.113.250", 5060), SERVER))
    for number in range(MAX_UNVALIDATED_CALLS + 200):
        flow = Flow(Address(f"198.51.{number // 250}.{number % 250}", 5060), SERVER)
        assert statuses(agent.receive(caller(number, flow), flow, now=number / 100)) == [200]
    assert agent.calls == MAX_UNVALIDATED_CALLS + 1
    assert honest in agent.registry.calls and not agent.registry.calls[honest].ended
    agent.tick(100.0)
    assert (
        agent.calls == 1
        and not agent.guard._unacknowledged
        and not agent.guard._unvalidated
        and not agent.guard._unacknowledged_of
    )


def most_kept(agent: UserAgent) -> int:
    """Entries of the agent's fullest table."""
    sizes = agent.table_sizes
    sizes["timers"] -= sizes["calls"]
    return max(len(agent.guard._unvalidated), *sizes.values())


def test_a_flood_of_unvalidated_calls_leaves_no_state() -> None:
    """An ended call leaves neither a dialog nor the transaction of its INVITE."""
    agent = make_agent(ports=(10000, 10100), shared=10100)
    for number, flow in enumerate(public_flows(4 * MAX_UNVALIDATED_CALLS)):
        agent.receive(caller(number, flow), flow, now=number / 1000)
        assert most_kept(agent) <= MAX_UNVALIDATED_CALLS
    agent.tick(100.0)
    agent.tick(200.0)
    assert most_kept(agent) == 0


def test_a_call_that_ends_for_a_newer_one_gets_bye_and_may_come_again() -> None:
    agent = make_agent(ports=(10000, 10100), shared=10100)
    first, *rest = public_flows(MAX_UNVALIDATED_CALLS + 1)
    agent.guard.credit(first, 10_000, now=0.0)  # enough to pay for the BYE
    to_tag = tag(response(agent.receive(caller(0, first), first, now=0.0)))
    for number, flow in enumerate(rest, 1):
        actions = agent.receive(caller(number, flow), flow, now=0.1)
    assert methods(actions) == ["BYE"] and response(actions).status == 200
    assert agent.receive(ack(to_tag, call_id="Call-ID: 0"), first, now=0.2) == []
    assert statuses(agent.receive(caller(0, first), first, now=0.5)) == [200], "the retransmission is a new call"


@pytest.mark.parametrize("number", [1, 2], ids=["by its body", "by Require"])
def test_a_refused_invite_of_an_unvalidated_source_leaves_no_state(number: int) -> None:
    agent = make_agent()
    refused = forged("INVITE", UNFIT_OFFER) if number == 1 else forged("INVITE", "", 1, "Require: a")
    message = parse(refused)
    assert isinstance(message, Request)
    first = response(agent.receive(message, VICTIM, now=0.0))
    assert most_kept(agent) == 0
    repeated = response(agent.receive(message, VICTIM, now=0.5))
    assert (repeated.status, tag(repeated)) == (first.status, tag(first)), "as RFC 3261 §8.2.7 has it"
    assert agent.tick(40.0) == []


def test_a_refusal_to_a_validated_source_is_retransmitted_until_its_ack() -> None:
    agent = make_agent()
    answered(agent, flow=PUBLIC_FLOW)  # the ACK validates the source
    unfit = OFFER.replace("RTP/AVP 0 8 101", "RTP/AVP 18")
    assert statuses(agent.receive(caller(7, PUBLIC_FLOW, unfit), PUBLIC_FLOW, now=1.0)) == [488]
    assert statuses(agent.tick(1.5)) == [488]


def test_a_cancel_while_a_name_is_looked_up_gets_487_and_leaves_no_state() -> None:
    agent = make_agent()
    named_host = SHORT_OFFER.replace("198.51.100.7", "held.example")
    invited, cancelled = parse(forged("INVITE", named_host)), parse(forged("CANCEL"))
    assert isinstance(invited, Request) and isinstance(cancelled, Request)
    agent.guard.credit(VICTIM, 10_000, now=0.0)
    assert statuses(agent.receive(invited, VICTIM, now=0.0)) == [100]
    assert statuses(agent.receive(cancelled, VICTIM, now=0.1)) == [200, 487]
    assert agent.resolved(lookup("held.example", VICTIM, Trust.UNVALIDATED), "198.51.100.7", now=0.2) == []
    assert not agent.pending and not agent.registry.merged
    agent.tick(32.2)
    assert most_kept(agent) == 0


def test_500_calls_a_second_from_one_private_address_are_accepted() -> None:
    agent = make_agent(ports=(10000, 14000))
    for number in range(5000):
        now = number / 500
        to_tag = tag(response(agent.receive(caller(number, FLOW), FLOW, now)))
        assert to_tag
        names = {"call_id": f"Call-ID: {number}", "via": f"Via: SIP/2.0/UDP a;branch=z9hG4bKb{number};rport"}
        agent.receive(ack(to_tag, **names), FLOW, now)
        assert statuses(agent.receive(bye(to_tag, **names), FLOW, now)) == [200]
        agent.stream_gone(to_tag, 1, "ended", now=now)
    assert agent.tally.counts == {"ended by BYE": 5000}


@pytest.mark.parametrize(
    ("host", "rate"), [("203.0.113.9", PUBLIC_ALLOWANCE.calls), ("192.168.1.50", TRUSTED_ALLOWANCE.calls)]
)
def test_a_source_has_a_rate_of_calls(host: str, rate: tuple[float, float]) -> None:
    guard = AddressValidator()
    peer = guard.peer(Flow(Address(host, 5060), SERVER), now=0.0)
    assert [guard.call_refusal(peer, now=0.0) for _ in range(int(rate[1]))] == [""] * int(rate[1])
    assert guard.call_refusal(peer, now=0.0) == f"More than {rate[0]:.0f} calls a second from this address"
    assert guard.call_refusal(peer, now=1.0) == ""


def test_a_network_that_the_owner_names_has_the_allowance_of_a_private_one() -> None:
    guard = AddressValidator(Allowances(networks("203.0.113.0/24")))
    peer = guard.peer(PUBLIC_FLOW, now=0.0)
    assert peer.trust is Trust.TRUSTED and not peer.validated
    assert not any(guard.call_refusal(peer, now=0.0) for _ in range(1000))


def test_the_owner_sets_the_rate_of_calls_of_the_networks_in_moh_allow() -> None:
    guard = AddressValidator(Allowances(networks("192.168.1.0/24"), call_rate=3))
    named, other = (guard.peer(Flow(Address(host, 5060), SERVER), now=0.0) for host in ("192.168.1.50", "192.168.2.50"))
    refusals = [guard.call_refusal(named, now=0.0) for _ in range(7)]
    assert refusals == [""] * 6 + ["More than 3 calls a second from this address"]
    assert not any(guard.call_refusal(other, now=0.0) for _ in range(1000))


# -- scanners ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["friendly-scanner", "sipcli/v1.8", "VaxSIPUserAgent/3.1", "sundayddr", "pplsip"])
def test_a_scanner_gets_no_response_and_has_one_log_line(name: str) -> None:
    agent = make_agent()
    first = agent.receive(request("OPTIONS", f"User-Agent: {name}"), PUBLIC_FLOW, now=50.0)
    assert statuses(first) == [] and notes(first) == [f"not answered: {name!r} from 203.0.113.9:5062"]
    for repeat in range(1000):
        assert agent.receive(request("REGISTER", f"User-Agent: {name}"), PUBLIC_FLOW, now=50 + repeat / 1000) == []
    assert agent.tally.drain(now=61.0) == "1000 x 'scanner' (the last from 203.0.113.9)"
    assert statuses(agent.receive(request("OPTIONS", f"User-Agent: {name}"), FLOW, now=61.0)) == [200], (
        "a private source is answered"
    )


def test_calls_without_ack_have_two_log_lines_and_a_count_and_one_about_our_private_contact() -> None:
    agent = make_agent(ports=(10000, 12000))
    lines: list[str] = []
    for number in range(100):
        lines += notes(agent.receive(caller(number), PUBLIC_FLOW, now=50.0))
    lines += notes(agent.tick(now=90.0))
    assert [text.split(" ")[0] for text in lines] == ["answered", "the", "ended", "203.0.113.9:5062"]
    assert lines[1].startswith("the music goes to 192.168.1.77:17422, a private address, but the caller's address 203.")
    assert lines[-1].startswith("203.0.113.9:5062 did not confirm the call (no ACK). The answer names sip:moh@192.168.")
    assert agent.tally.drain(now=100.0) == ", ".join(
        f"99 x {reason!r} (the last from 203.0.113.9)"
        for reason in ("private address from outside", "answered, not acknowledged yet", "unacknowledged")
    )


def test_an_unknown_method_is_counted_as_other() -> None:
    agent = make_agent()
    for number in range(100):
        agent.receive(request(f"DANCE{number}"), FLOW, now=1.0)
    assert agent.tally.counts == {"other 405": 100}
