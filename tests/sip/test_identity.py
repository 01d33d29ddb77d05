"""Our own addresses towards a caller, and the tags of stateless answers."""

from __future__ import annotations

import pytest

from moh.common.actions import Address, Flow
from moh.common.errors import Refusal
from moh.sip.identity import Identity
from moh.sip.message import Request
from moh.sip.parser import parse

LAN = Flow(Address("192.168.1.50", 5062), Address("192.168.1.100", 5060))
BRIDGE = Flow(Address("192.168.1.50", 5062), Address("172.17.0.2", 5060))
LOOPBACK = Flow(Address("127.0.0.1", 5062), Address("127.0.0.1", 5060))


def identity(advertised: str = "", local: str = "192.168.1.100", secret: bytes = b"secret") -> Identity:
    return Identity(
        new_token=lambda: "0123456789abcdef",
        new_key=lambda: "a" * 40,
        local_address=lambda host: local,
        advertised=advertised,
        secret=secret,
    )


def invite(
    uri: str = "sip:123@192.168.1.100", branch: str = "z9hG4bKa", cseq: int = 1, tag: str = "1", lines: str = ""
) -> Request:
    """``lines`` are further header fields, or others than these."""
    via = "" if "Via:" in lines else f"Via: SIP/2.0/UDP 192.168.1.50:5062;branch={branch}\r\n"
    message = parse(
        (
            f"INVITE {uri} SIP/2.0\r\n{via}{lines}"
            f"From: <sip:201@pbx.lan>;tag={tag}\r\nTo: <sip:123@x>\r\nCall-ID: a\r\nCSeq: {cseq} INVITE\r\n\r\n"
        ).encode()
    )
    assert isinstance(message, Request) and message.fault is None
    return message


@pytest.mark.parametrize(
    ("uri", "flow", "own"),
    [
        # the address that was dialled is the one that is reachable, also from inside of a container
        ("sip:123@192.168.1.100", BRIDGE, Address("192.168.1.100", 5060)),
        ("sip:123@203.0.113.5:5070", BRIDGE, Address("203.0.113.5", 5070)),
        # a name, nonsense or another family says nothing: then it is where the request came to
        ("sip:moh@pbx.lan:5070", LAN, Address("192.168.1.100", 5060)),
        ("sip:moh@0.0.0.0", LAN, Address("192.168.1.100", 5060)),
        ("sip:moh@224.0.1.75", LAN, Address("192.168.1.100", 5060)),
        ("sip:moh@[2001:db8::9]:5070", LAN, Address("192.168.1.100", 5060)),
        ("sip:moh@[::ffff:192.168.1.100]", LAN, Address("192.168.1.100", 5060)),
    ],
)
def test_our_address_is_the_one_that_was_dialled(uri: str, flow: Flow, own: Address) -> None:
    assert identity().own_address(invite(uri), flow) == own


B2BUA = Flow(Address("192.168.1.60", 5060), Address("192.168.1.100", 5060))
SAME_HOST = Flow(Address("192.168.1.100", 5080), Address("192.168.1.100", 5060))
TCP = Flow(Address("192.168.1.60", 41000), Address("192.168.1.100", 5060), "TCP", 3)
TLS = Flow(Address("192.168.1.60", 41000), Address("192.168.1.100", 5061), "TLS", 3)
IPV6 = Flow(Address("2001:db8::60", 5060), Address("2001:db8::100", 5060))
NAT = Flow(Address("172.17.0.1", 33000), Address("172.17.0.2", 5060))
ON_OUR_HOST = "Via: SIP/2.0/UDP 192.168.1.100:5062;branch=z9hG4bKa\r\nContact: <sip:201@192.168.1.100:5062>\r\n"
"""A phone on the host of our container, whose address is ours too."""


