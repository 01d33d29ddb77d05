"""Limits on music to hosts that have sent no RTP or RTCP, for callers on the internet; with literal clocks."""

from __future__ import annotations

from typing import Optional

import pytest

from moh.common.actions import Address, Flow, StartStream
from moh.common.addresses import networks
from moh.common.errors import Refusal
from moh.guard.media_limits import CALLS_OF_ONE_SOURCE, CALLS_TO_ONE_HOST, MAX_HEARD, MediaLimits
from moh.guard.media_policy import MediaPolicy
from moh.sip.user_agent import UserAgent
from tests.guard.callers import caller
from tests.support.ladder import (
    FLOW,
    HELD,
    OFFER,
    PUBLIC_FLOW,
    SERVER,
    ack,
    bye,
    make_agent,
    methods,
    music,
    notes,
    request,
    response,
    statuses,
    tag,
)

VICTIM = "198.51.100.7"
OTHER_SOURCE = Flow(Address("203.0.113.99", 5062), SERVER)
TCP = PUBLIC_FLOW._replace(transport="TCP", connection=1)


def agent_of(policy: Optional[MediaPolicy] = None) -> UserAgent:
    return make_agent(ports=(10000, 12000), destinations=policy or MediaPolicy())


def towards(host: str, *lines: str) -> str:
    return OFFER.replace(HELD, host) + "".join(line + "\n" for line in lines)


def call(agent: UserAgent, number: int, body: str, flow: Flow = PUBLIC_FLOW, now: float = 0.0) -> str:
    """A call with music; its tag."""
    answer = response(agent.receive(caller(number, flow, body), flow, now))
    assert answer.status == 200, answer
    agent.receive(ack(tag(answer), call_id=f"Call-ID: {number}"), flow, now)
    return tag(answer)


def status(agent: UserAgent, number: int, body: str, flow: Flow = PUBLIC_FLOW, now: float = 1.0) -> int:
    """The status of one more call, which is not acknowledged."""
    return statuses(agent.receive(caller(number, flow, body), flow, now))[-1]


@pytest.mark.parametrize("flow", [PUBLIC_FLOW, TCP])
def test_eight_calls_may_play_to_a_silent_host_and_further_ones_get_503(flow: Flow) -> None:
    agent = agent_of()
    for number in range(CALLS_TO_ONE_HOST):
        call(agent, number, towards(VICTIM), flow)
    actions = agent.receive(caller(8, flow, towards(VICTIM)), flow, now=1.0)
    answer = response(actions)
    assert (answer.status, answer.first("retry-after"), music(actions)) == (503, "5", [])
    (line,) = notes(actions)
    assert "MOH_ALLOW to name 203.0.113.9 or MOH_ALLOW_MEDIA to name 198.51.100.7" in line
    assert notes(agent.receive(caller(9, flow, towards(VICTIM)), flow, now=1.1)) == [], "further ones are counted"
    assert agent.tally.counts["music to a silent host"] == 2
    assert agent.calls == 8


def test_the_limit_of_a_host_is_that_of_all_sources_together() -> None:
    agent = agent_of()
    for number in range(CALLS_TO_ONE_HOST):
        call(agent, number, towards(VICTIM), Flow(Address(f"203.0.113.{number + 10}", 5062), SERVER))
    assert status(agent, 8, towards(VICTIM)) == 503
    assert status(agent, 9, towards("198.51.100.8")) == 200, "another host"


def test_the_addresses_of_an_ipv6_network_are_one_host() -> None:
    agent = agent_of()
    for number in range(CALLS_TO_ONE_HOST):
        call(agent, number, towards(f"2001:db8:0:7::{number + 1}"))
    assert status(agent, 8, towards("2001:db8:0:7::ffff")) == 503
    assert status(agent, 9, towards("2001:db8:0:8::1")) == 200


def test_one_source_may_have_music_for_32_calls_sent_to_silent_hosts() -> None:
    agent = agent_of()
    for number in range(CALLS_OF_ONE_SOURCE):
        call(agent, number, towards(f"198.51.100.{number + 1}"))
    actions = agent.receive(caller(32, PUBLIC_FLOW, towards("198.51.100.99")), PUBLIC_FLOW, now=1.0)
    assert statuses(actions) == [503]
    assert "MOH_ALLOW to name 203.0.113.9 or MOH_ALLOW_MEDIA to name those hosts" in notes(actions)[0]
    assert status(agent, 33, towards(PUBLIC_FLOW.remote.host)) == 200, "its own address is no third host"
    assert status(agent, 34, towards("198.51.100.99"), OTHER_SOURCE) == 200


