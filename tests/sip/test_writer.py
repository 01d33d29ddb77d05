"""Messages to octets, and where answers go (RFC 3261 §8.2.6, §18.2; RFC 3581)."""

from __future__ import annotations

from pathlib import Path

import pytest

from moh.common.actions import Address, Flow
from moh.sip.headers import Via
from moh.sip.message import Request, Response
from moh.sip.parser import parse
from moh.sip.writer import REASONS, answer_address, answered_via, quoted, write_request, write_response

WIRE = Path(__file__).parent.parent / "wire"
SOURCE = Address("192.0.2.1", 40000)
FLOW = Flow(SOURCE, Address("192.0.2.9", 5060))


def wire(name: str) -> Request:
    message = parse((WIRE / name).read_bytes())
    assert isinstance(message, Request)
    return message


def lines(octets: bytes) -> list[str]:
    """The head of a message in lines."""
    return octets.decode().partition("\r\n\r\n")[0].split("\r\n")


# -- the top Via ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("came", "goes_back"),
    [
        # the packet came from the host that is written there: nothing to tell (§18.2.1)
        ("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa"),
        # from another one, or a name is written there
        ("SIP/2.0/UDP 10.0.0.5:5062;branch=z9hG4bKa", "SIP/2.0/UDP 10.0.0.5:5062;branch=z9hG4bKa;received=192.0.2.1"),
        ("SIP/2.0/UDP pbx.lan;branch=z9hG4bKa", "SIP/2.0/UDP pbx.lan;branch=z9hG4bKa;received=192.0.2.1"),
        # rport asks for both, also where the host is right (RFC 3581 §4)
        (
            "SIP/2.0/UDP 192.0.2.1;rport;branch=z9hG4bKa",
            "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa;rport=40000;received=192.0.2.1",
        ),
        # what the sender put there itself does not count
        (
            "SIP/2.0/UDP 10.0.0.5;RPORT=9;Received=198.51.100.66;branch=z9hG4bKa",
            "SIP/2.0/UDP 10.0.0.5;branch=z9hG4bKa;rport=40000;received=192.0.2.1",
        ),
        ("SIP/2.0/UDP 10.0.0.5;received=198.51.100.66", "SIP/2.0/UDP 10.0.0.5;received=192.0.2.1"),
    ],
)
def test_the_top_via_gets_received_and_rport(came: str, goes_back: str) -> None:
    assert answered_via(Via.parse(came), SOURCE) == goes_back


@pytest.mark.parametrize(
    ("via", "to"),
    [
        ("SIP/2.0/UDP 192.0.2.1;rport", SOURCE),
        ("SIP/2.0/UDP 192.0.2.1", Address("192.0.2.1", 5060)),
        ("SIP/2.0/UDP 192.0.2.1:5062", Address("192.0.2.1", 5062)),
        ("SIP/2.0/UDP 10.0.0.5:5062", Address("192.0.2.1", 5062)),
        ("SIP/2.0/UDP pbx.lan:5062;received=198.51.100.66", Address("192.0.2.1", 5062)),
        ("SIP/2.0/UDP 192.0.2.1:5062;maddr=10.0.0.7", Address("192.0.2.1", 5062)),
        ("SIP/2.0/UDP 192.0.2.1:5062;maddr=127.0.0.1", Address("192.0.2.1", 5062)),
        ("SIP/2.0/UDP 192.0.2.1:5062;maddr=198.51.100.66", Address("192.0.2.1", 5062)),
        ("SIP/2.0/UDP 192.0.2.1:5062;maddr=224.0.1.75", Address("192.0.2.1", 5062)),
        ("SIP/2.0/UDP 192.0.2.1:5062;maddr=pbx.lan", Address("192.0.2.1", 5062)),
        ("SIP/2.0/UDP 192.0.2.1:5062;maddr=10.0.0.7;rport", SOURCE),
    ],
)
def test_an_answer_goes_to_the_source_or_to_the_port_in_via(via: str, to: Address) -> None:
    assert answer_address(Via.parse(via), SOURCE) == to


@pytest.mark.parametrize(
    ("via", "to"),
    [
        ("SIP/2.0/UDP 10.0.0.5:5062;maddr=10.0.0.7", Address("10.0.0.7", 5062)),
        ("SIP/2.0/UDP 10.0.0.5;maddr=192.168.1.7", Address("192.168.1.7", 5060)),
        ("SIP/2.0/UDP 10.0.0.5:5062;maddr=198.51.100.66", Address("10.0.0.5", 5062)),
        ("SIP/2.0/UDP 10.0.0.5:53;maddr=127.0.0.1", Address("10.0.0.5", 53)),
        ("SIP/2.0/UDP 10.0.0.5:53;maddr=::1", Address("10.0.0.5", 53)),
        ("SIP/2.0/UDP 10.0.0.5:5062;maddr=224.0.1.75", Address("10.0.0.5", 5062)),
    ],
)
def test_in_a_private_network_maddr_is_followed_but_not_to_our_own_loopback(via: str, to: Address) -> None:
    assert answer_address(Via.parse(via), Address("10.0.0.5", 40000)) == to


@pytest.mark.parametrize("maddr", ["[fd00::7]", "fd00::7", "[FD00:0::7]"])
def test_maddr_may_have_ipv6_brackets_and_the_address_has_none(maddr: str) -> None:
    via = Via.parse(f"SIP/2.0/UDP [fd00::5]:5062;maddr={maddr}")
    assert answer_address(via, Address("fd00::5", 40000)) == Address("fd00::7", 5062)


