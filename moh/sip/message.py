"""Octets to SIP messages (RFC 3261 §7, §18.3; RFC 4475); the way back is in ``reply``.

Reading is tolerant and bounded. What cannot be trusted but can be answered is a ``Request`` with a ``fault``; what
cannot even be answered is ``None``. More than 300 lines, because whatever bounds the reading stands here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Optional, Union

from ..common.errors import Refusal
from .headers import CSeq, NameAddr, Uri, Via, is_token, split

MAX_DATAGRAM = 65535
"""Longest message read, in octets."""
MAX_HEADERS = 256
"""Most header lines in a message, folded ones counted each."""
MAX_HEAD = 16384
"""Longest start line and header fields together, in octets; a call over many proxies has a tenth of it."""
MAX_LINE = 4096
"""Longest value of one header field, unfolded: reading a Via or Contact walks it several times."""
HEAD_ENDS = (b"\r\n\r\n", b"\n\n", b"\n\r\n")
FIRST_LOOK = 512
"""Octets in which the end of a head is looked for first; where it is not there, in twice as many more, and so on."""
MAX_VIAS = 70
"""Most Via values: as many hops as the usual Max-Forwards allows."""

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
"""Header fields that a message holds once at the most (RFC 4475 §3.3.8)."""

Headers = list[tuple[str, str]]
NOBODY = NameAddr("", "", MappingProxyType({}))
NO_CSEQ = CSeq(0, "")


@dataclass
class Message:
    """What requests and responses share: header fields with long lower-case names, in order, and a body."""

    headers: Headers
    body: bytes
    _values: dict[str, list[str]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, value in self.headers:
            self._values.setdefault(name, []).append(value)

    def first(self, name: str) -> Optional[str]:
        """The value of the first header field called ``name`` (long, lower case); ``None`` where there is none."""
        return self._values[name][0] if name in self._values else None

    def all(self, name: str) -> list[str]:
        """The values of all header fields called ``name``, one for each line."""
        return self._values.get(name, [])

    def listed(self, name: str) -> list[str]:
        """The values of a list header (Via, Route, Supported …), one for each member, empty members left out."""
        return [item for value in self.all(name) for item in split(value, ",") if item]

    def option_tags(self, name: str) -> set[str]:
        """The members of Require, Supported or Allow-like lists as a set, as they are written."""
        return set(self.listed(name))


@dataclass
class Request(Message):
    """A request as it came. ``fault`` tells why it must be refused; a request with one holds only what could be read.

    ``via`` is the top one. ``from_``, ``to`` and ``cseq`` have been read as well, unless ``fault`` is about them.
    """

    method: str
    uri: str
    via: Via
    from_: NameAddr = NOBODY
    to: NameAddr = NOBODY
    cseq: CSeq = NO_CSEQ
    call_id: str = ""
    fault: Optional[Refusal] = None
    size: int = 0
    """Octets of the whole message as it came."""

    def contact(self) -> Optional[NameAddr]:
        """The first Contact, where the sender wants its next requests; ``None`` where there is none."""
        listed = self.listed("contact")
        return NameAddr.parse(listed[0]) if listed and listed[0] != "*" else None

    @cached_property
    def target(self) -> Optional[str]:
        """The URI in the first Contact. Raises ``Refusal`` 400 where that cannot be read."""
        contact = self.contact()
        return None if contact is None else Uri.parse(contact.uri).text

    @cached_property
    def parsed_uri(self) -> Uri:
        """The Request-URI in its parts; a request without a ``fault`` has one that can be read."""
        return Uri.parse(self.uri)


@dataclass
class Response(Message):
    """A response to a request of ours."""

    status: int
    reason: str
    via: Via
    cseq: CSeq
    size: int = 0
    """Octets of the whole message as it came."""


def parse(data: bytes) -> Union[Request, Response, None]:
    """Read one message; octets behind the body are ignored.

    ``None`` is for what nobody can answer: keep-alives, noise, requests without a Via, malformed responses.
    """
    head, body = _cut(data)
    size = len(head)
    if size > MAX_HEAD:  # what is left may be enough to say so
        head = head[:MAX_HEAD].rpartition(b"\n")[0]
    # a CR that ends no line is nothing but a trick: echoed, others might take it for a line end
    lines = head.decode("utf-8", "surrogateescape").replace("\r\n", "\n").replace("\r", " ").split("\n")
    while lines and not lines[0]:  # empty lines before the start line are to be ignored (§7.5)
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
        request.fault = refusal.with_traceback(None)  # which holds the request: a circle
    return request


def _cut(data: bytes) -> tuple[bytes, bytes]:
    """Cut a datagram at the empty line, whatever its line ends; without one all of it is head."""
    data = data[:MAX_DATAGRAM].lstrip(b"\r\n\0")
    end = end_of_head(data)
    if end is None:
        return data.rstrip(b"\r\n"), b""
    at, length = end
    return data[:at], data[at + length :]


def end_of_head(data: Union[bytes, bytearray], start: int = 0) -> Optional[tuple[int, int]]:
    """Where the line ends that close the header fields begin, at ``start`` or later, and how many octets they are.

    ``None`` while they are not there. It looks not much farther than it has to: to look for each mark as far as there
    are octets would make a stream of many short heads cost their number times its length.
    """
    window = FIRST_LOOK
    while True:
        stop = start + window
        found = [(at, len(mark)) for mark in HEAD_ENDS if (at := data.find(mark, start, stop)) >= 0]
        if found or stop >= len(data):
            return min(found, default=None)
        start, window = stop - len(HEAD_ENDS[0]) + 1, 2 * window


def _read_headers(lines: list[str]) -> tuple[Headers, Optional[Refusal]]:
    """Unfold and name the header lines; the first fault does not keep the rest from being read."""
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
                raise _too_long(name)  # without all of its Vias an answer finds nobody
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
    """Fill in the request from its start line and header fields; raises the first fault found, the version's first."""
    request.to = _readable_to(request)
    parts = line.split(" ")
    request.method = parts[0] if is_token(parts[0]) else ""
    version = parts[-1].upper()
    if len(parts) == 3 and version.startswith("SIP/") and version != "SIP/2.0":
        raise Refusal(505, f"Version is {parts[2][:20]!r}; expected 'SIP/2.0'")
    if request.fault and request.fault.status == 513:
        raise request.fault  # what has been left out is not missing
    _read_identity(request)
    if request.fault:
        raise request.fault
    if len(parts) != 3 or version != "SIP/2.0" or not request.method:
        raise Refusal(400, f"Request line is {line[:60]!r}; expected 'METHOD uri SIP/2.0'")
    if request.cseq.method != request.method:
        raise Refusal(400, f"CSeq is for {request.cseq.method[:20]!r}; expected {request.method[:20]!r}")
    request.uri = parts[1]
    _ = request.parsed_uri  # refused where it cannot be read
    _check_vias(request)
    request.body = _measured_body(request)


