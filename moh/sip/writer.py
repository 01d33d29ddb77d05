"""SIP messages to octets: answers, and our own requests (RFC 3261 §8.2.6, §18.2; RFC 3581).

An answer copies Via, From, To, Call-ID and CSeq as text, so that they come back as they came.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..common.actions import Address, Flow
from ..common.addresses import is_private, is_unicast, out_of_reach, same_family, usual_text
from .headers import Via, split
from .message import Request

SIP_PORT = 5060
SIPS_PORT = 5061

COPIED = (("from", "From"), ("to", "To"), ("call-id", "Call-ID"), ("cseq", "CSeq"))
"""The header fields, besides Via, that an answer copies; To gets our tag."""
REASONS = {100: "Trying", 180: "Ringing", 200: "OK"}
"""The reason phrases of the statuses that are no refusal; a ``Refusal`` brings its own."""


def answered_via(via: Via, source: Address) -> str:
    """The top Via as the answer copies it, with ``received`` and ``rport`` where they are due.

    ``received`` is due where the source is not the host in the Via (RFC 3261 §18.2.1), and always together with
    ``rport`` (RFC 3581 §4). Values that the sender itself has given are replaced.
    """
    wants_rport = "rport" in via.params
    if not wants_rport and (via.host == source.host or not via.readable):
        return via.text
    head, *params = via.pieces if via.readable else via.text.split(";")
    kept = [piece for piece in params if piece.partition("=")[0].strip().lower() not in ("", "received", "rport")]
    if wants_rport:
        kept.append(f"rport={source.port}")
    return ";".join([head, *kept, f"received={source.host}"])


def default_port(flow: Flow) -> int:
    """The port of a URI or Via without one, by the transport of ``flow`` (RFC 3261 §18.2.2, §19.1.2)."""
    return SIPS_PORT if flow.transport == "TLS" else SIP_PORT


def quoted(text: str) -> str:
    """``text`` as a quoted-string (RFC 3261 §25.1), with a question mark for each character that cannot be printed."""
    return '"' + re.sub(r'["\\]', r"\\\g<0>", "".join(c if c.isprintable() else "?" for c in text)) + '"'


NOWHERE = Address("", 0)
"""The address of an answer whose Via does not say where to send it. Such an answer is not sent."""


def answer_address(via: Via, source: Address) -> Address:
    """Where the answer to a UDP request goes (RFC 3261 §18.2.2, RFC 3581 §4).

    ``maddr`` is followed only from a private address to a private one, though §18.2.2 says always: otherwise any
    sender could aim our answers at a third party, or from the internet at the hosts of our network. And ``rport``
    takes precedence, though RFC 3581 §4 has ``maddr`` first, since a sender that asks for it receives there. Of the
    sent-by in Via only the port counts, never the host.
    """
    if "rport" in via.params:
        return source
    if not via.readable:
        return NOWHERE
    # without the brackets of IPv6 (RFC 3261 §25.1), which a socket does not know
    maddr = usual_text(via.params.get("maddr", ""))
    followed = (
        is_unicast(maddr)
        and is_private(maddr)
        and not out_of_reach(maddr, source.host)
        and same_family(maddr, source.host)
    )
    return Address(maddr if followed else source.host, via.port or SIP_PORT)


def copied_fields(request: Request, flow: Flow, to_tag: str) -> str:
    """What each answer copies (§8.2.6): the Vias of ``request`` in order, From, To with ``to_tag``, Call-ID, CSeq."""
    lines: list[str] = []
    if vias := request.all("via"):
        # of several values in one line only the first one is changed
        rest = split(vias[0], ",")[1:] if vias[0] != request.via.text and request.via.text else []
        lines.append("Via: " + ", ".join([answered_via(request.via, flow.remote), *rest]))
        lines += [f"Via: {value}" for value in vias[1:]]
    for name, title in COPIED:
        text = request.first(name)
        if text is not None:
            lines.append(f"{title}: {request.to.tagged(to_tag) if name == 'to' else text}")
    return "\r\n".join(lines)


def write_response(
    request: Request,
    flow: Flow,
    status: int,
    to_tag: str,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    reason: str = "",
    copied: str = "",
) -> bytes:
    """Write an answer: the ``copied_fields``, then ``headers``; a body needs its Content-Type among ``headers``.

    ``reason`` replaces the usual phrase. ``copied`` are the ``copied_fields``, where an earlier answer to the same
    request has them.
    """
    lines = [f"SIP/2.0 {status} {reason or REASONS.get(status, 'Error')}"]
    if copied or (copied := copied_fields(request, flow, to_tag)):
        lines.append(copied)
    if status == 100 and (timestamp := request.first("timestamp")):
        lines.append(f"Timestamp: {timestamp}")
    return _finish(lines, headers, body)


def write_request(method: str, uri: str, headers: Iterable[tuple[str, str]], body: bytes = b"") -> bytes:
    """Write our own request; ``headers`` are all its header fields except Content-Length."""
    return _finish([f"{method} {uri} SIP/2.0"], headers, body)


def _finish(lines: list[str], headers: Iterable[tuple[str, str]], body: bytes) -> bytes:
    lines.extend([f"{name}: {value}" for name, value in headers])
    lines.append(f"Content-Length: {len(body)}\r\n\r\n")
    return b"".join(("\r\n".join(lines).encode("utf-8", "surrogateescape"), body))