# -- responses -----------------------------------------------------------------------------------------------------


def test_a_response_copies_its_header_fields_and_adds_the_to_tag() -> None:
    octets = write_response(wire("dp750_invite.sip"), FLOW, 200, "ours", [("Contact", "<sip:moh@x>")], b"v=0\r\n")
    assert lines(octets) == [
        "SIP/2.0 200 OK",
        "Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bK1034718822;rport=40000;received=192.0.2.1",
        'From: "Front desk" <sip:201@pbx.lan>;tag=1550288317',
        "To: <sip:123@192.168.1.100:5060>;tag=ours",
        "Call-ID: 771203466-5062-14@BJC.BGI.B.FA",
        "CSeq: 130 INVITE",
        "Contact: <sip:moh@x>",
        "Content-Length: 5",
    ]
    assert octets.endswith(b"\r\n\r\nv=0\r\n")


def test_a_to_tag_that_is_there_is_kept() -> None:
    assert "To: <sip:moh@192.0.2.9>;tag=ours" in lines(write_response(wire("three_vias.sip"), FLOW, 200, "new"))


def test_a_refused_request_keeps_its_to_tag() -> None:
    octets = (WIRE / "three_vias.sip").read_bytes().replace(b"CSeq: 8 BYE", b"CSeq: 8 INVITE")
    request = parse(octets)
    assert isinstance(request, Request) and request.fault is not None
    assert "To: <sip:moh@192.0.2.9>;tag=ours" in lines(write_response(request, FLOW, 400, "new"))


def test_only_the_first_of_several_vias_is_changed() -> None:
    vias = [line for line in lines(write_response(wire("three_vias.sip"), FLOW, 200, "")) if line.startswith("Via")]
    assert vias == [
        "Via: SIP/2.0/UDP 10.0.0.3:5060;branch=z9hG4bKthree;received=192.0.2.1, SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKtwo",
        "Via: SIP/2.0/TCP ann.example.com;branch=z9hG4bKone;rport=40000;received=192.0.2.1",
    ]


def test_folded_lines_go_back_unfolded() -> None:
    octets = write_response(wire("folded_header.sip"), FLOW, 200, "ours")
    assert "CSeq: 7 OPTIONS" in lines(octets) and 'From: "Ann" <sip:ann@192.0.2.1> ;tag=1' in lines(octets)


def test_a_lone_carriage_return_is_not_copied() -> None:
    octets = write_response(wire("bare_cr.sip"), FLOW, 200, "ours")
    assert octets.count(b"\r") == octets.count(b"\r\n") == octets.count(b"\n")


def test_octets_that_are_no_utf8_are_copied_as_they_came() -> None:
    request = parse((WIRE / "three_vias.sip").read_bytes().replace(b"front", b"f\xff\x80t"))
    assert isinstance(request, Request)
    assert b'From: "Ann, at the \\"f\xff\x80t\\" desk" <sip:ann@example.com>;tag=1\r\n' in write_response(
        request, FLOW, 200, "ours"
    )


def test_header_fields_that_a_request_lacks_are_missing_in_its_answer() -> None:
    request = parse(b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\n\r\n")
    assert isinstance(request, Request)
    assert lines(write_response(request, FLOW, 400, "ours", reason="No header field 'call-id'")) == [
        "SIP/2.0 400 No header field 'call-id'",
        "Via: SIP/2.0/UDP 192.0.2.1",
        "Content-Length: 0",
    ]


@pytest.mark.parametrize(("status", "repeated"), [(100, True), (200, False)])
def test_a_timestamp_is_copied_in_100_only(status: int, repeated: bool) -> None:
    octets = (WIRE / "no_contact.sip").read_bytes().replace(b"Max-Forwards: 70", b"Timestamp: 54.21")
    request = parse(octets)
    assert isinstance(request, Request)
    assert ("Timestamp: 54.21" in lines(write_response(request, FLOW, status, ""))) is repeated


def test_a_refusal_has_no_reason_phrase_but_its_own() -> None:
    assert sorted(REASONS) == [100, 180, 200]


def test_an_unknown_status_has_a_reason_phrase_too() -> None:
    assert lines(write_response(wire("no_contact.sip"), FLOW, 699, ""))[0] == "SIP/2.0 699 Error"


def test_our_answer_can_be_parsed() -> None:
    message = parse(write_response(wire("odd_spacing.sip"), FLOW, 200, "ours", body=b"x"))
    assert isinstance(message, Response)
    assert (message.status, message.via.branch, message.cseq.number) == (200, "z9hG4bKodd", 9)


def test_our_own_request_ends_with_content_length() -> None:
    octets = write_request("BYE", "sip:ann@192.0.2.1", [("Via", "SIP/2.0/UDP x"), ("CSeq", "1 BYE")])
    assert octets == b"BYE sip:ann@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP x\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a b", '"a b"'),
        ("曲.mp3", '"曲.mp3"'),
        ('a "b" \\c', '"a \\"b\\" \\\\c"'),
        ("a\r\nb\udcff", '"a??b?"'),
        ("", '""'),
    ],
)
def test_a_quoted_string_is_one_whatever_is_in_it(text: str, written: str) -> None:
    assert quoted(text) == written
