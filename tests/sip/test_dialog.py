"""The dialog that a 2xx makes, and our own requests in it (RFC 3261 §12)."""

from __future__ import annotations

import pytest

from moh.common.actions import Address, Flow, Send
from moh.common.errors import Refusal
from moh.sip.dialog import Dialog, dialog_id
from moh.sip.message import Request
from moh.sip.parser import parse
from tests.support.ladder import FLOW, PHONE, PUBLIC_FLOW, SERVER, bye, invite


def made_by(request: Request, flow: Flow = FLOW) -> Dialog:
    return Dialog(request, flow, "ours", str(SERVER))


def read(send: Send) -> Request:
    message = parse(send.data)
    assert isinstance(message, Request) and message.fault is None
    return message


def test_the_dialog_id_is_call_id_our_tag_and_the_remote_tag() -> None:
    dialog = made_by(invite())
    assert dialog.id == ("771203466-5062-14@BJC.BGI.B.FA", "ours", "1550288317")
    assert dialog_id(bye("ours")) == dialog.id


def test_our_bye_swaps_from_and_to_and_has_its_own_cseq() -> None:
    dialog = made_by(invite())
    sent = dialog.request("BYE", "z9hG4bKb")
    message = read(sent)
    assert sent.to == PHONE
    assert message.uri == "sip:201@192.168.1.50:5062"
    assert message.first("from") == "<sip:123@192.168.1.100:5060>;tag=ours"
    assert message.first("to") == '"Front desk" <sip:201@pbx.lan>;tag=1550288317'
    assert message.first("cseq") == "1 BYE"
    assert message.first("via") == "SIP/2.0/UDP 192.168.1.100:5060;branch=z9hG4bKb;rport"
    assert read(dialog.request("BYE", "z9hG4bKc")).first("cseq") == "2 BYE"


def test_the_route_set_is_followed_to_the_first_proxy() -> None:
    dialog = made_by(invite("Record-Route: <sip:10.0.0.1;lr>, <sip:10.0.0.2:5080;lr>"))
    sent = dialog.request("BYE", "z9hG4bKb")
    message = read(sent)
    assert sent.to == Address("10.0.0.1", 5060)
    assert message.uri == "sip:201@192.168.1.50:5062"
    assert message.all("route") == ["<sip:10.0.0.1;lr>", "<sip:10.0.0.2:5080;lr>"]


def test_a_strict_router_becomes_the_request_uri_and_the_target_goes_last() -> None:
    dialog = made_by(invite("Record-Route: <sip:10.0.0.1:5070>", "Record-Route: <sip:10.0.0.2;lr>"))
    sent = dialog.request("BYE", "z9hG4bKb")
    message = read(sent)
    assert sent.to == Address("10.0.0.1", 5070)
    assert message.uri == "sip:10.0.0.1:5070"
    assert message.all("route") == ["<sip:10.0.0.2;lr>", "<sip:201@192.168.1.50:5062>"]


def test_a_bye_to_a_contact_with_a_host_name_goes_back_the_way_of_the_invite() -> None:
    sent = made_by(invite(contact="Contact: <sip:201@phone.lan:5099>")).request("BYE", "z9hG4bKb")
    assert sent.to == PHONE
    assert read(sent).uri == "sip:201@phone.lan:5099"


def test_a_bye_to_a_private_contact_behind_a_nat_goes_back_the_way_of_the_invite() -> None:
    assert made_by(invite(), PUBLIC_FLOW).request("BYE", "z9hG4bKb").to == PUBLIC_FLOW.remote


@pytest.mark.parametrize("host", ["100.64.0.1", "100.127.255.254", "192.0.0.4"])
def test_a_bye_to_a_contact_behind_a_carrier_nat_goes_back_the_way_of_the_invite(
    host: str,
) -> None:
    message = invite(contact=f"Contact: <sip:201@{host}:5071>")
    assert made_by(message, PUBLIC_FLOW).request("BYE", "z9hG4bKb").to == PUBLIC_FLOW.remote
    for beside_us in (PHONE, Address("100.64.3.4", 5060)):
        assert made_by(message, Flow(beside_us, SERVER)).request("BYE", "z9hG4bKb").to == Address(host, 5071)


