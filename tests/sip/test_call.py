"""What happens within one call: hold, resume, move, offers of ours (RFC 3264 §8, RFC 7088 §2.4 to §2.10)."""

from __future__ import annotations

import pytest

from moh.common.actions import Address, StartStream, StopStream
from moh.sip.message import Request
from tests.support.ladder import (
    FLOW,
    HELD,
    OFFER,
    ack,
    answered,
    invite,
    make_agent,
    methods,
    music,
    notes,
    request,
    response,
    statuses,
    tag,
)

VIA = "Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKother;rport"


def reinvite(to_tag: str, number: int, body: str = OFFER) -> Request:
    return invite(
        body=body,
        to_tag=to_tag,
        via=f"Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKre{number};rport",
        cseq=f"CSeq: {number} INVITE",
    )


def direction(body: bytes) -> str:
    return next(line[2:] for line in body.decode().split("\r\n") if line[2:] in ("sendonly", "inactive", "recvonly"))


@pytest.mark.parametrize(
    ("offered", "answer", "plays"),
    [
        ("a=recvonly", "sendonly", True),
        ("a=sendrecv", "sendonly", True),
        ("a=active", "sendonly", True),
        ("a=sendonly", "inactive", False),
        ("a=inactive", "inactive", False),
    ],
)
def test_the_direction_follows_the_table(offered: str, answer: str, plays: bool) -> None:
    actions = make_agent().receive(invite(body=OFFER.replace("a=recvonly", offered)), FLOW, now=0.0)
    assert direction(response(actions).body) == answer
    assert bool(music(actions)) == plays


def test_the_unspecified_address_is_hold() -> None:
    actions = make_agent().receive(invite(body=OFFER.replace("192.168.1.77", "0.0.0.0")), FLOW, now=0.0)
    assert statuses(actions) == [180, 200]
    assert music(actions) == []


def test_hold_stops_the_music_and_resume_goes_on_where_it_was() -> None:
    agent = make_agent()
    call = answered(agent)
    actions = agent.receive(reinvite(call, 131, OFFER.replace("recvonly", "inactive")), FLOW, now=10.0)
    assert statuses(actions) == [200], "no 180 within a dialog"
    assert music(actions) == [StopStream(call)]
    agent.receive(ack(call, cseq="CSeq: 131 ACK"), FLOW, now=10.1)
    agent.stream_gone(call, 1, "ended", now=10.1)
    (start,) = music(agent.receive(reinvite(call, 132), FLOW, now=30.0))
    assert isinstance(start, StartStream)
    assert (start.position, start.serial, start.target.local.port) == (10.0, 2, 10000)


def test_a_stream_that_is_switched_off_by_port_0_is_answered_so_and_may_come_back() -> None:
    agent = make_agent()
    call = answered(agent)
    actions = agent.receive(reinvite(call, 131, OFFER.replace("m=audio 17422", "m=audio 0")), FLOW, now=10.0)
    assert statuses(actions) == [200]
    assert b"m=audio 0 RTP/AVP 0\r\n" in response(actions).body
    assert music(actions) == [StopStream(call)]
    agent.receive(ack(call, cseq="CSeq: 131 ACK"), FLOW, now=10.1)
    (start,) = music(agent.receive(reinvite(call, 132), FLOW, now=30.0))
    assert isinstance(start, StartStream) and start.position == 10.0


def test_a_first_offer_with_port_0_is_488() -> None:
    actions = make_agent().receive(invite(body=OFFER.replace("m=audio 17422", "m=audio 0")), FLOW, now=0.0)
    assert statuses(actions) == [488]


def test_an_update_moves_the_music_at_once() -> None:
    agent = make_agent()
    call = answered(agent)
    moved = OFFER.replace("192.168.1.77", "192.168.1.79")
    actions = agent.receive(request("UPDATE", body=moved, to_tag=call, cseq="CSeq: 131 UPDATE"), FLOW, now=4.0)
    assert statuses(actions) == [200]
    (start,) = music(actions)
    assert isinstance(start, StartStream)
    assert (start.target.remote.host, start.position) == ("192.168.1.79", 4.0)


def test_an_update_that_does_not_fit_is_488_and_the_music_goes_on() -> None:
    agent = make_agent()
    call = answered(agent)
    unfit = OFFER.replace("RTP/AVP 0 8 101", "RTP/AVP 18")
    actions = agent.receive(request("UPDATE", body=unfit, to_tag=call, cseq="CSeq: 131 UPDATE"), FLOW, now=4.0)
    assert statuses(actions) == [488] and music(actions) == []


def test_update_outside_of_a_call_is_481_and_info_within_one_200() -> None:
    agent = make_agent()
    assert statuses(agent.receive(request("UPDATE"), FLOW, now=0.0)) == [481]
    call = answered(agent)
    digits = request(
        "INFO", "Content-Type: application/dtmf-relay", body="Signal=5\n", to_tag=call, cseq="CSeq: 131 INFO"
    )
    assert statuses(agent.receive(digits, FLOW, now=1.0)) == [200]


def test_a_new_codec_under_the_offers_number() -> None:
    agent = make_agent()
    call = answered(agent)
    alaw = OFFER.replace("RTP/AVP 0 8 101", "RTP/AVP 8 0")
    (start,) = music(agent.receive(reinvite(call, 131, alaw), FLOW, now=3.0))
    assert isinstance(start, StartStream)
    assert (start.target.codec.name, start.target.payload_type) == ("PCMA", 8)


