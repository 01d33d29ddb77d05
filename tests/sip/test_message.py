"""The header fields of a message, once it has been read: lists, option tags, Contact."""

from __future__ import annotations

import pytest

from moh.common.errors import Refusal
from moh.sip.headers import NameAddr, Via
from moh.sip.message import NO_CSEQ, Request, Response

VIA = Via.parse("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa")


def with_headers(*headers: tuple[str, str]) -> Request:
    """A request that holds these header fields and nothing else."""
    return Request(list(headers), b"", "OPTIONS", "sip:moh@192.0.2.9", VIA)


def test_first_and_all_are_by_the_long_lower_case_name() -> None:
    message = Response([("via", "one"), ("via", "two"), ("x", "")], b"", 200, "OK", VIA, cseq=NO_CSEQ)
    assert (message.first("via"), message.all("via")) == ("one", ["one", "two"])
    assert (message.first("x"), message.all("x")) == ("", [""])
    assert (message.first("y"), message.all("y")) == (None, [])


def test_a_list_header_may_come_in_several_lines_with_empty_members() -> None:
    request = with_headers(("supported", "a, b"), ("supported", ""), ("supported", ", c ,"), ("supported", "a"))
    assert request.listed("supported") == ["a", "b", "c", "a"]
    assert request.option_tags("supported") == {"a", "b", "c"}


def test_the_first_of_several_contacts_counts_and_a_star_is_none() -> None:
    contact = with_headers(("contact", '"A, B" <sip:a@192.0.2.1>, <sip:b@192.0.2.1>')).contact()
    assert contact is not None and contact.uri == "sip:a@192.0.2.1"
    assert with_headers(("contact", "*")).contact() is with_headers().contact() is None


def test_the_target_is_the_uri_of_the_contact() -> None:
    assert with_headers(("contact", "<sip:a@192.0.2.1;x=y>;q=1")).target == "sip:a@192.0.2.1;x=y"
    assert with_headers().target is None
    with pytest.raises(Refusal, match="Host is ''"):
        _ = with_headers(("contact", "<sip:>")).target


def test_the_tag_of_a_party_without_one_is_empty() -> None:
    assert with_headers().to.tag == ""
    assert NameAddr.parse("<sip:a@192.0.2.1>;tag=t").tag == "t"
