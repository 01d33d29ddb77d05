"""Octets to messages (RFC 3261 §7, §18.3; RFC 4475); the sample messages are in ``tests/wire``."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moh.common.actions import Address, Flow
from moh.common.errors import Refusal
from moh.sip.message import Request, Response
from moh.sip.parser import parse
from moh.sip.writer import write_response

WIRE = Path(__file__).parent.parent / "wire"
DP750 = (WIRE / "dp750_invite.sip").read_bytes()
HEAD = (
    "OPTIONS sip:moh@192.0.2.9 SIP/2.0\r\n"
    "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa\r\n"
    "From: <sip:ann@192.0.2.1>;tag=1\r\n"
    "To: <sip:moh@192.0.2.9>\r\n"
    "Call-ID: a@192.0.2.1\r\n"
    "CSeq: 7 OPTIONS\r\n"
)


def wire(name: str) -> Request:
    """The request in ``wire``, which must be one without a fault."""
    message = parse((WIRE / name).read_bytes())
    assert isinstance(message, Request) and message.fault is None
    return message


def options(*extra: str, body: bytes = b"", head: str = HEAD) -> Request:
    message = parse((head + "".join(line + "\r\n" for line in extra) + "\r\n").encode() + body)
    assert isinstance(message, Request)
    return message


def fault(request: Request) -> tuple[int, str]:
    assert request.fault is not None
    return request.fault.status, request.fault.why


# -- messages of phones ----------------------------------------------------------------------------------------------


def test_the_invite_of_a_dp750_is_read() -> None:
    request = wire("dp750_invite.sip")
    assert (request.method, request.uri) == ("INVITE", "sip:123@192.168.1.100:5060")
    assert (request.via.host, request.via.port, request.via.branch) == ("192.168.1.50", 5062, "z9hG4bK1034718822")
    assert (request.from_.uri, request.from_.tag, request.to.tag) == ("sip:201@pbx.lan", "1550288317", "")
    assert (request.call_id, request.cseq.number) == ("771203466-5062-14@BJC.BGI.B.FA", 130)
    assert request.option_tags("supported") == {"replaces", "path", "timer"}
    assert request.first("x-grandstream-pbx") == "true"
    assert request.body.startswith(b"v=0\r\n") and len(request.body) == 306
    contact = request.contact()
    assert contact is not None and contact.uri == "sip:201@192.168.1.50:5062"


def test_folded_header_fields_are_one_line_each() -> None:
    request = wire("folded_header.sip")
    assert request.all("via") == ["SIP/2.0/UDP 192.0.2.1:5060 ;branch=z9hG4bKfold"]
    assert (request.from_.uri, request.from_.tag) == ("sip:ann@192.0.2.1", "1")
    assert (request.to.uri, request.call_id, request.cseq.number) == ("sip:moh@192.0.2.9", "folded@192.0.2.1", 7)


def test_compact_names_are_the_long_ones() -> None:
    request = wire("compact_names.sip")
    assert (request.from_.tag, request.call_id, request.via.branch) == ("1", "compact@192.0.2.1", "z9hG4bKcompact")
    assert request.first("content-type") == "application/sdp"
    assert request.option_tags("supported") == {"timer", "100rel"}
    assert len(request.body) == 87


def test_odd_spacing_odd_case_and_unknown_fields_are_accepted() -> None:
    request = wire("odd_spacing.sip")
    assert (request.via.host, request.via.port, request.via.branch) == ("192.0.2.1", 5062, "z9hG4bKodd")
    assert (request.from_.tag, request.to.uri, request.cseq.number) == ("1", "sip:moh@192.0.2.9;user=phone", 9)


def test_an_invite_of_rfc_2543_is_accepted() -> None:
    request = wire("rfc2543_invite.sip")
    assert (request.from_.tag, request.via.branch, request.contact()) == ("", "", None)
    assert len(request.body) == 87


def test_several_vias_are_kept_in_order() -> None:
    request = wire("three_vias.sip")
    assert [via.rpartition("z9hG4bK")[2] for via in request.listed("via")] == [
        "three",
        "two",
        "one;rport=40000;received=192.0.2.1",
    ]
    assert request.via.branch == "z9hG4bKthree"


def test_ipv6_is_read_with_its_brackets() -> None:
    request = wire("ipv6_options.sip")
    assert (request.via.host, request.via.port) == ("2001:db8::1", 5062)


def test_bare_line_feeds_end_lines_too() -> None:
    request = wire("bare_lf.sip")
    assert (request.method, request.body) == ("OPTIONS", b"body")


def test_a_lone_carriage_return_begins_no_header_field() -> None:
    request = wire("bare_cr.sip")
    assert request.call_id == "cr@192.0.2.1 Contact: <sip:evil@198.51.100.66>"
    assert request.contact() is None


def test_a_response_is_read() -> None:
    message = parse((WIRE / "response_200.sip").read_bytes())
    assert isinstance(message, Response)
    assert (message.status, message.reason, message.cseq.method) == (200, "Всё хорошо", "BYE")
    assert message.via.branch == "z9hG4bKbye"


def test_octets_that_are_no_utf8_are_kept_as_they_came() -> None:
    message = parse(HEAD.encode().replace(b"ann", b"\xe4\xff\x80") + b"\r\n")
    assert isinstance(message, Request) and message.fault is None
    assert message.from_.uri.encode("utf-8", "surrogateescape") == b"sip:\xe4\xff\x80@192.0.2.1"


# -- dropped messages -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\r\n\r\n",
        b"\0\0\0\0",
        b"\0\x01\0\0\x21\x12\xa4\x42" + b"\xff" * 12,
        b"hello",
        b"OPTIONS sip:a SIP/2.0\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\nVia SIP/2.0/UDP x\r\nVia: SIP/2.0/UDP x\r\n\r\n",
        b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP x\r\n\r\n",  # a response without a CSeq
    ],
)
def test_a_message_that_cannot_be_answered_is_dropped(octets: bytes) -> None:
    assert parse(octets) is None


@pytest.mark.parametrize("via", ["", "SIP/2.0/UDP", 'SIP/2.0/UDP x;a="', "SIP/2.0/UDP x:0", "HTTP/2.0/UDP x"])
def test_a_request_is_refused_and_a_response_dropped_whose_top_via_cannot_be_read(via: str) -> None:
    message = parse(HEAD.replace("Via: ", f"Via: {via}\r\nVia: ").encode() + b"\r\n")
    assert isinstance(message, Request) and message.fault is not None and message.fault.status == 400
    assert not message.via.readable
    assert parse(f"SIP/2.0 200 OK\r\nVia: {via}\r\nCSeq: 1 BYE\r\n\r\n".encode()) is None


@pytest.mark.parametrize(
    "line",
    ["SIP/2.0 99 Low", "SIP/2.0 700 High", "SIP/2.0 4294967301 Big", "SIP/2.0 2²0 OK", "SIP/2.0 OK", "SIP/7.0 200 OK"],
)
def test_a_response_with_a_bad_status_line_is_dropped(line: str) -> None:
    assert parse((line + "\r\nVia: SIP/2.0/UDP x\r\nCSeq: 1 BYE\r\n\r\n").encode()) is None


def test_empty_lines_before_the_start_line_are_ignored() -> None:
    message = parse(b"\r\n\r\n\n" + HEAD.encode() + b"\r\n")
    assert isinstance(message, Request) and message.fault is None


# -- refused requests -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("was", "becomes", "why"),
    [
        ("Call-ID: a@192.0.2.1\r\n", "", "No header field 'call-id'"),
        ("Call-ID: a@192.0.2.1\r\n", "Call-ID:\r\n", "No header field 'call-id'"),
        ("CSeq: 7 OPTIONS\r\n", "CSeq: 7 OPTIONS\r\nCSeq: 7 OPTIONS\r\n", "Two header fields 'cseq'; expected one"),
        ("CSeq: 7 OPTIONS", "CSeq: 7 INVITE", "CSeq is for 'INVITE'; expected 'OPTIONS'"),
        ("CSeq: 7 OPTIONS", "CSeq: 7 options", "CSeq is for 'options'; expected 'OPTIONS'"),
        ("To: <sip", 'To: "Ann <sip', "Unclosed quote in '\"Ann <sip:moh@192.0.2.9>'"),
        ("From: ", "F(rom: ", "No header field 'from'"),
        ("\r\nFrom: ", "\r\nFrom \r\nFrom: ", "Header line is 'From '; expected 'Name: value'"),
        (" SIP/2.0\r\nV", "\r\nV", "Request line is 'OPTIONS sip:moh@192.0.2.9'; expected 'METHOD uri SIP/2.0'"),
        ("S sip", "S  sip", "Request line is 'OPTIONS  sip:moh@192.0.2.9 SIP/2.0'; expected 'METHOD uri SIP/2.0'"),
        ("sip:moh@192.0.2.9 SIP", "<sip:moh@x> SIP", "URI is '<sip:moh@x>'; expected 'sip:user@host'"),
        (
            "=z9hG4bKa",
            "=z9hG4bKa;,;,,",
            "Via holds an empty value or parameter: 'SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa;'",
        ),
    ],
)
def test_a_fault_gets_400_and_is_named(was: str, becomes: str, why: str) -> None:
    assert HEAD.count(was) == 1
    assert fault(options(head=HEAD.replace(was, becomes))) == (400, why)


def test_another_version_is_refused_before_anything_else() -> None:
    head = HEAD.replace("SIP/2.0\r\nVia", "SIP/7.0\r\nVia").replace("CSeq: 7 OPTIONS\r\n", "")
    assert fault(options(head=head)) == (505, "Version is 'SIP/7.0'; expected 'SIP/2.0'")


def test_the_method_of_a_faulty_request_is_known_so_that_no_ack_is_answered() -> None:
    request = options(head=HEAD.replace("OPTIONS", "ACK").replace("From", "Frm"))
    assert request.fault is not None and request.method == "ACK"


def test_the_to_tag_of_a_refused_request_is_known() -> None:
    request = options(head=HEAD.replace("9>\r\n", "9>;tag=ours\r\n").replace("From", "Frm"))
    assert request.fault is not None and request.to.tag == "ours"


def test_at_most_256_header_lines_are_read() -> None:
    assert options(*["X: y"] * 251).fault is None
    assert fault(options(*["X: y"] * 252)) == (513, "More than 256 header lines")
    assert fault(options("X: y", *[" folded"] * 251)) == (513, "More than 256 header lines")


def test_at_most_16_kb_of_a_head_are_read() -> None:
    lines = ["Z: " + "y" * 995] * 15
    assert options(*lines).fault is None
    request = options(*lines, *lines)
    status, why = fault(request)
    assert status == 513 and why.startswith("Head has 30") and why.endswith("octets; expected at most 16384")
    assert (request.method, request.via.host) == ("OPTIONS", "192.0.2.1")
    assert 10 < len(request.all("z")) < 20


@pytest.mark.parametrize(("name", "field"), [("Require", "require"), ("c", "content-type"), ("F", "from")])
def test_a_header_field_that_is_needed_has_at_most_4_kb(name: str, field: str) -> None:
    head = "\r\n".join(line for line in HEAD.split("\r\n") if field != "from" or not line.startswith("From"))
    value = "<sip:ann@192.0.2.1;x=" + "y" * 4000
    assert options(f"{name}: {value}>", head=head).fault is None
    too_long = (513, f"Header field {field!r} is too long; expected at most 4096 characters")
    assert fault(options(f"{name}: {value}{'y' * 96}>", head=head)) == too_long


def test_a_folded_header_field_that_is_needed_has_at_most_4_kb_too() -> None:
    assert fault(options("Require: y", *[" " + "y" * 1000] * 5))[0] == 513


@pytest.mark.parametrize("lines", [["X: " + "y" * 4096], ["X: y", *[" " + "y" * 1000] * 5], ["y" * 4097]])
def test_a_longer_field_that_is_not_needed_is_left_out(lines: list[str]) -> None:
    request = options(*lines)
    assert request.fault is None and request.first("x") is None


@pytest.mark.parametrize("name", ["Call-ID", "i"])
def test_a_call_id_has_at_most_256_octets(name: str) -> None:
    head = "\r\n".join(line for line in HEAD.split("\r\n") if not line.startswith("Call-ID"))
    assert options(f"{name}: " + "y" * 256, head=head).fault is None
    assert fault(options(f"{name}: " + "y" * 257, head=head)) == (513, "Call-ID has 257 octets; expected at most 256")
    assert fault(options(f"{name}: " + "é" * 129, head=head)) == (513, "Call-ID has 258 octets; expected at most 256")


def test_a_request_whose_top_via_is_too_long_is_dropped() -> None:
    long_via = HEAD.replace("branch=z9hG4bKa", "branch=z9hG4bK" + "a" * 4096)
    assert parse((long_via + "Via: SIP/2.0/UDP 192.0.2.2\r\n\r\n").encode()) is None


def test_at_most_70_vias_are_read() -> None:
    via = "Via: SIP/2.0/UDP 192.0.2.2"
    assert options(via + ", SIP/2.0/UDP 192.0.2.3" * 68).fault is None
    assert fault(options(via + ", SIP/2.0/UDP 192.0.2.3" * 69)) == (400, "71 Via values; expected at most 70")


# -- Content-Length (§18.3) ----------------------------------------------------------------------------------------


def test_without_content_length_the_body_is_the_rest_of_the_datagram() -> None:
    assert options(body=b"12345").body == b"12345"


@pytest.mark.parametrize(
    ("line", "body"),
    [
        ("Content-Length: 5", b"12345"),
        ("Content-Length:   3", b"123"),
        ("l: 0", b""),
        ("Content-Length: 003", b"123"),
    ],
)
def test_octets_behind_the_body_are_ignored(line: str, body: bytes) -> None:
    request = options(line, body=b"12345")
    assert (request.fault, request.body) == (None, body)


def test_two_equal_content_lengths_count_as_one() -> None:
    assert options("Content-Length: 5", "l: 5", body=b"12345").body == b"12345"


@pytest.mark.parametrize("length", ["6", "-1", "", "5 5", "5.0", "0x5", "²", "٥", "9" * 3000])
def test_an_impossible_content_length_is_refused(length: str) -> None:
    assert fault(options(f"Content-Length: {length}", body=b"12345"))[0] == 400


def test_two_different_content_lengths_are_refused() -> None:
    request = options("Content-Length: 5", "l: 4", body=b"12345")
    assert fault(request) == (400, "Content-Length is '5, 4'; expected one number of octets")


# -- random octets ------------------------------------------------------------------------------------------------

FLOW = Flow(Address("192.0.2.1", 5060), Address("192.0.2.9", 5060))
POISON = st.sampled_from(
    [b"\r", b"\n", b"\0", b'"', b"\\", b"<", b">", b";", b",", b":", b"\xff", "²".encode(), "\u2028".encode(), b"\r\n "]
)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(DP750)), st.integers(0, 9), st.lists(POISON | st.binary(max_size=9), max_size=4))
def test_a_spoilt_invite_is_read_or_refused_and_its_answer_can_be_read(at: int, cut: int, poison: list[bytes]) -> None:
    message = parse(DP750[:at] + b"".join(poison) + DP750[at + cut :])
    if not isinstance(message, Request):
        return
    try:
        message.contact()
    except Refusal:
        pass
    answer = write_response(message, FLOW, 400, "t", reason=message.fault.why if message.fault else "")
    lines = answer.split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    if message.fault is None:
        again = parse(answer)
        assert isinstance(again, Response) and again.cseq == message.cseq


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_dropped_or_refused(octets: bytes) -> None:
    for data in (octets, b"OPTIONS sip:a SIP/2.0\r\nv: SIP/2.0/UDP x\r\n" + octets):
        message = parse(data)
        assert message is None or isinstance(message, (Request, Response))
