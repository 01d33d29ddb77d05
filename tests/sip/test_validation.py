"""The checks of RFC 3261 §8.2 that need nothing but the request."""

from __future__ import annotations

import pytest

from moh.common.errors import Refusal
from moh.sip.message import Request
from moh.sip.parser import parse
from moh.sip.validation import check_request, requires_100rel

SDP = "Content-Type: application/sdp"


def request(method: str, *lines: str, uri: str = "sip:moh@192.0.2.9", body: str = "") -> Request:
    head = [
        f"{method} {uri} SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa",
        "From: <sip:ann@192.0.2.1>;tag=1",
        "To: <sip:moh@192.0.2.9>",
        "Call-ID: a@192.0.2.1",
        f"CSeq: 7 {method}",
        *lines,
    ]
    message = parse("\r\n".join([*head, "", body]).encode())
    assert isinstance(message, Request) and message.fault is None
    return message


def refused(refusable: Request) -> Refusal:
    with pytest.raises(Refusal) as caught:
        check_request(refusable)
    return caught.value


@pytest.mark.parametrize("method", ["INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "UPDATE", "INFO"])
def test_the_methods_of_a_call_are_accepted(method: str) -> None:
    check_request(request(method))


@pytest.mark.parametrize("method", ["REGISTER", "REFER", "SUBSCRIBE", "invite", "RE%47IST%45R"])
def test_other_methods_are_refused_with_what_is_allowed(method: str) -> None:
    refusal = refused(request(method))
    assert (refusal.status, refusal.headers) == (405, (("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO"),))


@pytest.mark.parametrize("uri", ["sips:moh@192.0.2.9", "tel:123", "http://192.0.2.9/", "nobodyKnows:x"])
def test_other_schemes_are_refused(uri: str) -> None:
    assert refused(request("INVITE", uri=uri)).status == 416


@pytest.mark.parametrize("uri", ["sip:192.0.2.9", "SIP:any%20body@elsewhere.example.com;x=y", "sip:moh@[2001:db8::9]"])
def test_any_user_at_any_host_is_accepted(uri: str) -> None:
    check_request(request("INVITE", uri=uri))


def test_required_unknown_extensions_are_listed() -> None:
    refusal = refused(request("INVITE", "Require: 100rel, foo", "Require: bar"))
    assert (refusal.status, refusal.headers) == (420, (("Unsupported", "bar, foo"),))
    assert refusal.why == "Extension is 'bar, foo'; understood: 100rel, timer"


def test_100rel_and_timer_are_understood() -> None:
    check_request(request("INVITE", "Require: 100rel, timer"))
    assert requires_100rel(request("INVITE", "Require: 100rel"))
    assert not requires_100rel(request("INVITE", "Supported: 100rel"))


def test_supported_and_proxy_require_are_ignored() -> None:
    check_request(request("INVITE", "Supported: x-moh-stream", "Proxy-Require: foo", "Max-Forwards: 0"))


def test_a_cancel_is_never_refused_for_its_require() -> None:
    check_request(request("CANCEL", "Require: foo", uri="sips:moh@192.0.2.9"))


# -- bodies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["application/sdp", "APPLICATION/SDP", "application/sdp;charset=utf-8", " application/sdp ;x=y"]
)
def test_a_session_description_is_accepted(kind: str) -> None:
    taken = request("INVITE", f"Content-Type: {kind}", body="v=0\r\n")
    check_request(taken)
    assert taken.body == b"v=0\r\n"


@pytest.mark.parametrize("kind", ["text/plain", "application/sdp2", "multipart/mixed;boundary=x", ""])
def test_another_body_is_refused_with_the_accepted_type(kind: str) -> None:
    refusal = refused(request("INVITE", f"Content-Type: {kind}", body="hello"))
    assert (refusal.status, refusal.headers) == (415, (("Accept", "application/sdp"),))


@pytest.mark.parametrize("lines", [[], ["Content-Type:"]])
def test_a_body_of_no_type_is_a_session_description_where_it_begins_as_one(lines: list[str]) -> None:
    """A phone's hold without Content-Type has to stop the music."""
    untyped = request("INVITE", *lines, body="v=0\r\n")
    check_request(untyped)
    assert untyped.body == b"v=0\r\n"
    assert refused(request("INVITE", *lines, body="hello")).status == 415


def test_a_content_type_without_a_body_is_ignored() -> None:
    check_request(request("INVITE", "Content-Type: text/plain"))
    check_request(request("INVITE", "Content-Type: text/plain", body="\r\n"))


def test_a_body_that_may_be_ignored_is_removed() -> None:
    odd = request("INVITE", "Content-Type: text/plain", "Content-Disposition: icon; Handling = optional", body="hello")
    check_request(odd)
    assert odd.body == b""


@pytest.mark.parametrize(("method", "kind"), [("BYE", "application/vq-rtcpxr"), ("INFO", "application/dtmf-relay")])
def test_bye_and_info_may_have_any_body(method: str, kind: str) -> None:
    report = request(method, f"Content-Type: {kind}", body="report")
    check_request(report)
    assert report.body == b""


MIXED = "Content-Type: multipart/mixed; boundary=cut"


def part(*lines: str) -> str:
    return "\r\n".join(["--cut", *lines, ""])


def test_a_multipart_body_is_replaced_by_its_session_description() -> None:
    text = part("Content-Type: text/plain", "", "hello")
    offer = part("Content-ID: <1>", "content-type : Application/SDP", "", "v=0", "s=-")
    mixed = request("INVITE", MIXED, body=text + offer + "--cut--\r\n")
    check_request(mixed)
    assert mixed.body.split() == [b"v=0", b"s=-"]


@pytest.mark.parametrize(
    "body",
    [
        part("Content-Type: text/plain", "", "v=0"),
        part(SDP, "Content-Transfer-Encoding: base64", "", "dj0w"),
        part("Content-Type: multipart/mixed; boundary=x") * 1500,
        "--cut",
        "v=0",
    ],
)
def test_a_multipart_body_without_one_is_refused(body: str) -> None:
    assert refused(request("INVITE", MIXED, body=body)).status == 415


def test_an_encoded_body_is_refused() -> None:
    refusal = refused(request("INVITE", SDP, "Content-Encoding: gzip", body="x"))
    assert (refusal.status, refusal.headers) == (415, (("Accept-Encoding", "identity"),))
    check_request(request("INVITE", SDP, "e: Identity", body="v=0\r\n"))


# -- what the caller accepts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "accept", ["application/sdp", "text/plain, Application/SDP;q=0.5", "application/*", "*/*", "a/b, */*;q=0.1"]
)
def test_an_accept_with_sdp_is_accepted(accept: str) -> None:
    check_request(request("INVITE", f"Accept: {accept}"))


