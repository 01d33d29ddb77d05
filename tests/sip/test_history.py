"""The history of calls: the latest ended ones, and totals. Ladder diagrams with literal clocks."""

from __future__ import annotations

import pytest

from moh.common.actions import StartStream, StreamBegan
from moh.rtp.reception import StreamReport
from moh.sip.history import FIRST_PACKET_BOUNDS, MOST_ENDED, EndedCall
from moh.sip.snapshot import ENDED
from moh.sip.user_agent import UserAgent
from tests.support.forms import pure_only
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
    music,
    reinvite,
    response,
    tag,
)


def ended(agent: UserAgent) -> EndedCall:
    (found,) = agent.history.ended()
    return found


def a_call(agent: UserAgent, number: int, now: float, body: str = OFFER) -> str:
    via = f"Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bK{number};rport"
    found = tag(response(agent.receive(invite(body=body, call_id=f"Call-ID: {number}", via=via), FLOW, now)))
    agent.receive(ack(found, call_id=f"Call-ID: {number}"), FLOW, now)
    return found


def hang_up(agent: UserAgent, call: str, number: int, now: float) -> None:
    via = f"Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKbye{number};rport"
    agent.receive(bye(call, call_id=f"Call-ID: {number}", via=via), FLOW, now)
    agent.stream_gone(call, 1, "stopped", now=now)


# -- ended calls ---------------------------------------------------------------------------------------------------


def test_a_call_that_goes_on_has_not_ended() -> None:
    agent = make_agent()
    answered(agent)
    assert agent.history.ended() == [] and agent.history.answered == 1


def test_an_ended_call_is_there_as_it_was_at_its_end() -> None:
    agent = make_agent()
    call = answered(agent)
    agent.reported([StreamReport(call, 7, 500, 500, 5, 0.0, 0.002)], now=10.0)
    agent.receive(bye(call, 'Reason: Q.850;cause=16;text="unhold"'), FLOW, 12.0)
    for now in (13.0, 50.0):
        found = ended(agent)
        assert (found.at, found.reason) == (12.0, "BYE")
        assert found.why == """BYE from the caller ('Q.850;cause=16;text="unhold"')"""
        assert (found.call.id, found.call.state, found.call.age, found.call.played) == (call, ENDED, 12.0, 12.0)
        assert (found.call.source, found.call.transport, found.call.caller) == (PHONE, "UDP", "201@pbx.lan")
        assert (found.call.codec, found.call.reception.loss, found.call.reported_before) == ("PCMU", 0.01, 2.0)
        agent.stream_gone(call, 1, "stopped", now=now)
    assert agent.idle


def test_a_call_without_ack_has_ended_for_that_reason_before_its_bye_is_answered() -> None:
    agent = make_agent()
    agent.receive(invite(), FLOW, now=0.0)
    for second in range(33):
        agent.tick(now=float(second))
    assert (ended(agent).reason, ended(agent).why) == ("no ACK", "no ACK in 32 s")
    assert not agent.idle


def test_the_newest_hundred_ended_calls_are_kept_the_newest_first() -> None:
    agent = make_agent()
    calls = [a_call(agent, number, now=float(number)) for number in range(1)]
    hang_up(agent, calls[0], 0, now=0.5)
    for number in range(1, MOST_ENDED + 20):
        calls.append(a_call(agent, number, now=float(number)))
        hang_up(agent, calls[number], number, now=number + 0.5)
    found = agent.history.ended()
    assert [each.call.id for each in found] == calls[: -MOST_ENDED - 1 : -1]
    assert [each.call.id for each in agent.history.ended(newest_known=calls[-3])] == [calls[-1], calls[-2]]
    assert agent.history.ended(newest_known=calls[-1]) == []
    assert agent.history.answered == MOST_ENDED + 20