def test_one_packet_from_the_host_lifts_both_limits() -> None:
    agent = agent_of()
    for number in range(CALLS_TO_ONE_HOST):
        call(agent, number, towards(VICTIM))
    for number in range(CALLS_TO_ONE_HOST, CALLS_OF_ONE_SOURCE):
        call(agent, number, towards(f"198.51.100.{number + 100}"))
    assert (status(agent, 40, towards(VICTIM)), status(agent, 41, towards("198.51.100.99"))) == (503, 503)
    assert agent.media_heard([VICTIM], now=2.0) == []
    for number in range(50, 100):
        call(agent, number, towards(VICTIM), now=2.1)
    for number in range(100, 108):
        call(agent, number, towards(f"198.51.100.{number - 50}"), now=2.2)
    assert status(agent, 108, towards("198.51.100.99")) == 503, "32 others go to silent hosts again"


def test_a_host_that_was_heard_before_has_no_limit() -> None:
    agent = agent_of()
    agent.media_heard([VICTIM], now=0.0)
    for number in range(CALLS_OF_ONE_SOURCE + 1):
        call(agent, number, towards(VICTIM), now=1.0)


@pytest.mark.parametrize(
    ("flow", "policy"),
    [
        (FLOW, MediaPolicy()),
        (Flow(Address("100.64.0.9", 5062), SERVER), MediaPolicy()),
        (PUBLIC_FLOW, MediaPolicy(is_ours=lambda host: host == PUBLIC_FLOW.remote.host)),
        (PUBLIC_FLOW, MediaPolicy(callers=networks("203.0.113.0/24"))),
        (PUBLIC_FLOW, MediaPolicy(allowed=networks("198.51.100.0/24"))),
    ],
)
def test_private_networks_and_what_the_owner_names_have_no_limit(flow: Flow, policy: MediaPolicy) -> None:
    """A carrier's gateway is one address for a hundred held parties, and may never send RTCP."""
    agent = agent_of(policy)
    for number in range(100):
        call(agent, number, towards(VICTIM), flow)
    assert agent.table_sizes["limited calls"] == 0


def test_a_setting_that_allows_every_host_lifts_nothing() -> None:
    agent = agent_of(MediaPolicy(allowed=networks("0.0.0.0/0")))
    for number in range(CALLS_TO_ONE_HOST):
        call(agent, number, towards(VICTIM))
    assert status(agent, 8, towards(VICTIM)) == 503


# -- what counts ---------------------------------------------------------------------------------------------------


def full(agent: UserAgent) -> list[str]:
    """As many calls to the victim as may be; their tags."""
    return [call(agent, number, towards(VICTIM)) for number in range(CALLS_TO_ONE_HOST)]


def in_call(agent: UserAgent, method: str, to_tag: str, number: int, cseq: int, body: str, now: float = 1.0) -> int:
    """The status of a request within the call of that number."""
    actions = agent.receive(
        request(
            method, body=body, to_tag=to_tag, call_id=f"Call-ID: {number}", cseq=f"CSeq: {cseq} {method}",
            via=f"Via: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bK{method}{number}-{cseq};rport",
        ),
        PUBLIC_FLOW,
        now,
    )  # fmt: skip
    return statuses(actions)[-1]


def acknowledge(agent: UserAgent, to_tag: str, number: int, cseq: int) -> None:
    agent.receive(ack(to_tag, call_id=f"Call-ID: {number}", cseq=f"CSeq: {cseq} ACK"), PUBLIC_FLOW, now=1.5)


def test_a_call_counts_from_its_answer_to_its_bye() -> None:
    agent = agent_of()
    for number in range(CALLS_TO_ONE_HOST):
        assert status(agent, number, towards(VICTIM)) == 200
    assert status(agent, 8, towards(VICTIM)) == 503
    to_tag = next(iter(agent.registry.calls))
    agent.receive(bye(to_tag, call_id="Call-ID: 0"), PUBLIC_FLOW, now=2.0)
    assert status(agent, 9, towards(VICTIM), now=2.1) == 200
    agent.tick(40.0)
    assert agent.table_sizes["limited calls"] == 0, "the calls without ACK have ended"


