"""Session timers (RFC 4028) and the longest call, with literal clocks."""

from __future__ import annotations

from typing import Optional

import pytest

from moh.common.actions import Address, Flow
from moh.sip.message import Request
from moh.sip.user_agent import UserAgent
from tests.support.ladder import (
    FLOW,
    OFFER,
    PUBLIC_FLOW,
    SERVER,
    ack,
    answer_to,
    answered,
    invite,
    make_agent,
    methods,
    notes,
    request,
    response,
    sent,
    statuses,
    tag,
)

TIMER = "Supported: replaces, timer"
WITH_UPDATE = "Allow: INVITE, ACK, BYE, UPDATE"


def update(to_tag: str, number: int, *extra: str) -> Request:
    via = f"Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKup{number};rport"
    return request("UPDATE", *extra, to_tag=to_tag, via=via, cseq=f"CSeq: {number} UPDATE")


@pytest.mark.parametrize(
    ("asked", "told", "required"),
    [
        ([TIMER], "1800;refresher=uac", True),
        ([TIMER, "Min-SE: 2000"], "2000;refresher=uac", True),
        ([TIMER, "Session-Expires: 180"], "180;refresher=uac", True),
        ([TIMER, "x: 180 ; refresher=uac"], "180;refresher=uac", True),
        ([TIMER, "Session-Expires: 180;refresher=uas"], "180;refresher=uas", True),
        (["Session-Expires: 180"], "180;refresher=uas", False),  # a proxy asks for a timer, the phone supports none
        (["Session-Expires: 0"], "90;refresher=uas", False),  # and the proxy makes a mistake
        (["Require: timer", "Session-Expires: 180"], "180;refresher=uac", True),
        ([], None, False),
    ],
)
def test_the_phone_refreshes_where_the_choice_is_ours(asked: list[str], told: Optional[str], required: bool) -> None:
    answer = response(make_agent().receive(invite(*asked), FLOW, now=0.0))
    assert answer.status == 200
    assert answer.first("session-expires") == told
    assert ("timer" in answer.option_tags("require")) == required
    assert "timer" in answer.option_tags("supported")


def test_too_short_an_interval_is_422_with_min_se() -> None:
    answer = response(make_agent().receive(invite(TIMER, "Session-Expires: 60"), FLOW, now=0.0))
    assert (answer.status, answer.first("min-se")) == (422, "90")


@pytest.mark.parametrize("line", ["x: soon", "Session-Expires:", "Session-Expires: 1800.0", "Min-SE: abc"])
def test_an_interval_that_is_no_number_is_ignored(line: str) -> None:
    answer = response(make_agent().receive(invite(TIMER, line), FLOW, now=0.0))
    assert (answer.status, answer.first("session-expires")) == (200, "1800;refresher=uac")
    assert response(make_agent().receive(invite(line), FLOW, now=0.0)).first("session-expires") is None


def test_without_a_refresh_the_call_ends_before_its_session_expires() -> None:
    agent = make_agent()
    to_tag = tag(response(agent.receive(invite(TIMER, "Session-Expires: 180"), FLOW, now=0.0)))
    agent.receive(ack(to_tag), FLOW, now=0.1)
    assert agent.tick(now=147.9) == []
    actions = agent.tick(now=148.0)
    assert methods(actions) == ["BYE"]
    assert "not refreshed" in notes(actions)[0]


def test_an_empty_update_refreshes() -> None:
    agent = make_agent()
    to_tag = tag(response(agent.receive(invite(TIMER, "Session-Expires: 180"), FLOW, now=0.0)))
    agent.receive(ack(to_tag), FLOW, now=0.1)
    actions = agent.receive(update(to_tag, 131, TIMER, "Session-Expires: 180;refresher=uac"), FLOW, now=90.0)
    answer = response(actions)
    assert (answer.status, answer.body, answer.first("session-expires")) == (200, b"", "180;refresher=uac")
    assert agent.tick(now=237.9) == []
    assert methods(agent.tick(now=238.0)) == ["BYE"]


