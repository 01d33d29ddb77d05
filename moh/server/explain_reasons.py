"""Why the server has refused a message: the reason phrase of its answer, as the name of an explanation.

The core writes the phrase for engineers; each pattern finds what it says for the owner. A test holds that each phrase
of the core has its pattern here.
"""

from __future__ import annotations

import re

ALL = "general"
"""The explanation of a phrase that no pattern fits."""
REASONS = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("no codec", r"No stream to play to: formats are (?P<formats>.*); expected one of (?P<expected>.*)"),
        ("no audio", r"No stream to play to: no audio that is switched on in (?P<streams>.*);"),
        ("webrtc", r"No stream to play to: protocol is '(?P<protocol>UDP/TLS.*|TCP/TLS.*|DTLS.*)'; "),
        ("protocol", r"No stream to play to: protocol is '(?P<protocol>.*)'; "),
        ("no key", r"No stream to play to: no supported a=crypto; expected one of (?P<suites>.*)"),
        ("no port for SRTP", r"No stream to play to: no exclusive port is left|No exclusive port is left for SRTP"),
        ("unknown name", r"No stream to play to: host '(?P<host>.*)' has no address"),
        ("no host", r"No stream to play to: address is '(?P<host>.*)'; expected that of one host"),
        ("low port", r"No stream to play to: port is (?P<port>\d+);"),
        ("inwards", r"No music there: address is (?P<host>.*); expected a public one"),
        ("not in MOH_ALLOW_MEDIA", r"No music there: address is (?P<host>.*); expected one that the owner"),
        ("our loopback", r"No music there: address is (?P<host>.*); expected one that is not the loopback"),
        ("broadcast", r"No music there: address is (?P<host>.*); expected that of one host"),
        ("our port", r"No music there: address is (?P<host>.*); expected no port of this server"),
        ("no way", r"no way from here to (?P<host>.*); expected an address of the family"),
        ("media line", r"SDP has m='(?P<line>.*)'; expected"),
        ("connection line", r"SDP has '(?P<line>.*)'; expected 'c="),
        ("no description", r"SDP begins with (?P<begins>.*); expected|SDP is empty"),
        ("long description", r"SDP has (more than )?\d+ (lines|m= lines)"),
        ("no field", r"No header field '(?P<field>.*)'"),
        ("two fields", r"Two header fields '(?P<field>.*)'; expected one"),
        ("cut off", r"Content-Length is (?P<length>\d+), but only (?P<came>.*) came"),
        ("length", r"Content-Length is (?P<length>.*); expected one number"),
        ("too long", r"(Head|Call-ID|From tag|To tag|Via, From|From, To).* ha(s|ve) \d+ octets"),
        ("too long", r"Header field '.*' is too long|More than \d+ header lines"),
        ("version", r"Version is (?P<version>.*); expected 'SIP/2.0'"),
        ("CSeq", r"CSeq is for (?P<other>.*); expected|CSeq is (?P<value>.*); expected '<number>"),
        ("CSeq", r"CSeq is (?P<value>.*); expected a number below"),
        ("late", r"CSeq is \d+; expected more than \d+"),
        ("malformed", r"(Header line|Request line|Unclosed quote|Host|Port|URI|Address|Via|From|To|\d+ Via)\b.*"),
        ("no sip URI", r"Request-URI is '(?P<uri>.*)'; expected a sip: URI"),
        ("extension", r"Extension is '(?P<extension>.*)'; understood: (?P<understood>.*)"),
        ("encoding", r"Content-Encoding is '(?P<encoding>.*)'; expected none"),
        ("type", r"Content-Type is '(?P<type>.*)'; expected"),
        ("accept", r"Accept is (?P<accept>.*); expected .* in it"),
        ("method", r"Method (?P<method>.*) is not for a music server"),
        ("session timer", r"Session-Expires is (?P<interval>\d+); expected at least (?P<least>\d+)"),
        ("no such call", r"No call with these tags and this Call-ID|.* without a To tag; expected"),
        ("too much", r".*calls play to .*|.* host names of this address are being looked up|.*calls a second.*"),
        ("too much", r".* calls of this address wait for their ACK"),
    )
)


def reason_of(phrase: str) -> tuple[str, dict[str, str]]:
    """The name of the explanation of a reason phrase, and the values in it."""
    for name, pattern in REASONS:
        if found := pattern.match(phrase):
            return f"reason {name}", dict(found.groupdict(""))
    return f"reason {ALL}", {}