def _readable_to(request: Request) -> NameAddr:
    """To before all that may be refused: every answer adds a tag to it where it has none (§8.2.6.2)."""
    try:
        return NameAddr.parse(request.first("to") or "")
    except Refusal:
        return NOBODY


def _read_identity(request: Request) -> None:
    """Read what an answer repeats and a dialog is known by: From, To, Call-ID, CSeq."""
    for name in SINGLE:
        values = request.all(name)
        if len(values) > 1:
            raise Refusal(400, f"Two header fields {name!r}; expected one")
        if not any(values) and name != "max-forwards":  # a phone of RFC 2543 sends none (RFC 4475 §3.4.1)
            raise Refusal(400, f"No header field {name!r}")
    request.call_id = request.first("call-id") or ""
    request.from_ = NameAddr.parse(request.first("from") or "")
    if request.to is NOBODY:
        NameAddr.parse(request.first("to") or "")  # tells what is wrong with it
    request.cseq = CSeq.parse(request.first("cseq") or "")


def _check_vias(request: Request) -> None:
    vias = [item for value in request.all("via") for item in split(value, ",")]
    if len(vias) > MAX_VIAS:
        raise Refusal(400, f"{len(vias)} Via values; expected at most {MAX_VIAS}")
    if any(not piece for item in vias for piece in split(item, ";")):
        raise Refusal(400, f"Via holds an empty value or parameter: {vias[0][:60]!r}")


def _measured_body(request: Request) -> bytes:
    """The body as long as Content-Length says (§18.3); all that is left of the datagram where it says nothing."""
    lengths = request.all("content-length")
    if not lengths:
        return request.body
    text = lengths[0]
    if len(set(lengths)) > 1 or not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Refusal(400, f"Content-Length is {', '.join(lengths)[:20]!r}; expected one number of octets")
    if int(text) > len(request.body):
        raise Refusal(400, f"Content-Length is {text}, but only {len(request.body)} octets came")
    return request.body[: int(text)]
