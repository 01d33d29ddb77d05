"""The messages of the fuzzer: callers that make whole calls, and mutations of their messages."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from bench.common.messages import request_lines
from bench.common.program import ROOT
from moh.common.actions import Address, Flow
from moh.sip.message import Request, Response

SERVER = Address("192.168.1.100", 5060)
REAL = [
    *(Flow(Address(f"192.168.1.{last}", 5062), SERVER) for last in range(50, 56)),
    *(Flow(Address(f"192.168.1.{last}", 40000 + last), SERVER, "TCP", last) for last in range(60, 64)),
    *(Flow(Address(f"203.0.113.{last}", 5062), SERVER) for last in range(1, 6)),
    *(Flow(Address(f"203.0.113.{last}", 40000 + last), SERVER, "TCP", last) for last in range(10, 14)),
]
"""Sources that receive the answers. So the server can validate them."""
FORGED = [
    *(Flow(Address(f"198.51.100.{last}", 5062), SERVER) for last in range(1, 60)),
    Flow(Address("2001:db8:7::1", 5062), Address("2001:db8::100", 5060)),
]
"""Forged public source addresses. Their sender receives no answer, so it never learns a tag of the server."""
HOSTS = ["192.168.1.77", "10.1.2.3", "198.51.100.7", "203.0.113.3", "fd00::77", "0.0.0.0", "a.example", "b.example"]
USERS = ["123", "123", "123", "jazz", "%6Aazz", "jazz;x=1", "jazz:pw", "Jazz", "rock", "caf%C3%A9", "cafe%CC%81", "%00",
         "..%2F..%2Fetc", "%FF%", "\udcff", "夏", "x" * 900, ""]  # fmt: skip
"""User parts that callers dial."""
METHODS = ["INVITE", "INVITE", "UPDATE", "UPDATE", "INFO", "OPTIONS", "BYE", "CANCEL", "ACK", "REFER", "REGISTER"]
EXTRAS = [
    "", "", "", "", "", "", "Supported: timer\nSession-Expires: 90;refresher=uas\nAllow: INVITE, BYE, UPDATE",
    "Supported: timer\nSession-Expires: 90;refresher=uac", "Require: 100rel", "Session-Expires: 60",
    "Record-Route: <sip:10.0.0.1;lr>, <sip:10.0.0.2>", "Via: SIP/2.0/UDP 10.0.0.3;branch=z9hG4bKolder",
    "Accept: application/sdp, */*", "Require: teleport, timer", "User-Agent: friendly-scanner", "Timestamp: 54",
]  # fmt: skip
SHORT = {"Via": "v", "From": "f", "To": "t", "Call-ID": "i", "Contact": "m", "Content-Type": "c", "Supported": "k"}
WIRE = [path.read_bytes() for path in sorted((ROOT / "tests" / "wire").glob("*.sip"))]
"""The sample messages in ``tests/wire``."""
LONGEST = 65507
"""Octets of the longest datagram."""


class Caller:
    """The phone's side of one call. The random numbers of ``chance`` decide all that it does."""

    def __init__(self, chance: random.Random, number: int, flow: Flow) -> None:
        self._chance, self._number, self.flow = chance, number, flow
        self.call_id = f"{number}@{flow.remote.host}"
        self._cseq = chance.randrange(1, 200)
        self._user = chance.choice(USERS)
        self._to_tag = ""
        self._owes_ack = False
        self._branch = f"z9hG4bK{number}x0"
        self._answers: list[bytes] = []
        self.left = chance.randrange(2, 30)
        """The number of messages until another caller replaces this one."""

    @property
    def up(self) -> bool:
        """Whether the server has answered the call."""
        return bool(self._to_tag)

    def receive(self, message: object) -> None:
        """Receive a message of the server: keep the tag of a 200, and prepare the answer to a request."""
        if isinstance(message, Response) and message.status == 200 and message.cseq.method == "INVITE":
            self._to_tag = (message.first("to") or "").partition(";tag=")[2]
            self._owes_ack = True
        elif isinstance(message, Request):
            lines = [f"SIP/2.0 {self._chance.choice([200, 200, 200, 100, 481, 500])} X"]
            lines += [f"Via: {value}" for value in message.all("via")]
            lines += [f"{name}: {message.first(name)}" for name in ("from", "to", "call-id", "cseq")]
            self._answers.append("\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape"))

    def next_message(self) -> bytes:
        """Return the next message of this caller."""
        self.left -= 1
        if self._answers and self._chance.random() < 0.7:
            return self._answers.pop(0)
        if self._owes_ack and self._chance.random() < 0.7:
            self._owes_ack = False
            return self._request("ACK")
        first = not self._to_tag and self._chance.random() < 0.8
        return self._request("INVITE" if first else self._chance.choice(METHODS))

    def _request(self, method: str) -> bytes:
        chance, remote = self._chance, self.flow.remote
        if method not in ("ACK", "CANCEL"):
            self._cseq += chance.choice([1, 1, 1, 1, 2, 0, -1])
        if method != "CANCEL" and chance.random() < 0.9:
            self._branch = f"z9hG4bK{self._number}x{chance.randrange(1 << 30)}"
        kind, body = self._body() if method in ("INVITE", "UPDATE", "ACK", "BYE") else ("", "")
        rport = chance.choice(["", ";rport"])
        contact = chance.choice([str(remote), str(remote), "198.51.100.99:5060", "pbx.lan"])
        lines = request_lines(
            method, f"sip:{self._user}@{SERVER}", via=f"{self.flow.transport} {remote};branch={self._branch}{rport}",
            from_=f'"Front, desk" <sip:{self._number}@pbx.lan>;tag=phone{self._number}',
            to=f"<sip:{self._user}@{SERVER}>" + (f";tag={self._to_tag}" if self._to_tag else ""),
            call_id=self.call_id, cseq=self._cseq, contact=f"sip:{self._number}@{contact}",
        )  # fmt: skip
        lines += [*filter(None, [*chance.choice(EXTRAS).split("\n"), kind])]
        if chance.random() < 0.2:
            named = (line.partition(":") for line in lines)
            lines = [f"{SHORT.get(name, name)}{colon}{value}" for name, colon, value in named]
        return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode("utf-8", "surrogateescape")

    def _body(self) -> tuple[str, str]:
        """Return a Content-Type field and a body. Often both are empty."""
        chance = self._chance
        if chance.random() < 0.2:
            return "", ""
        lines = ["v=0", "o=- 1 1 IN IP4 192.168.1.50", "s=-", "t=0 0"]
        for _ in range(chance.choice([1, 1, 1, 1, 1, 2, 20])):
            host, secure = chance.choice(HOSTS), chance.random() < 0.1
            formats = chance.choice(["0", "0 8 9 101", "0 8 9 101", "96 0", "18", "9", "8"])
            kind, profile = chance.choice(["audio", "audio", "audio", "video"]), "SAVP" if secure else "AVP"
            lines.append(f"m={kind} {chance.randrange(2000, 60000)} RTP/{profile} {formats}")
            lines += [f"c=IN IP{6 if ':' in host else 4} {host}", "a=rtpmap:96 opus/48000/2", "a=ptime:20"]
            lines.append(f"a={chance.choice(['recvonly', 'sendrecv', 'inactive', 'sendonly', 'rtcp:9001'])}")
            lines += [f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{'A' * 40}"] if secure else []
        body = "\r\n".join([*lines, ""])
        if chance.random() < 0.15:
            text = "--x\r\nContent-Type: text/plain\r\n\r\nhello\r\n"
            body = f"{text}--x\r\nContent-Type: application/sdp\r\n\r\n{body}\r\n--x--\r\n"
            return 'Content-Type: multipart/mixed;boundary="x"', body
        return "Content-Type: application/sdp", body


# -- mutations -----------------------------------------------------------------------------------------------------

NUMBERS = [b"0", b"-1", b"2147483648", b"4294967296", b"18446744073709551616", b"9" * 400, b"1e9", b"0x10", b" 7 ",
           b"00007", "²".encode(), "٣".encode(), b"65536", b"1.5", b"+1", b""]  # fmt: skip
POISON = [b"\r", b"\n", b"\0", b'"', b"\\", b"<", b">", b";", b",", b":", b"@", b"=", b"?", b"%00", b"[", b"]", b"--x",
          b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", "\u2028".encode(), b"\x1b[2J", b"\r\n ",
          b"\r\n\r\n", b"z9hG4bK", b";tag=", b";maddr=203.0.113.200", b";received=1.2.3.4", b"inline:"]  # fmt: skip


def _flip(chance: random.Random, data: bytes, other: bytes) -> bytes:
    octets = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 8])):
        octets[chance.randrange(len(octets))] ^= 1 << chance.randrange(8)
    return bytes(octets)


