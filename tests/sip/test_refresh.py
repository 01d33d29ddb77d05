"""Refreshes of our own (RFC 4028 §10): re-INVITE where the phone takes no UPDATE, and what each response does."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from moh.common.actions import Action, Address, Flow, Send, StartStream, StopStream
from moh.sip.message import Request, Response
from moh.sip.parser import parse
from moh.sip.user_agent import UserAgent
from tests.support.ladder import (
    FLOW,
    OFFER,
    SERVER,
    ack,
    answer_to,
    bye,
    invite,
    lookup,
    make_agent,
    methods,
    music,
    notes,
    request,
    response,
    sent,
    statuses,
    tag,
)

TIMER = "Supported: replaces, timer"
WE_REFRESH = "Session-Expires: 90;refresher=uas"
NO_UPDATE = "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS"
WITH_UPDATE = "Allow: INVITE, ACK, CANCEL, BYE, UPDATE"
VIA = "Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKother;rport"
GONE = [404, 408, 410, 416, 480, 481, 482, 483, 484, 485, 489, 604]
REFUSALS = [302, 400, 401, 403, 405, 406, 415, 420, 422, 486, 487, 488, 500, 501, 502, 503, 504, 600, 603, 606]


class Session:
    """A call that we have to refresh each 45 s, with our first refresh at 45 s."""

    def __init__(self, *lines: str, flow: Flow = FLOW, body: str = OFFER, extra: Sequence[str] = (TIMER,)) -> None:
        self.agent: UserAgent = make_agent()
        self.flow = flow
        via = f"Via: SIP/2.0/{flow.transport} 192.168.1.50:5062;branch=z9hG4bKfirst;rport"
        self.first = response(
            self.agent.receive(invite(*(lines or (NO_UPDATE,)), *extra, WE_REFRESH, body=body, via=via), flow, now=0.0)
        )
        self.tag = tag(self.first)
        self.agent.receive(ack(self.tag, body="" if body else OFFER), flow, now=0.1)
        assert self.agent.tick(now=44.9) == []
        (own,) = sent(self.agent.tick(now=45.0))
        assert isinstance(own, Request)
        self.own = own

    def answers(self, status: int, *extra: str, body: str = "", now: float = 45.2) -> list[Action]:
        """The phone answers our latest refresh."""
        return self.agent.receive(answer_to(self.own, status, *extra, body=body), self.flow, now)

    @property
    def plays(self) -> bool:
        (call,) = self.agent.registry.calls.values()
        return call.media.playing and not call.ended


def only_request(actions: list[Action]) -> tuple[Request, Send]:
    (send,) = [action for action in actions if isinstance(action, Send)]
    (message,) = sent([send])
    assert isinstance(message, Request)
    return message, send


@pytest.mark.parametrize(
    "allow",
    [[NO_UPDATE], ["X-No: Allow"], ["Allow: INVITE, update"], ["Allow:"]],
    ids=["named", "none", "case", "empty"],
)
@pytest.mark.parametrize("extra", [[TIMER], []], ids=["timer", "asked by a proxy"])
def test_a_phone_without_update_gets_a_reinvite_with_the_same_description(allow: list[str], extra: list[str]) -> None:
    session = Session(*allow, extra=extra)
    own = session.own
    assert (own.method, own.first("session-expires")) == ("INVITE", "90;refresher=uac")
    assert own.body == session.first.body and own.first("content-type") == "application/sdp"
    assert own.to.tag == "1550288317" and own.from_.tag == session.tag
    actions = session.answers(200, "Session-Expires: 90;refresher=uac", body=OFFER)
    acknowledgement, _ = only_request(actions)
    assert acknowledgement.method == "ACK" and acknowledgement.cseq.number == own.cseq.number
    assert acknowledgement.via.branch != own.via.branch, "a transaction of its own (RFC 3261 §13.2.2.4)"
    assert acknowledgement.body == b"" and music(actions) == [] and notes(actions) == []
    assert session.agent.tick(now=90.1) == []
    assert methods(session.agent.tick(now=90.2)) == ["INVITE"]


def test_it_is_resent_until_a_response_comes() -> None:
    session = Session()
    resent = []
    while session.agent.next_due is not None and session.agent.next_due < 60.0:
        now = session.agent.next_due
        resent += [now - 45.0] * len(methods(session.agent.tick(now)))
    assert resent == [0.5, 1.5, 3.5, 7.5], "timer A knows no T2"
    assert session.answers(100, now=60.0) == []
    assert session.agent.tick(now=61.0) == []
    assert methods(session.answers(200, now=62.0)) == ["ACK"]


def test_it_is_sent_once_by_tcp() -> None:
    session = Session(flow=Flow(Address("192.168.1.50", 40000), SERVER, "TCP", 7))
    assert session.agent.tick(now=60.0) == []
    assert methods(session.answers(200, now=60.0)) == ["ACK"]


def test_a_retransmitted_200_gets_the_same_ack_and_does_nothing_else() -> None:
    session = Session()
    moved = OFFER.replace("192.168.1.77", "192.168.1.78")
    first = [action for action in session.answers(200, body=OFFER) if isinstance(action, Send)]
    assert session.answers(200, body=moved, now=45.7) == first
    assert session.agent.tick(now=90.1) == []


@pytest.mark.parametrize("status", REFUSALS)
def test_a_refusal_gets_its_ack_and_the_music_goes_on(status: int) -> None:
    session = Session()
    acknowledgement, send = only_request(session.answers(status))
    assert (acknowledgement.method, acknowledgement.uri) == ("ACK", session.own.uri)
    assert acknowledgement.via.branch == session.own.via.branch, "within the transaction (RFC 3261 §17.1.1.3)"
    assert acknowledgement.cseq.number == session.own.cseq.number
    assert session.answers(status, now=45.7) == [send], "and each retransmission gets it again"
    assert session.plays
    assert session.agent.tick(now=90.1) == []
    assert methods(session.agent.tick(now=90.2)) == ["INVITE"], "tried again after half the interval"


def test_a_reinvite_that_met_one_of_the_phone_is_tried_again_soon_and_once() -> None:
    session = Session()
    assert methods(session.answers(491)) == ["ACK"]
    due = session.agent.next_due
    assert due is not None and 45.2 <= due < 47.2, "RFC 3261 §14.1"
    (own,) = sent(session.agent.tick(now=due))
    assert isinstance(own, Request) and own.method == "INVITE" and own.cseq.number == session.own.cseq.number + 1
    session.own = own
    assert methods(session.answers(491, now=due)) == ["ACK"]
    assert session.agent.next_due == due + 45.0
    assert session.plays


def test_while_our_reinvite_waits_an_offer_of_the_phone_is_491_and_all_else_is_answered() -> None:
    session = Session()
    receive = session.agent.receive

    def theirs(number: int) -> dict[str, str]:
        via = f"Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKtheirs{number};rport"
        return {"to_tag": session.tag, "via": via}

    assert statuses(receive(invite(cseq="CSeq: 131 INVITE", **theirs(1)), FLOW, now=45.1)) == [491]
    offer = request("UPDATE", body=OFFER, cseq="CSeq: 132 UPDATE", **theirs(2))
    assert statuses(receive(offer, FLOW, now=45.1)) == [491]
    empty = request("UPDATE", cseq="CSeq: 133 UPDATE", **theirs(3))
    assert statuses(receive(empty, FLOW, now=45.1)) == [200]
    assert methods(session.answers(200, now=45.2)) == ["ACK"]
    again = invite(cseq="CSeq: 134 INVITE", **theirs(4))
    assert statuses(receive(again, FLOW, now=47.5)) == [200]


def test_a_bye_that_crosses_our_reinvite_ends_the_call() -> None:
    session = Session()
    assert statuses(session.agent.receive(bye(session.tag, via=VIA), FLOW, now=45.1)) == [200]
    actions = session.answers(487)
    assert methods(actions) == ["ACK"] and music(actions) == []
    assert session.agent.calls == 0


def test_a_200_that_crosses_our_bye_gets_its_ack_with_the_number_of_the_invite() -> None:
    session = Session()
    assert methods(session.agent.close(0.0, now=45.1)) == ["BYE"]
    acknowledgement, _ = only_request(session.answers(200, body=OFFER))
    assert (acknowledgement.method, acknowledgement.cseq.number) == ("ACK", session.own.cseq.number)


def test_it_waits_while_an_invite_of_the_phone_waits_for_its_ack() -> None:
    session = Session()
    session.answers(200)
    theirs = invite(TIMER, WE_REFRESH, NO_UPDATE, to_tag=session.tag, via=VIA, cseq="CSeq: 131 INVITE")
    session.agent.receive(theirs, FLOW, now=50.0)
    session.agent.registry.calls[session.tag]._refresh_at = 51.0
    actions = session.agent.tick(now=51.0)
    assert methods(actions) == [] and statuses(actions) == [200]
    session.agent.receive(ack(session.tag, cseq="CSeq: 131 ACK"), FLOW, now=51.5)
    assert session.agent.tick(now=54.9) == []
    assert methods(session.agent.tick(now=55.0)) == ["INVITE"]


# -- the answer in the 200 -------------------------------------------------------------------------------------------


def test_an_answer_that_names_another_address_moves_the_music() -> None:
    session = Session()
    actions = session.answers(200, body=OFFER.replace("192.168.1.77", "192.168.1.78"))
    (start,) = music(actions)
    assert isinstance(start, StartStream)
    assert (start.target.remote.host, start.position) == ("192.168.1.78", 45.2)
    assert methods(actions) == ["ACK"] and "agreed: PCMU to 192.168.1.78" in notes(actions)[0]


@pytest.mark.parametrize(
    ("old", "new"), [("recvonly", "inactive"), ("recvonly", "sendonly"), ("audio 17422", "audio 0")]
)
def test_an_answer_that_wants_no_music_stops_it_and_the_call_goes_on(old: str, new: str) -> None:
    session = Session()
    actions = session.answers(200, body=OFFER.replace(old, new))
    assert [type(action) for action in music(actions)] == [StopStream]
    assert session.agent.calls == 1 and methods(session.agent.tick(now=90.2)) == ["INVITE"]


@pytest.mark.parametrize("body", ["", "nonsense\n", OFFER.replace("RTP/AVP 0 8 101", "RTP/AVP 18")])
def test_a_200_without_an_answer_that_fits_refreshes_and_the_music_goes_on(body: str) -> None:
    session = Session()
    actions = session.answers(200, body=body)
    assert methods(actions) == ["ACK"] and music(actions) == []
    assert ["the music goes on as before" in note for note in notes(actions)] == [True] * bool(body)
    assert session.plays and methods(session.agent.tick(now=90.2)) == ["INVITE"]


def test_a_name_in_the_answer_is_looked_up() -> None:
    session = Session()
    actions = session.answers(200, body=OFFER.replace("192.168.1.77", "held.example"))
    assert actions[-1] == lookup("held.example") and methods(actions) == ["ACK"]
    (start,) = music(session.agent.resolved(lookup("held.example"), "192.168.1.79", now=45.5))
    assert isinstance(start, StartStream) and start.target.remote.host == "192.168.1.79"


def test_a_name_in_the_answer_without_an_address_leaves_the_music_where_it_is() -> None:
    session = Session()
    session.answers(200, body=OFFER.replace("192.168.1.77", "held.example"))
    actions = session.agent.resolved(lookup("held.example"), "", now=45.5)
    assert music(actions) == [] and methods(actions) == [] and session.plays


def test_after_our_own_offer_it_is_that_offer_which_is_repeated() -> None:
    session = Session(body="")
    assert session.own.body == session.first.body and b"RTP/AVP 0 8 9" in session.own.body
    assert music(session.answers(200, body=OFFER)) == []


def test_srtp_stays_srtp() -> None:
    key = "A" * 40
    secure = OFFER.replace("RTP/AVP", "RTP/SAVP") + f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\n"
    session = Session(body=secure)
    assert b"RTP/SAVP" in session.own.body and b"a=crypto:1" in session.own.body
    assert music(session.answers(200, body=secure)) == [] and session.plays


def test_an_answer_of_more_than_2048_octets_is_not_kept() -> None:
    """The re-INVITE makes a new offer then."""
    session = Session(body=OFFER + f"m={'x' * 60} 20000 RTP/AVP 31\n" * 30)
    assert len(session.first.body) > 2048 > len(session.own.body)
    assert b"m=audio 10000 RTP/AVP 0 8 9" in session.own.body


def test_the_contact_of_a_2xx_is_the_target_of_the_next_request() -> None:
    session = Session()
    _, send = only_request(session.answers(200, "Contact: <sip:201@192.168.1.51:5099>"))
    assert send.to == Address("192.168.1.51", 5099)
    _, send = only_request(session.agent.close(0.0, now=46.0))
    assert send.to == Address("192.168.1.51", 5099)


# -- responses that end the call (RFC 5057 §5.1) ---------------------------------------------------------------------


@pytest.mark.parametrize("status", GONE)
@pytest.mark.parametrize("allow", [WITH_UPDATE, NO_UPDATE], ids=["UPDATE", "INVITE"])
def test_a_response_that_says_the_dialog_is_no_more_ends_the_call(status: int, allow: str) -> None:
    session = Session(allow)
    actions = session.answers(status)
    expected = ["ACK"] * (allow is NO_UPDATE) + ["BYE"] * (status in (408, 480, 483))
    assert methods(actions) == expected
    assert [type(action) for action in music(actions)] == [StopStream]
    assert session.agent.calls == 0
    assert f"the caller no longer has this call: {status} to our refresh" in notes(actions)[0]
    session.agent.stream_gone(session.tag, 1, "ended", now=46.0)
    session.agent.tick(now=100.0)
    assert session.agent.idle and session.agent.tally.counts[f"ended by {status}"] == 1


@pytest.mark.parametrize("allow", [WITH_UPDATE, NO_UPDATE], ids=["UPDATE", "INVITE"])
def test_silence_for_32_seconds_ends_the_call_as_408_does(allow: str) -> None:
    session = Session(allow)
    assert session.agent.tick(now=76.9) != []
    actions = session.agent.tick(now=77.0)
    assert methods(actions) == ["BYE"] and "no answer to our refresh in 32 s" in notes(actions)[0]


@pytest.mark.parametrize("status", REFUSALS)
def test_any_other_refusal_of_an_update_leaves_the_music(status: int) -> None:
    session = Session(WITH_UPDATE)
    assert methods(session.answers(status)) == [] and session.plays
    expected, due = ("INVITE", 45.2) if status in (405, 501) else ("UPDATE", 90.2)
    assert session.agent.next_due == due
    assert methods(session.agent.tick(now=due)) == [expected]


def test_a_reinvite_that_is_never_answered_finally_ends_with_its_session() -> None:
    session = Session()
    assert session.answers(180) == []
    assert session.agent.tick(now=89.9) == []
    assert methods(session.agent.tick(now=90.0)) == ["BYE"]


def test_what_answers_no_request_of_ours_is_dropped() -> None:
    session = Session()
    branch = session.own.via.branch
    text = f"SIP/2.0 481 x\r\nVia: SIP/2.0/UDP x;branch={branch[:-1]}x\r\nCSeq: 1 INVITE\r\n\r\n"
    message = parse(text.encode())
    assert isinstance(message, Response)
    assert session.agent.receive(message, FLOW, now=45.1) == [] and session.plays
