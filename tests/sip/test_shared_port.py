"""Calls with a port of their own and calls on the shared port, as ladder diagrams with literal clocks."""

from __future__ import annotations

import pytest

from moh.common.actions import Flow, StartStream, StopStream, StreamBegan
from moh.sip.message import Request, Response
from moh.sip.user_agent import UserAgent
from tests.support.ladder import (
    FLOW,
    OFFER,
    PUBLIC_FLOW,
    ack,
    bye,
    invite,
    make_agent,
    methods,
    music,
    notes,
    response,
    statuses,
    tag,
)

SHARED = 10100
SECURE = OFFER.replace("RTP/AVP", "RTP/SAVP") + f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{'A' * 40}\n"


def phone(number: int) -> dict[str, str]:
    """The header lines by which the messages of one call differ from those of another."""
    via = f"Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKcall{number}"
    return {"call_id": f"Call-ID: call-{number}", "via": via}


def full(most: int = 50) -> tuple[UserAgent, list[str]]:
    """An agent with this many calls, each on a port of its own, and the tags of these calls."""
    agent = make_agent(most=most, shared=SHARED)
    return agent, [calls(agent, number) for number in range(most)]


def calls(agent: UserAgent, number: int, body: str = OFFER) -> str:
    """A call that was answered and acknowledged."""
    to_tag = tag(response(agent.receive(invite(body=body, **phone(number)), FLOW, now=0.0)))
    agent.receive(ack(to_tag, call_id=phone(number)["call_id"]), FLOW, now=0.0)
    return to_tag


def hangs_up(agent: UserAgent, number: int, to_tag: str, now: float = 1.0) -> None:
    agent.receive(bye(to_tag, **phone(number)), FLOW, now=now)
    agent.stream_gone(to_tag, 1, "ended", now=now)


def reinvite(to_tag: str, cseq: int, body: str) -> Request:
    via = f"Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKre{cseq}"
    call_id = phone(50)["call_id"]
    return invite(body=body, to_tag=to_tag, cseq=f"CSeq: {cseq} INVITE", call_id=call_id, via=via)


def port(answer: Response) -> int:
    return int(next(line for line in answer.body.decode().split("\r\n") if line.startswith("m=audio ")).split()[1])


def start_of(agent: UserAgent, message: Request, now: float = 2.0) -> StartStream:
    (start,) = music(agent.receive(message, FLOW, now))
    assert isinstance(start, StartStream)
    return start


def test_the_51st_call_gets_the_shared_port_with_rtcp_on_it() -> None:
    agent, _ = full()
    actions = agent.receive(invite(**phone(50)), FLOW, now=1.0)
    assert statuses(actions) == [180, 200]
    answer = response(actions)
    assert port(answer) == SHARED
    assert f"a=rtcp:{SHARED}\r\n".encode() in answer.body
    (start,) = music(actions)
    assert isinstance(start, StartStream) and start.target.local.port == SHARED
    assert port(response(agent.receive(invite(**phone(51)), FLOW, now=1.1))) == SHARED
    assert agent.calls == 52


def test_an_answer_with_a_port_of_its_own_has_no_rtcp_attribute() -> None:
    agent = make_agent(shared=SHARED)
    assert b"a=rtcp" not in response(agent.receive(invite(), FLOW, now=0.0)).body


def test_a_freed_port_goes_to_the_next_call_and_a_sharing_call_keeps_the_shared_port() -> None:
    agent, tags = full()
    sharer = calls(agent, 50)
    for number, to_tag in enumerate(tags):
        hangs_up(agent, number, to_tag)
    again = start_of(agent, reinvite(sharer, 131, OFFER.replace("192.168.1.77", "192.168.1.78")))
    assert again.target.local.port == SHARED, "a call keeps its port"
    ports = [port(response(agent.receive(invite(**phone(100 + number)), FLOW, now=3.0))) for number in range(51)]
    assert sorted(ports) == [*range(10000, 10100, 2), SHARED]


def test_the_end_of_a_sharing_call_releases_no_port_of_another() -> None:
    agent, tags = full(1)
    sharers = [calls(agent, number) for number in (50, 51)]
    hangs_up(agent, 50, sharers[0])
    assert agent.calls == 2
    hangs_up(agent, 0, tags[0])
    hangs_up(agent, 51, sharers[1])
    assert agent.idle
    assert port(response(agent.receive(invite(**phone(60)), FLOW, now=3.0))) == 10000 + 2 * 1
    assert port(response(agent.receive(invite(**phone(61)), FLOW, now=3.0))) == SHARED


def test_without_a_port_of_its_own_srtp_is_488_and_rtp_is_accepted() -> None:
    agent, tags = full(1)
    actions = agent.receive(invite(body=SECURE, **phone(50)), FLOW, now=1.0)
    assert statuses(actions) == [488]
    assert "RTP/AVP" in str(response(actions).first("warning"))
    assert agent.calls == 1
    assert port(response(agent.receive(invite(**phone(51)), FLOW, now=1.5))) == SHARED
    hangs_up(agent, 0, tags[0])
    assert statuses(agent.receive(invite(body=SECURE, **phone(52)), FLOW, now=2.0)) == [180, 200]