def test_a_contact_on_the_loopback_is_that_of_the_phones_host() -> None:
    contact = "Contact: <sip:201@127.0.0.1:5071>"
    assert made_by(invite(contact=contact)).request("BYE", "z9hG4bKb").to == PHONE
    here = Flow(Address("127.0.0.1", 5070), SERVER)
    assert made_by(invite(contact=contact), here).request("BYE", "z9hG4bKb").to == Address("127.0.0.1", 5071)


def test_a_contact_without_a_port_has_the_default_port_of_tls() -> None:
    """The port counts where the phone has closed its connection: then ours goes to that port (RFC 3261 §19.1.2)."""
    secured = Flow(PHONE, SERVER, "TLS", 7)
    for contact, port in (
        (f"sips:201@{PHONE.host}", 5061),
        (f"sip:201@{PHONE.host}", 5061),
        ("sip:201@10.0.0.7:5071", 5071),
    ):
        assert made_by(invite(contact=f"Contact: <{contact}>"), secured).request("BYE", "z9hG4bKb").to.port == port
    assert made_by(invite(contact=f"Contact: <sip:201@{PHONE.host}>")).request("BYE", "z9hG4bKb").to.port == 5060


@pytest.mark.parametrize("host", ["0.0.0.0", "0.0.0.7", "224.0.1.75", "255.255.255.255", "[::ffff:0.0.0.0]"])
def test_a_bye_to_a_contact_that_is_not_one_host_goes_back_the_way_of_the_invite(host: str) -> None:
    """Otherwise a caller could have us send to our own loopback, or to a multicast group in our network."""
    for line in (f"Contact: <sip:201@{host}:5071>", f"Record-Route: <sip:{host}:5071;lr>"):
        changed = {"contact": ""} if line.startswith("Contact") else {}
        for flow in (FLOW, PUBLIC_FLOW):
            assert made_by(invite(line, **changed), flow).request("BYE", "z9hG4bKb").to == flow.remote


def test_without_a_contact_the_target_is_the_uri_in_from() -> None:
    sent = made_by(invite(contact="")).request("BYE", "z9hG4bKb")
    assert read(sent).uri == "sip:201@pbx.lan"
    assert sent.to == PHONE


def test_a_new_contact_moves_the_target() -> None:
    dialog = made_by(invite())
    dialog.refresh_target(invite(contact="Contact: <sip:201@192.168.1.51:5063>"))
    assert dialog.request("BYE", "z9hG4bKb").to == Address("192.168.1.51", 5063)


def test_an_older_request_is_refused_with_500() -> None:
    dialog = made_by(invite())
    dialog.accept_cseq(bye("ours", cseq="CSeq: 131 BYE"))
    with pytest.raises(Refusal, match="CSeq is 130") as caught:
        dialog.accept_cseq(bye("ours", cseq="CSeq: 130 BYE"))
    assert caught.value.status == 500


def test_a_phone_of_rfc_2543_has_no_tag() -> None:
    dialog = made_by(invite(from_="From: <sip:201@pbx.lan>"))
    assert dialog.id[2] == ""
    assert read(dialog.request("BYE", "z9hG4bKb")).first("to") == "<sip:201@pbx.lan>"


@pytest.mark.parametrize("line", ["Contact: <sip:201@host:port>", "Record-Route: <sip:>"])
def test_a_contact_or_route_that_cannot_be_read_is_refused(line: str) -> None:
    with pytest.raises(Refusal) as caught:
        made_by(invite(line, contact=""))
    assert caught.value.status == 400


def test_ipv6_has_brackets_on_the_wire_and_none_in_the_address() -> None:
    flow = Flow(Address("2001:db8::9", 5060), SERVER)
    dialog = Dialog(invite(contact="Contact: <sip:201@[2001:db8::5]:5066>"), flow, "ours", "[2001:db8::1]:5060")
    sent = dialog.request("BYE", "z9hG4bKb")
    assert sent.to == Address("2001:db8::5", 5066)
    assert read(sent).via.text.startswith("SIP/2.0/UDP [2001:db8::1]:5060;")
