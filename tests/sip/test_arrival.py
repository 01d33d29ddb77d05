"""The lines about the music's arrival: what the receiver reports, and the warnings. Literal clocks."""

from __future__ import annotations

import logging

import pytest

from moh.common.actions import Action, Address, Flow, Note
from moh.common.addresses import networks
from moh.guard.media_policy import MediaPolicy
from moh.rtp.reception import StreamReport
from moh.sip.user_agent import UserAgent
from tests.support.ladder import (
    FLOW,
    OFFER,
    SERVER,
    ack,
    answered,
    bye,
    invite,
    make_agent,
    notes,
    octets,
    read,
    reinvite,
    response,
    statuses,
    tag,
)

SRTP = OFFER.replace("RTP/AVP", "RTP/SAVP") + f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{'A' * 40}\n"


def report(call: str, passed: int, lost: int = 0, ssrc: int = 7, sent: int = 1000) -> StreamReport:
    return StreamReport(call, ssrc, sent, passed, lost, 0.0, 0.002)


def warnings(actions: list[Action]) -> list[str]:
    return [each.text for each in actions if isinstance(each, Note) and each.level == logging.WARNING]


def ended(agent: UserAgent, call: str, now: float) -> str:
    (text,) = notes(agent.receive(bye(call, cseq="CSeq: 140 BYE"), FLOW, now))
    return text


# -- the line at the end of a call -----------------------------------------------------------------------------------


def test_the_end_of_a_call_says_what_the_receiver_reported() -> None:
    agent = make_agent()
    call = answered(agent)
    assert agent.reported([report(call, 500, 3), report("no call", 1)], now=10.0) == []
    assert agent.reported([report(call, 3000, 3)], now=60.0) == []
    assert ended(agent, call, 62.0) == (
        "ended after 62 s, music for 62 s: BYE from the caller; the receiver reported 0.1 % lost, jitter 2 ms"
    )
    assert agent.reported([report(call, 3100, 3)], now=62.1) == [], "a report that comes late is no fault"


def test_both_streams_of_a_call_that_was_held_count() -> None:
    agent = make_agent()
    call = answered(agent)
    agent.reported([report(call, 100, 10)], now=5.0)
    agent.receive(reinvite(call, 131, OFFER.replace("recvonly", "inactive")), FLOW, now=10.0)
    agent.receive(ack(call, cseq="CSeq: 131 ACK"), FLOW, now=10.0)
    assert agent.reported([report(call, 100, 100)], now=12.0) == [], "nothing plays"
    agent.stream_gone(call, 1, "stopped", now=10.1)
    agent.receive(reinvite(call, 132), FLOW, now=20.0)
    agent.receive(ack(call, cseq="CSeq: 132 ACK"), FLOW, now=20.0)
    agent.reported([report(call, 100, 0, ssrc=8)], now=25.0)
    assert ended(agent, call, 30.0).endswith("; the receiver reported 5.0 % lost, jitter 2 ms")


@pytest.mark.parametrize(
    ("body", "end"),
    [
        (OFFER, "music for 9 s: BYE from the caller; no report from the receiver"),
        (SRTP, "music for 9 s: BYE from the caller; the receiver's reports are encrypted (SRTP)"),
        (OFFER.replace("recvonly", "inactive"), "music for 0 s: BYE from the caller"),
    ],
)
def test_without_a_report_the_end_of_a_call_says_so(body: str, end: str) -> None:
    agent = make_agent()
    call = tag(response(agent.receive(invite(body=body), FLOW, 0.0)))
    agent.receive(ack(call), FLOW, 0.0)
    assert ended(agent, call, 9.0) == f"ended after 9 s, {end}"


# -- nothing arrives -------------------------------------------------------------------------------------------------


def test_two_reports_in_a_row_without_a_new_packet_cause_one_warning() -> None:
    agent = make_agent()
    call = answered(agent)
    assert agent.reported([report(call, 250)], now=5.0) == []
    assert agent.reported([report(call, 250)], now=10.0) == []
    (warning,) = agent.reported([report(call, 250, sent=750)], now=15.0)
    assert warning == Note(
        logging.WARNING, call,
        "the receiver 192.168.1.77:17422 has reported for 10 s that no music arrives; the server sent about 750 "
        "packets. Allow UDP from port 10000 of this server to 192.168.1.77:17422 in each firewall between them",
        FLOW.remote,
    )  # fmt: skip
    assert agent.reported([report(call, 250)], now=20.0) == [], "once"
    assert ended(agent, call, 21.0).endswith("0 % lost, jitter 2 ms, and nothing in its last 15 s")


def test_one_line_warns_when_no_report_names_the_music() -> None:
    agent = make_agent()
    call = answered(agent)
    assert agent.reported([report(call, 0)], now=5.0) == []
    (warning,) = warnings(agent.reported([report(call, 0, sent=500)], now=10.0))
    assert warning.startswith(
        "for 10 s, no report of the receiver 192.168.1.77:17422 has named a packet of the music; the server sent about "
        "500 packets. Allow UDP"
    )
    assert ended(agent, call, 11.0).endswith("; the receiver's reports name no packet of the music")


