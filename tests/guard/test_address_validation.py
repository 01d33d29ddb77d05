"""Address validation (RFC 9000 §8.1): octets sent for octets received, and what validates a source; literal clocks."""

from __future__ import annotations

import pytest

from moh.common.actions import Action, Address, Flow, Send
from moh.guard.address_validation import MAX_CREDIT, MAX_UNVALIDATED_CALLS, AddressValidator
from moh.guard.allowances import MAX_SOURCES
from moh.sip.message import Request
from moh.sip.parser import parse
from moh.sip.user_agent import UserAgent
from tests.guard.callers import SHORT_OFFER, UNFIT_OFFER, VICTIM, caller, forged, public_flows
from tests.support.ladder import (
    FLOW,
    PHONE,
    PUBLIC_FLOW,
    SERVER,
    ack,
    answered,
    bye,
    invite,
    make_agent,
    music,
    request,
    response,
    statuses,
    tag,
)


def life(agent: UserAgent, data: bytes, flow: Flow = VICTIM, repeats: tuple[float, ...] = ()) -> tuple[int, int]:
    """Octets received and octets sent in the 100 s from this message on, with its retransmissions at ``repeats``."""
    received = sent = 0
    arrivals = [0.0, *repeats]
    now = 0.0
    while now < 100.0:
        actions: list[Action] = []
        if arrivals and arrivals[0] <= now:
            message = parse(data)
            assert message is not None
            arrivals.pop(0)
            received += len(data)
            actions += agent.receive(message, flow, now)
        actions += agent.tick(now)
        sent += sum(len(action.data) for action in actions if isinstance(action, Send))
        now += 0.25
    return received, sent


# -- octets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        forged(),
        forged(body=SHORT_OFFER),
        forged("INVITE", UNFIT_OFFER),  # refused, and the refusal is retransmitted
        forged("OPTIONS"),
        forged("REGISTER"),
        forged("BYE"),
        forged("CANCEL"),
        forged("DANCE"),
        forged("INVITE", "", 1, "Require: a"),
        forged("INVITE", "", 1, "Contact: <sip:1@203.0.113.200>"),  # where the BYE would go
        b"OPTIONS\r\nv:SIP/2.0/UDP a\r\n\r\n",
    ],
    ids=lambda data: f"{data[:7].decode()}{len(data)}",
)
@pytest.mark.parametrize("repeats", [(), (0.5, 1.5, 3.5)])
def test_an_unvalidated_source_gets_at_most_three_octets_for_each_octet(
    data: bytes, repeats: tuple[float, ...]
) -> None:
    received, sent = life(make_agent(), data, VICTIM, repeats)
    assert sent <= 3 * received


def test_a_call_that_is_never_acknowledged_is_counted_once() -> None:
    agent = make_agent()
    life(agent, forged(body=SHORT_OFFER), VICTIM)
    del agent.tally.counts["not sent to an unvalidated address"]
    assert agent.tally.counts == {"answered, not acknowledged yet": 1, "unacknowledged": 1, "ended by no ACK": 1}


def test_a_private_source_cannot_direct_more_at_a_public_address() -> None:
    """The BYE goes to the public Contact of a private caller, with three octets at most for each of the INVITE."""
    agent = make_agent()
    message = invite(contact="Contact: <sip:201@198.51.100.7>")
    out = [*agent.receive(message, FLOW, now=0.0)]
    for now in range(1, 80):
        out += agent.tick(float(now))
    sent = sum(len(action.data) for action in out if isinstance(action, Send) and action.to.host == "198.51.100.7")
    assert 0 < sent <= 3 * message.size


def test_a_validated_source_gets_all_retransmissions_of_the_rfc() -> None:
    agent = make_agent()
    answered(agent, flow=PUBLIC_FLOW)
    actions = agent.receive(caller(2), PUBLIC_FLOW, now=10.0)
    assert statuses(actions) == [180, 200]
    resent = []
    while agent.next_due is not None and agent.next_due < 42.0:
        now = agent.next_due
        resent += [now - 10] * len(statuses(agent.tick(now)))
    assert resent == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]


def test_a_validation_lasts_an_hour() -> None:
    agent = make_agent()
    answered(agent, flow=PUBLIC_FLOW)
    assert statuses(agent.receive(caller(2), PUBLIC_FLOW, now=3599.0)) == [180, 200]
    assert statuses(agent.receive(caller(3), PUBLIC_FLOW, now=3601.0)) == [200]


