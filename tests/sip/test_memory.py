"""An ended call leaves nothing that only the garbage collector frees, and a call takes little memory.

A full collection visits all objects and stops all threads meanwhile, so the server hardly ever runs one.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from moh.common.actions import StartStream
from moh.sip.parser import parse
from moh.sip.user_agent import UserAgent
from tests.support.ladder import (
    FLOW,
    OFFER,
    ack,
    answered,
    bye,
    invite,
    lookup,
    make_agent,
    music,
    octets,
    ok_to,
    request,
    response,
    sent,
    tag,
)
from tests.support.odd_headers import FLAWS, UNANSWERABLE

LATE = 500.0
"""When all timers have expired."""


def a_whole_call(agent: UserAgent) -> None:
    to_tag = answered(agent)
    (stop,) = music(agent.receive(bye(to_tag), FLOW, now=1.0))
    agent.stream_gone(stop.call, 1, "", now=1.0)


def a_refused_call(agent: UserAgent) -> None:
    answer = response(agent.receive(invite(body=OFFER.replace("RTP/AVP 0 8", "RTP/AVP 18")), FLOW, now=0.0))
    assert answer.status == 488
    agent.receive(ack(tag(answer), via=f"Via: {answer.first('via')}"), FLOW, now=0.1)


def a_refused_hold(agent: UserAgent) -> None:
    srtp = OFFER.replace("RTP/AVP 0 8", "RTP/SAVP 0").replace("recvonly", "inactive")
    answer = response(agent.receive(invite(body=srtp), FLOW, now=0.0))
    assert answer.status == 488
    agent.receive(ack(tag(answer), via=f"Via: {answer.first('via')}"), FLOW, now=0.1)


def malformed_fields(agent: UserAgent) -> None:
    for number, change in enumerate({**FLAWS, **UNANSWERABLE}.values()):
        via = f"Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bK{number};rport"
        for method in ("INVITE", "BYE", "ACK", "OPTIONS"):
            message = parse(change(octets(method, via=via, call_id=f"Call-ID: {number}")))
            if message is not None:
                agent.receive(message, FLOW, now=number / 10)
    for step in range(80):
        for own in sent(agent.tick(now=10.0 + step)):
            if not hasattr(own, "status"):
                agent.receive(ok_to(own), FLOW, now=10.0 + step)


def a_malformed_request(agent: UserAgent) -> None:
    faulty = request("OPTIONS", "Content-Length: 99")
    assert faulty.fault is not None
    assert response(agent.receive(faulty, FLOW, now=0.0)).status == 400
    assert parse(b"OPTIONS sip:123@192.168.1.100 SIP/2.0\r\n\r\n") is None


def a_bye_for_an_unknown_call(agent: UserAgent) -> None:
    assert response(agent.receive(bye("unknown"), FLOW, now=0.0)).status == 481


def a_name_without_an_address(agent: UserAgent) -> None:
    agent.receive(invite(body=OFFER.replace("192.168.1.77", "held.example")), FLOW, now=0.0)
    assert response(agent.resolved(lookup("held.example"), "", now=0.6)).status == 488


def a_call_without_an_ack(agent: UserAgent) -> None:
    (start,) = music(agent.receive(invite(), FLOW, now=0.0))
    assert isinstance(start, StartStream)
    for step in range(80):
        (*_, own) = [None, *sent(agent.tick(now=step / 2))]
        if own is not None and not hasattr(own, "status"):
            agent.receive(ok_to(own), FLOW, now=step / 2)
    agent.stream_gone(start.call, 1, "", now=41.0)


def an_options_request(agent: UserAgent) -> None:
    agent.receive(request("OPTIONS"), FLOW, now=0.0)


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


@pytest.mark.parametrize(
    "story",
    [
        a_whole_call,
        a_refused_call,
        a_refused_hold,
        malformed_fields,
        a_malformed_request,
        a_bye_for_an_unknown_call,
        a_name_without_an_address,
        a_call_without_an_ack,
        an_options_request,
    ],
)
@pytest.mark.usefixtures("no_collector")
def test_an_ended_call_leaves_no_reference_cycle(story: Callable[[UserAgent], None]) -> None:
    agent = make_agent()
    story(agent)
    for step in range(1000):
        agent.tick(now=step * LATE / 1000)
    assert agent.idle
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    ours = [thing for thing in gc.garbage if type(thing).__module__.startswith("moh.")]
    assert ours == []


LONG = "x" * 1500
WORST = (
    OFFER.replace("t=0 0\n", f"t={LONG} 0\n" * 8 + f"a=rtpmap:0 PCMU/{LONG}\n")
    + f"m={LONG} 4000 {LONG} {LONG}\nc=IN IP4 {LONG}\na=crypto:1 {LONG} {LONG}\n" * 4
    + "".join(f"m=video{number}{'x' * 80} 4000 {'p' * 90} {'f' * 90}\n" for number in range(27))
)
"""An offer with the longest words wherever a word may be kept, 58 KB of the 64 KB that a datagram may have."""


@pytest.mark.parametrize("body", [OFFER, WORST], ids=["a usual offer", "the worst offer"])
def test_a_call_takes_less_than_7000_octets(body: str) -> None:
    """SIP alone, once its transactions have ended; the stream is not counted."""
    calls = 500
    agent = make_agent(ports=(10000, 10000 + 2 * calls))

    def one_more(number: int) -> None:
        via = f"Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bK{number};rport"
        call_id = f"Call-ID: 771203466-5062-{number}@BJC.BGI.B.FA"
        to_tag = tag(response(agent.receive(invite(via=via, call_id=call_id, body=body), FLOW, now=0.0)))
        agent.receive(ack(to_tag, call_id=call_id), FLOW, now=0.0)

    one_more(0)
    tracemalloc.start()
    try:
        for number in range(1, calls):
            one_more(number)
        agent.tick(now=33.0)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] / (calls - 1)
    finally:
        tracemalloc.stop()
    assert agent.calls == calls
    assert taken < 7000


NOTE = "\U0001f3b5"
"""A character by which a text takes four octets for each of its characters."""
WIDE = [
    f'From: "{NOTE}{"f" * 880}" <sip:ann@192.168.1.50>;tag={NOTE}{"t" * 252}',
    f"Contact: <sip:{NOTE}{'k' * 880}@192.168.1.50:5062>",
    f"Record-Route: <sip:{NOTE}{'r' * 1500}@proxy;lr>",
    f"Via: SIP/2.0/UDP proxy;x={'v' * 4000}",
]
"""Header fields close to what is taken at most: the Via goes with the answer, all others are kept with the call."""


@pytest.mark.parametrize(
    ("seconds", "most"), [(0.0, 32_000), (33.0, 12_000)], ids=["at first", "after its transactions"]
)
def test_a_call_with_the_worst_header_fields_takes_little(seconds: float, most: int) -> None:
    from_, contact, *others = WIDE
    body = WORST.replace(f"t={LONG} 0\n", "", 4)  # so that all fits into a datagram
    calls = 100
    agent = make_agent(ports=(10000, 10000 + 2 * calls))

    def one_more(number: int) -> None:
        via = f"Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bK{number}{'b' * 1000};rport"
        call_id = f"Call-ID: {NOTE}{'c' * 240}{number}"
        first = invite(*others, via=via, call_id=call_id, from_=from_, contact=contact, body=body)
        answer = response(agent.receive(first, FLOW, now=0.0))
        assert answer.status == 200, answer.reason
        agent.receive(ack(tag(answer), call_id=call_id, from_=from_), FLOW, now=0.0)

    one_more(0)
    tracemalloc.start()
    try:
        for number in range(1, calls):
            one_more(number)
        agent.tick(now=seconds)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] / (calls - 1)
    finally:
        tracemalloc.stop()
    assert agent.calls == calls
    assert taken < most


@pytest.mark.parametrize("branch", ["z9hG4bK", f"z9hG4bK{NOTE}", "1"], ids=["RFC 3261", "beyond ASCII", "RFC 2543"])
@pytest.mark.parametrize("method", ["INFO", "OPTIONS", "MESSAGE", "UPDATE"])
def test_the_answer_to_a_request_within_a_call_takes_less_than_2048_octets(method: str, branch: str) -> None:
    """Whatever the request is like; 3,000 INFO with long Vias took 46 MB."""
    requests = 300
    agent = make_agent()
    to_tag = answered(agent)

    def one_more(number: int) -> None:
        via = f"Via: SIP/2.0/UDP 192.168.1.50:5062;branch={branch}{number}{'b' * 3000};rport"
        cseq, uri = f"CSeq: {131 + number} {method}", f"sip:{'u' * 3000}@192.168.1.100"
        message = request(
            method, f"Via: {'v' * 4000}", f"Via: {NOTE * 900}", via=via, to_tag=to_tag, cseq=cseq, uri=uri
        )
        first = agent.receive(message, FLOW, now=0.0)
        assert first[:1] == agent.receive(message, FLOW, now=0.0)

    one_more(0)
    tracemalloc.start()
    try:
        for number in range(1, requests):
            one_more(number)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] / (requests - 1)
    finally:
        tracemalloc.stop()
    assert agent.table_sizes["transactions"] > requests
    assert taken < 2048