def test_a_reinvite_without_an_offer_gets_a_fresh_one_and_its_ack_moves_the_music() -> None:
    agent = make_agent()
    call = answered(agent)
    actions = agent.receive(reinvite(call, 131, body=""), FLOW, now=5.0)
    offer = response(actions).body.decode()
    assert "m=audio 10000 RTP/AVP 0 8 9 96\r\n" in offer and music(actions) == []
    moved = OFFER.replace("192.168.1.77", "192.168.1.80")
    (start,) = music(agent.receive(ack(call, cseq="CSeq: 131 ACK", body=moved), FLOW, now=5.5))
    assert isinstance(start, StartStream)
    assert (start.target.remote.host, start.position) == ("192.168.1.80", 5.5)


def test_media_of_the_other_family_leaves_from_an_address_of_that_family() -> None:
    agent = make_agent()
    actions = agent.receive(invite(body=OFFER.replace("IN IP4 192.168.1.77", "IN IP6 fd00::77")), FLOW, now=0.0)
    assert b"c=IN IP6 2001:db8::100\r\n" in response(actions).body
    (start,) = music(actions)
    assert isinstance(start, StartStream) and start.target.local.host == "2001:db8::100"


def test_a_new_address_moves_the_music_without_a_restart_of_the_tune() -> None:
    agent = make_agent()
    call = answered(agent)
    actions = agent.receive(reinvite(call, 131, OFFER.replace("192.168.1.77", "192.168.1.78")), FLOW, now=7.0)
    (start,) = music(actions)
    assert isinstance(start, StartStream)
    assert (start.target.remote, start.position) == (Address("192.168.1.78", 17422), 7.0)


def test_a_repeated_offer_changes_nothing_not_even_the_version() -> None:
    agent = make_agent()
    first = response(agent.receive(invite(), FLOW, now=0.0))
    agent.receive(ack(tag(first)), FLOW, now=0.1)
    actions = agent.receive(reinvite(tag(first), 131), FLOW, now=5.0)
    assert music(actions) == []
    assert response(actions).body == first.body


def test_a_changed_answer_counts_its_version_up() -> None:
    agent = make_agent()
    first = response(agent.receive(invite(), FLOW, now=0.0))
    agent.receive(ack(tag(first)), FLOW, now=0.1)
    second = response(agent.receive(reinvite(tag(first), 131, OFFER.replace("ptime:20", "ptime:30")), FLOW, now=5.0))
    before, after = (message.body.decode().split("\r\n")[1].split() for message in (first, second))
    assert after[1] == before[1]
    assert int(after[2]) == int(before[2]) + 1


def test_a_refused_offer_leaves_the_old_stream_alone() -> None:
    agent = make_agent()
    call = answered(agent)
    actions = agent.receive(reinvite(call, 131, OFFER.replace("RTP/AVP 0 8 101", "RTP/AVP 18")), FLOW, now=5.0)
    assert statuses(actions) == [488]
    assert music(actions) == []
    assert agent.calls == 1


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_contact_that_cannot_be_read_refuses_the_offer_and_changes_nothing(method: str) -> None:
    agent = make_agent()
    call = answered(agent)
    moved = OFFER.replace("192.168.1.77", "192.168.1.78")
    spoiled = request(method, body=moved, to_tag=call, cseq=f"CSeq: 131 {method}", contact="Contact: <sip:>", via=VIA)
    assert statuses(agent.receive(spoiled, FLOW, now=1.0)) == [400]
    (start,) = music(agent.stream_gone(call, 1, "status 1", now=2.0))
    assert isinstance(start, StartStream) and start.target.remote.host == "192.168.1.77"


def test_music_that_dies_is_not_moved_to_a_stranger_before_his_ack() -> None:
    agent = make_agent()
    call = answered(agent)
    assert music(agent.receive(reinvite(call, 131, OFFER.replace(HELD, "198.51.100.7")), FLOW, now=1.0)) == []
    assert agent.stream_gone(call, 1, "status 1", now=1.1) == []
    (start,) = music(agent.receive(ack(call, cseq="CSeq: 131 ACK"), FLOW, now=1.2))
    assert isinstance(start, StartStream) and start.target.remote.host == "198.51.100.7"


def test_an_older_reinvite_is_500() -> None:
    agent = make_agent()
    call = answered(agent)
    assert statuses(agent.receive(reinvite(call, 129), FLOW, now=5.0)) == [500]


def test_a_reinvite_proves_that_the_200_arrived() -> None:
    agent = make_agent()
    call = tag(response(agent.receive(invite(), FLOW, now=0.0)))
    agent.receive(reinvite(call, 131), FLOW, now=0.2)
    agent.receive(ack(call, cseq="CSeq: 131 ACK"), FLOW, now=0.3)
    assert agent.tick(now=33.0) == []


# -- INVITE without an offer -----------------------------------------------------------------------------------------


def test_an_update_that_was_refused_stays_refused_when_it_comes_again() -> None:
    agent = make_agent()
    call = tag(response(agent.receive(invite(body=""), FLOW, now=0.0)))
    update = request("UPDATE", body=OFFER, to_tag=call, cseq="CSeq: 131 UPDATE")
    assert statuses(agent.receive(update, FLOW, now=0.2)) == [491]
    agent.receive(ack(call, body=OFFER), FLOW, now=0.3)
    assert statuses(agent.receive(update, FLOW, now=0.7)) == [491]


def test_without_an_offer_the_200_makes_one_and_the_ack_says_where_the_music_goes() -> None:
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
def test_an_ack_with_an_answer_that_fits_nothing_ends_the_call(answer: str) -> None:
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
