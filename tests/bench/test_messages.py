"""The requests and offers of the callers in ``bench``, read by the server's own parser."""

from __future__ import annotations

from bench.common.messages import Dialog, offer
from moh.sip.message import Request
from moh.sip.parser import parse


def request(data: bytes) -> Request:
    message = parse(data)
    assert isinstance(message, Request) and message.fault is None
    return message


def test_a_request_has_no_fault_and_carries_its_offer() -> None:
    body = offer(("127.1.0.7", 4000), "192.0.2.1", "96 0", "inactive", version=3)
    invite = request(
        Dialog(("192.0.2.9", 5060), ("192.0.2.1", 5062)).request("INVITE", 1, "Supported: timer", body=body)
    )
    assert invite.body.decode() == body
    assert invite.first("supported") == "timer" and invite.first("content-type") == "application/sdp"
    assert body.splitlines() == [
        "v=0", "o=- 1 3 IN IP4 192.0.2.1", "s=-", "c=IN IP4 127.1.0.7", "t=0 0", "m=audio 4000 RTP/AVP 96 0",
        "a=inactive", "a=rtpmap:96 opus/48000/2",
    ]  # fmt: skip


def test_requests_of_a_dialog_have_one_call_id_and_the_tag_of_the_answer() -> None:
    dialog = Dialog(("192.0.2.9", 5060), ("192.0.2.1", 5062), "TCP")
    invite = request(dialog.request("INVITE", 1))
    dialog.learn_tag("SIP/2.0 200 OK\r\nTo: <sip:123@192.0.2.9:5060> ; tag=server\r\n\r\n")
    bye = request(dialog.request("BYE", 2))
    assert invite.first("call-id") == bye.first("call-id") == dialog.call_id
    assert invite.first("from") == bye.first("from")
    assert (bye.first("to") or "").endswith(">;tag=server")
    assert invite.first("via") != bye.first("via") and (bye.first("via") or "").startswith("SIP/2.0/TCP ")