def _cut(chance: random.Random, data: bytes, other: bytes) -> bytes:
    """Remove the end of ``data``, or a piece in its middle."""
    at = chance.randrange(len(data))
    return data[:at] + chance.choice([b"", data[at + chance.choice([1, 2, 30]) :]])


def _poison(chance: random.Random, data: bytes, other: bytes) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.choice(POISON) * chance.choice([1, 1, 1, 2, 300]) + data[at + chance.choice([0, 1]) :]


def _lines(chance: random.Random, data: bytes, other: bytes) -> bytes:
    """Double a line, leave it out, exchange it with another line, or replace it by a line of ``other``."""
    lines = data.split(b"\r\n")
    one, two = chance.randrange(len(lines)), chance.randrange(len(lines))
    does = chance.randrange(4)
    if does == 0:
        lines[two:two] = [lines[one]] * chance.choice([1, 1, 2, 100])
    elif does == 1:
        del lines[one]
    elif does == 2:
        lines[one], lines[two] = lines[two], lines[one]
    else:
        lines[one] = chance.choice(other.split(b"\r\n"))
    return b"\r\n".join(lines)


def _fields(chance: random.Random, data: bytes, other: bytes) -> bytes:
    """Exchange the values of two header fields."""
    lines = data.split(b"\r\n")
    one, two = chance.randrange(len(lines)), chance.randrange(len(lines))
    (name, colon, value), (other_name, other_colon, other_value) = (
        lines[one].partition(b":"),
        lines[two].partition(b":"),
    )
    lines[one], lines[two] = name + colon + other_value, other_name + other_colon + value
    return b"\r\n".join(lines)


