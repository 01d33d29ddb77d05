"""SIP messages to octets: answers to what came, and requests of our own (RFC 3261 §8.2.6, §18.2; RFC 3581).

An answer repeats Via, From, To, Call-ID and CSeq as they were read, so that no re-printing can spoil them.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..common.actions import Address, Flow
from ..common.addresses import is_private, is_unicast, literal, out_of_reach, same_family
from .headers import Via, split
from .message import Request

SIP_PORT = 5060
SIPS_PORT = 5061

REASONS = {
    100: "Trying",
    180: "Ringing",
    200: "OK",
    400: "Bad Request",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    420: "Bad Extension",
    422: "Session Interval Too Small",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    489: "Bad Event",
    491: "Request Pending",
    500: "Server Internal Error",
    503: "Service Unavailable",
    505: "Version Not Supported",
    513: "Message Too Large",
}


def answered_via(via: Via, source: Address) -> str:
    """The top Via as the answer repeats it: ``received`` and ``rport`` filled in where they are due.

    ``received`` where the packet did not come from the host that the sender wrote (RFC 3261 §18.2.1), and always with
    ``rport`` (RFC 3581 §4). What the sender itself put into them does not count.
    """
    wants_rport = "rport" in via.params
    if not wants_rport and via.host == source.host:
        return via.text
    head, *params = split(via.text, ";")
    kept = [piece for piece in params if piece.partition("=")[0].strip().lower() not in ("received", "rport")]
    if wants_rport:
        kept.append(f"rport={source.port}")
    return ";".join([head, *kept, f"received={source.host}"])


def default_port(flow: Flow) -> int:
    """The port that a URI or Via without one means, by the transport of ``flow`` (RFC 3261 §18.2.2, §19.1.2)."""
    return SIPS_PORT if flow.transport == "TLS" else SIP_PORT


def answer_address(via: Via, source: Address) -> Address:
    """Where the answer to a UDP request goes (RFC 3261 §18.2.2, RFC 3581 §4).

    ``maddr`` is followed from one private address to another only, though §18.2.2 says always: an open server would
    otherwise answer to any stranger that somebody names, and aim what the internet sends at the hosts beside it. And
    ``rport`` goes first, though RFC 3581 §4 has ``maddr`` first: who asks for it can hear us by it. The host in Via's
    sent-by is never an address to send to, only its port counts.
    """
    if "rport" in via.params:
        return source
    # without the brackets that RFC 3261 §25.1 has round IPv6: a socket would take them for a name
    maddr = str(literal(via.params.get("maddr", "")) or "")
    followed = (
        is_unicast(maddr)
        and is_private(maddr)
        and not out_of_reach(maddr, source.host)
        and same_family(maddr, source.host)
    )
    return Address(maddr if followed else source.host, via.port or SIP_PORT)


def write_response(
    request: Request,
    flow: Flow,
    status: int,
    to_tag: str,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    reason: str = "",
) -> bytes:
    """Write the answer to ``request`` (§8.2.6): its Vias in order, From, To with ``to_tag``, Call-ID, CSeq as they are.

    ``headers`` are added behind; a body needs its Content-Type among them.
    """
    lines = [f"SIP/2.0 {status} {reason or REASONS.get(status, 'Error')}"]
    first, *others = request.all("via")
    # only the first of the values that may share the line is changed
    rest = split(first, ",")[1:] if "," in first else []
    lines.append("Via: " + ", ".join([answered_via(request.via, flow.remote), *rest]))
    lines += [f"Via: {value}" for value in others]
    for name, title in (("from", "From"), ("to", "To"), ("call-id", "Call-ID"), ("cseq", "CSeq")):
        text = request.first(name)
        if text is not None:
            if name == "to" and to_tag and not request.to.tag:
                text = f"{text};tag={to_tag}"
            lines.append(f"{title}: {text}")
    if status == 100 and (timestamp := request.first("timestamp")):
        lines.append(f"Timestamp: {timestamp}")
    return _finish(lines, headers, body)


def write_request(method: str, uri: str, headers: Iterable[tuple[str, str]], body: bytes = b"") -> bytes:
    """Write a request of our own; the caller gives all header fields but Content-Length."""
    return _finish([f"{method} {uri} SIP/2.0"], headers, body)


def _finish(lines: list[str], headers: Iterable[tuple[str, str]], body: bytes) -> bytes:
    lines.extend(f"{name}: {value}" for name, value in headers)
    lines.append(f"Content-Length: {len(body)}\r\n\r\n")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + body
