"""Octets to SIP messages (RFC 3261 §7, §18.3; RFC 4475); the opposite way is in ``writer``.

Parsing is tolerant and bounded. A message that cannot be trusted but can be answered becomes a ``Request`` with a
``fault``; a message that cannot even be answered becomes ``None``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Optional, Union

from ..common.amounts import amount
from ..common.errors import Refusal
from .headers import CSeq, NameAddr, Via, is_token, split
from .message import NO_CSEQ, NO_PARTY, NO_VIA, Headers, Request, Response

MAX_DATAGRAM = 65535
"""Longest message read, in octets."""
MAX_HEADERS = 256
"""Most header lines in a message; each line of a folded header field counts."""
MAX_HEAD = 16384
"""Longest start line and header fields together, in octets. A call through many proxies needs a tenth of that."""
MAX_LINE = 4096
"""Longest value of one header field, unfolded: a Via or Contact is read several times."""
CR = 13
FIRST_LOOK = 1024
"""Octets that are searched first for the end of a head. Each further search takes twice as many octets."""
CACHED_NAMES, MAX_CACHED_NAME = 256, 64
"""Names of header fields in the cache, and the longest name in it, in characters."""
MAX_VIAS = 70
"""Most Via values: 70, because the usual Max-Forwards allows 70 hops."""
MAX_NAME = 256
"""Longest Call-ID and longest tag, in octets: a call keeps them to its end."""
LONGEST_CHARACTER = 4
"""Most octets of one character in UTF-8."""
MAX_ECHO = 8192
"""Most octets that an answer to an INVITE repeats: the answer is kept until the ACK, to be resent."""

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

IDENTITY = ("call-id", "cseq", "from", "to")
"""Header fields that each message holds once (RFC 4475 §3.3.8)."""
NEEDED = frozenset((*IDENTITY, "via", "content-length", "content-type", "content-encoding", "require"))
"""Header fields that must be readable: they route, identify or frame the request, or name required extensions.

All other header fields are ignored if they are malformed (RFC 3261 §8.2.2).
"""
NEEDED_BY_DIALOG = frozenset(("contact", "record-route"))
"""Header fields that must also be readable in a request that begins a dialog. Within a dialog an unreadable Contact is
ignored, and the former one stays."""
ECHOED = (*IDENTITY, "via", "record-route", "timestamp")
"""Header fields that an answer repeats."""
GO_BY_IDENTITY = ("BYE", "ACK", "CANCEL")
"""Methods that need nothing but Call-ID, From, To and CSeq: a call must not play on because its BYE has a flaw."""


def parse(data: bytes) -> Union[Request, Response, None]:
    """Read one message; octets behind the body are ignored.

    ``None`` for what is no message: keep-alives, noise, requests without a Via, malformed responses.
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
    headers, faults = _read_headers(lines[1:])
    if size > MAX_HEAD:
        faults[""] = Refusal(513, f"Head has {size} octets; expected at most {MAX_HEAD}")
    via = _top_via(headers, faults)
    if lines[0][:4].upper() == "SIP/":
        return _read_response(lines[0], headers, body, via, faults, len(data))
    method = lines[0].split(" ", 1)[0]
    if via is NO_VIA and method not in GO_BY_IDENTITY:
        return None
    request = Request(headers, body, method if is_token(method) else "", "", via, size=len(data))
    try:
        _read_request(request, lines[0], faults)
    except Refusal as refusal:
        request.fault = refusal.with_traceback(None)  # the traceback holds the request: a reference cycle
    return request


def _cut(data: bytes) -> tuple[bytes, bytes]:
    """Cut a datagram at the empty line, with any line ends. Without an empty line the whole datagram is the head."""
    data = data[:MAX_DATAGRAM].lstrip(b"\r\n\0")
    end = end_of_head(data)
    if end is None:
        return data.rstrip(b"\r\n"), b""
    at, length = end
    return data[:at], data[at + length :]


def end_of_head(data: Union[bytes, bytearray], start: int = 0) -> Optional[tuple[int, int]]:
    """The position and the length of the end of the head from ``start`` on; ``None`` while there is none.

    The head is the start line and the header fields. Its end is the end of its last line and an empty line, each with
    or without CR.

    The search reads at most about twice the length of the head, and not all of ``data``. Otherwise each of many short
    heads in a stream would cost a search through the whole rest of the stream.
    """
    window = FIRST_LOOK
    while True:
        stop = start + window
        at = data.find(b"\n\r\n", start, stop)
        bare = data.find(b"\n\n", start, stop if at < 0 else at + 1)
        if bare >= 0:
            return bare, 2
        if at > start and data[at - 1] == CR:
            return at - 1, 4
        if at >= 0:
            return at, 3
        if stop >= len(data):
            return None
        start, window = stop - 3, 2 * window