def test_each_retransmission_of_the_invite_pays_for_its_response() -> None:
    """Without 180 the phone retransmits it until the 200 arrives, so a call survives the loss of many packets."""
    agent = make_agent()
    first = agent.receive(caller(1), PUBLIC_FLOW, now=0.0)
    for now in (0.5, 1.5, 3.5, 7.5, 15.5, 31.5):
        agent.tick(now)
        assert 200 in statuses(agent.receive(caller(1), PUBLIC_FLOW, now))
    to_tag = tag(response(first))
    assert music(agent.receive(ack(to_tag, call_id="Call-ID: 1"), PUBLIC_FLOW, now=31.6)) != []


def test_the_credit_of_an_invite_pays_for_one_retransmission_of_the_200() -> None:
    agent = make_agent()
    agent.receive(caller(1), PUBLIC_FLOW, now=0.0)
    assert statuses(agent.tick(0.5)) == [200]


def test_an_ack_with_a_guessed_tag_validates_nothing() -> None:
    agent = make_agent()
    agent.receive(caller(1), PUBLIC_FLOW, now=0.0)
    agent.receive(ack("guessed", call_id="Call-ID: 1"), PUBLIC_FLOW, now=0.1)
    assert not agent.guard.is_validated(PUBLIC_FLOW, now=0.2)


def test_tcp_validates_the_source() -> None:
    agent = make_agent()
    tcp = Flow(PUBLIC_FLOW.remote, SERVER, "TCP", 1)
    assert statuses(agent.receive(caller(1), tcp, now=0.0)) == [180, 200]


def test_credit_is_bounded() -> None:
    guard = AddressValidator()
    for _ in range(100):
        guard.credit(VICTIM, 60_000, now=0.0)
    sent = 0
    while guard.may_send(Send(bytes(1000), VICTIM.remote, VICTIM), now=0.0):
        sent += 1000
    assert sent <= MAX_CREDIT


def test_the_via_of_a_public_source_cannot_direct_packets_into_the_private_network() -> None:
    agent = make_agent()
    via = "Via: SIP/2.0/UDP 198.51.100.7:53;branch=z9hG4bKm;maddr=192.168.1.60"
    out = agent.receive(invite(via=via), VICTIM, now=0.0)
    for now in range(1, 80):
        out += agent.tick(float(now))
    assert {action.to.host for action in out if isinstance(action, Send)} == {VICTIM.remote.host}


@pytest.mark.parametrize("source", ["198.51.100.7", "203.0.113.9"])
def test_a_packet_to_an_address_out_of_the_sources_reach_is_paid_from_its_credit(source: str) -> None:
    guard, flow = AddressValidator(), Flow(Address(source, 5060), SERVER)
    guard.validate(PUBLIC_FLOW, PUBLIC_FLOW, now=0.0)  # that is 203.0.113.9; 198.51.100.7 is not validated
    guard.credit(flow, 100, now=0.0)
    assert guard.may_send(Send(bytes(300), PHONE, flow), now=0.0)
    assert not guard.may_send(Send(bytes(1), PHONE, flow), now=0.0)
    assert not guard.may_send(Send(bytes(1), Address("127.0.0.1", 53), FLOW), now=0.0), (
        "a phone cannot reach the loopback of the server either"
    )
    assert guard.may_send(Send(bytes(1000), PHONE, FLOW), now=0.0)


def test_the_ipv6_addresses_of_one_subscriber_are_one_source() -> None:
    guard = AddressValidator()
    one, other = (Flow(Address(host, 5060), SERVER) for host in ("2001:db8::1", "2001:db8::2:3"))
    guard.credit(one, 100, now=0.0)
    assert guard.may_send(Send(bytes(300), other.remote, other), now=0.0)
    assert not guard.may_send(Send(bytes(1), one.remote, one), now=0.0)


# -- what validates ------------------------------------------------------------------------------------------------

ATTACKER = Flow(Address("203.0.113.66", 5060), SERVER)


def to_host(actions: list[Action], host: str) -> list[Send]:
    """Return the messages among ``actions`` that are sent to ``host``."""
    return [action for action in actions if isinstance(action, Send) and action.to.host == host]