def _long(chance: random.Random, data: bytes, other: bytes) -> bytes:
    """Add a field or a parameter of up to 70,000 octets."""
    at = chance.randrange(len(data) + 1)
    piece = chance.choice(
        [b"a", b",", b";a=b", b"%41", b"<", b'"', b"1", b"\r\n ", b"\r\nX: y", b"\r\na=x", b" ", b"\xff"]
    )
    return (
        data[:at]
        + piece * chance.choice([50, 300, 4100 // len(piece), 17000 // len(piece), 70000 // len(piece)])
        + data[at:]
    )


def _number(chance: random.Random, data: bytes, other: bytes) -> bytes:
    found = list(re.finditer(rb"\d+", data[:4000]))
    if not found:
        return data + b"7"
    one = chance.choice(found)
    return data[: one.start()] + chance.choice(NUMBERS) + data[one.end() :]


def _splice(chance: random.Random, data: bytes, other: bytes) -> bytes:
    """Join the beginning of ``data`` and the end of ``other``."""
    return data[: chance.randrange(len(data) + 1)] + other[chance.randrange(len(other) + 1) :]


def _encode(chance: random.Random, data: bytes, other: bytes) -> bytes:
    """Change the line ends, the encoding or the case, or fold lines at each space."""
    does = chance.randrange(6)
    if does == 0:
        return data.replace(b"\r\n", chance.choice([b"\n", b"\r", b"\n\r", b"\r\r\n"]))
    if does == 1:
        at = chance.randrange(len(data) + 1)
        return data[:at] + data[at:].decode("latin-1").encode(chance.choice(["utf-16", "utf-8", "utf-7"]))
    if does == 2:
        return chance.choice([data.upper(), data.lower(), data.swapcase()])
    if does == 3:
        return data.replace(b" ", b"\r\n ", chance.choice([1, 5, -1]))
    if does == 4:
        return bytes(chance.getrandbits(8) for _ in range(chance.choice([0, 1, 20, 200])))
    return chance.choice([b"\r\n\r\n", b"\0\0", b"\xef\xbb\xbf"]) + data


MUTATIONS: list[Callable[[random.Random, bytes, bytes], bytes]] = [
    _flip, _flip, _cut, _poison, _poison, _lines, _lines, _fields, _long, _number, _number, _splice, _encode,
]  # fmt: skip


def mutated(chance: random.Random, data: bytes, other: bytes) -> bytes:
    """Return ``data`` after one to four mutations. It is no longer than a datagram can be.

    Some mutations insert pieces of ``other``.
    """
    for _ in range(chance.choice([1, 1, 1, 2, 2, 3, 4])):
        data = chance.choice(MUTATIONS)(chance, data or b"\r\n", other or b"\r\n")[:LONGEST]
    return data