Faults = dict[str, Refusal]
"""The faults of a message, by the name of the header field. The empty name stands for the whole message."""


def _read_headers(lines: list[str]) -> tuple[Headers, Faults]:
    """Unfold the header lines, and give each field its long name. A line that is no field is left out or is a fault."""
    headers: Headers = []
    faults: Faults = {}
    left_out = True  # whether the line before was left out; a folded line after it is left out too
    if len(lines) > MAX_HEADERS:
        faults[""] = Refusal(513, f"More than {MAX_HEADERS} header lines")
    for line in lines[:MAX_HEADERS]:
        name, colon, value = line.partition(":")
        long_name = _long_name(name) if len(name) <= MAX_CACHED_NAME else _read_name(name)
        if long_name and colon and len(line) <= MAX_LINE:
            headers.append((long_name, value.strip()))
            left_out = False
        elif line[:1] in (" ", "\t"):
            if not left_out:
                name, value = headers[-1]
                if len(value) + len(line) > MAX_LINE:
                    headers.pop()
                    left_out = True
                    _note_too_long(faults, name)
                else:
                    headers[-1] = (name, f"{value} {line.strip()}".strip())
        else:
            left_out = True
            if long_name and colon:
                _note_too_long(faults, long_name)
            elif (name := line[:20].lower().partition(" ")[0]) in NEEDED | NEEDED_BY_DIALOG:
                # a field that lacks only its colon
                faults.setdefault(name, Refusal(400, f"Header line is {line[:60]!r}; expected 'Name: value'"))
    return headers, faults


def _read_name(text: str) -> str:
    """The long name, in lower case, of the header field that begins with ``text``; empty where it is no name."""
    name = text.rstrip().lower()
    return COMPACT.get(name, name) if is_token(name) else ""


_long_name = lru_cache(CACHED_NAMES)(_read_name)
"""``_read_name`` with a cache, for names of up to ``MAX_CACHED_NAME`` characters: all messages have the same few."""


def _note_too_long(faults: Faults, name: str) -> None:
    if name in NEEDED or name in NEEDED_BY_DIALOG:
        why = f"Header field {name!r} is too long; expected at most {MAX_LINE} characters"
        faults.setdefault(name, Refusal(513, why))


def _top_via(headers: Headers, faults: Faults) -> Via:
    """The first Via. If it cannot be read, note the fault and return only its parameters."""
    if "via" in faults:
        return NO_VIA  # a Via was left out, and an answer needs all Vias to find its way
    for name, value in headers:
        if name == "via":
            text = value
            try:
                text = split(value, ",")[0]
                return Via.parse(text)
            except Refusal as refusal:
                faults.setdefault("via", refusal.with_traceback(None))
                return Via.salvage(text)
    return NO_VIA


def _read_response(line: str, headers: Headers, body: bytes, via: Via, faults: Faults, size: int) -> Optional[Response]:
    version, _, rest = line.partition(" ")
    status, _, reason = rest.partition(" ")
    if not via.readable or not faults.keys().isdisjoint(("", "via", "cseq")):
        return None
    if version.upper() != "SIP/2.0" or not (len(status) == 3 and status.isascii() and status.isdigit()):
        return None
    message = Response(headers, body, int(status), reason, via, NO_CSEQ, size)
    try:
        message.cseq = CSeq.parse(message.first("cseq") or "")
    except Refusal:
        return None
    return message if 100 <= message.status <= 699 else None


def _read_request(request: Request, line: str, faults: Faults) -> None:
    """Fill in the request from its start line and header fields. Raises the first fault; a wrong version goes first."""
    request.to = _salvaged_to(request)  # since each answer adds a tag to a To without one (§8.2.6.2)
    parts = line.split(" ")
    version = parts[-1].upper()
    if request.method in GO_BY_IDENTITY:
        _read_identity(request, faults)
        request.uri = parts[1] if len(parts) > 1 else ""
        request.body = _measured_or_whole_body(request)
        return
    if len(parts) == 3 and version.startswith("SIP/") and version != "SIP/2.0":
        raise Refusal(505, f"Version is {parts[2][:20]!r}; expected 'SIP/2.0'")
    if "" in faults:
        raise faults[""]  # a field that was left out would seem to be missing
    _read_identity(request, faults)
    begins = request.method == "INVITE" and not request.to.tag
    for name, fault in faults.items():
        if name in NEEDED or (begins and name in NEEDED_BY_DIALOG):
            raise fault
    if len(parts) != 3 or version != "SIP/2.0" or not request.method:
        raise Refusal(400, f"Request line is {line[:60]!r}; expected 'METHOD uri SIP/2.0'")
    request.uri = parts[1]
    _ = request.parsed_uri  # raises where it cannot be read
    _check_vias(request)
    request.body = _measured_body(request)
    if request.method == "INVITE":
        _check_echo(request)


