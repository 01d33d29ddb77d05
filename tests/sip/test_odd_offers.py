"""Offers that real devices send: holds that are odd, streams that are not ours, the first one that can be played to.

RFC 3264 §6.1, RFC 3261 §14.2, RFC 3311 §5.2.
"""

from __future__ import annotations

import pytest

from moh.common.actions import Action, Address, Resolve, StartStream, StopStream
from moh.common.addresses import networks
from moh.guard.media_policy import MediaPolicy
from moh.sip.message import Request
from moh.sip.user_agent import UserAgent
from tests.support.ladder import (
    FLOW,
    HELD,
    OFFER,
    PUBLIC_FLOW,
    SERVER,
    ack,
    answered,
    invite,
    make_agent,
    methods,
    music,
    notes,
    request,
    response,
    sent,
    statuses,
    tag,
)
from tests.support.odd_offers import HOLDS, PLAYABLE, SWITCHED_OFF, filled, playable

ANN = (HELD, 17422)
VIA = "Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bK{};rport"
LOCAL_MEDIA = MediaPolicy(
    is_ours=lambda host: host == SERVER.host,
    is_broadcast=lambda host: host.endswith(".255"),
    own_ports=frozenset({5060}),
    allowed=networks("192.168.1.0/24"),
)
TWO = "v=0\ns=-\nc=IN IP4 192.168.1.77\nt=0 0\n{}m=audio 17422 RTP/AVP 0\n"
SECURE = "RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAA\r\n"


def change(
    agent: UserAgent, call: str, method: str, number: int, body: str, now: float, **changed: str
) -> list[Action]:
    via = VIA.format(f"{method}{number}")
    message = request(method, body=body, to_tag=call, cseq=f"CSeq: {number} {method}", via=via, **changed)
    actions = agent.receive(message, FLOW, now)
    if method == "INVITE":
        agent.receive(ack(call, cseq=f"CSeq: {number} ACK"), FLOW, now + 0.1)
    return actions


# -- holds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
@pytest.mark.parametrize("odd", HOLDS)
def test_a_hold_within_a_call_gets_inactive_and_stops_the_music_until_the_resume(odd: str, method: str) -> None:
    agent = make_agent(ipv6=False, destinations=LOCAL_MEDIA)
    call = answered(agent)
    actions = change(agent, call, method, 131, filled(HOLDS[odd], ANN), now=10.0)
    assert statuses(actions) == [200]
    body = response(actions).body
    assert b"\r\na=inactive\r\n" in body and b"\r\nm=audio 10000 RTP/AVP " in body
    assert body.count(b"\r\nm=") == HOLDS[odd].count("\r\nm=")
    assert music(actions) == [StopStream(call)]
    (start,) = music(change(agent, call, method, 132, OFFER, now=30.0))
    assert isinstance(start, StartStream)
    assert (start.position, start.target.remote) == (10.0, Address(*ANN))
    assert agent.calls == 1


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
@pytest.mark.parametrize("odd", SWITCHED_OFF)
def test_a_stream_that_is_switched_off_stops_the_music_until_it_is_back(odd: str, method: str) -> None:
    agent = make_agent()
    call = answered(agent)
    actions = change(agent, call, method, 131, filled(SWITCHED_OFF[odd], ANN), now=10.0)
    assert statuses(actions) == [200]
    assert b"\r\nm=audio 0 " in response(actions).body and b"a=inactive" not in response(actions).body
    assert music(actions) == [StopStream(call)]
    (start,) = music(change(agent, call, method, 132, OFFER, now=30.0))
    assert isinstance(start, StartStream) and start.position == 10.0


@pytest.mark.parametrize("odd", HOLDS)
def test_a_first_offer_on_hold_is_answered_and_the_resume_plays(odd: str) -> None:
    agent = make_agent(ipv6=False, destinations=LOCAL_MEDIA)
    actions = agent.receive(invite(body=filled(HOLDS[odd], ANN)), FLOW, now=0.0)
    assert statuses(actions) == [180, 200] and music(actions) == []
    assert b"\r\na=inactive\r\n" in response(actions).body
    call = tag(response(actions))
    agent.receive(ack(call), FLOW, now=0.1)
    assert len(music(change(agent, call, "INVITE", 131, OFFER, now=5.0))) == 1


