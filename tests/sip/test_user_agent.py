"""Whole calls against the core, as ladder diagrams with literal clocks (RFC 3261 §8.2, §9.2, §13.3, §15).

More than 300 lines, because the ladders are best read side by side, and each is short.
"""

from __future__ import annotations

import pytest

from moh.common.actions import Action, Address, StartStream, StopStream
from moh.sip.message import Request, Response
from moh.sip.parser import parse
from tests.support.ladder import (
    FLOW,
    OFFER,
    ack,
    answered,
    bye,
    invite,
    make_agent,
    methods,
    music,
    notes,
    ok_to,
    request,
    response,
    sent,
    statuses,
    tag,
)


def test_a_whole_call() -> None:
    agent = make_agent()
    # phone: INVITE, us: 180, 200 and music to the held party
    actions = agent.receive(invite(), FLOW, now=0.0)
    assert statuses(actions) == [180, 200]
    (start,) = music(actions)
    assert isinstance(start, StartStream)
    assert start.target.remote == Address("192.168.1.77", 17422)
    assert start.target.remote_rtcp == Address("192.168.1.77", 17423)
    assert start.target.local == Address("192.168.1.100", 10000)
    assert (start.target.codec.name, start.target.payload_type, start.target.ptime) == ("PCMU", 0, 20)
    to_tag = tag(response(actions))
    # phone: ACK
    assert agent.receive(ack(to_tag), FLOW, now=0.1) == []
    assert agent.tick(now=31.0) == []
    # phone: BYE, us: 200 and silence
    actions = agent.receive(bye(to_tag), FLOW, now=73.0)
    assert statuses(actions) == [200]
    assert music(actions) == [StopStream(start.call)]
    assert notes(actions) == ["ended after 73 s, music for 73 s: BYE from the caller; no report from the receiver"]
    assert agent.calls == 0
    agent.stream_gone(start.call, start.serial, "ended", now=73.1)
    assert agent.idle


def test_the_200_is_resent_until_the_ack_arrives() -> None:
    agent = make_agent()
    to_tag = tag(response(agent.receive(invite(), FLOW, now=0.0)))
    assert statuses(agent.tick(now=0.4)) == []
    assert statuses(agent.tick(now=0.5)) == [200]
    assert statuses(agent.tick(now=1.0)) == []
    assert statuses(agent.tick(now=1.5)) == [200]
    agent.receive(ack(to_tag), FLOW, now=1.6)
    assert agent.tick(now=40.0) == []


def test_no_ack_in_32_seconds_ends_the_call_with_bye() -> None:
    agent = make_agent()
    agent.receive(invite(), FLOW, now=0.0)
    resent = []
    while agent.next_due is not None and agent.next_due < 32.0:
        now = agent.next_due
        resent += [now] * len(statuses(agent.tick(now)))
    assert resent == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    actions = agent.tick(now=32.0)
    assert methods(actions) == ["BYE"]
    assert isinstance(music(actions)[0], StopStream)
    assert notes(actions) == [
        "ended after 32 s, music for 32 s: no ACK in 32 s; no report from the receiver",
        "192.168.1.50:5062 did not confirm the call (no ACK). The answer names sip:moh@192.168.1.100:5060. If "
        "192.168.1.50 cannot reach that address, set MOH_ADVERTISED_ADDRESS to an address of this machine that phones "
        "can reach",
    ]


def test_bye_twice_is_200_twice() -> None:
    agent = make_agent()
    to_tag = answered(agent)
    first = agent.receive(bye(to_tag), FLOW, now=5.0)
    again = agent.receive(bye(to_tag), FLOW, now=5.5)
    assert statuses(first) == statuses(again) == [200]
    assert music(again) == []


def test_bye_before_the_ack_stops_retransmission_of_the_200() -> None:
    agent = make_agent()
    to_tag = tag(response(agent.receive(invite(), FLOW, now=0.0)))
    assert statuses(agent.receive(bye(to_tag), FLOW, now=0.2)) == [200]
    assert statuses(agent.tick(now=31.0)) == []


def test_cancel_after_the_200_is_answered_with_its_tag_and_changes_nothing() -> None:
    agent = make_agent()
    to_tag = tag(response(agent.receive(invite(), FLOW, now=0.0)))
    cancel = request("CANCEL", via="Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKinvite1;rport")
    actions = agent.receive(cancel, FLOW, now=0.1)
    assert statuses(actions) == [200]
    assert tag(response(actions)) == to_tag
    assert agent.calls == 1


def test_cancel_without_its_invite_is_481() -> None:
    assert statuses(make_agent().receive(request("CANCEL"), FLOW, now=0.0)) == [481]


def test_options_gets_200_statelessly() -> None:
    agent = make_agent()
    actions = agent.receive(request("OPTIONS"), FLOW, now=0.0)
    answer = response(actions)
    assert answer.status == 200
    assert answer.first("allow") == "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO"
    assert answer.first("accept") == "application/sdp"
    assert tag(answer)
    assert agent.next_due is None
    assert tag(response(agent.receive(request("OPTIONS"), FLOW, now=0.5))) == tag(answer)


def test_options_in_an_unknown_dialog_is_481() -> None:
    assert statuses(make_agent().receive(request("OPTIONS", to_tag="gone"), FLOW, now=0.0)) == [481]