def _salvaged_to(request: Request) -> NameAddr:
    text = request.first("to")
    if text is None:
        return NO_PARTY
    try:
        return NameAddr.parse(text)
    except Refusal:
        return NameAddr.salvage(text)


def _read_identity(request: Request, faults: Faults) -> None:
    """Read the fields that an answer repeats and that identify a dialog: From, To, Call-ID, CSeq."""
    request.call_id, cseq, from_, to = [_only(name, request, faults) for name in IDENTITY]
    request.from_ = NameAddr.parse(from_)
    if not request.to.uri:
        NameAddr.parse(to)  # raises with the fault
    request.cseq = CSeq.parse(cseq)
    if request.cseq.method != request.method and request.method:
        raise Refusal(400, f"CSeq is for {request.cseq.method[:20]!r}; expected {request.method[:20]!r}")
    _check_name("Call-ID", request.call_id)
    for title, party in (("From", request.from_), ("To", request.to)):
        if party.tags:
            if len(party.tags) > 1:
                raise Refusal(400, f"{title} is {party.text[:60]!r}; expected one tag")
            _check_name(f"{title} tag", party.tags[0])


def _only(name: str, request: Request, faults: Faults) -> str:
    """The value of the only header field called ``name``. Raises ``Refusal`` 400 if there is none, or more than one."""
    if name in faults:
        raise faults[name]
    values = request.all(name)
    if len(values) > 1:
        raise Refusal(400, f"Two header fields {name!r}; expected one")
    if not values or not values[0]:
        raise Refusal(400, f"No header field {name!r}")
    return values[0]


def _check_name(title: str, text: str) -> None:
    if len(text) > MAX_NAME // LONGEST_CHARACTER and (size := _octets(text)) > MAX_NAME:
        raise Refusal(513, f"{title} has {size} octets; expected at most {MAX_NAME}")


def _check_vias(request: Request) -> None:
    """Raises ``Refusal`` 400 for empty values and parameters; one semicolon at the end of a value is no fault."""
    vias = [item for value in request.all("via") for item in split(value, ",")]
    if len(vias) > MAX_VIAS:
        raise Refusal(400, f"{len(vias)} Via values; expected at most {MAX_VIAS}")
    for item in vias:
        pieces = request.via.pieces if item == request.via.text else split(item, ";")
        if not all(pieces[:-1]) or not (pieces[-1] or item.endswith(";")):
            raise Refusal(400, f"Via holds an empty value or parameter: {vias[0][:60]!r}")


def _check_echo(request: Request) -> None:
    """Raises ``Refusal`` 513 where the answer, which is kept for a while, would repeat too much."""
    if request.size <= MAX_ECHO:
        return  # what the answer repeats is part of the message
    repeated = [value for name in ECHOED for value in request.all(name)]
    size = sum(map(_octets, repeated))
    if size > MAX_ECHO:
        raise Refusal(513, f"Via, From, To and Record-Route have {size} octets; expected at most {MAX_ECHO}")


def _octets(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))


def _measured_or_whole_body(request: Request) -> bytes:
    """The body as long as Content-Length says or, if Content-Length is wrong, the rest of the datagram."""
    try:
        return _measured_body(request)
    except Refusal:
        return request.body


def _measured_body(request: Request) -> bytes:
    """The body, as long as Content-Length says (§18.3); without Content-Length the rest of the datagram.

    An empty Content-Length of a message without a body is ignored.
    """
    lengths = request.all("content-length")
    if not lengths or not (any(lengths) or request.body or request.all("content-type")):
        return request.body
    text = lengths[0]
    if len(set(lengths)) > 1 or not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Refusal(400, f"Content-Length is {', '.join(lengths)[:20]!r}; expected one number of octets")
    if int(text) > len(request.body):
        raise Refusal(400, f"Content-Length is {text}, but only {amount(len(request.body), 'octet')} came")
    return request.body[: int(text)]