@pytest.mark.parametrize("method", ["ACK", "INFO", "OPTIONS", "UPDATE", "BYE"])
def test_the_tag_of_a_call_does_not_validate_another_address(method: str) -> None:
    """The attacker has the tag from a call of its own, and sends it with the victim's source address."""
    agent = make_agent()
    to_tag = answered(agent, flow=ATTACKER)
    out = agent.receive(forged_in_call := request(method, to_tag=to_tag, cseq=f"CSeq: 131 {method}"), VICTIM, now=1.0)
    assert agent.guard.is_validated(ATTACKER, now=1.0) and not agent.guard.is_validated(VICTIM, now=1.0)
    invited = caller(2, VICTIM)
    out += agent.receive(invited, VICTIM, now=1.1)
    for tenth in range(12, 700):
        out += agent.tick(tenth / 10)
    given = sum(len(send.data) for send in to_host(out, VICTIM.remote.host))
    assert 0 < given <= 3 * (forged_in_call.size + invited.size)


@pytest.mark.parametrize("method", ["ACK", "BYE"])
def test_the_tag_in_the_servers_bye_validates_nothing(method: str) -> None:
    """The BYE goes to the Contact, which may be the attacker's in an INVITE with the victim's source address."""
    agent = make_agent()
    agent.receive(invite(contact=f"Contact: <sip:1@{ATTACKER.remote}>"), VICTIM, now=0.0)
    (sent,) = to_host(agent.tick(32.0), ATTACKER.remote.host)
    message = parse(sent.data)
    assert isinstance(message, Request) and message.method == "BYE"
    agent.receive(request(method, to_tag=message.from_.tag, cseq=f"CSeq: 131 {method}"), VICTIM, now=32.1)
    assert not agent.guard.is_validated(VICTIM, now=32.1)


def test_only_the_source_of_an_invite_may_cancel_it_and_get_its_tag() -> None:
    """RFC 3261 §22.1. With the tag a forged ACK would validate the victim's address, and start music to it."""
    agent = make_agent()
    to_tag = tag(response(agent.receive(invite(), VICTIM, now=0.0)))
    cancel = request("CANCEL", via="Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKinvite1;rport")
    refusal = response(agent.receive(cancel, ATTACKER, now=0.1))
    assert refusal.status == 481 and tag(refusal) != to_tag
    answer = response(agent.receive(cancel, VICTIM, now=0.2))
    assert (answer.status, tag(answer)) == (200, to_tag)


def test_a_call_whose_ack_comes_from_another_address_gets_music_and_stays() -> None:
    """A proxy has sent the INVITE, or the phone's NAT has several addresses: neither address is validated."""
    agent = make_agent(ports=(10000, 10100), shared=10100)
    to_tag = tag(response(agent.receive(invite(), PUBLIC_FLOW, now=0.0)))
    assert len(music(agent.receive(ack(to_tag), VICTIM, now=0.1))) == 1
    assert not agent.guard.is_validated(PUBLIC_FLOW, now=0.2) and not agent.guard.is_validated(VICTIM, now=0.2)
    for number, flow in enumerate(public_flows(MAX_UNVALIDATED_CALLS + 1), 1):
        agent.receive(caller(number, flow), flow, now=0.2)
    assert not agent.registry.calls[to_tag].ended, "an acknowledged call does not end for unvalidated ones"
    assert statuses(agent.receive(bye(to_tag), VICTIM, now=0.3)) == [200]


def test_an_ack_from_another_ipv6_address_of_the_subscriber_validates() -> None:
    agent = make_agent()
    one, other = (
        Flow(Address(host, 5060), Address("2001:db8::100", 5060)) for host in ("2001:db8:1::1", "2001:db8:1::2")
    )
    to_tag = tag(response(agent.receive(invite(), one, now=0.0)))
    agent.receive(ack(to_tag), other, now=0.1)
    assert agent.guard.is_validated(one, now=0.2)


def test_a_reinvite_does_not_validate_its_source() -> None:
    """The re-INVITE moves the call to another address, but the tag was sent to the former one."""
    agent = make_agent()
    to_tag = answered(agent, flow=ATTACKER)
    agent.receive(
        invite(to_tag=to_tag, via="Via: SIP/2.0/UDP a;branch=z9hG4bKre", cseq="CSeq: 131 INVITE"), VICTIM, now=1
    )
    agent.receive(ack(to_tag, cseq="CSeq: 131 ACK"), VICTIM, now=1.1)
    assert not agent.guard.is_validated(VICTIM, now=1.2)


def test_both_tables_of_sources_are_bounded() -> None:
    validator = AddressValidator()
    for number in range(2 * MAX_SOURCES):
        flow = Flow(Address(f"198.51.{number // 250}.{number % 250}", 1), SERVER)
        validator.credit(flow, 100, now=0.0)
        validator.validate(flow, flow, now=0.0)
    assert len(validator._accounts) == len(validator._validated_until) == MAX_SOURCES
