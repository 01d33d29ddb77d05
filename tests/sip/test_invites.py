"""Offers and answers: whole calls as ladder diagrams with literal clocks (RFC 3264, RFC 3261 §13.3, RFC 7088)."""

from __future__ import annotations

import pytest

from moh.common.actions import Address, Flow, StartStream
from moh.guard.media_policy import MediaPolicy
from tests.support.ladder import (
    FLOW,
    OFFER,
    PUBLIC_FLOW,
    ack,
    answered,
    bye,
    invite,
    make_agent,
    methods,
    music,
    notes,
    reinvite,
    request,
    response,
    statuses,
    tag,
)

DIRECTIONS = ("sendrecv", "sendonly", "inactive", "recvonly")


def direction(body: bytes) -> str:
    (found,) = (line[2:] for line in body.decode().split("\r\n") if line[2:] in DIRECTIONS)
    return found


def version(body: bytes) -> int:
    """Return the version in the line ``o=- <session> <version> IN IP4 <address>``."""
    return int(body.split(b"o=", 1)[1].split()[2])


def towards(attribute: str) -> str:
    """Return an offer whose direction is ``attribute``."""
    return OFFER.replace("a=recvonly\n", f"{attribute}\n" if attribute else "")


DIRECTION_TABLE = [
    # offered, answered, answered with MOH_DIRECTION=sendrecv
    ("a=recvonly", "sendonly", "sendonly"),
    ("a=sendrecv", "sendonly", "sendrecv"),
    ("", "sendonly", "sendrecv"),
    ("a=active", "sendonly", "sendrecv"),
    ("a=sendonly", "inactive", "inactive"),
    ("a=inactive", "inactive", "inactive"),
]
"""RFC 3264 §6.1. An offer without a direction, or with an unknown one, is ``sendrecv``."""


@pytest.mark.parametrize(("offered", "answer", "two_way_answer"), DIRECTION_TABLE)
def test_the_direction_follows_the_table(offered: str, answer: str, two_way_answer: str) -> None:
    for two_way, expected in ((False, answer), (True, two_way_answer)):
        actions = make_agent(two_way=two_way).receive(invite(body=towards(offered)), FLOW, now=0.0)
        assert direction(response(actions).body) == expected
        assert bool(music(actions)) == (expected != "inactive")


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_hold_and_resume_of_a_call_that_was_answered_with_sendrecv(method: str) -> None:
    """Each change of the direction is a new version in ``o=``; the music stops, and goes on where it was."""
    agent = make_agent(two_way=True)
    first = response(agent.receive(invite(body=towards("a=sendrecv")), FLOW, now=0.0))
    agent.receive(ack(call := tag(first)), FLOW, now=0.1)
    versions, played = [version(first.body)], []
    for number, (offered, now) in enumerate([("a=sendonly", 10.0), ("a=sendrecv", 30.0), ("a=recvonly", 31.0)], 131):
        changed = request(
            method, body=towards(offered), to_tag=call, cseq=f"CSeq: {number} {method}",
            via=f"Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKre{number};rport",
        )  # fmt: skip
        actions = agent.receive(changed, FLOW, now=now)
        versions.append(version(response(actions).body))
        played.append([type(action).__name__ for action in music(actions)])
        agent.receive(ack(call, cseq=f"CSeq: {number} ACK"), FLOW, now=now)
        if offered == "a=sendonly":
            agent.stream_gone(call, 1, "stopped", now=10.1)
    assert played == [["StopStream"], ["StartStream"], []], "recvonly after sendrecv changes the answer, not the music"
    assert versions == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("answered_with", "plays"),
    [("a=sendrecv", True), ("a=recvonly", True), ("a=sendonly", False), ("a=inactive", False)],
)
def test_our_own_offer_is_sendrecv_where_answers_are(answered_with: str, plays: bool) -> None:
    agent = make_agent(two_way=True)
    offer = response(agent.receive(invite(body=""), FLOW, now=0.0))
    assert direction(offer.body) == "sendrecv"
    assert bool(music(agent.receive(ack(tag(offer), body=towards(answered_with)), FLOW, now=0.3))) == plays
    assert agent.calls == 1


def test_the_unspecified_address_is_hold() -> None:
    actions = make_agent().receive(invite(body=OFFER.replace("192.168.1.77", "0.0.0.0")), FLOW, now=0.0)
    assert statuses(actions) == [180, 200]
    assert music(actions) == []