@pytest.mark.parametrize("odd", [*HOLDS, *SWITCHED_OFF])
def test_a_hold_in_the_ack_of_a_late_offer_keeps_the_call(odd: str) -> None:
    agent = make_agent(ipv6=False, destinations=LOCAL_MEDIA)
    call = tag(response(agent.receive(invite(body=""), FLOW, now=0.0)))
    body = filled({**HOLDS, **SWITCHED_OFF}[odd], ANN)
    actions = agent.receive(ack(call, body=body), FLOW, now=0.1)
    assert methods(actions) == [] and music(actions) == []
    assert len(music(change(agent, call, "INVITE", 131, OFFER, now=5.0))) == 1


@pytest.mark.parametrize("odd", HOLDS)
def test_a_hold_in_the_ack_of_a_reinvite_stops_the_music(odd: str) -> None:
    agent = make_agent(ipv6=False, destinations=LOCAL_MEDIA)
    call = answered(agent)
    empty = request("INVITE", to_tag=call, cseq="CSeq: 131 INVITE", via=VIA.format("late"))
    assert statuses(agent.receive(empty, FLOW, now=5.0)) == [200]
    late = ack(call, body=filled(HOLDS[odd], ANN), cseq="CSeq: 131 ACK")
    assert music(agent.receive(late, FLOW, now=5.1)) == [StopStream(call)]
    assert agent.calls == 1


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
@pytest.mark.parametrize(
    "contact", ["<sip:201@192.168.1.50:0>", "<sip:>", "sip", "<sip:201@192.168.1.50:70000>", "<sip:201@[::1>"]
)
def test_a_hold_with_a_contact_that_cannot_be_read_keeps_the_former_one(method: str, contact: str) -> None:
    agent = make_agent()
    call = answered(agent)
    hold = filled(HOLDS["inactive"], ANN)
    actions = change(agent, call, method, 131, hold, now=10.0, contact=f"Contact: {contact}")
    assert statuses(actions) == [200] and music(actions) == [StopStream(call)]
    assert len(music(change(agent, call, method, 132, OFFER, now=12.0))) == 1
    (goodbye,) = sent(agent.close(0.0, now=13.0))
    assert isinstance(goodbye, Request) and goodbye.uri == "sip:201@192.168.1.50:5062"


def test_a_hold_looks_no_name_up() -> None:
    agent = make_agent()
    call = answered(agent)
    actions = change(agent, call, "INVITE", 131, OFFER.replace(HELD, "x.example").replace("recvonly", "inactive"), 1.0)
    assert [action for action in actions if isinstance(action, Resolve)] == []


def test_a_hold_by_srtp_is_answered_in_a_call_that_shares_its_port() -> None:
    agent = make_agent(most=0, shared=10100)
    call = answered(agent)
    body = filled(HOLDS["inactive"].replace("RTP/AVP 0 8\r\n", SECURE), ANN)
    actions = change(agent, call, "INVITE", 131, body, now=1.0)
    assert statuses(actions) == [200] and b"m=audio 10100 RTP/SAVP 0\r\n" in response(actions).body
    assert music(actions) == [StopStream(call)]


def test_a_hold_leaves_the_local_address_of_the_answer_as_it_was() -> None:
    agent = make_agent()
    first = response(agent.receive(invite(body=OFFER.replace(f"IN IP4 {HELD}", "IN IP6 fd00::77")), FLOW, now=0.0))
    agent.receive(ack(tag(first)), FLOW, now=0.1)
    actions = change(agent, tag(first), "INVITE", 131, filled(HOLDS["unspecified address"], ANN), now=1.0)
    assert b"\r\nc=IN IP6 2001:db8::100\r\n" in response(actions).body


# -- the first stream that can be played to ----------------------------------------------------------------------


@pytest.mark.parametrize("odd", PLAYABLE)
def test_odd_streams_beside_the_one_that_is_used_get_port_0(odd: str) -> None:
    body = filled(playable(PLAYABLE[odd]), ANN)
    actions = make_agent().receive(invite(body=body), FLOW, now=0.0)
    assert statuses(actions) == [180, 200]
    (start,) = music(actions)
    assert isinstance(start, StartStream) and start.target.remote == Address(*ANN)
    ports = [line.split()[1] for line in response(actions).body.decode().split("\r\n") if line.startswith("m=")]
    assert sorted(ports, key=int) == ["0"] * (len(ports) - 1) + ["10000"] and len(ports) == body.count("\r\nm=")


