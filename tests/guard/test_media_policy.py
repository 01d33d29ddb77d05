"""The media policy: the addresses to which music may go, and when (RFC 3261 §26.1.5, RFC 7088 §5)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from moh.common.actions import Address, Flow, Resolve, Send, StartStream
from moh.common.addresses import networks
from moh.common.errors import Refusal
from moh.guard.media_policy import MediaPolicy
from moh.net.routes import is_broadcast
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
    statuses,
    tag,
)

LOCAL = ("192.168.1.100", "203.0.113.100")
POLICY = MediaPolicy(
    is_ours=lambda host: host in LOCAL or host.startswith("127."),
    is_broadcast=lambda host: host == "192.168.1.255",
    own_ports=frozenset([5060, *range(10000, 10101)]),
)
LOCAL_FLOW = Flow(Address("127.0.0.1", 5062), Address("127.0.0.1", 5060))


def offer(host: str, port: int = 17422, *lines: str) -> str:
    body = OFFER.replace(HELD, host).replace("audio 17422", f"audio {port}")
    return body + "".join(line + "\n" for line in lines)


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("192.168.1.100", 5060),  # SIP of this server
        ("203.0.113.100", 5060),
        ("192.168.1.100", 10000),  # RTP of this server
        ("192.168.1.100", 10100),
        ("192.168.1.100", 5059),  # RTCP goes to the next port
        ("127.0.0.1", 17422),  # the loopback, for another machine
        ("192.168.1.255", 17422),  # a broadcast address
        ("255.255.255.255", 17422),
        ("224.0.1.75", 17422),
        ("0.0.0.7", 17422),
        (HELD, 1023),
    ],
)
def test_no_music_goes_there(host: str, port: int) -> None:
    agent = make_agent(destinations=POLICY)
    actions = agent.receive(invite(body=offer(host, port)), FLOW, now=0.0)
    assert statuses(actions) == [488] and music(actions) == []
    assert (response(actions).first("warning") or "")[:3] in ("301", "399")
    assert agent.idle


@pytest.mark.parametrize(
    ("host", "line"),
    [
        ("192.168.1.100", "a=rtcp:5060"),
        (HELD, "a=rtcp:5060 IN IP4 192.168.1.100"),
        (HELD, "a=rtcp:17423 IN IP4 127.0.0.1"),
        (HELD, "a=rtcp:17423 IN IP4 192.168.1.255"),
    ],
)
def test_rtcp_that_may_not_go_there_goes_beside_the_rtp(host: str, line: str) -> None:
    agent = make_agent(destinations=POLICY)
    actions = agent.receive(invite(body=offer(host, 17422, line)), FLOW, now=0.0)
    actions += agent.receive(ack(tag(response(actions))), FLOW, now=0.1)
    (start,) = music(actions)
    assert isinstance(start, StartStream) and start.target.remote_rtcp == Address(host, 17423)


def test_the_same_ports_of_another_host_are_allowed() -> None:
    agent = make_agent(destinations=POLICY)
    assert music(agent.receive(invite(body=offer(HELD, 10000)), FLOW, now=0.0)) != []


def test_the_loopback_is_allowed_for_sources_on_this_machine() -> None:
    agent = make_agent(destinations=POLICY)
    actions = agent.receive(invite(body=offer("127.0.0.1")), LOCAL_FLOW, now=0.0)
    assert 200 in statuses(actions)


@pytest.mark.parametrize("flow", [FLOW, LOCAL_FLOW])
def test_music_to_the_servers_own_machine_waits_for_the_ack(flow: Flow) -> None:
    agent = make_agent(destinations=POLICY)
    actions = agent.receive(invite(body=offer(SERVER.host)), flow, now=0.0)
    assert 200 in statuses(actions) and music(actions) == []
    assert music(agent.receive(ack(tag(response(actions))), flow, now=0.1)) != []


def test_music_with_a_public_address_for_rtcp_waits_for_the_ack() -> None:
    agent = make_agent(destinations=POLICY)
    actions = agent.receive(invite(body=offer(HELD, 17422, "a=rtcp:17423 IN IP4 198.51.100.7")), FLOW, now=0.0)
    assert 200 in statuses(actions) and music(actions) == []


def test_only_the_networks_of_the_owner_get_music() -> None:
    agent = make_agent(destinations=MediaPolicy(allowed=networks("192.168.1.0/24,198.51.100.0/24")))
    assert 200 in statuses(agent.receive(invite(), FLOW, now=0.0))
    elsewhere = invite(body=offer("192.168.2.77"), call_id="Call-ID: 2", via="Via: SIP/2.0/UDP a;branch=z9hG4bK2;rport")
    refused = agent.receive(elsewhere, FLOW, now=0.0)
    assert statuses(refused) == [488]
    why = "address is 192.168.2.77; expected one that the owner of this server allows music to"
    assert response(refused).first("warning") == f'399 moh "{why}"'


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_reoffer_cannot_move_the_music_there(method: str) -> None:
    agent = make_agent(destinations=POLICY)
    call = answered(agent)
    moved = request(
        method, body=offer("192.168.1.100", 5060), to_tag=call, cseq=f"CSeq: 131 {method}", via="Via: SIP/2.0/UDP a"
    )
    actions = agent.receive(moved, FLOW, now=1.0)
    assert statuses(actions) == [488] and music(actions) == []


def test_the_answer_in_an_ack_cannot_direct_the_music_there() -> None:
    agent = make_agent(destinations=POLICY)
    call = tag(response(agent.receive(invite(body=""), PUBLIC_FLOW, now=0.0)))
    assert music(agent.receive(ack(call, body=offer("192.168.1.100", 5060)), PUBLIC_FLOW, now=0.1)) == []


# -- callers on the internet ---------------------------------------------------------------------------------------

INWARDS = [
    "10.77.0.9",
    "172.16.0.9",
    "192.168.1.77",
    "169.254.169.254",
    "100.64.0.9",
    "192.168.1.100",  # this server
    "203.0.113.100",
    "198.51.100.200",  # the address that its answers name
    "127.0.0.1",
    "0x0a4d0009",
    "0xa.0x4d.9",
    "012.0115.0.011",
    "10.77.9",
    "172818441",
    "::ffff:10.77.0.9",
    "[::ffff:10.77.0.9]",
    "::10.77.0.9",
    "::ffff:0:10.77.0.9",
    "64:ff9b::10.77.0.9",
    "64:ff9b::203.0.113.100",
    "64:ff9b:1::9",
    "2002:a4d:9::1",
    "2001:0:cb00:7114:0:fbff:f5b2:fff6",
    "2001:db8::5efe:10.77.0.9",
    "fd00::9",
    "fe80::9",
    "fe80::9%eth0",
    "fec0::9",
    "::1",
]
"""Addresses inside of a network, in any writing."""
INTERNET = Flow(Address("203.0.113.9", 5062), SERVER)
NAMING = replace(POLICY, advertised="198.51.100.200")


@pytest.mark.parametrize("host", INWARDS)
def test_a_caller_on_the_internet_directs_no_music_inwards(host: str) -> None:
    agent = make_agent(destinations=NAMING)
    actions = agent.receive(invite(body=offer(host)), INTERNET, now=0.0)
    answer = response(actions)
    assert (answer.status, music(actions), agent.idle) == (488, [], True)
    warning = answer.first("warning") or ""
    assert "neither MOH_ALLOW names 203.0.113.9 nor MOH_ALLOW_MEDIA that address" in warning
    assert len(actions) == 2 and "MOH_ALLOW_MEDIA" in notes(actions)[0]


@pytest.mark.parametrize("host", ["198.51.100.7", "0xc6336407", "64:ff9b::198.51.100.7", "203.0.113.9", "2001:db8::7"])
def test_a_caller_on_the_internet_directs_music_to_the_internet(host: str) -> None:
    agent = make_agent(destinations=NAMING)
    actions = agent.receive(invite(body=offer(host)), INTERNET, now=0.0)
    assert statuses(actions) == [200]
    assert music(agent.receive(ack(tag(response(actions))), INTERNET, now=0.1)) != []


@pytest.mark.parametrize(
    "policy",
    [
        replace(NAMING, callers=networks("203.0.113.9")),
        replace(NAMING, allowed=networks("10.0.0.0/8, 192.0.2.0/24")),
    ],
)
@pytest.mark.parametrize("host", ["10.77.0.9", "0x0a4d0009"])
def test_either_setting_lets_a_caller_on_the_internet_direct_music_inwards(policy: MediaPolicy, host: str) -> None:
    agent = make_agent(destinations=policy)
    assert statuses(agent.receive(invite(body=offer(host)), INTERNET, now=0.0)) == [200]


def test_a_setting_that_does_not_name_the_address_lifts_nothing() -> None:
    for allowed in ("0.0.0.0/0,::/0", "192.168.0.0/16"):
        agent = make_agent(destinations=replace(NAMING, allowed=networks(allowed)))
        answer = response(agent.receive(invite(body=offer("10.77.0.9")), INTERNET, now=0.0))
        assert answer.status == 488 and "MOH_ALLOW_MEDIA" in (answer.first("warning") or "")


@pytest.mark.parametrize("source", ["192.168.1.50", "100.64.0.50", "203.0.113.100", "fd00::50"])
@pytest.mark.parametrize("host", ["10.77.0.9", "0x0a4d0009", "100.64.0.9", "198.51.100.200", "::10.77.0.9"])
def test_private_and_shared_networks_and_this_machine_direct_music_inwards(source: str, host: str) -> None:
    agent = make_agent(destinations=NAMING)
    assert 200 in statuses(agent.receive(invite(body=offer(host)), Flow(Address(source, 5062), SERVER), now=0.0))


def test_a_caller_from_the_advertised_address_counts_as_one_on_the_internet() -> None:
    """It may be the address of a router in front of the server.

    Then the kernel does not drop forged datagrams from it, as it does for the machine's own addresses.
    """
    agent = make_agent(destinations=NAMING)
    router = Flow(Address("198.51.100.200", 5062), SERVER)
    assert statuses(agent.receive(invite(body=offer("10.77.0.9")), router, now=0.0)) == [488]


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_reoffer_from_the_internet_cannot_move_music_inwards(method: str) -> None:
    agent = make_agent(destinations=NAMING)
    call = tag(response(agent.receive(invite(body=offer("203.0.113.9")), INTERNET, now=0.0)))
    agent.receive(ack(call), INTERNET, now=0.1)
    moved = request(method, body=offer("10.77.0.9"), to_tag=call, cseq=f"CSeq: 131 {method}", via="Via: SIP/2.0/UDP a")
    actions = agent.receive(moved, INTERNET, now=1.0)
    assert statuses(actions) == [488] and music(actions) == []


def test_an_answer_in_an_ack_from_the_internet_cannot_direct_music_inwards() -> None:
    agent = make_agent(destinations=NAMING)
    call = tag(response(agent.receive(invite(body=""), INTERNET, now=0.0)))
    actions = agent.receive(ack(call, body=offer("0x0a4d0009")), INTERNET, now=0.1)
    assert methods(actions) == ["BYE"] and music(actions) == []


@pytest.mark.parametrize("address", ["10.77.0.9", "203.0.113.100", "fe80::9%eth0", "0.0.0.0", "::10.77.0.9"])
def test_a_name_that_leads_inwards_has_no_address_for_a_caller_on_the_internet(address: str) -> None:
    answers, lines = [], []
    for found in ("", address):
        agent = make_agent(destinations=NAMING)
        asked = agent.receive(invite(body=offer("db.corp.example")), INTERNET, now=0.0)[-1]
        assert isinstance(asked, Resolve)
        actions = agent.resolved(asked, found, now=0.1)
        answers.append([action.data for action in actions if isinstance(action, Send)])
        lines.append(notes(actions))
    assert answers[0] == answers[1] and b"488 " in answers[0][0]
    assert len(lines[1]) == 2, "the log tells the owner where the name leads, and which settings let music go there"
    assert address in lines[1][0] and "MOH_ALLOW " in lines[1][0] and "MOH_ALLOW_MEDIA" in lines[1][0]


def test_a_name_that_leads_inwards_is_an_address_for_a_caller_in_a_private_network() -> None:
    agent = make_agent(destinations=NAMING)
    asked = agent.receive(invite(body=offer("db.corp.example")), FLOW, now=0.0)[-1]
    assert isinstance(asked, Resolve)
    assert 200 in statuses(agent.resolved(asked, "10.77.0.9", now=0.1))


def test_hold_has_no_address_and_is_always_allowed() -> None:
    agent = make_agent(destinations=MediaPolicy(allowed=networks("10.0.0.0/8")))
    assert 200 in statuses(agent.receive(invite(body=offer("0.0.0.0")), FLOW, now=0.0))


def test_a_refusal_names_the_address_and_the_reason() -> None:
    with pytest.raises(Refusal) as caught:
        POLICY.check(FLOW, Address(SERVER.host, 5060), Address(HELD, 5061))
    assert caught.value.why == ("No music there: address is 192.168.1.100:5060; expected no port of this server itself")


def test_the_kernel_knows_a_broadcast_address() -> None:
    assert is_broadcast("255.255.255.255") and is_broadcast("127.255.255.255")
    assert not is_broadcast("127.0.0.1") and not is_broadcast("::1")
