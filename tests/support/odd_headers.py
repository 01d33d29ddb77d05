"""Faults in the header fields of real requests: changes to the octets of a request that has no fault.

For the tests of the core and for those with sockets. Standard library only, never ``moh``.
"""

from __future__ import annotations

import re
from collections.abc import Callable

Change = Callable[[bytes], bytes]


def line(text: str) -> Change:
    """Return the change that adds a header line before Content-Length."""
    added = f"\r\n{text}\r\nContent-Length".encode()
    return lambda data: data.replace(b"\r\nContent-Length", added, 1)


def field(name: str, value: str) -> Change:
    """Return the change that replaces the value of a header field, or the start line if ``name`` is empty."""
    if not name:
        return lambda data: re.sub(rb"^[^\r]*", value.encode(), data, count=1)
    pattern = rb"(?im)^" + name.encode() + rb":[^\r]*"
    written = f"{name}: {value}".encode()
    return lambda data: re.sub(pattern, lambda _: written, data, count=1)


def behind(name: str, text: str) -> Change:
    """Return the change that adds ``text`` behind the value of a header field."""
    pattern = rb"(?im)^(" + name.encode() + rb":[^\r]*)"
    return lambda data: re.sub(pattern, lambda found: found[1] + text.encode(), data, count=1)


def via(host: str, params: str = ";rport") -> Change:
    """Return the change that replaces the host in the top Via, and keeps the branch."""
    pattern = rb"(?im)^via: (SIP/2.0/\w+) [^;\r]*[^\r]*?;branch=([^;\r]*)[^\r]*"
    where = (host + params).encode()
    return lambda data: re.sub(
        pattern, lambda found: b"Via: %b %b;branch=%b" % (found[1], where, found[2]), data, count=1
    )


def without(name: str) -> Change:
    """Return the change that removes the header field ``name``."""
    return lambda data: re.sub(rb"(?im)^" + name.encode() + rb":[^\n]*\n", b"", data)


NOT_NEEDED: dict[str, Change] = {
    "a line without colon": line("Nonsense"),
    "a name with a space": line("User Agent: x"),
    "no name": line(": x"),
    "a name that is not ASCII": line("Ünter: x"),
    "a name with a comma": line("Subject, Date: x"),
    "a continuation of such a line": line("Nonsense\r\n Contact: <sip:evil@198.51.100.66>"),
    "a value of 5,000 octets": line("Subject: " + "x" * 5000),
    "a folded value of 5,000 octets": line("Subject: x" + ("\r\n " + "x" * 1000) * 5),
    "a line of 5,000 octets without colon": line("x" * 5000),
    "User-Agent of 5,000 octets": line("User-Agent: " + "x" * 5000),
    "Supported with half a quote": line('Supported: "x'),
    "Accept with half a quote": line('Accept: "x'),
    "Allow with half a quote": line('Allow: "x'),
    "Allow with commas only": line("Allow: ,,"),
    "two Max-Forwards": line("Max-Forwards: 70\r\nMax-Forwards: 69"),
    "Max-Forwards that is no number": field("Max-Forwards", "many"),
    "no Max-Forwards": without("Max-Forwards"),
    "Session-Expires without value": line("Session-Expires:"),
    "Session-Expires with a fraction": line("Session-Expires: 1800.0"),
    "Session-Expires with a sign": line("Session-Expires: -1"),
    "Session-Expires of 30 digits": line("Session-Expires: " + "9" * 30),
    "Session-Expires with half a quote": line('Session-Expires: "1800;refresher=uas'),
    "Min-SE that is no number": line("Min-SE: abc"),
    "Min-SE without value": line("Supported: timer\r\nMin-SE:"),
    "Date of no day": line("Date: yesterday"),
    "Expires of no number": line("Expires: never"),
    "Route with half a bracket": line("Route: <sip:pbx.example"),
    "P-Asserted-Identity without URI": line("P-Asserted-Identity: "),
    "Content-Disposition of semicolons": line("Content-Disposition: ;;"),
    "Timestamp without value": line("Timestamp:"),
}
"""Malformed header fields that no request needs (RFC 3261 §8.2.2)."""

SEMICOLONS: dict[str, Change] = {
    **{f"a semicolon behind {name}": behind(name, ";") for name in ("From", "To", "Contact", "Via", "CSeq")},
    "a semicolon behind the Request-URI": lambda data: data.replace(b" SIP/2.0\r\n", b"; SIP/2.0\r\n", 1),
    "a semicolon behind Supported": line("Supported: timer;"),
    "a semicolon behind Require": line("Require: timer;"),
    "a semicolon behind Session-Expires": line("Session-Expires: 1800;"),
    "a semicolon behind Accept": line("Accept: application/sdp;"),
    "a semicolon behind Record-Route": line("Record-Route: <sip:127.0.0.1:9;lr>;"),
}
"""Changes that add a semicolon without a parameter behind it."""