def test_a_first_offer_with_port_0_is_488() -> None:
    actions = make_agent().receive(invite(body=OFFER.replace("m=audio 17422", "m=audio 0")), FLOW, now=0.0)
    assert statuses(actions) == [488]


def test_media_of_the_other_family_have_a_local_address_of_that_family() -> None:
    agent = make_agent()
    actions = agent.receive(invite(body=OFFER.replace("IN IP4 192.168.1.77", "IN IP6 fd00::77")), FLOW, now=0.0)
    assert b"c=IN IP6 2001:db8::100\r\n" in response(actions).body
    (start,) = music(actions)
    assert isinstance(start, StartStream) and start.target.local.host == "2001:db8::100"


@pytest.mark.parametrize(
    ("uri", "advertised", "told"),
    [
        ("sip:123@192.0.2.50:5070", "", "192.0.2.50:5070"),  # what was dialled
        ("sip:123@192.0.2.50", "", "192.0.2.50:5060"),
        ("sip:123@moh.lan:5070", "", "192.168.1.100:5060"),  # a name: the address it came to
        ("sip:0.0.0.0", "", "192.168.1.100:5060"),
        ("sip:123@192.0.2.50:5070", "203.0.113.1", "203.0.113.1:5070"),  # the owner's word
    ],
)
def test_the_advertised_address_is_the_dialled_one(uri: str, advertised: str, told: str) -> None:
    answer = response(make_agent(advertised=advertised).receive(invite(uri=uri), FLOW, now=0.0))
    assert f"<sip:moh@{told}>" in (answer.first("contact") or "")
    assert f"c=IN IP4 {told.partition(':')[0]}\r\n" in answer.body.decode()


def test_a_request_uri_with_the_address_of_the_proxy_is_not_advertised() -> None:
    vias = "Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKp1\r\nVia: SIP/2.0/UDP 192.168.1.9;branch=z9hG4bKp2"
    dialled_the_proxy = "sip:123@192.168.1.50:5060"
    answer = response(make_agent().receive(invite(uri=dialled_the_proxy, via=vias), FLOW, now=0.0))
    assert "<sip:moh@192.168.1.100:5060>" in (answer.first("contact") or "")


def test_a_request_uri_with_another_address_of_the_proxy_is_not_advertised() -> None:
    vias = "Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKp1\r\nVia: SIP/2.0/UDP 192.168.1.9;branch=z9hG4bKp2"
    routes = ("Record-Route: <sip:192.168.1.50:5062;lr>", "Record-Route: <sip:10.9.9.9;lr>")
    answer = response(make_agent().receive(invite(*routes, uri="sip:123@10.9.9.9:5060", via=vias), FLOW, now=0.0))
    assert "<sip:moh@192.168.1.100:5060>" in (answer.first("contact") or "")


@pytest.mark.parametrize("flow", [FLOW, PUBLIC_FLOW], ids=["by the proxy", "by the phone itself"])
def test_music_goes_to_a_phone_on_the_internet_whose_call_comes_by_a_proxy_with_a_private_address(flow: Flow) -> None:
    vias = "Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKp1\r\nVia: SIP/2.0/UDP 203.0.113.9:5062;branch=z9hG4bKp2"
    phone = "Contact: <sip:201@203.0.113.9:5062>"
    agent = make_agent(destinations=MediaPolicy())
    offer = OFFER.replace("192.168.1.77", "203.0.113.9")
    actions = agent.receive(invite(body=offer, via=vias, contact=phone), FLOW, now=0.0)
    assert statuses(actions) == [180, 200] and music(actions) == []
    (start,) = music(agent.receive(ack(call := tag(response(actions))), flow, now=0.1))
    assert isinstance(start, StartStream) and start.target.remote.host == "203.0.113.9"
    assert statuses(agent.receive(bye(call), flow, now=9.0)) == [200]


def test_a_call_from_the_internet_gets_no_music_before_its_ack() -> None:
    agent = make_agent()
    actions = agent.receive(invite(), PUBLIC_FLOW, now=0.0)
    assert statuses(actions) == [200] and music(actions) == []
    assert music(agent.receive(ack(tag(response(actions))), PUBLIC_FLOW, now=0.1)) != []


