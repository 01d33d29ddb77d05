"""Octets to SIP messages (RFC 3261 §7, §18.3; RFC 4475); the opposite way is in ``writer``.

Parsing is tolerant and bounded. A message that cannot be trusted but can be answered becomes a ``Request`` with a
``fault``; a message that cannot even be answered becomes ``None``.
"""

from __future__ import annotations

from typing import Optional, Union

from ..common.errors import Refusal
from .headers import CSeq, NameAddr, Via, is_token, split
from .message import NO_CSEQ, NO_PARTY, Headers, Request, Response

MAX_DATAGRAM = 65535
"""Longest message read, in octets."""
MAX_HEADERS = 256
"""Most header lines in a message, folded ones counted each."""
MAX_HEAD = 16384
"""Longest start line and header fields together, in octets; a call through many proxies needs a tenth of it."""
MAX_LINE = 4096
"""Longest value of one header field, unfolded: reading a Via or Contact walks it several times."""
HEAD_ENDS = (b"\r\n\r\n", b"\n\n", b"\n\r\n")
"""What ends the header fields: the end of the last line and an empty line."""
FIRST_LOOK = 512
"""Octets that are searched first for the end of a head; if it is not there, the next search takes twice as many."""
MAX_VIAS = 70
"""Most Via values: as many as the usual Max-Forwards allows hops."""

COMPACT = {
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "d": "request-disposition",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "j": "reject-contact",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "n": "identity-info",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
    "y": "identity",
}
"""The short names of header fields (RFC 3261 §7.3.3 and the registry since)."""

SINGLE = ("call-id", "cseq", "from", "to", "max-forwards")
"""Header fields that a message may hold only once (RFC 4475 §3.3.8)."""


def parse(data: bytes) -> Union[Request, Response, None]:
    """Read one message; octets behind the body are ignored.

    ``None`` for what cannot be answered: keep-alives, noise, requests without a Via, malformed responses.
    """
    head, body = _cut(data)
    size = len(head)
    if size > MAX_HEAD:  # the rest may be enough to answer 513
        head = head[:MAX_HEAD].rpartition(b"\n")[0]
    # a CR that ends no line becomes a space: echoed, it might end a line for the next reader
    lines = head.decode("utf-8", "surrogateescape").replace("\r\n", "\n").replace("\r", " ").split("\n")
    while lines and not lines[0]:  # empty lines before the start line are ignored (§7.5)
        lines.pop(0)
    if not lines:
        return None
    try:
        headers, fault = _read_headers(lines[1:])
        via = _top_via(headers)
    except Refusal:
        return None
    if size > MAX_HEAD:
        fault = Refusal(513, f"Head has {size} octets; expected at most {MAX_HEAD}")
    if lines[0][:4].upper() == "SIP/":
        return _read_response(lines[0], headers, body, via, fault, len(data))
    request = Request(headers, body, "", "", via, fault=fault, size=len(data))
    try:
        _read_request(request, lines[0])
    except Refusal as refusal:
        request.fault = refusal.with_traceback(None)  # the traceback holds the request: a reference cycle
    return request


def _cut(data: bytes) -> tuple[bytes, bytes]:
    """Cut a datagram at the empty line, with any line ends; without an empty line all of it is head."""
    data = data[:MAX_DATAGRAM].lstrip(b"\r\n\0")
    end = end_of_head(data)
    if end is None:
        return data.rstrip(b"\r\n"), b""
    at, length = end
    return data[:at], data[at + length :]


def end_of_head(data: Union[bytes, bytearray], start: int = 0) -> Optional[tuple[int, int]]:
    """The first of ``HEAD_ENDS`` from ``start`` on: where it begins, and its octets; ``None`` while there is none.

    The search stops soon behind the end. Searching all octets for each mark would make a stream of many short heads
    cost their number times its length.
    """
    window = FIRST_LOOK
    while True:
        stop = start + window
        found = [(at, len(mark)) for mark in HEAD_ENDS if (at := data.find(mark, start, stop)) >= 0]
        if found or stop >= len(data):
            return min(found, default=None)
        start, window = stop - len(HEAD_ENDS[0]) + 1, 2 * window


