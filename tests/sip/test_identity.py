"""Our own addresses towards a caller, and the tags of stateless answers."""

from __future__ import annotations

import pytest

from moh.common.actions import Address, Flow
from moh.common.errors import Refusal
from moh.sip.identity import Identity, Reach
from moh.sip.message import Request
from moh.sip.parser import parse

LAN = Flow(Address("192.168.1.50", 5062), Address("192.168.1.100", 5060))
BRIDGE = Flow(Address("192.168.1.50", 5062), Address("172.17.0.2", 5060))
LOOPBACK = Flow(Address("127.0.0.1", 5062), Address("127.0.0.1", 5060))


def identity(
    advertised: str = "", local: str = "192.168.1.100", secret: bytes = b"secret", bridge: str = BRIDGE.local.host
) -> Identity:
    return Identity(
        new_token=lambda: "0123456789abcdef",
        new_key=lambda: "a" * 40,
        local_address=lambda host: local,
        advertised=advertised,
        secret=secret,
        is_behind_a_bridge=lambda host: host == bridge,
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


# -- a name that was dialled -----------------------------------------------------------------------------------------

ROUTER = Flow(Address("203.0.113.9", 5062), Address("192.168.1.100", 5060))
"""A caller on the internet, whose packets a router forwards to this server."""
BRIDGE_TCP = BRIDGE._replace(transport="TCP", connection=1)
BRIDGE_IPV6 = Flow(Address("2001:db8::50", 5062), Address("fd00::2", 5060))
OWN = "172.17.0.2"


@pytest.mark.parametrize(
    ("uri", "flow", "resolved", "contact", "media"),
    [
        ("sip:123@moh.lan:5060", BRIDGE, "192.168.1.100", "moh.lan:5060", "192.168.1.100"),
        ("sip:123@moh.lan:6060", BRIDGE, "192.168.1.100", "moh.lan:6060", "192.168.1.100"),
        ("sip:123@MOH.Lan.:6060", BRIDGE, "192.168.1.100", "MOH.Lan.:6060", "192.168.1.100"),
        ("sip:123@moh.lan:6060;transport=tcp", BRIDGE_TCP, "192.168.1.100", "moh.lan:6060", "192.168.1.100"),
        # SRV records may have led the caller to another port than 5060, and will again
        ("sip:123@moh", BRIDGE, "192.168.1.100", "moh", "192.168.1.100"),
        ("sip:123@moh.example", ROUTER, "198.51.100.1", "moh.example", "198.51.100.1"),
        # the name of our own container, which other containers dial
        ("sip:123@moh:5060", BRIDGE, OWN, "moh:5060", OWN),
        # no address, or one that says nothing of where the music comes from
        ("sip:123@moh.lan:5060", BRIDGE, "", "moh.lan:5060", OWN),
        ("sip:123@localhost:6060", BRIDGE, "127.0.0.1", "localhost:6060", OWN),
        ("sip:123@moh.lan:5060", BRIDGE, "0.0.0.0", "moh.lan:5060", OWN),
        ("sip:123@moh.lan:5060", BRIDGE, "224.0.1.75", "moh.lan:5060", OWN),
        ("sip:123@moh.lan:5060", BRIDGE, "2001:db8::100", "moh.lan:5060", OWN),
        ("sip:123@moh.lan:5060", BRIDGE_IPV6, "2001:db8::100", "moh.lan:5060", "2001:db8::100"),
        # an address that was dialled is used as before
        ("sip:123@192.168.1.100:6060", BRIDGE, "", "192.168.1.100:6060", "192.168.1.100"),
        ("sip:123@127.0.0.1:6060", BRIDGE, "", "127.0.0.1:6060", OWN),
        ("sip:123@127.1:6060", BRIDGE, "127.0.0.1", "172.17.0.2:5060", OWN),
    ],
)
def test_behind_a_bridge_or_a_router_we_are_the_name_that_was_dialled(
    uri: str, flow: Flow, resolved: str, contact: str, media: str
) -> None:
    assert identity(bridge=flow.local.host if flow is not ROUTER else "").reach(invite(uri), flow, resolved) == Reach(
        contact, media
    )


def test_a_caller_that_has_reached_our_own_address_needs_no_name() -> None:
    call = invite("sip:123@moh.lan:5070")
    assert identity().dialled_name(call, LAN) == ""
    assert identity().reach(call, LAN, "192.168.1.200") == Reach("192.168.1.100:5060", "192.168.1.100")


@pytest.mark.parametrize(
    "host", ["moh..lan", ".", "-moh.lan", "moh-.lan", f"{'a' * 64}.lan", f"{'a.' * 127}lan", "2130706433"]
)
def test_what_is_no_name_is_not_looked_up(host: str) -> None:
    assert identity().dialled_name(invite(f"sip:123@{host}"), BRIDGE) == ""


@pytest.mark.parametrize(
    ("lines", "resolved"),
    [
        # the caller, or a proxy that has forwarded the request, by name
        ("Via: SIP/2.0/UDP PBX.lan;branch=z9hG4bKa\r\n", ""),
        ("Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa\r\nVia: SIP/2.0/UDP pbx.lan:5060;branch=z9hG4bKb\r\n", ""),
        ("Contact: <sip:201@pbx.lan>\r\n", ""),
        ("Record-Route: <sip:pbx.lan:5080;lr>\r\n", ""),
        # by address
        ("", BRIDGE.remote.host),
        ("Contact: <sip:201@192.168.1.60:5060>\r\n", "192.168.1.60"),
        ("Record-Route: <sip:192.168.1.60:5080;lr>\r\n", "192.168.1.60"),
    ],
)
def test_the_name_of_the_caller_or_of_a_proxy_is_never_ours(lines: str, resolved: str) -> None:
    call = invite("sip:moh@pbx.lan", lines=lines)
    assert identity().reach(call, BRIDGE, resolved) == Reach("172.17.0.2:5060", OWN)


@pytest.mark.parametrize(
    ("uri", "contact"),
    [
        ("sip:123@moh.lan:6060", "198.51.100.1:6060"),
        ("sip:123@moh.lan", "198.51.100.1:5060"),
        ("sip:123@192.168.1.100:6060", "198.51.100.1:6060"),
    ],
)
def test_the_advertised_address_takes_precedence_over_a_name_which_is_not_looked_up(uri: str, contact: str) -> None:
    advertised = identity(advertised="198.51.100.1")
    assert advertised.dialled_name(invite(uri), BRIDGE) == ""
    assert advertised.reach(invite(uri), BRIDGE) == Reach(contact, "198.51.100.1")


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