def test_a_reinvite_refreshes_too_and_may_end_the_timer() -> None:
    agent = make_agent()
    to_tag = tag(response(agent.receive(invite(TIMER, "Session-Expires: 180"), FLOW, now=0.0)))
    agent.receive(ack(to_tag), FLOW, now=0.1)
    via = "Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKre;rport"
    answer = response(agent.receive(invite(to_tag=to_tag, via=via, cseq="CSeq: 131 INVITE"), FLOW, now=90.0))
    assert answer.first("session-expires") is None
    agent.receive(ack(to_tag, cseq="CSeq: 131 ACK"), FLOW, now=90.1)
    assert agent.tick(now=10_000.0) == []


@pytest.mark.parametrize(("allow", "method"), [(WITH_UPDATE, "UPDATE"), ("Allow: INVITE, ACK, BYE", "INVITE")])
@pytest.mark.parametrize("acknowledged_by", [PUBLIC_FLOW, Flow(Address("203.0.113.77", 5060), SERVER)])
def test_a_phone_that_answers_each_refresh_keeps_its_music_even_if_it_is_not_validated(
    acknowledged_by: Flow, allow: str, method: str
) -> None:
    """With the ACK from its own address, which is validated for an hour, or from another one than the INVITE."""
    agent = make_agent()
    asked = invite(allow, "Session-Expires: 90", contact="Contact: <sip:201@203.0.113.77>")
    to_tag = tag(response(agent.receive(asked, PUBLIC_FLOW, now=0.0)))
    agent.receive(ack(to_tag), acknowledged_by, now=0.1)
    for number in range(1, 200):
        (refresh,) = sent(agent.tick(now=45.0 * number))
        assert isinstance(refresh, Request) and refresh.method == method
        actions = agent.receive(
            answer_to(refresh, 200, body=OFFER * (method == "INVITE")), acknowledged_by, 45.0 * number
        )
        assert methods(actions) == (["ACK"] if method == "INVITE" else [])


def our_update() -> tuple[UserAgent, Request]:
    """A call in which we refresh, at half its interval."""
    agent = make_agent()
    invitation = invite(TIMER, WITH_UPDATE, "Session-Expires: 180;refresher=uas")
    to_tag = tag(response(agent.receive(invitation, FLOW, now=0.0)))
    agent.receive(ack(to_tag), FLOW, now=0.1)
    (own,) = sent(agent.tick(now=90.0))
    assert isinstance(own, Request)
    return agent, own


def test_if_the_phone_asks_us_to_refresh_we_send_update_without_sdp() -> None:
    agent, own = our_update()
    assert (own.method, own.body, own.first("session-expires")) == ("UPDATE", b"", "180;refresher=uac")
    agent.receive(answer_to(own, 200, "Session-Expires: 180;refresher=uac"), FLOW, now=90.2)
    assert agent.tick(now=180.0) == []
    assert methods(agent.tick(now=180.2)) == ["UPDATE"]


@pytest.mark.parametrize("status", [403, 488, 500, 503, 603])
def test_a_refused_refresh_does_not_end_the_music(status: int) -> None:
    agent, own = our_update()
    agent.receive(answer_to(own, status), FLOW, now=90.2)
    assert methods(agent.tick(now=180.2)) == ["UPDATE"], "and it is tried again"
    assert agent.calls == 1


def test_a_phone_that_answers_no_refresh_loses_its_call_after_32_seconds() -> None:
    """As by a 408: RFC 4028 §10, RFC 3261 §12.2.1.2."""
    agent, _ = our_update()
    repeats = []
    while agent.next_due is not None and agent.next_due < 122.0:
        repeats += methods(agent.tick(agent.next_due))
    assert set(repeats) == {"UPDATE"}
    assert methods(agent.tick(now=122.0)) == ["BYE"]


def test_the_longest_call_ends_with_bye() -> None:
    agent = make_agent(longest_call=14400.0)
    answered(agent)
    assert agent.tick(now=14399.0) == []
    actions = agent.tick(now=14400.0)
    assert methods(actions) == ["BYE"]
    assert statuses(actions) == []
