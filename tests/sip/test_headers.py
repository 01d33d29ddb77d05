"""What header fields are made of: lists, parameters, URIs, Via, CSeq, names with addresses (RFC 3261 §20, §25)."""

from __future__ import annotations

from typing import Callable, Optional

import pytest

from moh.common.errors import Refusal
from moh.sip import headers
from moh.sip.headers import CSeq, NameAddr, Uri, Via, is_token, read_host_port, read_params, split


def refusal(read: Callable[[str], object], text: str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        read(text)
    return caught.value


# -- lists and parameters ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a, b ,c", ["a", "b", "c"]),
        ("", [""]),
        ("a,,b", ["a", "", "b"]),
        ('"a, b" <sip:x>, c', ['"a, b" <sip:x>', "c"]),
        ('"a \\", b" <sip:x>, c', ['"a \\", b" <sip:x>', "c"]),
        ('"ends in \\\\" <sip:x>, c', ['"ends in \\\\" <sip:x>', "c"]),
        ("<sip:a,b@x>, c", ["<sip:a,b@x>", "c"]),
        ("<sip:a,b@x, c", ["<sip:a,b@x, c"]),
    ],
)
def test_a_list_is_cut_outside_of_quotes_and_angle_brackets(text: str, pieces: list[str]) -> None:
    assert split(text, ",") == pieces


def test_a_quote_that_never_ends_is_refused() -> None:
    assert refusal(lambda text: split(text, ","), '"Ann <sip:ann@x>').why == "Unclosed quote in '\"Ann <sip:ann@x>'"


def test_parameters_have_names_in_lower_case_and_the_first_of_two_counts() -> None:
    pieces = ["RPORT", " Branch = z9 ", "branch=other", "", "=nameless", "odd=a=b"]
    assert read_params(pieces) == {"rport": "", "branch": "z9", "odd": "a=b"}


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("INVITE", True),
        ("!interesting-Method0123456789_*+`.%indeed'~", True),
        ("", False),
        ("a b", False),
        ("é", False),
    ],
)
def test_tokens_are_those_of_the_grammar(text: str, token: bool) -> None:
    assert is_token(text) is token


# -- hosts and URIs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("192.0.2.1", "192.0.2.1", None),
        ("pbx.example.com:5062", "pbx.example.com", 5062),
        (" 192.0.2.1 : 5062 ", "192.0.2.1", 5062),
        ("[2001:db8::9]", "2001:db8::9", None),
        ("[2001:db8::9:5070]", "2001:db8::9:5070", None),
        ("[2001:db8::9]:5070", "2001:db8::9", 5070),
        ("host:00080", "host", 80),
        ("host:65535", "host", 65535),
    ],
)
def test_a_host_may_have_a_port(text: str, host: str, port: Optional[int]) -> None:
    assert read_host_port(text) == (host, port)


@pytest.mark.parametrize(
    "text",
    [
        "", ":5060", "host:", "host:0", "host:65536", "host:-1", "host:5O60", "host:²", "host:٥٠٦٠", "ho st", "hé",
        "2001:db8::9", "[2001:db8::9", "[]", "[192.0.2]", "[::1]5060", "[fe80::1%eth0]", "host:" + "9" * 5000,
    ],
)  # fmt: skip
def test_an_invalid_host_is_refused(text: str) -> None:
    assert refusal(read_host_port, text).status == 400


def test_a_uri_has_user_host_port_and_parameters() -> None:
    uri = Uri.parse("SIP:moh:secret@Example.com:5070;Transport=UDP;lr?Subject=x")
    assert (uri.scheme, uri.user, uri.host, uri.port) == ("sip", "moh:secret", "Example.com", 5070)
    assert uri.params == {"transport": "UDP", "lr": ""}
    assert uri.text == "SIP:moh:secret@Example.com:5070;Transport=UDP;lr?Subject=x"


def test_the_user_part_of_a_uri_may_hold_semicolons_and_question_marks() -> None:
    uri = Uri.parse("sip:user;par=u%40example.net?x@example.com")  # RFC 4475 §3.1.1.9
    assert (uri.user, uri.host, uri.params) == ("user;par=u%40example.net?x", "example.com", {})


def test_a_uri_needs_no_user() -> None:
    assert Uri.parse("sip:10.1.3.165").host == "10.1.3.165"


@pytest.mark.parametrize("text", ["tel:+4930123", "soap.beep://192.0.2.103:3002", "nobodyKnows:opaque"])
def test_a_uri_of_another_scheme_is_left_unread(text: str) -> None:
    uri = Uri.parse(text)
    assert (uri.scheme, uri.host) == (text.partition(":")[0].lower(), "")


@pytest.mark.parametrize(
    "text",
    [
        "", "sip", "sip:", ":moh@x", "sip:moh@", "s p:moh@x", "<sip:moh@x>", "sip:moh@x y", 'sip:"@x', "sip:a\tb@x",
        "sip:moh\0@x", "sip:moh\x1b@x", "sip:moh@x:99999", "sip:moh@2001:db8::9", "é:moh@x",
    ],
)  # fmt: skip
def test_an_invalid_uri_is_refused(text: str) -> None:
    assert refusal(Uri.parse, text).status == 400