def test_a_call_that_the_server_gives_up_is_there_too() -> None:
    agent = make_agent()
    call = agent.registry.calls[answered(agent)]
    agent.registry.abandon(call, 5.0)
    agent.stream_gone(call.id, 1, "stopped", now=5.1)
    assert (ended(agent).reason, ended(agent).at, ended(agent).why) == (
        "server fault", 5.0, "unexpected error in the server",
    )  # fmt: skip
    assert agent.idle


@pure_only
def test_a_turn_that_is_undone_is_not_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = make_agent()

    def fails(*_: object) -> None:
        raise LookupError("a plain bug")

    with monkeypatch.context() as context:
        context.setattr(agent.registry, "remember_merged", fails)
        with pytest.raises(LookupError):
            agent.receive(invite(), FLOW, now=0.0)
    assert (agent.history.answered, agent.history.calls, agent.history.ended()) == (0, {}, [])


# -- totals --------------------------------------------------------------------------------------------------------


def test_calls_are_counted_by_their_first_codec_and_engine() -> None:
    agent = make_agent(ports=(10000, 10100), most=1, shared=10100)
    first = a_call(agent, 1, now=1.0)
    a_call(agent, 2, now=2.0, body=OFFER.replace("RTP/AVP 0 8 101", "RTP/AVP 8 101"))
    a_call(agent, 3, now=3.0)
    again = OFFER.replace("RTP/AVP 0 8 101", "RTP/AVP 8 101")
    agent.receive(reinvite(first, 131, again), FLOW, now=4.0)
    assert agent.history.calls == {("PCMU", False): 1, ("PCMA", True): 1, ("PCMU", True): 1}
    assert (agent.history.answered, agent.history.answered_at) == (3, 3.0)


def test_a_call_counts_when_its_music_begins_or_at_its_end() -> None:
    """Towards a public address the music waits for the ACK, and without an offer so does the codec."""
    agent = make_agent()
    call = tag(response(agent.receive(invite(body=""), PUBLIC_FLOW, 0.0)))
    assert (agent.history.answered, agent.history.calls) == (1, {})
    agent.receive(bye(call), PUBLIC_FLOW, 3.0)
    assert agent.history.calls == {("none", False): 1}


def test_the_time_to_the_first_packet_is_that_of_the_first_stream() -> None:
    agent = make_agent()
    call = answered(agent)
    agent.streams_began([StreamBegan(call, 1, 0.03)], now=0.06)
    agent.receive(reinvite(call, 131, OFFER.replace("17422", "17500")), FLOW, now=9.0)
    agent.streams_began([StreamBegan(call, 2, 9.01), StreamBegan("gone", 1)], now=9.06)
    counts = dict(zip(FIRST_PACKET_BOUNDS, agent.history.first_packet.counts))
    assert {bound: count for bound, count in counts.items() if count} == {0.05: 1}
    assert agent.history.first_packet.sum == pytest.approx(0.03)


def test_a_stream_that_is_started_again_by_itself_counts_as_a_restart() -> None:
    agent = make_agent()
    call = answered(agent)
    (start,) = music(agent.stream_gone(call, 1, "ffmpeg ended with status 1", now=5.0))
    assert isinstance(start, StartStream) and agent.history.restarts == 1
    agent.receive(bye(call), FLOW, 6.0)
    agent.stream_gone(call, 2, "stopped", now=6.0)
    assert agent.history.restarts == 1


def test_the_losses_that_receivers_report_are_summed_up_and_never_fall() -> None:
    agent = make_agent()
    ann, bob = a_call(agent, 1, now=0.0), a_call(agent, 2, now=0.0)
    totals = []
    for call, passed, lost in ((ann, 500, 10), (bob, 250, 0), (ann, 1000, 8), (ann, 1500, 20), ("gone", 9, 9)):
        agent.reported([StreamReport(call, 7, 2000, passed, lost, 0.0, 0.002)], now=passed / 50)
        totals.append((agent.history.reported_lost, agent.history.reported_expected))
    assert totals == [(10, 500), (10, 750), (10, 1250), (20, 1750), (20, 1750)]
