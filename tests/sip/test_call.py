"""What happens within one call: hold, resume, move, our own offers (RFC 3264 §8, RFC 7088 §2.4 to §2.10)."""

from __future__ import annotations

import pytest

from moh.common.actions import Address, Send, StartStream, StopStream
from tests.support.ladder import (
    FLOW,
    HELD,
    OFFER,
    ack,
    answered,
    invite,
    make_agent,
    music,
    reinvite,
    request,
    response,
    statuses,
    tag,
)

VIA = "Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKother;rport"


def test_hold_stops_the_music_and_resume_goes_on_at_its_position() -> None:
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


def test_port_0_switches_the_stream_off_and_a_later_offer_on_again() -> None:
    agent = make_agent()
    call = answered(agent)
    actions = agent.receive(reinvite(call, 131, OFFER.replace("m=audio 17422", "m=audio 0")), FLOW, now=10.0)
    assert statuses(actions) == [200]
    assert b"m=audio 0 RTP/AVP 0\r\n" in response(actions).body
    assert music(actions) == [StopStream(call)]
    agent.receive(ack(call, cseq="CSeq: 131 ACK"), FLOW, now=10.1)
    (start,) = music(agent.receive(reinvite(call, 132), FLOW, now=30.0))
    assert isinstance(start, StartStream) and start.position == 10.0


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


def test_a_reinvite_may_change_the_codec() -> None:
    agent = make_agent()
    call = answered(agent)
    alaw = OFFER.replace("RTP/AVP 0 8 101", "RTP/AVP 8 0")
    (start,) = music(agent.receive(reinvite(call, 131, alaw), FLOW, now=3.0))
    assert isinstance(start, StartStream)
    assert (start.target.codec.name, start.target.payload_type) == ("PCMA", 8)


def test_a_reinvite_without_an_offer_gets_ours_and_its_ack_moves_the_music() -> None:
    agent = make_agent()
    call = answered(agent)
    actions = agent.receive(reinvite(call, 131, body=""), FLOW, now=5.0)
    offer = response(actions).body.decode()
    assert "m=audio 10000 RTP/AVP 0 8 9 96\r\n" in offer and music(actions) == []
    moved = OFFER.replace("192.168.1.77", "192.168.1.80")
    (start,) = music(agent.receive(ack(call, cseq="CSeq: 131 ACK", body=moved), FLOW, now=5.5))
    assert isinstance(start, StartStream)
    assert (start.target.remote.host, start.position) == ("192.168.1.80", 5.5)


def test_a_new_address_moves_the_music_without_a_restart_of_the_tune() -> None:
    agent = make_agent()
    call = answered(agent)
    actions = agent.receive(reinvite(call, 131, OFFER.replace("192.168.1.77", "192.168.1.78")), FLOW, now=7.0)
    (start,) = music(actions)
    assert isinstance(start, StartStream)
    assert (start.target.remote, start.position) == (Address("192.168.1.78", 17422), 7.0)


def test_an_equal_offer_changes_nothing_not_even_the_version() -> None:
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
def test_a_contact_that_cannot_be_read_or_kept_leaves_the_former_one(method: str) -> None:
    agent = make_agent()
    call = answered(agent)
    moved = OFFER.replace("192.168.1.77", "192.168.1.78")
    hosts = ["192.168.1.78"]
    for number, contact in enumerate(("Contact: <sip:>", f"Contact: <sip:{'x' * 1100}@192.168.1.51>"), 131):
        via = f"Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bK{number};rport"
        spoiled = request(method, body=moved, to_tag=call, cseq=f"CSeq: {number} {method}", contact=contact, via=via)
        actions = agent.receive(spoiled, FLOW, now=1.0)
        assert statuses(actions) == [200]
        assert [start.target.remote.host for start in music(actions) if isinstance(start, StartStream)] == hosts
        hosts = []
    (bye_of_ours,) = [action.data for action in agent.close(0.0, now=3.0) if isinstance(action, Send)]
    assert bye_of_ours.startswith(b"BYE sip:201@192.168.1.50:5062 SIP/2.0")


def test_a_stream_that_dies_is_not_restarted_to_a_public_address_before_the_ack() -> None:
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