@pytest.mark.parametrize("accept", ["text/nobodyknowsthis", "", "text/*"])
def test_an_accept_without_sdp_is_406(accept: str) -> None:
    refusal = refused(request("INVITE", f"Accept: {accept}"))
    assert (refusal.status, refusal.headers) == (406, (("Accept", "application/sdp"),))


def test_the_accept_of_an_options_is_ignored() -> None:
    check_request(request("OPTIONS", "Accept: text/plain"))


def test_a_require_that_cannot_be_read_is_refused() -> None:
    assert refused(request("INVITE", 'Require: "foo')).status == 400


def test_an_accept_that_cannot_be_read_is_ignored() -> None:
    check_request(request("INVITE", 'Accept: "foo'))


@pytest.mark.parametrize("method", ["BYE", "ACK", "CANCEL"])
def test_what_ends_or_acknowledges_is_never_refused(method: str) -> None:
    check_request(request(method, "Require: foo", 'Require: "foo', 'Accept: "foo', uri="tel:123"))


def test_the_unknown_extensions_of_a_long_list_are_named_as_far_as_512_characters() -> None:
    refusal = refused(request("INVITE", "Require: " + ", ".join(f"x{number:03}" for number in range(500))))
    ((name, value),) = refusal.headers
    assert name == "Unsupported" and value.startswith("x000, x001, ") and len(value) <= 512
    assert refused(request("INVITE", "Require: " + "x" * 1000)).headers == ()