@pytest.mark.parametrize(
    ("uri", "lines", "flow"),
    [
        # a B2BUA whose outbound proxy we are: the Request-URI is its own, one Via
        ("sip:moh@192.168.1.60", "", B2BUA),
        ("sip:moh@192.168.1.60:5060", "", B2BUA),
        ("sip:moh@192.168.1.60:5070", "", B2BUA),
        ("sip:moh@192.168.1.60", "", TCP),
        ("sip:moh@192.168.1.60:5061", "", TLS),
        ("sip:moh@[2001:db8::60]", "", IPV6),
        ("sip:moh@[2001:0DB8:0::60]:5060", "", IPV6),
        # on our own host, with another port
        ("sip:moh@192.168.1.100:5080", "", SAME_HOST),
        # behind a NAT that hides the source
        ("sip:moh@192.168.1.60", "Via: SIP/2.0/UDP 192.168.1.60;branch=z9hG4bKa\r\n", NAT),
        ("sip:moh@192.168.1.60:5070", "Contact: <sip:201@192.168.1.60:5070>\r\n", NAT),
        # a proxy that left its Record-Route, and the Vias before it
        ("sip:moh@10.0.0.1:5080", "Record-Route: <sip:10.0.0.1;lr>\r\n", B2BUA),
        (
            "sip:moh@10.0.0.1",
            "Via: SIP/2.0/UDP 192.168.1.60;branch=z9hG4bKa\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKb\r\n",
            B2BUA,
        ),
        (
            "sip:moh@10.0.0.1",
            "Via: SIP/2.0/UDP 192.168.1.60;branch=z9hG4bKa, nonsense, SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKb\r\n",
            B2BUA,
        ),
    ],
)
def test_an_address_of_the_caller_or_of_a_proxy_is_never_ours(uri: str, lines: str, flow: Flow) -> None:
    assert identity().own_address(invite(uri, lines=lines), flow) == flow.local


@pytest.mark.parametrize(
    ("uri", "lines", "flow", "own"),
    [
        ("sip:moh@192.168.1.100", ON_OUR_HOST, NAT, Address("192.168.1.100", 5060)),
        ("sip:moh@192.168.1.100:5070", ON_OUR_HOST, NAT, Address("192.168.1.100", 5070)),
        ("sip:moh@127.0.0.1:5060", "", LOOPBACK, LOOPBACK.local),
    ],
)
def test_an_address_that_the_caller_shares_with_us_is_ours(uri: str, lines: str, flow: Flow, own: Address) -> None:
    """As that of a container's host, where a phone runs as well."""
    assert identity().own_address(invite(uri, lines=lines), flow) == own


def test_the_advertised_address_takes_precedence_but_the_port_is_the_dialled_one() -> None:
    advertised = identity(advertised="198.51.100.1")
    assert advertised.own_address(invite("sip:a@192.0.2.1:5070"), LAN) == Address("198.51.100.1", 5070)


@pytest.mark.parametrize(
    ("own", "flow", "remote", "media"),
    [
        ("192.168.1.100", LAN, "192.168.1.77", "192.168.1.100"),
        ("203.0.113.5", BRIDGE, "198.51.100.7", "203.0.113.5"),
        # a caller on this machine with a receiver elsewhere, which does not reach our loopback address
        ("127.0.0.1", LOOPBACK, "192.168.1.77", "192.0.2.99"),
        ("127.0.0.1", LOOPBACK, "127.0.0.1", "127.0.0.1"),
        # media of the other family leaves from an address of that family
        ("192.168.1.100", LAN, "2001:db8::7", "192.0.2.99"),
        # on hold nothing leaves
        ("127.0.0.1", LOOPBACK, "0.0.0.0", "127.0.0.1"),
    ],
)
def test_media_have_a_local_address_with_a_route(own: str, flow: Flow, remote: str, media: str) -> None:
    assert identity(local="192.0.2.99").media_host(own, flow, remote) == media


def test_media_without_a_route_are_488() -> None:
    assert identity(local="").media_host("127.0.0.1", LOOPBACK, "192.168.1.77") == "127.0.0.1"
    with pytest.raises(Refusal, match="488 no way from here to 2001:db8::7"):
        identity(local="").media_host("192.168.1.100", LAN, "2001:db8::7")


def test_the_same_request_has_the_same_tag() -> None:
    tag = identity().stateless_tag(invite())
    assert tag == identity().stateless_tag(invite())
    assert len(tag) == 16 and int(tag, 16) >= 0


@pytest.mark.parametrize("other", [invite(branch="z9hG4bKb"), invite(cseq=2), invite(tag="2")])
def test_another_request_has_another_tag(other: Request) -> None:
    assert identity().stateless_tag(other) != identity().stateless_tag(invite())


def test_the_tag_depends_on_the_secret() -> None:
    assert identity(secret=b"other").stateless_tag(invite()) != identity().stateless_tag(invite())


def test_the_secret_is_not_shown() -> None:
    assert "secret=" not in repr(identity())


def test_a_request_that_is_no_utf8_has_a_tag_too() -> None:
    call = invite()
    call.call_id = b"\xff\xe4".decode("utf-8", "surrogateescape")
    assert identity().stateless_tag(call) != identity().stateless_tag(invite())