def test_a_hundred_calls_of_one_caller_that_hear_nothing_have_one_line_and_a_count() -> None:
    agent = make_agent(ports=(10000, 10400))
    calls = []
    for number in range(100):
        via = f"Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKn{number};rport"
        message = read(octets("INVITE", body=OFFER, call_id=f"Call-ID: {number}", via=via))
        calls.append(tag(response(agent.receive(message, FLOW, 0.0))))
    lines = [agent.reported([report(call, 0) for call in calls], now) for now in (5.0, 10.0, 15.0)]
    assert [len(each) for each in lines] == [0, 1, 0]
    assert agent.tally.drain(now=21.0) == "99 x 'nothing arrives' (the last from 192.168.1.50)"


# -- a private address from outside ----------------------------------------------------------------------------------

CALLER = Flow(Address("203.0.113.9", 5062), SERVER)
CARRIER = Flow(Address("100.64.0.9", 5062), SERVER)
HINT = (
    "the music goes to 192.168.1.77:17422, a private address, but the caller's address 203.0.113.9 is not private. "
    "The music arrives only if 192.168.1.77 is in a network of this server. If it is in the caller's network, "
    "set the public address (NAT, STUN) in the phone or PBX"
)
BY_CALLER = MediaPolicy(callers=networks("203.0.113.9"))
BY_ADDRESS = MediaPolicy(allowed=networks("192.168.0.0/16"))


@pytest.mark.parametrize("policy", [BY_CALLER, BY_ADDRESS], ids=["MOH_ALLOW", "MOH_ALLOW_MEDIA"])
def test_a_private_address_of_a_caller_on_the_internet_has_one_warning(policy: MediaPolicy) -> None:
    agent = make_agent(destinations=policy)
    actions = agent.receive(invite(), CALLER, 0.0)
    call = tag(response(actions))
    (note,) = [each for each in actions if isinstance(each, Note) and each.level == logging.WARNING]
    assert (note.about, note.text) == (call, HINT)
    agent.receive(ack(call), CALLER, 0.1)
    moved = reinvite(call, 131, OFFER.replace("17422", "17424"))
    assert warnings(agent.receive(moved, CALLER, 1.0)) == [], "one line a source, not one a message"


def test_without_a_setting_that_allows_it_the_call_is_refused_as_before() -> None:
    assert statuses(make_agent(destinations=MediaPolicy()).receive(invite(), CALLER, 0.0)) == [488]


def test_a_late_answer_and_a_move_are_looked_at_too() -> None:
    agent = make_agent(destinations=BY_CALLER)
    call = tag(response(agent.receive(invite(body=""), CALLER, 0.0)))
    assert warnings(agent.receive(ack(call, body=OFFER), CALLER, 0.1)) == [HINT]
    other = make_agent(destinations=BY_CALLER)
    call = tag(response(other.receive(invite(body=OFFER.replace("192.168.1.77", "198.51.100.7")), CALLER, 0.0)))
    other.receive(ack(call), CALLER, 0.1)
    assert warnings(other.receive(reinvite(call, 131), CALLER, 1.0)) == [HINT]


@pytest.mark.parametrize(
    ("flow", "host", "warned"),
    [
        (CALLER, "192.168.1.77", True),
        (CALLER, "10.0.0.7", True),
        (CALLER, "169.254.1.1", True),
        (CALLER, "100.64.0.7", True),
        (CALLER, "198.51.100.7", False),
        (CALLER, "203.0.113.9", False),
        (CARRIER, "192.168.1.77", True),  # behind a provider's NAT
        (CARRIER, "100.64.0.7", False),  # one provider, or a VPN that has these addresses
        (CARRIER, "198.51.100.7", False),
        (FLOW, "192.168.1.77", False),
        (FLOW, "10.0.0.7", False),  # another private network, which may have a route
        (FLOW, "100.64.0.7", False),
        (FLOW, "198.51.100.7", False),
    ],
)
def test_only_inward_addresses_of_callers_outside_are_warned_of(flow: Flow, host: str, warned: bool) -> None:
    agent = make_agent(destinations=MediaPolicy(callers=networks("203.0.113.9, 100.64.0.9")))
    actions = agent.receive(invite(body=OFFER.replace("192.168.1.77", host)), flow, 0.0)
    assert statuses(actions)[-1] == 200
    assert bool(warnings(actions)) is warned


def test_a_hold_is_not_warned_of() -> None:
    agent = make_agent(destinations=BY_CALLER)
    actions = agent.receive(invite(body=OFFER.replace("recvonly", "inactive")), CALLER, 0.0)
    assert statuses(actions)[-1] == 200 and warnings(actions) == []
