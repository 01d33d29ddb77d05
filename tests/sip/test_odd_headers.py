"""What real devices and strangers write into header fields: what is ignored, and what stays fatal (RFC 3261 §8.2.2)."""

from __future__ import annotations

import pytest

from moh.common.actions import Send, StartStream, StopStream
from moh.sip.framing import Framer
from moh.sip.parser import parse
from tests.support.ladder import (
    FLOW,
    OFFER,
    PHONE,
    ack,
    answered,
    invite,
    make_agent,
    methods,
    music,
    octets,
    read,
    request,
    response,
    statuses,
    tag,
)
from tests.support.odd_headers import (
    BROKEN_VIAS,
    FATAL,
    FATAL_FIRST,
    FLAWS,
    NOT_NEEDED,
    SEMICOLONS,
    UNANSWERABLE,
    Change,
    behind,
    field,
)

TCP = FLOW._replace(transport="TCP", connection=7)
BOTH = pytest.mark.parametrize("flow", [FLOW, TCP], ids=["UDP", "TCP"])


def changes(*tables: dict[str, Change]) -> pytest.MarkDecorator:
    rows = [(name, change) for table in tables for name, change in table.items()]
    return pytest.mark.parametrize("change", [change for _, change in rows], ids=[name for name, _ in rows])


def statuses_of(data: bytes) -> list[int]:
    """What a fresh agent answers."""
    return statuses(make_agent().receive(read(data), FLOW, now=0.0))


@changes(FLAWS, UNANSWERABLE, BROKEN_VIAS, {name: change for name, (change, _) in FATAL_FIRST.items()})
def test_each_change_changes_something(change: Change) -> None:
    data = octets("BYE", to_tag="ours")
    assert change(data) != data


# -- what is ignored -----------------------------------------------------------------------------------------------


@changes(NOT_NEEDED, SEMICOLONS)
@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "INFO"])
def test_a_malformed_field_that_is_not_needed_is_ignored(method: str, change: Change) -> None:
    agent = make_agent()
    to_tag = answered(agent) if method == "INFO" else ""
    data = change(octets(method, body=OFFER if method == "INVITE" else "", to_tag=to_tag, cseq=f"CSeq: 131 {method}"))
    actions = agent.receive(read(data), FLOW, now=1.0)
    assert statuses(actions)[-1:] == [200]
    assert len(music(actions)) == (method == "INVITE")


@changes({name: change for name, change in FLAWS.items() if "Contact" in name or name in NOT_NEEDED})
def test_a_hold_with_such_a_field_stops_the_music(change: Change) -> None:
    agent = make_agent()
    to_tag = answered(agent)
    hold = octets("INVITE", body=OFFER.replace("recvonly", "inactive"), to_tag=to_tag, cseq="CSeq: 131 INVITE")
    actions = agent.receive(read(change(hold.replace(b"invite1", b"hold1"))), FLOW, now=1.0)
    assert statuses(actions) == [200]
    assert music(actions) == [StopStream(to_tag)]


def test_what_is_folded_behind_an_ignored_line_belongs_to_no_field() -> None:
    data = octets("OPTIONS").replace(b"\r\nContact", b"\r\nNonsense\r\n folded\r\nContact")
    message = read(data)
    assert message.fault is None and message.first("cseq") == "130 OPTIONS"


def test_a_line_that_cannot_be_read_takes_nothing_from_the_others() -> None:
    message = request("INVITE", 'Supported: "x', "Supported: timer, Path;", 'Require: "y', "Allow: INVITE, update")
    assert message.option_tags("supported") == {"timer", "path"}
    assert message.allows("INVITE") and not message.allows("UPDATE")


def test_an_accept_that_can_be_read_counts_beside_one_that_cannot() -> None:
    assert statuses_of(octets("INVITE", 'Accept: "x', "Accept: text/plain", body=OFFER)) == [406]


# -- what is not ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("change", "status"), FATAL_FIRST.values(), ids=FATAL_FIRST)
def test_what_routes_identifies_or_frames_a_first_invite_is_refused(change: Change, status: int) -> None:
    agent = make_agent()
    actions = agent.receive(read(change(octets("INVITE", body=OFFER))), FLOW, now=0.0)
    assert statuses(actions) == [status]
    assert not agent.registry.calls and not agent.registry.ports._taken