FLAWS: dict[str, Change] = {
    **NOT_NEEDED,
    **{name: change for name, change in SEMICOLONS.items() if "behind CSeq" not in name},
    "two spaces in the start line": lambda data: data.replace(b" sip:", b"  sip:", 1),
    "a Request-URI in brackets": lambda data: re.sub(rb"^(\w+) (\S+)", rb"\1 <\2>", data, count=1),
    "a Request-URI of another scheme": lambda data: data.replace(b" sip:", b" tel:", 1),
    "a Request-URI of sips": lambda data: data.replace(b" sip:", b" sips:", 1),
    "a Request-URI with port 0": lambda data: re.sub(rb"^(\w+) \S+", rb"\1 sip:123@127.0.0.1:0", data, count=1),
    "another SIP version": lambda data: data.replace(b"SIP/2.0\r\n", b"SIP/3.0\r\n", 1),
    "no SIP version": lambda data: data.replace(b" SIP/2.0\r\n", b"\r\n", 1),
    "an unknown extension": line("Require: teleport"),
    "Require with half a quote": line('Require: "x'),
    "Require of 5,000 octets": line("Require: " + "x" * 5000),
    "Content-Length without value": field("Content-Length", ""),
    "Content-Length of a body that is not there": field("Content-Length", "10"),
    "Content-Length that is no number": field("Content-Length", "lots"),
    "Content-Length below 0": field("Content-Length", "-1"),
    "two Content-Lengths": line("Content-Length: 3"),
    "Content-Type without a body": line("Content-Type: application/sdp"),
    "Content-Type without a slash": line("Content-Type: sdp"),
    "Content-Encoding that we cannot read": line("Content-Encoding: gzip"),
    "Contact with port 0": field("Contact", "<sip:201@127.0.0.1:0>"),
    "Contact with half a quote": field("Contact", '"x'),
    "Contact of 5,000 octets": field("Contact", f"<sip:{'x' * 5000}@127.0.0.1>"),
    "no Contact": without("Contact"),
    "Record-Route without URI": line("Record-Route: <>"),
    "300 header lines": line("\r\n".join(["X: y"] * 300)),
    "Via with port 0": via("127.0.0.1:0"),
    "Via with port 65536": via("127.0.0.1:65536"),
    "Via with the zone of an IPv6 address": via("[fe80::1%eth0]:5060"),
    "Via without host": via(""),
    "Via with an empty parameter": via("127.0.0.1:9", ";;rport"),
    "a second Via that is none": line("Via: x"),
}
"""Flaws with which a BYE must still end its call, and an ACK must still acknowledge."""

UNANSWERABLE: dict[str, Change] = {
    "no Via": without("Via"),
    "a top Via with half a quote": via("127.0.0.1:9", ';x="y'),
    "a top Via without host and rport": via("", ""),
    "a Via of 5,000 octets": line("Via: SIP/2.0/UDP 127.0.0.1;x=" + "x" * 5000),
}
"""Flaws of Via by which no answer finds its way by UDP."""

BROKEN_VIAS = {name: FLAWS[name] for name in FLAWS if name.startswith("Via with") and "empty" not in name} | {
    "Via without host": FLAWS["Via without host"],
    "Via with a space in its host": via("a host"),
}
"""Top Vias that cannot be read, with rport."""

FATAL: dict[str, tuple[Change, int]] = {
    "no From": (without("From"), 400),
    "no Call-ID": (without("Call-ID"), 400),
    "From in half a quote": (field("From", '"Ann <sip:201@127.0.0.1>;tag=1'), 400),
    "To without URI": (field("To", "<>"), 400),
    "two tags in From": (behind("From", ";tag=other"), 400),
    "CSeq of another method": (lambda data: re.sub(rb"(CSeq: \d+) \w+", rb"\1 PRACK", data), 400),
    "Call-ID of 257 octets": (field("Call-ID", "x" * 257), 513),
    "Call-ID of 5,000 octets": (field("Call-ID", "x" * 5000), 513),
    "a From tag of 257 octets": (field("From", f"<sip:201@127.0.0.1>;tag={'x' * 257}"), 513),
    "From without its colon": (lambda data: re.sub(rb"(?m)^From:", b"From", data), 400),
}
"""Faults of the fields that identify a request of any method."""

FATAL_FIRST: dict[str, tuple[Change, int]] = {
    **FATAL,
    "Content-Length that is no number": (field("Content-Length", "lots"), 400),
    "Content-Length without value": (field("Content-Length", ""), 400),
    "Contact with port 0": (FLAWS["Contact with port 0"], 400),
    "Contact of 5,000 octets": (FLAWS["Contact of 5,000 octets"], 513),
    "Record-Route without URI": (FLAWS["Record-Route without URI"], 400),
    "Record-Route of 5,000 octets": (line(f"Record-Route: <sip:{'x' * 5000};lr>"), 513),
    "Record-Route without its colon": (line("Record-Route <sip:127.0.0.1;lr>"), 400),
    "Require with half a quote": (FLAWS["Require with half a quote"], 400),
    "an unknown extension": (FLAWS["an unknown extension"], 420),
    "a second Via that is none": (line("Via: x;;y"), 400),
    "two empty parameters in Via": (behind("Via", ";;"), 400),
    "Record-Routes that a call would have to keep": (
        line("\r\n".join(f"Record-Route: <sip:proxy{number}.example;x={'x' * 200};lr>" for number in range(20))), 513,
    ),
    "Vias that an answer would have to keep": (
        line("\r\n".join(f"Via: SIP/2.0/UDP p{number};x={'x' * 200}" for number in range(40))), 513,
    ),
}  # fmt: skip
"""Faults of the fields that identify, route or frame a first INVITE."""