def test_the_caches_keep_no_long_text() -> None:
    caches = (headers._cached_uri, headers._cached_hop, headers._cached_members)
    long = "a" * headers.MAX_CACHED
    before = [cache.cache_info().currsize for cache in caches]
    assert Uri.parse(f"sip:{long}@192.0.2.1").user == long
    assert Via.parse(f"SIP/2.0/UDP {long}").host == long
    assert list(headers.members(long + ",b")) == [long, "b"]
    assert [cache.cache_info().currsize for cache in caches] == before
    assert all(cache.cache_info().maxsize == headers.CACHED for cache in caches)


# -- names with addresses ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "uri", "tag"),
    [
        ("<sip:ann@x>;tag=1", "sip:ann@x", "1"),
        ("sip:ann@x;tag=1", "sip:ann@x", "1"),
        ("Ann <sip:ann@x> ; TAG = 1", "sip:ann@x", "1"),
        ("<sip:ann@x;tag=inside>", "sip:ann@x;tag=inside", ""),
        ('"Ann"<sip:ann@x>', "sip:ann@x", ""),
        ('"<sip:fake@x>;tag=2" <sip:ann@x>;tag=1', "sip:ann@x", "1"),
        ('"a \\" <b> \\\\" <sip:ann@x>;tag=1', "sip:ann@x", "1"),
        ("< sip:ann@x >", "sip:ann@x", ""),
        ("Всё хорошо <sip:ann@x>", "sip:ann@x", ""),
    ],
)
def test_a_name_addr_is_read_with_and_without_its_name(text: str, uri: str, tag: str) -> None:
    read = NameAddr.parse(text)
    assert (read.uri, read.tag, read.text) == (uri, tag, text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('"Front desk" <sip:201@192.0.2.1>;tag=14e4741b', '"Front desk" <sip:201@192.0.2.1>'),
        ("sip:201@192.0.2.1;tag=1", "sip:201@192.0.2.1"),
        ('"a;b" <sip:ann@x;user=phone> ; tag=1', '"a;b" <sip:ann@x;user=phone>'),
        ('"Ann <sip:ann@x>;tag=1', '"Ann <sip:ann@x>'),
    ],
)
def test_the_log_shows_a_party_without_its_tag(text: str, shown: str) -> None:
    assert NameAddr.salvage(text).without_parameters == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Ann",
        "<>",
        "<sip:ann@x",
        "sip:ann@x>",
        "Ann sip:ann@x",
        "<sip:a n@x>",
        "<sip:ann@x> Ann",
        '"Ann',
        '"Ann\\"',
        '"',
    ],
)
def test_an_invalid_name_addr_is_refused(text: str) -> None:
    assert refusal(NameAddr.parse, text).status == 400


# -- Via and CSeq --------------------------------------------------------------------------------------------------


def test_a_via_has_transport_host_and_port() -> None:
    via = Via.parse("SIP/2.0/udp Pbx.Example.com;branch=z9hG4bKa;rport;odd")
    assert (via.transport, via.host, via.port) == ("UDP", "Pbx.Example.com", None)
    assert (via.branch, via.sent_by) == ("z9hG4bKa", "pbx.example.com:5060")
    assert via.params == {"branch": "z9hG4bKa", "rport": "", "odd": ""}


def test_a_via_may_have_spaces_round_its_separators() -> None:
    via = Via.parse("SIP / 2.0 / UDP   192.0.2.1 : 5062 ; branch = z9hG4bKa ; rport")
    assert (via.transport, via.host, via.port, via.branch) == ("UDP", "192.0.2.1", 5062, "z9hG4bKa")


@pytest.mark.parametrize(
    ("branch", "name"),
    [("z9hG4bKa", "z9hG4bKa"), ("Z9HG4BKa", "Z9HG4BKa"), ("z9hG4bK", ""), ("1", ""), ("", "")],
)
def test_only_a_branch_behind_the_magic_cookie_names_a_transaction(branch: str, name: str) -> None:
    assert Via.parse(f"SIP/2.0/UDP x;branch={branch}").branch == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SIP/2.0/UDP",
        "SIP/2.0 x",
        "HTTP/2.0/UDP x",
        "SIP/2.0/UDP ;branch=a",
        "SIP/2.0/UDP x:0",
        "SIP/2.0/U<P x",
        'SIP/2.0/UDP x;"',
    ],
)
def test_an_invalid_via_is_refused(text: str) -> None:
    assert refusal(Via.parse, text).status == 400


@pytest.mark.parametrize(
    ("text", "number", "method"),
    [("1 INVITE", 1, "INVITE"), ("0009   OPTIONS", 9, "OPTIONS"), ("2147483647 BYE", 2147483647, "BYE")],
)
def test_cseq_is_a_number_and_a_method(text: str, number: int, method: str) -> None:
    assert CSeq.parse(text) == CSeq(number, method)


@pytest.mark.parametrize(
    "text",
    ["", "1", "INVITE", "1 INVITE x", "-1 INVITE", "2147483648 INVITE", "9" * 5000 + " BYE", "² BYE", "٣ BYE", "1 B@E"],
)
def test_an_invalid_cseq_is_refused(text: str) -> None:
    assert refusal(CSeq.parse, text).status == 400


def test_a_refusal_shows_only_the_beginning_and_no_control_characters() -> None:
    why = refusal(CSeq.parse, "\x1b[2J" + "x" * 60000).why
    assert why.isprintable() and len(why) < 200