def _read_headers(lines: list[str]) -> tuple[Headers, Optional[Refusal]]:
    """Unfold the header lines and give each field its long name; the rest is read even after a fault."""
    headers: Headers = []
    fault = None
    for count, line in enumerate(lines):
        if count >= MAX_HEADERS:
            fault = fault or Refusal(513, f"More than {MAX_HEADERS} header lines")
            break
        if line[:1] in (" ", "\t"):
            if headers:
                name, value = headers[-1]
                if len(value) + len(line) > MAX_LINE:
                    fault = fault or _too_long(name)
                    continue
                headers[-1] = (name, f"{value} {line.strip()}".strip())
            continue
        name, colon, value = line.partition(":")
        name = name.rstrip().lower()
        if len(line) > MAX_LINE:
            if name in ("via", "v"):
                raise _too_long(name)  # an answer finds its way only with all Vias
            fault = fault or _too_long(name)
        elif not colon or not is_token(name):
            fault = fault or Refusal(400, f"Header line is {line[:60]!r}; expected 'Name: value'")
        else:
            headers.append((COMPACT.get(name, name), value.strip()))
    return headers, fault


def _too_long(name: str) -> Refusal:
    return Refusal(513, f"Header field {name[:20]!r} is too long; expected at most {MAX_LINE} characters")


def _top_via(headers: Headers) -> Via:
    for name, value in headers:
        if name == "via":
            return Via.parse(split(value, ",")[0])
    raise Refusal(400, "No Via")


def _read_response(
    line: str, headers: Headers, body: bytes, via: Via, fault: Optional[Refusal], size: int
) -> Optional[Response]:
    version, _, rest = line.partition(" ")
    status, _, reason = rest.partition(" ")
    if fault or version.upper() != "SIP/2.0" or not (len(status) == 3 and status.isascii() and status.isdigit()):
        return None
    message = Response(headers, body, int(status), reason, via, NO_CSEQ, size)
    try:
        message.cseq = CSeq.parse(message.first("cseq") or "")
    except Refusal:
        return None
    return message if 100 <= message.status <= 699 else None


def _read_request(request: Request, line: str) -> None:
    """Fill in the request from its start line and header fields. Raises the first fault; a wrong version goes first."""
    request.to = _readable_to(request)
    parts = line.split(" ")
    request.method = parts[0] if is_token(parts[0]) else ""
    version = parts[-1].upper()
    if len(parts) == 3 and version.startswith("SIP/") and version != "SIP/2.0":
        raise Refusal(505, f"Version is {parts[2][:20]!r}; expected 'SIP/2.0'")
    if request.fault and request.fault.status == 513:
        raise request.fault  # a field that was left out would seem to be missing
    _read_identity(request)
    if request.fault:
        raise request.fault
    if len(parts) != 3 or version != "SIP/2.0" or not request.method:
        raise Refusal(400, f"Request line is {line[:60]!r}; expected 'METHOD uri SIP/2.0'")
    if request.cseq.method != request.method:
        raise Refusal(400, f"CSeq is for {request.cseq.method[:20]!r}; expected {request.method[:20]!r}")
    request.uri = parts[1]
    _ = request.parsed_uri  # raises where it cannot be read
    _check_vias(request)
    request.body = _measured_body(request)


def _readable_to(request: Request) -> NameAddr:
    """To is read before anything is refused, since each answer adds a tag to a To without one (§8.2.6.2)."""
    try:
        return NameAddr.parse(request.first("to") or "")
    except Refusal:
        return NO_PARTY


def _read_identity(request: Request) -> None:
    """Read the fields that an answer repeats and that identify a dialog: From, To, Call-ID, CSeq."""
    for name in SINGLE:
        values = request.all(name)
        if len(values) > 1:
            raise Refusal(400, f"Two header fields {name!r}; expected one")
        if not any(values) and name != "max-forwards":  # a phone of RFC 2543 sends none (RFC 4475 §3.4.1)
            raise Refusal(400, f"No header field {name!r}")
    request.call_id = request.first("call-id") or ""
    request.from_ = NameAddr.parse(request.first("from") or "")
    if request.to is NO_PARTY:
        NameAddr.parse(request.first("to") or "")  # raises with the fault
    request.cseq = CSeq.parse(request.first("cseq") or "")


def _check_vias(request: Request) -> None:
    vias = [item for value in request.all("via") for item in split(value, ",")]
    if len(vias) > MAX_VIAS:
        raise Refusal(400, f"{len(vias)} Via values; expected at most {MAX_VIAS}")
    if any(not piece for item in vias for piece in split(item, ";")):
        raise Refusal(400, f"Via holds an empty value or parameter: {vias[0][:60]!r}")


def _measured_body(request: Request) -> bytes:
    """The body, as long as Content-Length says (§18.3); without Content-Length the rest of the datagram."""
    lengths = request.all("content-length")
    if not lengths:
        return request.body
    text = lengths[0]
    if len(set(lengths)) > 1 or not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Refusal(400, f"Content-Length is {', '.join(lengths)[:20]!r}; expected one number of octets")
    if int(text) > len(request.body):
        raise Refusal(400, f"Content-Length is {text}, but only {len(request.body)} octets came")
    return request.body[: int(text)]