@pytest.mark.parametrize("odd", PLAYABLE)
def test_odd_streams_in_the_ack_of_a_late_offer_do_not_end_the_call(odd: str) -> None:
    agent = make_agent()
    call = tag(response(agent.receive(invite(body=""), FLOW, now=0.0)))
    actions = agent.receive(ack(call, body=filled(playable(PLAYABLE[odd]), ANN)), FLOW, now=0.1)
    (start,) = music(actions)
    assert isinstance(start, StartStream) and start.target.remote == Address(*ANN)


@pytest.mark.parametrize(
    ("first", "why"),
    [
        ("m=audio 4000 RTP/AVP 0\nc=IN IP6 2001:db8::7\n", "address is 2001:db8::7; expected one that the owner"),
        ("m=audio 4000 RTP/AVP 0\nc=IN IP4 10.0.0.7\n", "address is 10.0.0.7; expected one that the owner"),
        ("m=audio 4000 RTP/AVP 0\nc=IN IP4 192.168.1.255\n", "address is 192.168.1.255; expected that of one host"),
        ("m=audio 5060 RTP/AVP 0\nc=IN IP4 192.168.1.100\n", "expected no port of this server itself"),
    ],
)
def test_where_the_first_stream_may_not_be_played_to_the_second_is(first: str, why: str) -> None:
    agent = make_agent(ipv6=False, destinations=LOCAL_MEDIA)
    actions = agent.receive(invite(body=TWO.format(first)), FLOW, now=0.0)
    (start,) = music(actions)
    assert isinstance(start, StartStream) and start.target.remote == Address(*ANN)
    assert b"\r\nm=audio 0 RTP/AVP 0\r\nm=audio 10000 RTP/AVP 0\r\n" in response(actions).body
    alone = make_agent(ipv6=False, destinations=LOCAL_MEDIA)
    only = TWO.format(first).replace("m=audio 17422 RTP/AVP 0\n", "")
    actions = alone.receive(invite(body=only), FLOW, now=0.0)
    assert statuses(actions) == [488] and why in notes(actions)[0] and alone.idle


def test_where_no_route_leads_to_the_first_stream_the_second_is_used() -> None:
    agent = make_agent(ipv6=False)
    first = "m=audio 4000 RTP/AVP 0\nc=IN IP6 2001:db8::7\n"
    (start,) = music(agent.receive(invite(body=TWO.format(first)), FLOW, now=0.0))
    assert isinstance(start, StartStream) and start.target.remote == Address(*ANN)
    only = OFFER.replace(f"IN IP4 {HELD}", "IN IP6 2001:db8::7")
    refused = agent.receive(invite(body=only, call_id="Call-ID: 2", via=VIA.format("second")), FLOW, now=1.0)
    assert statuses(refused) == [488] and "no way from here" in notes(refused)[0] and agent.calls == 1


def test_the_last_reason_is_told_where_no_stream_is_left() -> None:
    agent = make_agent(destinations=LOCAL_MEDIA)
    two = TWO.format("m=audio 4000 RTP/AVP 18\n").replace(HELD, "10.0.0.7")
    actions = agent.receive(invite(body=two), FLOW, now=0.0)
    assert "expected one that the owner of this server allows music to" in (response(actions).first("warning") or "")


def test_a_stream_on_hold_is_taken_where_the_one_that_wants_music_may_not_get_it() -> None:
    agent = make_agent(destinations=LOCAL_MEDIA)
    first = "m=audio 4000 RTP/AVP 0\nc=IN IP4 10.0.0.7\n"
    actions = agent.receive(invite(body=TWO.format(first) + "a=inactive\n"), FLOW, now=0.0)
    assert statuses(actions) == [180, 200] and music(actions) == []