@pytest.mark.parametrize("change", [change for change, _ in FATAL.values()], ids=FATAL)
def test_a_bye_that_names_no_call_for_certain_ends_none(change: Change) -> None:
    agent = make_agent()
    actions = agent.receive(read(change(octets("BYE", to_tag=answered(agent), cseq="CSeq: 131 BYE"))), FLOW, now=1.0)
    assert statuses(actions)[0] >= 400 and music(actions) == []
    assert agent.calls == 1


# -- BYE and ACK (Call-ID, tags and CSeq alone) --------------------------------------------------------------------


@BOTH
@changes(FLAWS, UNANSWERABLE)
def test_a_bye_with_any_other_flaw_ends_the_call(flow: object, change: Change) -> None:
    agent = make_agent()
    to_tag = answered(agent)
    data = change(octets("BYE", to_tag=to_tag, cseq="CSeq: 131 BYE"))
    actions = agent.receive(read(data), FLOW if flow == FLOW else TCP, now=1.0)
    assert music(actions) == [StopStream(to_tag)]
    lost = change is UNANSWERABLE["no Via"] or change is UNANSWERABLE["a Via of 5,000 octets"]
    answered_at_all = not lost if flow == TCP else change not in UNANSWERABLE.values()
    assert [action.data[:12] for action in actions if isinstance(action, Send)] == [b"SIP/2.0 200 "] * answered_at_all


@changes(FLAWS, UNANSWERABLE)
def test_an_ack_with_any_other_flaw_acknowledges(change: Change) -> None:
    agent = make_agent()
    to_tag = tag(response(agent.receive(invite(), FLOW, now=0.0)))
    assert agent.receive(read(change(octets("ACK", to_tag=to_tag))), FLOW, now=0.1) == []
    assert statuses(agent.tick(now=0.6)) == [], "the 200 is not resent"
    assert methods(agent.tick(now=33.0)) == []


@changes({name: change for name, change in FLAWS.items() if "Content" not in name})
def test_an_ack_with_any_other_flaw_brings_its_answer(change: Change) -> None:
    agent = make_agent()
    to_tag = tag(response(agent.receive(invite(body=""), FLOW, now=0.0)))
    (start,) = music(agent.receive(read(change(octets("ACK", to_tag=to_tag, body=OFFER))), FLOW, now=0.1))
    assert isinstance(start, StartStream)


def test_the_answer_in_an_ack_counts_as_far_as_it_has_come() -> None:
    agent = make_agent()
    to_tag = tag(response(agent.receive(invite(body=""), FLOW, now=0.0)))
    longer = field("Content-Length", "999")(octets("ACK", to_tag=to_tag, body=OFFER))
    assert len(music(agent.receive(read(longer), FLOW, now=0.1))) == 1


def test_a_cancel_with_a_flaw_cancels() -> None:
    agent = make_agent()
    agent.receive(invite(body=OFFER.replace("192.168.1.77", "held.example")), FLOW, now=0.0)
    data = octets("CANCEL", "Nonsense", via="Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKinvite1;rport")
    cancel = field("Content-Length", "10")(data.replace(b" sip:", b"  sip:", 1))
    assert statuses(agent.receive(read(cancel), FLOW, now=0.1)) == [200, 487]


# -- by TCP (RFC 3261 §18.3) ---------------------------------------------------------------------------------------


@changes(FLAWS)
def test_a_bye_comes_out_of_a_stream_at_once_whatever_its_body_should_be(change: Change) -> None:
    framer = Framer()
    data = change(octets("BYE", to_tag="ours"))
    pieces = framer.feed(data)
    assert len(pieces) == 1 and read(pieces[0]).fault is None


def test_the_body_of_a_bye_is_skipped_in_a_stream() -> None:
    framer = Framer()
    bye = octets("BYE", "Content-Type: application/vq-rtcpxr", body="VQSessionReport\n")
    head = bye[: bye.index(b"\r\n\r\n") + 4]
    options = octets("OPTIONS")
    assert framer.feed(bye + options) == [head, options]
    assert framer.feed(bye[:-5]) == [head] and framer.unfinished
    assert framer.feed(bye[-5:] + options) == [options] and not framer.unfinished
    assert [piece for octet in bye + options for piece in framer.feed(bytes([octet]))] == [head, options]


