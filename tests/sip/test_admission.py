"""Whether new calls are taken: OPTIONS is refused first, so that a proxy moves on before a call is refused."""

from __future__ import annotations

import pytest

from moh.common.actions import Action, Address, Flow, Note
from moh.common.busy_at import BusyAt
from moh.sip.admission import ANNOUNCED, DRAINS, STOPS, Admission
from tests.support.ladder import FLOW, answered, bye, invite, make_agent, methods, request, response, statuses


def another(number: int) -> dict[str, str]:
    """What makes an INVITE that of another call."""
    via = f"Via: SIP/2.0/UDP 192.168.1.51;branch=z9hG4bKother{number}"
    return {"via": via, "call_id": f"Call-ID: other{number}"}


def texts(actions: list[Action]) -> list[str]:
    return [action.text for action in actions if isinstance(action, Note)]


# -- drain ---------------------------------------------------------------------------------------------------------


def test_a_server_that_drains_refuses_options_first_and_calls_five_seconds_later() -> None:
    agent = make_agent()
    to_tag = answered(agent)
    (line,) = texts(agent.drain(True, now=10.0))
    assert line.startswith("the server drains: 1 call may go on; OPTIONS is answered by 503 from now on")
    refusal = response(agent.receive(request("OPTIONS"), FLOW, now=10.0))
    assert (refusal.status, refusal.first("retry-after")) == (503, "5")
    assert statuses(agent.receive(invite(**another(1)), FLOW, now=14.9)) == [180, 200]
    assert statuses(agent.receive(invite(**another(2)), FLOW, now=10.0 + ANNOUNCED)) == [503]
    within = request("OPTIONS", to_tag=to_tag, cseq="CSeq: 140 OPTIONS")
    assert statuses(agent.receive(within, FLOW, now=16.0)) == [200], "the call goes on"
    assert statuses(agent.receive(bye(to_tag, cseq="CSeq: 141 BYE"), FLOW, now=17.0)) == [200]


def test_a_server_that_has_drained_takes_calls_again() -> None:
    agent = make_agent()
    agent.drain(True, now=10.0)
    assert texts(agent.drain(True, now=11.0)) == []
    assert texts(agent.drain(False, now=20.0)) == ["the server takes calls again"]
    assert statuses(agent.receive(request("OPTIONS"), FLOW, now=20.0)) == [200]
    assert statuses(agent.receive(invite(), FLOW, now=20.0)) == [180, 200]
    assert texts(agent.drain(False, now=21.0)) == []


def test_a_drain_ends_no_call() -> None:
    agent = make_agent()
    answered(agent)
    agent.drain(True, now=10.0)
    assert methods(agent.tick(now=3600.0)) == []
    assert agent.calls == 1


def test_the_health_check_of_this_machine_finds_a_server_that_drains_healthy() -> None:
    agent = make_agent()
    agent.drain(True, now=10.0)
    local = Flow(Address("127.0.0.1", 40000), Address("192.168.1.100", 5060), "UDP")
    assert statuses(agent.receive(request("OPTIONS", "Moh-Check: music"), local, now=16.0)) == [200]
    assert statuses(agent.receive(request("OPTIONS", "Moh-Check: music"), FLOW, now=16.0)) == [503], "from elsewhere"
    agent.close(30.0, now=20.0)
    assert statuses(agent.receive(request("OPTIONS", "Moh-Check: music"), local, now=21.0)) == [503]


# -- stop ----------------------------------------------------------------------------------------------------------


def test_a_call_that_begins_while_the_stop_is_announced_ends_with_the_grace_time() -> None:
    agent = make_agent()
    agent.close(30.0, now=10.0)
    answered(agent, now=12.0)
    assert methods(agent.tick(now=39.9)) == []
    assert methods(agent.tick(now=40.0)) == ["BYE"]


@pytest.mark.parametrize(("grace", "until"), [(0.0, 10.0), (1.0, 10.5), (8.0, 14.0), (10.0, 15.0), (3600.0, 15.0)])
def test_a_stop_is_announced_for_half_of_its_grace_time_at_most(grace: float, until: float) -> None:
    admission = Admission()
    assert not admission.stopping and not admission.is_announced(now=9.0)
    admission.stop(grace, now=10.0)
    assert admission.options_refusal(0) == STOPS
    assert admission.call_refusal(0, now=until - 0.01) == ""
    assert admission.call_refusal(0, now=until) == STOPS
    assert admission.is_announced(now=until) and not admission.is_announced(now=until - 0.01)


def test_a_second_stop_ends_the_announcement() -> None:
    admission = Admission()
    admission.stop(30.0, now=10.0)
    admission.stop(0.0, now=11.0)
    assert admission.call_refusal(0, now=11.0) == STOPS
    assert admission.ends_at == 11.0


def test_a_server_that_has_drained_needs_no_announcement_of_its_stop() -> None:
    admission = Admission()
    admission.drain(True, 3, now=10.0)
    assert admission.call_refusal(3, now=15.0) == DRAINS
    admission.stop(30.0, now=20.0)
    assert admission.call_refusal(3, now=20.0) == STOPS


# -- busy ----------------------------------------------------------------------------------------------------------


def test_options_is_refused_at_the_limit_and_calls_a_tenth_above_it() -> None:
    admission = Admission(BusyAt(calls=100))
    assert admission.options_refusal(99) == ""
    assert admission.options_refusal(100) == "The server is busy: 100 calls"
    assert admission.call_refusal(109, now=0.0) == ""
    assert admission.call_refusal(110, now=0.0) == "The server is busy: 100 calls"


def test_a_busy_server_is_busy_until_it_has_fallen_by_a_tenth() -> None:
    admission = Admission(BusyAt(calls=100))
    assert [admission.is_busy(calls) for calls in (99, 100, 99, 90, 89, 90, 99, 100)] == [
        False, True, True, True, False, False, False, True,
    ]  # fmt: skip


def test_the_share_of_a_core_makes_a_server_busy() -> None:
    admission = Admission(BusyAt(share=0.8))
    assert texts(admission.note_share(0.79, 400)) == []
    (line,) = texts(admission.note_share(0.80, 410))
    assert line.startswith("the server is busy: 410 calls, 80% of a core, and MOH_BUSY_AT is 80%; OPTIONS")
    assert texts(admission.note_share(0.85, 420)) == []
    assert admission.options_refusal(0) == "The server is busy: 80% of a core"
    assert admission.call_refusal(0, now=0.0) == ""
    admission.note_share(0.89, 430)
    assert admission.call_refusal(0, now=0.0) == "The server is busy: 80% of a core"
    assert texts(admission.note_share(0.71, 300)) == ["the server is busy no longer: 300 calls, 71% of a core"]


def test_without_a_limit_no_number_of_calls_makes_a_server_busy() -> None:
    admission = Admission()
    assert admission.note_share(64.0, 1_000_000) == []
    assert admission.options_refusal(1_000_000) == admission.call_refusal(1_000_000, now=0.0) == ""


def test_calls_reach_the_limit_of_an_agent() -> None:
    agent = make_agent(busy_at=BusyAt(calls=1))
    assert statuses(agent.receive(request("OPTIONS"), FLOW, now=0.0)) == [200]
    answered(agent)
    assert statuses(agent.receive(request("OPTIONS"), FLOW, now=1.0)) == [503]
    refusal = response(agent.receive(invite(**another(1)), FLOW, now=1.0))
    assert refusal.status == 200 or refusal.first("retry-after") == "5"
