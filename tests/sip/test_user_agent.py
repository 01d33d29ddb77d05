"""Whole calls against the core, as ladder diagrams with literal clocks (RFC 3261 §8.2, §9.2, §13.3, §15).

More than 300 lines, because the ladders are best read side by side, and each is short.
"""

from __future__ import annotations

import pytest

from moh.common.actions import Action, Address, Send, StartStream, StopStream
from moh.sip.message import Request, Response
from moh.sip.parser import parse
from tests.support.ladder import (
    FLOW,
    OFFER,
    PHONE,
    PUBLIC_FLOW,
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
    assert notes(actions) == ["ended after 73 s, music for 73 s: BYE from the caller"]
    assert agent.calls == 0
    agent.stream_gone(start.call, start.serial, "ended", now=73.1)
    assert agent.idle


def test_every_answer_to_one_request_carries_the_same_tag_and_another_call_another() -> None:
    agent = make_agent()
    actions = agent.receive(invite(), FLOW, now=0.0)
    tags = {tag(message) for message in sent(actions)}
    assert len(tags) == 1 and "" not in tags
    second = agent.receive(
        invite(call_id="Call-ID: other", via="Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKother"), FLOW, now=1.0
    )
    assert tag(response(second)) not in tags


def test_the_same_invite_five_times_is_one_call_and_five_equal_answers() -> None:
    agent = make_agent()
    first = agent.receive(invite(), FLOW, now=0.0)
    final = [action for action in first if isinstance(action, Send)][-1]
    for again in range(1, 5):
        assert agent.receive(invite(), FLOW, now=0.05 * again) == [final]
    assert agent.calls == 1


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
    assert notes(actions) == ["ended after 32 s, music for 32 s: no ACK in 32 s"]


def test_bye_twice_is_200_twice() -> None:
    agent = make_agent()
    to_tag = answered(agent)
    first = agent.receive(bye(to_tag), FLOW, now=5.0)
    again = agent.receive(bye(to_tag), FLOW, now=5.5)
    assert statuses(first) == statuses(again) == [200]
    assert music(again) == []


def test_bye_for_nobody_is_481() -> None:
    agent = make_agent()
    answered(agent)
    assert statuses(agent.receive(bye("wrong"), FLOW, now=1.0)) == [481]
    assert statuses(agent.receive(bye(""), FLOW, now=1.0)) == [481]
    assert agent.calls == 1


def test_bye_before_the_ack_stops_the_resending() -> None:
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


def test_cancel_for_nobody_is_481() -> None:
    assert statuses(make_agent().receive(request("CANCEL"), FLOW, now=0.0)) == [481]


def test_options_is_answered_and_forgotten() -> None:
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


def test_a_refused_invite_is_resent_until_its_ack_and_takes_no_port() -> None:
    agent = make_agent()
    only_g729 = OFFER.replace("RTP/AVP 0 8 101", "RTP/AVP 18")
    actions = agent.receive(invite(body=only_g729), FLOW, now=0.0)
    answer = response(actions)
    assert answer.status == 488
    assert (answer.first("warning") or "").startswith("305 ")
    assert statuses(agent.tick(now=0.5)) == [488]
    to_refusal = ack(tag(answer), via="Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKinvite1;rport")
    assert agent.receive(to_refusal, FLOW, now=0.6) == []
    assert statuses(agent.tick(now=1.5)) == []
    assert agent.idle


def test_max_forwards_0_is_answered_like_any_other() -> None:
    actions = make_agent().receive(invite(max_forwards="Max-Forwards: 0"), FLOW, now=0.0)
    assert statuses(actions) == [180, 200]


def test_required_100rel_gets_200_without_180() -> None:
    assert statuses(make_agent().receive(invite("Require: 100rel"), FLOW, now=0.0)) == [200]


def test_an_unknown_requirement_is_420_and_named() -> None:
    answer = response(make_agent().receive(invite("Require: 100rel, teleport"), FLOW, now=0.0))
    assert (answer.status, answer.first("unsupported")) == (420, "teleport")


def test_the_same_request_by_two_ways_is_merged_with_482() -> None:
    agent = make_agent()
    agent.receive(invite(), FLOW, now=0.0)
    other_way = invite(via="Via: SIP/2.0/UDP 192.168.1.60:5060;branch=z9hG4bKfork")
    assert statuses(agent.receive(other_way, FLOW, now=0.1)) == [482]
    assert agent.calls == 1


def test_a_faulty_request_is_answered_and_kept_nowhere() -> None:
    agent = make_agent()
    actions = agent.receive(invite(cseq="CSeq: lots INVITE"), FLOW, now=0.0)
    (answer, _) = actions
    assert isinstance(answer, Send) and answer.data.startswith(b"SIP/2.0 400 CSeq is 'lots INVITE'; expected")
    assert agent.next_due is None
    assert agent.receive(ack("x", cseq="CSeq: lots ACK"), FLOW, now=0.0) == [], "an ACK is never answered"


def test_record_route_and_all_vias_are_mirrored_and_our_bye_follows_the_route() -> None:
    agent = make_agent()
    routes = ["<sip:10.0.0.1;lr;ftag=1>", "<sip:10.0.0.2;lr>"]
    via = (
        "Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKp1\r\nVia: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKp2, "
        "SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKp3"
    )
    actions = agent.receive(invite(*(f"Record-Route: {route}" for route in routes), via=via), FLOW, now=0.0)
    answer = response(actions)
    assert answer.all("record-route") == routes
    assert [item.partition(";branch=")[2].partition(";")[0] for item in answer.listed("via")] == [
        "z9hG4bKp1",
        "z9hG4bKp2",
        "z9hG4bKp3",
    ]
    (end,) = [action for action in agent.close(now=1.0) if isinstance(action, Send)]
    assert end.to == Address("10.0.0.1", 5060)
    (message,) = sent([end])
    assert message.all("route") == routes


def test_a_stranger_on_the_internet_gets_no_music_before_his_ack() -> None:
    agent = make_agent()
    actions = agent.receive(invite(), PUBLIC_FLOW, now=0.0)
    assert statuses(actions) == [200] and music(actions) == []
    assert music(agent.receive(ack(tag(response(actions))), PUBLIC_FLOW, now=0.1)) != []


def test_music_for_a_public_address_waits_for_the_ack_too() -> None:
    agent = make_agent()
    actions = agent.receive(invite(body=OFFER.replace("192.168.1.77", "198.51.100.7")), FLOW, now=0.0)
    assert music(actions) == []
    (start,) = music(agent.receive(ack(tag(response(actions))), FLOW, now=0.1))
    assert isinstance(start, StartStream) and start.target.remote.host == "198.51.100.7"


def test_when_all_ports_are_taken_it_is_503_until_a_stream_is_gone() -> None:
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


def test_music_that_dies_is_started_again_once_where_it_was_and_then_the_call_ends() -> None:
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


def test_music_that_played_a_minute_since_may_be_started_again() -> None:
    agent = make_agent()
    call = answered(agent)
    agent.stream_gone(call, 1, "status 1", now=10.0)
    actions = agent.stream_gone(call, 2, "status 1", now=71.0)
    assert len(music(actions)) == 1 and methods(actions) == []


def test_our_bye_is_resent_until_answered_and_the_peers_own_is_welcome_meanwhile() -> None:
    agent = make_agent()
    to_tag = answered(agent)
    actions = agent.close(now=1.0)
    assert methods(actions) == ["BYE"]
    assert methods(agent.tick(now=1.5)) == ["BYE"]
    assert statuses(agent.receive(bye(to_tag), FLOW, now=1.6)) == [200]
    agent.stream_gone(to_tag, 1, "ended", now=1.6)
    assert not agent.idle
    agent.receive(_ok(actions), FLOW, now=1.7)
    assert agent.idle and methods(agent.tick(now=5.0)) == []


def test_who_never_answers_our_bye_is_forgotten_after_32_seconds() -> None:
    agent = make_agent()
    to_tag = answered(agent)
    agent.close(now=0.0)
    agent.stream_gone(to_tag, 1, "ended", now=0.1)
    for quarter in range(1, 140):
        agent.tick(now=quarter / 4)
    assert agent.idle


def test_a_server_that_stops_takes_no_new_call() -> None:
    agent = make_agent()
    agent.close(now=0.0)
    assert statuses(agent.receive(invite(), FLOW, now=0.1)) == [503]
    assert statuses(agent.receive(request("OPTIONS"), FLOW, now=0.1)) == [503]


def test_with_grace_a_call_goes_on_until_it_ends_by_itself() -> None:
    agent = make_agent()
    to_tag = answered(agent)
    assert methods(agent.close(30.0, now=10.0)) == []
    other = {"via": "Via: SIP/2.0/UDP 192.168.1.51;branch=z9hG4bKother", "call_id": "Call-ID: other"}
    assert statuses(agent.receive(invite(**other), FLOW, now=11.0)) == [503]
    assert statuses(agent.receive(request("OPTIONS"), FLOW, now=11.0)) == [503]
    via = "Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKhold;rport"
    hold = OFFER.replace("recvonly", "inactive")
    actions = agent.receive(invite(body=hold, to_tag=to_tag, via=via, cseq="CSeq: 131 INVITE"), FLOW, now=12.0)
    assert statuses(actions) == [200]
    assert isinstance(music(actions)[0], StopStream)
    agent.receive(ack(to_tag, cseq="CSeq: 131 ACK"), FLOW, now=12.1)
    assert not agent.idle
    agent.receive(bye(to_tag, cseq="CSeq: 132 BYE"), FLOW, now=13.0)
    agent.stream_gone(to_tag, 1, "ended", now=13.1)
    assert agent.idle


def test_when_the_grace_is_over_everybody_gets_a_bye() -> None:
    agent = make_agent()
    answered(agent)
    agent.close(30.0, now=10.0)
    assert methods(agent.tick(now=39.9)) == []
    actions = agent.tick(now=40.0)
    assert methods(actions) == ["BYE"]
    assert 'text="server stops, 40 s"' in (sent(actions)[-1].first("reason") or "")
    assert music(actions) != []


def test_who_stops_it_twice_does_not_wait() -> None:
    agent = make_agent()
    answered(agent)
    agent.close(30.0, now=10.0)
    assert methods(agent.close(now=11.0)) == ["BYE"]


def test_grace_makes_no_call_longer_than_the_longest() -> None:
    agent = make_agent(longest_call=15.0)
    answered(agent)
    agent.close(30.0, now=10.0)
    assert methods(agent.tick(now=15.0)) == ["BYE"]


def test_nothing_is_left_when_all_is_over() -> None:
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
def test_what_is_advertised_is_what_was_dialled(uri: str, advertised: str, told: str) -> None:
    answer = response(make_agent(advertised=advertised).receive(invite(uri=uri), FLOW, now=0.0))
    assert f"<sip:moh@{told}>" in (answer.first("contact") or "")
    assert f"c=IN IP4 {told.partition(':')[0]}\r\n" in answer.body.decode()


def test_the_address_of_a_proxy_that_leaves_the_request_uri_as_dialled_is_not_ours() -> None:
    vias = "Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKp1\r\nVia: SIP/2.0/UDP 192.168.1.9;branch=z9hG4bKp2"
    dialled_the_proxy = "sip:123@192.168.1.50:5060"
    answer = response(make_agent().receive(invite(uri=dialled_the_proxy, via=vias), FLOW, now=0.0))
    assert "<sip:moh@192.168.1.100:5060>" in (answer.first("contact") or "")


def test_the_other_address_of_such_a_proxy_is_not_ours_either() -> None:
    vias = "Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKp1\r\nVia: SIP/2.0/UDP 192.168.1.9;branch=z9hG4bKp2"
    routes = ("Record-Route: <sip:192.168.1.50:5062;lr>", "Record-Route: <sip:10.9.9.9;lr>")
    answer = response(make_agent().receive(invite(*routes, uri="sip:123@10.9.9.9:5060", via=vias), FLOW, now=0.0))
    assert "<sip:moh@192.168.1.100:5060>" in (answer.first("contact") or "")


def test_the_answer_goes_back_by_rport_or_to_the_port_in_the_via() -> None:
    agent = make_agent()
    (with_rport, *_) = agent.receive(request("OPTIONS"), FLOW, now=0.0)
    assert isinstance(with_rport, Send) and with_rport.to == PHONE
    (without,) = agent.receive(request("OPTIONS", via="Via: SIP/2.0/UDP phone.lan:5099;branch=z9hG4bKx"), FLOW, now=0.0)
    assert isinstance(without, Send) and without.to == Address("192.168.1.50", 5099)


def test_a_stray_response_is_dropped() -> None:
    message = parse(b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP x;branch=z9hG4bKx\r\nCSeq: 1 BYE\r\n\r\n")
    assert message is not None
    assert make_agent().receive(message, FLOW, now=0.0) == []


def _ok(actions: list[Action]) -> Response:
    (message,) = [message for message in sent(actions) if isinstance(message, Request)]
    return ok_to(message)
