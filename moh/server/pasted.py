"""Finds the SIP message in what an owner has pasted: from a log, a capture program or a mail.

A paste has lost the octets of the message, but not its lines: they are indented, quoted, or have times before them;
line ends are LF, and the last one is missing. Here lines become a message again. What it means is read by
``moh/sip/parser.py`` alone.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple, Optional

from .paste_source import END_OF_OURS, Way, way_of

MOST_OCTETS = 1 << 20
"""Octets of a paste at most. The longest message has a sixteenth of that."""
CAPTURES = (
    b"\x0a\x0d\x0d\x0a",  # pcapng
    b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d",  # pcap, in any order of octets
)  # fmt: skip
METHODS = "INVITE|ACK|BYE|CANCEL|OPTIONS|REGISTER|UPDATE|INFO|SUBSCRIBE|NOTIFY|PUBLISH|MESSAGE|REFER|PRACK"
REQUEST = re.compile(rf"({METHODS})\s+\S+\s+SIP/\d\.\d(?=$|[\s\"'\\,])")
ANY_REQUEST = re.compile(r"\S+ \S+ SIP/\d\.\d$")
"""A request line of any method. A text has to begin with it, or it is not recognized."""
RESPONSE = re.compile(r"SIP/2\.0 \d\d\d( |$)")
SDP_LINE = re.compile(r"[a-zA-Z]\s*=")
FIELD = re.compile(r"[A-Za-z0-9-]+\s*:")
WIRESHARK_START = re.compile(r"\s*(?:Request|Status)-Line: (.*)")
WIRESHARK_SDP = re.compile(r".*?\(([a-z])\): (.*)")
LEFT_OUT = "inline:(a key)"
"""What our log shows in the place of a key."""
A_KEY = "inline:" + "x" * 40


class Unreadable(Exception):
    """No SIP message is in the paste. ``reason`` is the name of a text, ``values`` are what it shows."""

    def __init__(self, reason: str, **values: object) -> None:
        super().__init__(reason)
        self.reason, self.values = reason, values


class Pasted(NamedTuple):
    """A SIP message that was found."""

    data: bytes
    way: Way
    """What the lines around the message say of its way."""
    messages: int = 1
    """How many messages the paste has."""
    length_was: str = ""
    """The Content-Length that was put right, because the paste has changed the length of the body."""
    bare: bool = False
    """Whether the paste had a session description alone; the message around it is made up."""


def read_paste(data: bytes) -> Pasted:
    """The first INVITE in ``data``; without one, the first request, otherwise the first response.

    Raises ``Unreadable`` where there is none.
    """
    if not data.strip():
        raise Unreadable("empty")
    if data.startswith(CAPTURES):
        raise Unreadable("capture")
    if len(data) > MOST_OCTETS:
        raise Unreadable("too long", most=MOST_OCTETS)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):  # Notepad and PowerShell write UTF-16
        data = data.decode("utf-16", "replace").encode()
    data = data.removeprefix(b"\xef\xbb\xbf")
    text = data.decode("utf-8", "surrogateescape")
    if re.match(r"[\r\n]*INVITE \S+ SIP/\d\.\d\r\n", text) and "\r\n\r\n" in text:
        return _mended(_octets(text.lstrip("\r\n")), Pasted(b"", Way()))
    lines = _lines(text)
    starts = _starts(lines)
    if not starts:
        return _without_message(data, text, lines)
    ways = {place: way_of(lines, place) for place in starts}
    foreign = [place for place in starts if not ways[place].ours]
    invites = [place for place in foreign if "INVITE" in lines[place] and REQUEST.search(lines[place])]
    requests = [place for place in foreign if not RESPONSE.search(lines[place])]
    place = (invites or requests or starts)[0]
    ends = min((later for later in starts if later > place), default=len(lines))
    message = _gathered(lines[place:ends])
    return _mended(_octets(_framed(message)), Pasted(b"", ways[place], len(starts)))


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _starts(lines: list[str]) -> list[int]:
    """The places of start lines. A line that only names the message which begins in the next line is none."""
    starts = [place for place, line in enumerate(lines) if REQUEST.search(line) or RESPONSE.search(line)]
    first = next((place for place, line in enumerate(lines) if line.strip()), 0)
    if first not in starts and ANY_REQUEST.match(lines[first]):
        starts.insert(0, first)
    return [place for place in starts if place + 1 not in starts]


# -- lines -------------------------------------------------------------------------------------------------------------


def _lines(text: str) -> list[str]:
    """The lines of a paste. Line ends that are written out, as ``\\r\\n``, count where a line has a whole message."""
    lines: list[str] = []
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if line.lstrip().startswith("{") and '"sip"' in line:
            lines += _of_json(line)
        elif line.count("\\r\\n") > 1 or ("\\r\\n" in line and not line.rstrip().endswith("\\r\\n")):
            lines += line.replace("\\r\\n", "\n").split("\n")
        else:
            lines.append(line.removesuffix("\\r\\n"))
    return _of_wireshark(lines)


def _of_json(line: str) -> list[str]:
    """The lines of a message in our log of JSON objects."""
    try:
        found = json.loads(line)
        sip = str(found["sip"]).encode("utf-8", "replace").decode()
        return [str(found.get("message", "")), *(f"    {each}" for each in sip.split("\n"))]
    except (ValueError, KeyError, AttributeError, RecursionError):
        return [line]


def _of_wireshark(lines: list[str]) -> list[str]:
    """``lines``, or the messages in them where they are what Wireshark and ``tshark -V`` show of packets."""
    if not any(map(WIRESHARK_START.match, lines)):
        return lines
    found: list[str] = []
    part = ""  # of the message that the line belongs to
    depth = 0  # of the header fields; deeper lines say the same in pieces
    for line in lines:
        text = line.strip()
        if start := WIRESHARK_START.match(line):
            found.append(start[1])
            part = "first line"
        elif not part or line == line.lstrip():  # another protocol
            found.append(line)
            part = ""
        elif text == "Message Header":
            part, depth = "header", 0
        elif text == "Message Body":
            found.append("")
            part = "body"
        elif part == "header" and FIELD.match(text):
            indented = len(line) - len(line.lstrip())
            depth = depth or indented
            if indented == depth:
                found.append(text)
        elif part == "body" and (described := WIRESHARK_SDP.match(line)):
            found.append(f"{described[1]}={described[2]}")
    return found


# -- one message -------------------------------------------------------------------------------------------------------


def _gathered(lines: list[str]) -> list[str]:
    """The lines of the message that begins in the first line, without what stands before each of them."""
    start = REQUEST.search(lines[0]) or RESPONSE.search(lines[0]) or ANY_REQUEST.match(lines[0])
    assert start is not None
    before = lines[0][: start.start()]
    first = lines[0][start.start() :]
    rest = lines[1:]
    decorated = bool(before) and _undecorated(next(filter(str.strip, rest), ""), before) is not None
    gathered = [first]
    for line in rest:
        inner = _undecorated(line, before) if decorated else line
        if inner is None:
            break
        if not decorated and END_OF_OURS.match(line):
            break
        gathered.append(inner)
    if before.rstrip()[-1:] in ("'", '"') or first.rstrip()[-1:] in ("'", '"'):
        gathered = [line.rstrip().removesuffix(",").rstrip("'\"") for line in gathered]
    return [line.rstrip() for line in gathered]


def _undecorated(line: str, before: str) -> Optional[str]:
    """``line`` without its prefix, which resembles ``before``, that of the first line; ``None`` without such a one."""
    if line.startswith(before):
        return line[len(before) :]
    if not line.strip() or line.rstrip() == before.rstrip():
        return ""
    shape, expected = (re.sub(r"\d", "0", text) for text in (line[: len(before)], before))
    if before.strip() and (shape == expected or (len(line) < len(before) and shape == expected.rstrip())):
        return line[len(before) :]
    return None


def _framed(lines: list[str]) -> str:
    """Start line, header fields and body with CRLF, and with the empty line between them."""
    if len(lines) > 4 and not any(lines[1:6:2]) and all(lines[:5:2]):  # an empty line after each line
        lines = [line for line in lines if line]
    sdp = next((place for place, line in enumerate(lines) if re.match(r"\s*v\s*=\s*0\s*$", line)), len(lines))
    empty = next((place for place, line in enumerate(lines) if not line), len(lines))
    head, body = lines[: min(sdp, empty)], lines[min(sdp, empty) :]
    while body and not body[0]:
        body.pop(0)
    multipart = any("multipart/" in line.lower() for line in head)
    last = max((place for place, line in enumerate(body) if multipart or SDP_LINE.match(line.lstrip())), default=-1)
    body = [line.replace(LEFT_OUT, A_KEY) for line in body[: last + 1]]
    head = [head[0].strip(), *head[1:]]
    return "".join(f"{line}\r\n" for line in [*head, "", *body])


def _mended(data: bytes, pasted: Pasted) -> Pasted:
    """``pasted`` with ``data``, whose Content-Length fits again if the paste has changed the length of the body a bit.

    A line end at the end may be lost, spaces at ends of lines, and keys. A message that lacks more stays as it is.
    """
    head, _, body = data.partition(b"\r\n\r\n")
    found = re.search(rb"(?im)^(content-length|l)[ \t]*:[ \t]*(\d{1,9})[ \t]*\r?$", head)
    if found is None:
        return pasted._replace(data=data)
    missing = int(found[2]) - len(body)
    keys = body.count(A_KEY.encode())
    if keys == 0 and missing in (1, 2):
        return pasted._replace(data=data + b"\r\n"[-missing:])
    if keys == 0 and (missing > body.count(b"\n") or missing == 0):
        return pasted._replace(data=data)
    if missing < 0 and keys == 0:
        if len(body.replace(b"\r\n", b"\n")) == int(found[2]):  # the message itself has LF
            return pasted._replace(data=head + b"\r\n\r\n" + body.replace(b"\r\n", b"\n"))
        return pasted._replace(data=data)
    head = head[: found.start(2)] + b"%d" % len(body) + head[found.end(2) :]
    return pasted._replace(data=head + b"\r\n\r\n" + body, length_was="" if keys else found[2].decode())


# -- no message --------------------------------------------------------------------------------------------------------


def _without_message(data: bytes, text: str, lines: list[str]) -> Pasted:
    """A session description alone, as an INVITE that could have brought it."""
    place = next((place for place, line in enumerate(lines) if re.search(r"v=0\s*$", line)), None)
    if place is None or "m=" not in text:
        printable = sum(char.isprintable() or char in "\t\n\r" for char in text)
        if b"\0" in data[:1000] or printable < 0.9 * len(text):
            raise Unreadable("binary")
        raise Unreadable("no message", begins=text.strip().split("\n")[0][:60])
    before = lines[place][: lines[place].index("v=0")]
    body: list[str] = []
    for line in lines[place:]:
        inner = _undecorated(line, before) if before else line
        if inner is None or not SDP_LINE.match(inner.strip()):
            break
        body.append(inner.strip().replace(LEFT_OUT, A_KEY))
    host = next((line.split()[-1] for line in body if line.startswith(("c=", "o="))), "")
    sdp = _octets("".join(f"{line}\r\n" for line in body))
    head = [
        "INVITE sip:moh@192.0.2.1 SIP/2.0",
        "Via: SIP/2.0/UDP phone.invalid:5060;branch=z9hG4bKexplain;rport",
        "Max-Forwards: 70",
        "From: <sip:phone@phone.invalid>;tag=explain",
        "To: <sip:moh@192.0.2.1>",
        "Call-ID: explain",
        "CSeq: 1 INVITE",
        "Contact: <sip:phone@phone.invalid>",
        "Content-Type: application/sdp",
        f"Content-Length: {len(sdp)}",
    ]
    message = _octets("\r\n".join([*head, "", ""])) + sdp
    return Pasted(message, way_of(lines, place)._replace(guess=host), bare=True)