def test_music_to_a_public_address_waits_for_the_ack() -> None:
    agent = make_agent()
    actions = agent.receive(invite(body=OFFER.replace("192.168.1.77", "198.51.100.7")), FLOW, now=0.0)
    assert music(actions) == []
    (start,) = music(agent.receive(ack(tag(response(actions))), FLOW, now=0.1))
    assert isinstance(start, StartStream) and start.target.remote.host == "198.51.100.7"


def test_without_a_free_port_a_call_gets_503_until_a_stream_has_ended() -> None:
    agent = make_agent(ports=(10000, 10001))
    to_tag = answered(agent)
    other = {"call_id": "Call-ID: other", "via": "Via: SIP/2.0/UDP 192.168.1.51;branch=z9hG4bKother"}
    refusal = response(agent.receive(invite(**other), FLOW, now=1.0))
    assert (refusal.status, refusal.first("retry-after")) == (503, "5")
    assert statuses(agent.receive(request("OPTIONS"), FLOW, now=1.0)) == [503]
    (stop,) = music(agent.receive(bye(to_tag), FLOW, now=2.0))
    other["via"] += "2"
    assert statuses(agent.receive(invite(**other), FLOW, now=2.0)) == [503], "its ffmpeg is not gone yet"
    agent.stream_gone(stop.call, 1, "ended", now=2.1)
    other["via"] += "3"
    assert statuses(agent.receive(invite(**other), FLOW, now=2.2)) == [180, 200]


def test_required_100rel_gets_200_without_180() -> None:
    assert statuses(make_agent().receive(invite("Require: 100rel"), FLOW, now=0.0)) == [200]


# -- INVITE without an offer ----------------------------------------------------------------------------------------


def test_a_retransmitted_update_that_was_refused_stays_refused() -> None:
    agent = make_agent()
    call = tag(response(agent.receive(invite(body=""), FLOW, now=0.0)))
    update = request("UPDATE", body=OFFER, to_tag=call, cseq="CSeq: 131 UPDATE")
    assert statuses(agent.receive(update, FLOW, now=0.2)) == [491]
    agent.receive(ack(call, body=OFFER), FLOW, now=0.3)
    assert statuses(agent.receive(update, FLOW, now=0.7)) == [491]


def test_without_an_offer_the_200_carries_ours_and_the_ack_says_where_the_music_goes() -> None:
    agent = make_agent()
    actions = agent.receive(invite(body=""), FLOW, now=0.0)
    assert statuses(actions) == [180, 200] and music(actions) == []
    offer = response(actions)
    assert offer.first("content-type") == "application/sdp"
    assert direction(offer.body) == "sendonly"
    assert b"m=audio 10000 RTP/AVP 0" in offer.body
    (start,) = music(agent.receive(ack(tag(offer), body=OFFER), FLOW, now=0.3))
    assert isinstance(start, StartStream)
    assert start.target.remote == Address("192.168.1.77", 17422)


def test_an_ack_without_the_answer_ends_the_call() -> None:
    agent = make_agent()
    call = tag(response(agent.receive(invite(body=""), FLOW, now=0.0)))
    actions = agent.receive(ack(call), FLOW, now=0.3)
    assert methods(actions) == ["BYE"]
    assert "no answer to our offer" in notes(actions)[0]


@pytest.mark.parametrize("answer", [OFFER.replace("RTP/AVP 0 8 101", "RTP/AVP 18"), "nonsense\n"])
def test_an_ack_with_an_unfit_answer_ends_the_call(answer: str) -> None:
    agent = make_agent()
    call = tag(response(agent.receive(invite(body=""), FLOW, now=0.0)))
    assert methods(agent.receive(ack(call, body=answer), FLOW, now=0.3)) == ["BYE"]


def test_while_our_offer_is_open_another_invite_is_491() -> None:
    agent = make_agent()
    call = tag(response(agent.receive(invite(body=""), FLOW, now=0.0)))
    assert statuses(agent.receive(reinvite(call, 130), FLOW, now=0.2)) == [491]
    assert statuses(agent.receive(reinvite(call, 131), FLOW, now=0.2)) == [491]
    assert music(agent.receive(ack(call, body=OFFER), FLOW, now=0.3)) != []


def test_a_late_duplicate_of_an_ack_is_ignored() -> None:
    agent = make_agent()
    call = tag(response(agent.receive(invite(body=""), FLOW, now=0.0)))
    agent.receive(ack(call, body=OFFER), FLOW, now=0.3)
    moved = OFFER.replace("192.168.1.77", "192.168.1.99")
    assert agent.receive(ack(call, body=moved), FLOW, now=0.4) == []