def test_a_sharing_call_gets_the_rtp_of_an_offer_with_srtp_and_rtp() -> None:
    """As phones offer it whose SRTP is on but not compulsory; RFC 3264 §6: what is refused has port 0."""
    both = SECURE + "m=audio 17424 RTP/AVP 0\n"
    agent, _ = full(1)
    actions = agent.receive(invite(body=both, **phone(50)), FLOW, now=1.0)
    assert statuses(actions) == [180, 200]
    assert b"m=audio 0 RTP/SAVP 0\r\n" in response(actions).body
    assert f"m=audio {SHARED} RTP/AVP 0\r\n".encode() in response(actions).body
    (start,) = music(actions)
    assert isinstance(start, StartStream) and (start.target.remote.port, start.target.srtp_suite) == (17424, "")
    agent.receive(ack(tag(response(actions)), call_id=phone(50)["call_id"]), FLOW, now=1.0)
    assert statuses(agent.receive(reinvite(tag(response(actions)), 131, both), FLOW, now=2.0)) == [200]


def test_a_sharing_call_cannot_change_to_srtp_and_its_music_goes_on() -> None:
    agent, _ = full(1)
    sharer = calls(agent, 50)
    actions = agent.receive(reinvite(sharer, 131, SECURE), FLOW, now=2.0)
    assert statuses(actions) == [488] and music(actions) == []
    # a stream that dies is started again as it was before
    (start,) = music(agent.stream_gone(sharer, 1, "stumbled", now=3.0))
    assert isinstance(start, StartStream) and start.target.srtp_suite == "" and start.target.local.port == SHARED


def test_a_sharing_call_is_held_resumed_and_moved_on_the_shared_port() -> None:
    agent, _ = full(1)
    sharer = calls(agent, 50)
    held = agent.receive(reinvite(sharer, 131, OFFER.replace("recvonly", "inactive")), FLOW, now=2.0)
    assert music(held) == [StopStream(sharer)]
    assert port(response(held)) == SHARED and f"a=rtcp:{SHARED}\r\n".encode() in response(held).body
    agent.stream_gone(sharer, 1, "stopped", now=2.1)
    resumed = start_of(agent, reinvite(sharer, 132, OFFER))
    moved = start_of(agent, reinvite(sharer, 133, OFFER.replace("192.168.1.77", "192.168.1.78")))
    other = start_of(agent, reinvite(sharer, 134, OFFER.replace("RTP/AVP 0 8", "RTP/AVP 8 0")))
    assert [start.serial for start in (resumed, moved, other)] == [2, 3, 4]
    assert {start.target.local.port for start in (resumed, moved, other)} == {SHARED}
    assert moved.target.remote.host == "192.168.1.78" and other.target.codec.name == "PCMA"


def test_our_offer_to_a_sharing_call_has_all_codecs_and_rtcp_on_the_same_port() -> None:
    agent, _ = full(1)
    offered = response(agent.receive(invite(body="", **phone(50)), FLOW, now=1.0))
    assert f"m=audio {SHARED} RTP/AVP 0 8 9 96\r\n".encode() in offered.body
    assert f"a=rtcp:{SHARED}\r\n".encode() in offered.body
    (start,) = music(agent.receive(ack(tag(offered), call_id=phone(50)["call_id"], body=OFFER), FLOW, now=1.1))
    assert isinstance(start, StartStream) and start.target.local.port == SHARED


@pytest.mark.parametrize("most", [0, 1])
def test_an_srtp_answer_to_our_rtp_offer_ends_the_call(most: int) -> None:
    """The phone has no key to decrypt our SRTP with, and it has not asked for RTP."""
    agent = make_agent(most=most, shared=SHARED)
    to_tag = tag(response(agent.receive(invite(body=""), FLOW, now=0.0)))
    actions = agent.receive(ack(to_tag, body=SECURE), FLOW, now=0.1)
    assert methods(actions) == ["BYE"] and music(actions) == []
    assert "SRTP" in notes(actions)[0]


def test_an_unreachable_receiver_ends_the_call_at_once() -> None:
    agent, _ = full(1)
    sharer = calls(agent, 50)
    actions = agent.stream_gone(sharer, 1, "port unreachable at ...", hopeless="port unreachable", now=5.0)
    assert methods(actions) == ["BYE"] and music(actions) == []
    assert notes(actions) == ["ended after 5 s, music for 5 s: port unreachable at ...; no report from the receiver"]


@pytest.mark.parametrize("by", ["port unreachable", "RTCP BYE"])
def test_the_reason_why_a_receiver_is_gone_is_counted(by: str) -> None:
    agent, _ = full(1)
    sharer = calls(agent, 50)
    agent.stream_gone(sharer, 1, "at length", hopeless=by, now=5.0)
    agent.tick(5.0 + 32.0)  # our BYE is not answered
    assert agent.tally.counts == {f"ended by {by}": 1}