@pytest.mark.parametrize("method", ["REGISTER", "SUBSCRIBE", "REFER", "MESSAGE", "PUBLISH", "DANCE"])
def test_other_methods_are_405_with_allow(method: str) -> None:
    answer = response(make_agent().receive(request(method), FLOW, now=0.0))
    assert answer.status == 405
    assert "INVITE" in (answer.first("allow") or "")


def test_max_forwards_0_is_no_reason_to_refuse() -> None:
    actions = make_agent().receive(invite(max_forwards="Max-Forwards: 0"), FLOW, now=0.0)
    assert statuses(actions) == [180, 200]


def test_a_stream_that_dies_is_restarted_once_at_its_position_and_then_the_call_ends() -> None:
    agent = make_agent()
    actions = agent.receive(invite(), FLOW, now=0.0)
    (first,) = music(actions)
    assert isinstance(first, StartStream)
    agent.receive(ack(first.call), FLOW, now=0.1)
    (second,) = music(agent.stream_gone(first.call, 1, "status 1", now=10.0))
    assert isinstance(second, StartStream)
    assert (second.serial, second.position, second.target) == (2, 10.0, first.target)
    assert agent.stream_gone(first.call, 1, "status 1", now=10.5) == [], "old news"
    actions = agent.stream_gone(first.call, 2, "status 1", now=12.0)
    assert methods(actions) == ["BYE"] and music(actions) == []
    agent.receive(_ok(actions), FLOW, now=12.1)
    assert agent.idle


def test_a_stream_that_has_played_a_minute_may_be_restarted_again() -> None:
    agent = make_agent()
    call = answered(agent)
    agent.stream_gone(call, 1, "status 1", now=10.0)
    actions = agent.stream_gone(call, 2, "status 1", now=71.0)
    assert len(music(actions)) == 1 and methods(actions) == []


def test_our_bye_is_resent_until_its_answer_and_the_bye_of_the_phone_gets_200() -> None:
    agent = make_agent()
    to_tag = answered(agent)
    actions = agent.close(0.0, now=1.0)
    assert methods(actions) == ["BYE"]
    assert methods(agent.tick(now=1.5)) == ["BYE"]
    assert statuses(agent.receive(bye(to_tag), FLOW, now=1.6)) == [200]
    agent.stream_gone(to_tag, 1, "ended", now=1.6)
    assert not agent.idle
    agent.receive(_ok(actions), FLOW, now=1.7)
    assert agent.idle and methods(agent.tick(now=5.0)) == []


def test_a_stopping_server_accepts_no_call() -> None:
    agent = make_agent()
    agent.close(0.0, now=0.0)
    assert statuses(agent.receive(invite(), FLOW, now=0.1)) == [503]
    assert statuses(agent.receive(request("OPTIONS"), FLOW, now=0.1)) == [503]


def test_with_grace_a_call_goes_on_until_the_phone_ends_it() -> None:
    agent = make_agent()
    to_tag = answered(agent)
    assert methods(agent.close(30.0, now=10.0)) == []
    other = {"via": "Via: SIP/2.0/UDP 192.168.1.51;branch=z9hG4bKother", "call_id": "Call-ID: other"}
    assert statuses(agent.receive(request("OPTIONS"), FLOW, now=10.1)) == [503]
    assert statuses(agent.receive(invite(**other), FLOW, now=15.0)) == [503]
    via = "Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKhold;rport"
    hold = OFFER.replace("recvonly", "inactive")
    actions = agent.receive(invite(body=hold, to_tag=to_tag, via=via, cseq="CSeq: 131 INVITE"), FLOW, now=16.0)
    assert statuses(actions) == [200]
    assert isinstance(music(actions)[0], StopStream)
    agent.receive(ack(to_tag, cseq="CSeq: 131 ACK"), FLOW, now=16.1)
    assert not agent.idle
    agent.receive(bye(to_tag, cseq="CSeq: 132 BYE"), FLOW, now=17.0)
    agent.stream_gone(to_tag, 1, "ended", now=17.1)
    assert agent.idle


def test_at_the_end_of_the_grace_time_all_calls_get_bye() -> None:
    agent = make_agent()
    answered(agent)
    agent.close(30.0, now=10.0)
    assert methods(agent.tick(now=39.9)) == []
    actions = agent.tick(now=40.0)
    assert methods(actions) == ["BYE"]
    assert 'text="server stops, 40 s"' in (sent(actions)[-1].first("reason") or "")
    assert music(actions) != []


def test_a_second_stop_ends_the_grace_time() -> None:
    agent = make_agent()
    answered(agent)
    agent.close(30.0, now=10.0)
    assert methods(agent.close(0.0, now=11.0)) == ["BYE"]


def test_grace_does_not_extend_the_longest_call() -> None:
    agent = make_agent(longest_call=15.0)
    answered(agent)
    agent.close(30.0, now=10.0)
    assert methods(agent.tick(now=15.0)) == ["BYE"]


def test_a_stray_response_is_dropped() -> None:
    message = parse(b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP x;branch=z9hG4bKx\r\nCSeq: 1 BYE\r\n\r\n")
    assert message is not None
    assert make_agent().receive(message, FLOW, now=0.0) == []


def _ok(actions: list[Action]) -> Response:
    (message,) = [message for message in sent(actions) if isinstance(message, Request)]
    return ok_to(message)