def test_a_bye_that_is_too_long_breaks_the_stream() -> None:
    framer = Framer()
    (piece,) = framer.feed(field("Content-Length", "65536")(octets("BYE", to_tag="ours")))
    assert framer.broken and read(piece).fault is None


@pytest.mark.parametrize("folded", ["\r\n 5", " \r\n\t5", "\r\n   5"])
def test_a_folded_content_length_counts_in_a_stream(folded: str) -> None:
    framer = Framer()
    data = b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length:" + folded.encode() + b"\r\n\r\nv=0\r\n"
    assert framer.feed(data + data) == [data, data]


def test_what_is_folded_behind_another_field_is_no_content_length() -> None:
    data = b"OPTIONS sip:a@b SIP/2.0\r\nSubject: x\r\n Content-Length: 5\r\n\r\n"
    assert Framer().feed(data + data) == [data, data]


# -- Via -----------------------------------------------------------------------------------------------------------


@changes(BROKEN_VIAS)
def test_a_via_that_cannot_be_read_gets_400_where_it_has_rport(change: Change) -> None:
    (answer, note) = make_agent().receive(read(change(octets("INVITE", body=OFFER))), FLOW, now=0.0)
    assert isinstance(answer, Send) and answer.to == PHONE
    assert answer.data.startswith(b"SIP/2.0 400 ")
    assert b";rport=5062;received=192.168.1.50\r\n" in answer.data
    assert "refused 'INVITE' from 192.168.1.50:5062: 400 " in str(note)


@changes({name: change for name, change in UNANSWERABLE.items() if name.startswith("a top Via")})
def test_a_via_that_shows_no_way_gets_no_answer_by_udp_and_400_by_tcp(change: Change) -> None:
    message = read(change(octets("INVITE", body=OFFER)))
    assert statuses(make_agent().receive(message, FLOW, now=0.0)) == []
    (answer, _) = make_agent().receive(message, TCP, now=0.0)
    assert isinstance(answer, Send) and answer.data.startswith(b"SIP/2.0 400 ")


@changes({name: UNANSWERABLE[name] for name in ("no Via", "a Via of 5,000 octets")})
def test_without_all_its_vias_a_request_is_dropped(change: Change) -> None:
    assert parse(change(octets("INVITE", body=OFFER))) is None


def test_the_semicolon_behind_a_via_is_not_doubled() -> None:
    (answer, *_) = make_agent().receive(read(behind("Via", ";")(octets("OPTIONS"))), FLOW, now=0.0)
    assert isinstance(answer, Send) and b";;" not in answer.data


# -- tags ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "to",
    [
        "<sip:123@x>;tag=", "<sip:123@x>;tag", "<sip:123@x> ; TAG = ", '<sip:123@x>;tag=""', "<sip:123@x>;a=b;tag=;c=d",
        "<sip:123@x>;", "<sip:123@x>;tag=;", "<sip:123@x>;tag;tag=", "sip:123@x;tag=",
        '"a;tag=b" <sip:123@x;tag=c>;tag',
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "BYE", "MESSAGE"])
def test_an_empty_to_tag_is_replaced(method: str, to: str) -> None:
    agent = make_agent()
    body = OFFER if method == "INVITE" else ""
    answer = response(agent.receive(request(method, to=f"To: {to}", body=body), FLOW, now=0.0))
    assert answer.status == {"INVITE": 200, "OPTIONS": 200, "BYE": 481, "MESSAGE": 405}[method]
    value = answer.first("to") or ""
    assert value.count(";tag=") - value.count("a;tag=b") - value.count("x;tag=c") == 1
    assert len(value.rpartition(";tag=")[2]) == 16 and ";;" not in value
    for call in agent.registry.calls.values():
        assert call.id == value[-16:]
        agent.receive(ack(call.id), FLOW, now=0.1)
        (own,) = [action.data for action in agent.close(0.0, now=1.0) if isinstance(action, Send)]
        assert f"From: {value}\r\n".encode() in own


@pytest.mark.parametrize(
    ("to", "status", "echoed"),
    [
        ("<sip:123@x>;tag=a;tag=b", 400, "<sip:123@x>;tag=a"),
        ("<sip:123@x>;tag=a;tag=a", 481, "<sip:123@x>;tag=a"),
        ("<sip:123@x>;tag=;tag=a", 481, "<sip:123@x>;tag=a"),
        ("<sip:1 23@x>;tag=a", 400, "<sip:1 23@x>;tag=a"),
        ('"Ann <sip:123@x>;tag=a', 400, '"Ann <sip:123@x>;tag=a'),
    ],
)
def test_no_answer_has_two_tags(to: str, status: int, echoed: str) -> None:
    answer = response(make_agent().receive(request("INVITE", to=f"To: {to}", body=OFFER), FLOW, now=0.0))
    assert (answer.status, answer.first("to")) == (status, echoed)