def test_the_former_receiver_of_a_moved_stream_ends_no_call() -> None:
    agent, _ = full(1)
    sharer = calls(agent, 50)
    start_of(agent, reinvite(sharer, 131, OFFER.replace("192.168.1.77", "192.168.1.78")))
    assert agent.stream_gone(sharer, 1, "port unreachable", hopeless="port unreachable", now=5.0) == []
    assert agent.calls == 2


def test_an_unreachable_receiver_of_a_held_or_ended_call_changes_nothing() -> None:
    agent, _ = full(1)
    sharer = calls(agent, 50)
    agent.receive(reinvite(sharer, 131, OFFER.replace("recvonly", "inactive")), FLOW, now=2.0)
    assert agent.stream_gone(sharer, 1, "port unreachable", hopeless="port unreachable", now=2.1) == []
    agent.receive(bye(sharer, **phone(50)), FLOW, now=3.0)
    assert agent.stream_gone(sharer, 1, "port unreachable", hopeless="port unreachable", now=3.1) == []


# -- a burst: too many streams are starting ------------------------------------------------------------------------


def burst(agent: UserAgent, *numbers: int, flow: Flow = FLOW, body: str = OFFER, now: float = 1.0) -> list[int]:
    """The ports in the answers to INVITEs of these callers."""
    return [port(response(agent.receive(invite(body=body, **phone(number)), flow, now))) for number in numbers]


def test_a_call_that_comes_while_two_streams_are_starting_shares_at_once() -> None:
    agent = make_agent(shared=SHARED, starts_at_once=2)
    assert burst(agent, 1, 2, 3, 4) == [10000, 10002, SHARED, SHARED]


def test_a_stream_that_plays_makes_room_for_the_next_ffmpeg() -> None:
    agent = make_agent(shared=SHARED, starts_at_once=1)
    (start,) = music(agent.receive(invite(**phone(1)), FLOW, now=1.0))
    assert burst(agent, 2) == [SHARED]
    assert agent.streams_began([StreamBegan(start.call, 1), StreamBegan("gone", 1)], now=1.1) == []
    assert burst(agent, 3, 4, now=1.2) == [10002, SHARED]


def test_calls_one_after_the_other_have_an_ffmpeg_each_until_all_are_used_up() -> None:
    agent = make_agent(most=50, shared=SHARED, starts_at_once=1)
    for number in range(50):
        agent.streams_began([StreamBegan(calls(agent, number), 1)], now=0.0)
    assert not agent.registry.ports.sharing
    assert burst(agent, 50) == [SHARED]


def test_a_stream_that_ends_before_it_plays_makes_room() -> None:
    agent = make_agent(shared=SHARED, starts_at_once=1)
    to_tag = tag(response(agent.receive(invite(**phone(1)), FLOW, now=1.0)))
    hangs_up(agent, 1, to_tag, now=1.1)
    assert burst(agent, 2) == [10002]


def test_a_call_on_hold_starts_no_stream_and_keeps_no_place() -> None:
    agent = make_agent(shared=SHARED, starts_at_once=1)
    held = OFFER.replace("recvonly", "inactive")
    assert burst(agent, 1, body=held) == [10000]
    assert burst(agent, 2) == [10002]
    assert burst(agent, 3, body=held) == [10004]


def test_a_call_with_srtp_gets_a_port_of_its_own_in_a_burst() -> None:
    agent = make_agent(shared=SHARED, starts_at_once=1)
    assert burst(agent, 1) == [10000]
    assert burst(agent, 2, body=SECURE) == [10002]


def test_a_caller_whose_music_waits_for_its_ack_counts_for_a_second() -> None:
    agent = make_agent(shared=SHARED, starts_at_once=1)
    assert burst(agent, 1, 2, flow=PUBLIC_FLOW) == [10000, SHARED]
    assert burst(agent, 3) == [10002], "music that starts at once does not wait for calls without ACK"
    agent.streams_began([StreamBegan(agent.call_ids[2], 1)], now=1.1)
    assert burst(agent, 4, flow=PUBLIC_FLOW, now=1.9) == [SHARED]
    assert burst(agent, 5, flow=PUBLIC_FLOW, now=2.0) == [10004]


def test_an_ack_that_starts_the_music_takes_the_place() -> None:
    agent = make_agent(shared=SHARED, starts_at_once=1)
    to_tag = tag(response(agent.receive(invite(**phone(1)), PUBLIC_FLOW, now=1.0)))
    agent.receive(ack(to_tag, call_id=phone(1)["call_id"]), PUBLIC_FLOW, now=1.1)
    assert burst(agent, 2) == [SHARED]
    agent.streams_began([StreamBegan(to_tag, 1)], now=1.2)
    assert burst(agent, 3) == [10002]