def test_where_a_name_leads_to_a_forbidden_address_the_next_stream_is_used() -> None:
    agent = make_agent(destinations=LOCAL_MEDIA)
    first = "m=audio 4000 RTP/AVP 0\nc=IN IP4 held.example\n"
    *_, lookup = agent.receive(invite(body=TWO.format(first)), FLOW, now=0.0)
    assert isinstance(lookup, Resolve)
    (start,) = music(agent.resolved(lookup, "10.0.0.7", now=0.5))
    assert isinstance(start, StartStream) and start.target.remote == Address(*ANN)


@pytest.mark.parametrize(
    "rtcp",
    ["5001 IN IP4 10.0.0.7", "5001 IN IP4 192.168.1.255", "5001 IN IP6 2001:db8::7", "5060 IN IP4 192.168.1.100"],
)
def test_rtcp_to_a_host_that_is_not_allowed_costs_the_rtcp_and_not_the_call(rtcp: str) -> None:
    agent = make_agent(destinations=LOCAL_MEDIA)
    actions = agent.receive(invite(body=f"{OFFER}a=rtcp:{rtcp}\n"), FLOW, now=0.0)
    agent.receive(ack(tag(response(actions))), FLOW, now=0.1)
    (start,) = music(actions)
    assert isinstance(start, StartStream)
    assert start.target.remote == Address(*ANN) and start.target.remote_rtcp.host == HELD


def test_of_srtp_and_rtp_in_the_answer_of_an_ack_the_rtp_is_used() -> None:
    agent = make_agent()
    call = tag(response(agent.receive(invite(body=""), FLOW, now=0.0)))
    answer = playable(f"m=audio 4000 {SECURE}" + PLAYABLE["TAB instead of spaces"])
    (start,) = music(agent.receive(ack(call, body=filled(answer, ANN)), FLOW, now=0.1))
    assert isinstance(start, StartStream) and start.target.srtp_suite == ""


def test_music_of_the_other_family_leaves_from_an_address_of_that_family_after_an_ack_too() -> None:
    agent = make_agent()
    call = tag(response(agent.receive(invite(body=""), FLOW, now=0.0)))
    answer = OFFER.replace(f"IN IP4 {HELD}", "IN IP6 fd00::77")
    (start,) = music(agent.receive(ack(call, body=answer), FLOW, now=0.1))
    assert isinstance(start, StartStream) and start.target.local.host == "2001:db8::100"


def test_an_answer_in_an_ack_to_which_no_route_leads_ends_the_call() -> None:
    agent = make_agent(ipv6=False)
    call = tag(response(agent.receive(invite(body=""), FLOW, now=0.0)))
    answer = OFFER.replace(f"IN IP4 {HELD}", "IN IP6 fd00::77")
    actions = agent.receive(ack(call, body=answer), FLOW, now=0.1)
    assert methods(actions) == ["BYE"] and "no way from here to fd00::77" in notes(actions)[0]


# -- what a call keeps ---------------------------------------------------------------------------------------------


def test_the_longest_words_of_an_offer_are_answered_with_64_octets_each() -> None:
    long = "x" * 58_000
    for media in (f"m={long} 0 RTP/AVP 0\n", f"m=audio 0 {long} 0\n", f"m=audio 0 RTP/AVP {long}\n"):
        actions = make_agent().receive(invite(body=TWO.format(media)), FLOW, now=0.0)
        assert statuses(actions) == [180, 200]
        assert len(response(actions).body) < 350, media[:20]


def test_the_times_of_an_offer_are_repeated_only_where_they_are_short() -> None:
    body = OFFER.replace("t=0 0\n", "t=1 2\n" + f"t={'9' * 50_000} 0\n")
    answer = response(make_agent().receive(invite(body=body), FLOW, now=0.0)).body
    assert answer.count(b"\r\nt=") == 1 and b"\r\nt=1 2\r\n" in answer


def test_music_for_a_public_phone_waits_for_the_ack_whatever_beside_it_is_odd() -> None:
    agent = make_agent()
    body = filled(playable(PLAYABLE["video at port $"]), ("203.0.113.9", 17422))
    actions = agent.receive(invite(body=body), PUBLIC_FLOW, now=0.0)
    assert music(actions) == []
    assert len(music(agent.receive(ack(tag(response(actions))), PUBLIC_FLOW, now=0.1))) == 1
