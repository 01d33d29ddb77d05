"""Messages of unvalidated sources, for the tests of this folder."""

from __future__ import annotations

from moh.common.actions import Address, Flow
from moh.sip.message import Request
from tests.support.ladder import OFFER, PUBLIC_FLOW, SERVER, invite

VICTIM = Flow(Address("198.51.100.7", 5060), SERVER)
"""The source address that an attacker writes into its packets."""
MINIMAL = (
    "{method} sip:1@192.168.1.100 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK{number}\r\n"
    "From: <sip:1@1>;tag=1\r\nTo: <sip:1@1>\r\nCall-ID: {number}\r\nCSeq: 1 {method}\r\n"
)
SHORT_OFFER = "v=0\r\nc=IN IP4 198.51.100.7\r\nm=audio 4000 RTP/AVP 0\r\n"
UNFIT_OFFER = SHORT_OFFER.replace("AVP 0", "AVP 18")
"""Without a codec of this server: 488."""


def forged(method: str = "INVITE", body: str = "", number: int = 1, *lines: str) -> bytes:
    """A request from ``VICTIM`` with as few octets as possible."""
    head = MINIMAL.format(method=method, number=number) + "".join(line + "\r\n" for line in lines)
    return f"{head}{'Content-Type: application/sdp' + chr(13) + chr(10) if body else ''}\r\n{body}".encode()


def caller(number: int, flow: Flow = PUBLIC_FLOW, body: str = OFFER) -> Request:
    """The INVITE of one of many calls by ``flow``."""
    return invite(
        body=body, call_id=f"Call-ID: {number}", via=f"Via: SIP/2.0/UDP {flow.remote.host};branch=z9hG4bK{number};rport"
    )


def public_flows(count: int) -> list[Flow]:
    """Flows of as many public sources."""
    return [Flow(Address(f"198.{18 + n // 65536}.{n // 256 % 256}.{n % 256}", 5060), SERVER) for n in range(count)]