# -- tokens have no case (RFC 3261 §7.3.1) -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["Require: Timer"], "1800;refresher=uac"),
        (["Supported: TIMER"], "1800;refresher=uac"),
        (["k: Timer", "x: 600;Refresher=UAS"], "600;refresher=uas"),
        (["Supported: timer", "Session-Expires: 600 ;\trefresher\t= UaS"], "600;refresher=uas"),
        (["Supported: timer", "Session-Expires: 600;refresher=UAC"], "600;refresher=uac"),
    ],
)
def test_option_tags_and_the_refresher_have_no_case(lines: list[str], expected: str) -> None:
    answer = response(make_agent().receive(invite(*lines), FLOW, now=0.0))
    assert (answer.status, answer.first("session-expires")) == (200, expected)


def test_100rel_in_any_case_is_understood() -> None:
    assert statuses(make_agent().receive(invite("Require: 100REL"), FLOW, now=0.0)) == [200], "no 180"


def test_unknown_extensions_come_back_as_they_were_written() -> None:
    answer = response(make_agent().receive(invite("Require: TelePort, TIMER"), FLOW, now=0.0))
    assert (answer.status, answer.first("unsupported")) == (420, "TelePort")


def test_tags_have_no_case() -> None:
    agent = make_agent()
    to_tag = answered(agent)
    data = octets("BYE", to_tag=to_tag.upper(), cseq="CSeq: 131 BYE", from_="From: <sip:201@pbx.lan>;TAG=1550288317")
    assert statuses(agent.receive(read(data), FLOW, now=1.0)) == [200]


@pytest.mark.parametrize(
    "kind",
    [
        "application / sdp", "Application\t/SDP", "application/ sdp ; charset=x", "APPLICATION /sdp;",
        "application/sdp;",
    ],
)  # fmt: skip
def test_white_space_round_the_slash_of_a_media_type_is_none_of_it(kind: str) -> None:
    assert statuses_of(octets("INVITE", f"Content-Type: {kind}", f"Accept: x/y, {kind}", body=OFFER))[-1] == 200


@pytest.mark.parametrize("kind", ["app lication/sdp", "application/s dp", "applicationsdp", "application//sdp", "/"])
def test_what_is_no_media_type_is_still_415(kind: str) -> None:
    assert statuses_of(octets("INVITE", f"Content-Type: {kind}", body=OFFER)) == [415]


# -- CSeq within a call (RFC 3261 §12.2.2) -------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["OPTIONS", "INFO", "UPDATE", "INVITE", "BYE"])
def test_a_request_below_the_last_cseq_is_500(method: str) -> None:
    agent = make_agent()
    to_tag = answered(agent)
    assert statuses(agent.receive(request("OPTIONS", to_tag=to_tag, cseq="CSeq: 140 OPTIONS"), FLOW, now=1.0)) == [200]
    late = request(method, to_tag=to_tag, cseq=f"CSeq: 139 {method}", via=f"Via: SIP/2.0/UDP x;branch=z9hG4bK{method}")
    assert statuses(agent.receive(late, FLOW, now=2.0)) == [500]
    assert agent.calls == 1


def test_a_retransmitted_options_gets_its_answer_again_though_later_requests_have_come() -> None:
    agent = make_agent()
    to_tag = answered(agent)
    options = request("OPTIONS", to_tag=to_tag, cseq="CSeq: 131 OPTIONS")
    first = agent.receive(options, FLOW, now=1.0)
    assert statuses(agent.receive(request("INFO", to_tag=to_tag, cseq="CSeq: 132 INFO"), FLOW, now=1.1)) == [200]
    assert agent.receive(options, FLOW, now=1.5) == first


def test_outside_of_a_call_no_cseq_is_too_low() -> None:
    agent = make_agent()
    for number in (9, 8):
        assert statuses(agent.receive(request("OPTIONS", cseq=f"CSeq: {number} OPTIONS"), FLOW, now=0.0)) == [200]