def test_a_call_on_hold_does_not_count_and_is_refused_where_others_have_its_place() -> None:
    agent = agent_of()
    tags = full(agent)
    held = towards(VICTIM).replace("a=recvonly", "a=inactive")
    assert in_call(agent, "INVITE", tags[0], 0, 131, held) == 200
    assert status(agent, 8, towards(VICTIM)) == 200
    assert in_call(agent, "INVITE", tags[0], 0, 132, towards(VICTIM), now=2.0) == 503
    assert agent.calls == 9, "a call whose offer is refused goes on as it was"


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_call_that_plays_there_already_is_refreshed(method: str) -> None:
    agent = agent_of()
    tags = full(agent)
    assert in_call(agent, method, tags[0], 0, 131, towards(VICTIM).replace("17422", "17424")) == 200


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_call_cannot_move_to_a_host_that_has_all_its_calls(method: str) -> None:
    agent = agent_of()
    full(agent)
    own = call(agent, 20, towards(PUBLIC_FLOW.remote.host))
    assert in_call(agent, method, own, 20, 131, towards(VICTIM)) == 503


def test_a_call_that_moves_counts_for_both_hosts_until_its_ack() -> None:
    """Until then its music goes to the former host."""
    agent = agent_of()
    tags = full(agent)
    assert in_call(agent, "INVITE", tags[0], 0, 131, towards("198.51.100.8")) == 200
    assert status(agent, 8, towards(VICTIM)) == 503
    acknowledge(agent, tags[0], 0, 131)
    assert status(agent, 9, towards(VICTIM)) == 200


def test_an_answer_in_the_ack_counts_and_one_too_many_ends_its_call() -> None:
    agent = agent_of()
    for number in range(CALLS_TO_ONE_HOST + 1):
        late = response(agent.receive(caller(number, PUBLIC_FLOW, ""), PUBLIC_FLOW, now=0.0))
        answer = ack(tag(late), body=towards(VICTIM), call_id=f"Call-ID: {number}")
        actions = agent.receive(answer, PUBLIC_FLOW, now=0.1)
        if number < CALLS_TO_ONE_HOST:
            assert len(music(actions)) == 1
    assert methods(actions) == ["BYE"] and music(actions) == []
    assert "MOH_ALLOW" in notes(actions)[0]


def test_a_host_that_gets_rtcp_alone_counts_as_well() -> None:
    agent = agent_of()
    body = towards(PUBLIC_FLOW.remote.host, f"a=rtcp:17423 IN IP4 {VICTIM}")
    for number in range(CALLS_TO_ONE_HOST):
        call(agent, number, body)
    assert status(agent, 8, towards(VICTIM)) == 503


def test_nothing_is_kept_of_calls_that_have_ended() -> None:
    agent = agent_of()
    tags = full(agent)
    for number, to_tag in enumerate(tags):
        assert in_call(agent, "BYE", to_tag, number, 131, "") == 200
    assert agent.table_sizes["limited calls"] == 0
    limits = agent.registry.media_limits
    names = [name for name in dir(limits) if name.startswith("_") and not name.startswith("__")]
    tables = [table for name in names if isinstance(table := getattr(limits, name), (dict, set))]
    assert len(tables) >= 3 and not any(tables)


def test_of_many_hosts_that_were_heard_the_latest_are_remembered() -> None:
    limits = MediaLimits()
    for number in range(MAX_HEARD + 1):
        limits.heard(f"198.18.{number // 256}.{number % 256}")
    for number in range(CALLS_TO_ONE_HOST):
        limits.add(f"call {number}", "203.0.113.9", {"198.18.0.0", "198.18.0.1"})
    limits.check("", "203.0.113.9", {"198.18.0.1"})
    with pytest.raises(Refusal):
        limits.check("", "203.0.113.9", {"198.18.0.0"})


def test_rtcp_to_a_host_that_has_all_its_calls_goes_beside_the_music() -> None:
    agent = agent_of()
    full(agent)
    body = towards(PUBLIC_FLOW.remote.host, f"a=rtcp:17423 IN IP4 {VICTIM}")
    to_tag = tag(response(agent.receive(caller(8, PUBLIC_FLOW, body), PUBLIC_FLOW, now=1.0)))
    (start,) = music(agent.receive(ack(to_tag, call_id="Call-ID: 8"), PUBLIC_FLOW, now=1.1))
    assert isinstance(start, StartStream)
    assert start.target.remote_rtcp == Address(PUBLIC_FLOW.remote.host, 17423)
