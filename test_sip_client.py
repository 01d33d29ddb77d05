#!/usr/bin/env python3
"""Call the music-on-hold server as a phone does, listen, hang up, and report what arrived.

    python test_sip_client.py [HOST[:PORT]]       default 127.0.0.1:5060
    python test_sip_client.py sip:123@192.0.2.2:5060      as the server's log prints it
    python test_sip_client.py sip:jazz@192.0.2.2          the music of that name; with ";transport=tcp" by TCP
    python test_sip_client.py --save heard.wav 192.0.2.2

The call is OPTIONS, INVITE (repeated by Timer A), ACK, music over RTP, BYE, silence (RFC 3261, 3264, 3550, 3551).
Exit status: 0 all is well, 1 something is wrong, 2 bad usage.

It needs only the standard library and none of the server's own code, so that an independent reader of SIP checks
the server. It is a whole phone (SIP, SDP, RTP, RTCP, G.711) in one file, because it gets copied to the phones'
network. From top to bottom the file has messages, sound, the call, the judgement, the report.

pytest collects `test_a_caller_hears_music_until_bye` and fills in `server`, a (host, port). That test does not
judge the spacing of the packets (`judge_pace`): a busy test machine can delay them though the server is well.
"""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import math
import re
import secrets
import select
import signal
import socket
import struct
import sys
import textwrap
import time
import unicodedata
import urllib.parse
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

T1, T2 = 0.5, 4.0  # seconds: the first gap between retransmissions, and the longest of a non-INVITE (RFC 3261 table 4)
REPLY_WITHIN = 2.0  # seconds from OPTIONS to its reply
RESPONSE_WITHIN = 8.0  # seconds from INVITE to the first response
RING_WITHIN = 20.0  # seconds from INVITE to the final response when it rings; then CANCEL
MUSIC_WITHIN = 5.0  # seconds from the answer to the first packet
QUIET = 1.0  # seconds to listen after BYE, when there should be silence
GRACE = 0.2  # seconds after the reply to BYE in which a packet may still be on its way
PACKET_TIME = 0.02  # seconds of sound in a packet (the ptime of this phone's offer)
SAMPLES = OCTETS = 160  # in one packet, also of G.722: its RTP clock runs at 8 kHz (RFC 3551 section 4.5.2)
CODECS = {"PCMU": 0, "PCMA": 8, "G722": 9}  # payload types (RFC 3551 table 4), in the order of the offer
TELEPHONE_EVENT = 101
COMPACT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "c": "content-type"}
COMPACT["l"] = "content-length"  # RFC 3261 section 7.3.3
SILENCE_DBFS = -60.0  # relative to full scale; speech and music on a telephone lie around -20
# Linux stamps each arrival in the kernel, by its wall clock. Some Pythons have no name for the option.
STAMP = getattr(socket, "SO_TIMESTAMPNS", 35) if sys.platform == "linux" else None


class Unreachable(Exception):
    """Raised if no request can be sent to the server. The text has the reason."""


class Dialled(NamedTuple):
    """What is dialled: the part of a SIP URI before the `@`, as it is sent, and how the server is reached."""

    user: str = "123"
    transport: str = "UDP"


NO_NAME = Dialled()  # any name will do where the server has one music


class Address(NamedTuple):
    """A host and a port, printed as in a SIP URI."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"


def bracketed(host: str) -> str:
    """Return ``host``; an IPv6 address in square brackets."""
    return f"[{host}]" if ":" in host else host


# ── messages ────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Message:
    """A SIP message as it arrived (RFC 3261 section 7); header names are long and lower case."""

    first: str
    headers: list[tuple[str, str]]
    body: str
    when: float  # monotonic seconds

    @classmethod
    def parse(cls, data: bytes, when: float) -> Message | None:
        """Return the message in a datagram, or None if the datagram has none."""
        head, body, *_ = [*re.split(rb"\r?\n\r?\n", data, maxsplit=1), b""]
        text = re.sub(r"\r?\n[ \t]+", " ", head.decode("utf-8", "replace"))  # join folded lines (7.3.1)
        first, *lines = re.split(r"\r?\n", text)
        if "SIP/2.0" not in first.upper():
            return None
        split = [line.partition(":") for line in lines]
        names = [(name.strip().lower(), value.strip()) for name, _, value in split]
        headers = [(COMPACT.get(name, name), value) for name, value in names]
        length = int(next((v for n, v in headers if n == "content-length" and v.isdecimal()), len(body)))
        if length > len(body):  # the end of the datagram is missing (section 18.3)
            return None
        return cls(first, headers, body[:length].decode("utf-8", "replace"), when)

    @property
    def status(self) -> int:
        """Return the code of a response; 0 for a request."""
        found = re.match(r"SIP/2\.0 +(\d{3})", self.first, re.IGNORECASE)
        return int(found[1]) if found else 0

    @property
    def reason(self) -> str:
        """Return status and reason phrase, such as `486 Busy Here`."""
        return self.first.partition(" ")[2].strip()

    @property
    def method(self) -> str:
        """Return the method of a request, or of the request that a response answers."""
        return self.header("cseq").rpartition(" ")[2] if self.status else self.first.split(" ")[0]

    def header(self, name: str) -> str:
        """Return the value of the first header field `name`; empty if there is none."""
        return next(iter(self.all(name)), "")

    def all(self, name: str) -> list[str]:
        """Return the values of all header fields `name`, in order."""
        return [value for key, value in self.headers if key == name]


def parameter(value: str, name: str) -> str:
    """Return the parameter `;name=...` of the first element of a header value; empty if it is missing."""
    # Remove quoted names and URIs first: they can contain `;` and `,`.
    value = re.sub(r'"(?:\\.|[^"\\])*"|<[^>]*>', "", value).split(",")[0]
    found = re.search(rf";\s*{name}\s*=\s*([^\s;]+)", value, re.IGNORECASE)
    return found[1] if found else ""


def uri_of(value: str) -> str:
    """Return the URI of a Contact, Route or Record-Route value, without display name and header parameters."""
    found = re.search(r"<\s*([^>\s]+)\s*>", value) or re.match(r"\s*([^\s;,]+)", value)
    return found[1] if found else ""


@dataclass(frozen=True)
class Answer:
    """The answer in the server's SDP (RFC 3264 section 6.1)."""

    source: Address
    formats: dict[int, str]  # payload type -> codec, without telephone-event
    direction: str

    @classmethod
    def parse(cls, sdp: str) -> Answer | None:
        """Return the first audio stream of an SDP body. None if there is none, or if it cannot be read."""
        session, *media = re.split(r"^m=", sdp.replace("\r", ""), flags=re.MULTILINE)
        audio = next((part for part in media if part.startswith("audio ")), "")
        line = re.match(r"audio (\d+)(?:/\d+)? \S+((?: \d+)+)", audio)
        both = f"{audio}\n{session}"  # a line of the stream has precedence over one of the session
        host = re.search(r"^c=IN IP[46] ([^\s/]+)", both, re.MULTILINE)
        if not line or not host:
            return None
        names = {number: codec for codec, number in CODECS.items()}
        rtpmaps = re.findall(r"^a=rtpmap:(\d+) ([^/\s]+)", audio, re.MULTILINE)
        names.update((int(number), name.upper()) for number, name in rtpmaps)
        formats = {int(n): names.get(int(n), "unknown") for n in line[2].split()}
        direction = re.search(r"^a=(sendrecv|sendonly|recvonly|inactive)\b", both, re.MULTILINE)
        return cls(
            Address(host[1], int(line[1])),
            {number: name for number, name in formats.items() if name != "TELEPHONE-EVENT"},
            direction[1] if direction else "sendrecv",
        )


# ── sound ───────────────────────────────────────────────────────────────────────────────────────────────────


class Packet(NamedTuple):
    """One RTP packet (RFC 3550 section 5.1)."""

    when: float  # monotonic seconds
    source: Address
    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes

    @classmethod
    def parse(cls, data: bytes, source: Address, when: float) -> Packet | None:
        """Return the RTP packet in a datagram, or None if the datagram has none."""
        if len(data) < 12 or data[0] >> 6 != 2:
            return None
        _, marker_and_type, sequence, timestamp, ssrc = struct.unpack("!BBHII", data[:12])
        start, end = 12 + 4 * (data[0] & 15), len(data)
        if data[0] & 0x10:  # header extension
            start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
        if data[0] & 0x20:  # padding; its last octet is its length
            end -= data[-1]
        return cls(when, source, marker_and_type & 127, sequence, timestamp, ssrc, data[start:end])


@dataclass
class Reports:
    """The RTCP that has arrived (RFC 3550 section 6)."""

    count: int = 0  # sender reports
    cname: str = ""
    goodbye: bool = False

    def read(self, data: bytes) -> None:
        """Read one compound packet."""
        while len(data) >= 8 and data[0] >> 6 == 2:
            size = 4 + 4 * int.from_bytes(data[2:4], "big")
            self.count += data[1] == 200
            self.goodbye |= data[1] == 203
            if data[1] == 202 and data[8:9] == b"\x01":  # SDES; usually CNAME is the first item of a chunk
                self.cname = data[10 : 10 + data[9]].decode("utf-8", "replace")
            data = data[size:]


def mulaw(octet: int) -> int:
    """Return a mu-law octet as a 16 bit sample (ITU-T G.711)."""
    octet = ~octet & 0xFF
    size = ((((octet & 15) << 3) + 132) << (octet >> 4 & 7)) - 132
    return -size if octet & 0x80 else size


def alaw(octet: int) -> int:
    """Return an A-law octet as a 16 bit sample (ITU-T G.711)."""
    octet ^= 0x55
    segment, size = octet >> 4 & 7, ((octet & 15) << 4) + 8
    if segment:
        size = (size + 256) << (segment - 1)
    return size if octet & 0x80 else -size


DECODE = {"PCMU": [mulaw(octet) for octet in range(256)], "PCMA": [alaw(octet) for octet in range(256)]}


def loudness(samples: Sequence[int]) -> float:
    """Return the RMS level in dBFS. A full-scale square wave has 0, digital silence minus infinity."""
    power = sum(sample * sample for sample in samples) / max(1, len(samples))
    return 10 * math.log10(power / 32768**2) if power else -math.inf


def save_wav(path: str, packets: Sequence[Packet], codec: str, seconds: float) -> None:
    """Write the music as 8 kHz 16 bit mono. The timestamp is the place of a packet, so a lost packet leaves a gap."""
    sound = [0] * int(8000 * (seconds + 1))
    for packet in packets:
        at = (packet.timestamp - packets[0].timestamp) % 2**32
        if at + len(packet.payload) <= len(sound):  # `judge_continuity` reports a timestamp beyond the end
            sound[at : at + len(packet.payload)] = [DECODE[codec][octet] for octet in packet.payload]
    while sound and not sound[-1]:
        sound.pop()
    with wave.open(path, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(struct.pack(f"<{len(sound)}h", *sound))


# ── the call ────────────────────────────────────────────────────────────────────────────────────────────────


def resolve(host: str, port: int, family: int = 0) -> tuple[socket.AddressFamily, Address]:
    """Return an address of a host. IPv4 comes first: "localhost" may have both kinds, and the server only IPv4."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, family, socket.SOCK_DGRAM)
    except OSError as error:
        raise Unreachable(
            f"{host!r} has no address ({error.strerror}): check the spelling, or give the IP address of the server"
        ) from None
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return found[0][0], Address(str(found[0][4][0]), int(found[0][4][1]))


def local_address(family: int, towards: Address) -> str:
    """Return this machine's address on the route to `towards`. To find it, connect a UDP socket; this sends nothing."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(towards)
        except OSError as error:
            raise Unreachable(
                f"this machine has no route to {towards} ({error.strerror}): check the address, and that this "
                "machine is connected to the server's network"
            ) from None
        return str(probe.getsockname()[0])


def lan_address(family: int) -> str:
    """Return this machine's address on its network; empty if it has none. 192.0.2.1 stands for any other host."""
    try:
        found = local_address(family, Address("192.0.2.1" if family == socket.AF_INET else "2001:db8::1", 9))
    except Unreachable:
        return ""
    return "" if is_loopback(found) else found


def is_loopback(host: str) -> bool:
    """Return whether an address stands for this machine itself."""
    return host.startswith("127.") or host == "::1"


def is_refused(family: int, server: Address) -> bool:
    """Return whether ICMP reports the port as closed. Sends empty lines, which SIP ignores (RFC 5626 3.5.1)."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.settimeout(0.3)
        try:
            probe.connect(server)
            probe.send(b"\r\n\r\n")
            probe.recv(1)
        except ConnectionRefusedError:
            return True
        except OSError:
            pass
    return False


@dataclass
class Call:
    """A phone that makes one call: `dial`, `hear`, `hang_up`. Its attributes record the events of the call.

    Times are monotonic seconds. All other steps call `listen`, which reads everything that arrives.
    """

    server: Address
    media: str = ""  # the address for the music; empty: this machine's address on the route to the server
    codecs: Sequence[str] = tuple(CODECS)
    dialled: Dialled = NO_NAME
    options: Message | None = None  # final reply to OPTIONS
    final: Message | None = None  # final reply to INVITE
    answer: Answer | None = None
    bye: Message | None = None  # final reply to this phone's BYE
    server_bye: Message | None = None  # BYE from the server
    packets: list[Packet] = field(default_factory=list)
    reports: Reports = field(default_factory=Reports)
    seconds: float = 0.0  # how long to listen
    grace: float = GRACE
    acked: float = 0.0  # when the first ACK was sent
    repeats: int = 0  # retransmissions of the final reply to INVITE
    strays: int = 0  # datagrams that belong to no request of this call
    translated: bool = False  # whether this is the second call to a server in a container: its music has another source
    trouble: str = ""  # why a request could not be sent
    took: dict[str, float] = field(default_factory=dict)  # method -> seconds to its final reply

    def __enter__(self) -> Call:
        self.family, self.peer = resolve(*self.server)
        self.local = local_address(self.family, self.peer)
        self.media = self.media or self.local
        self.media_family = socket.AF_INET6 if ":" in self.media else socket.AF_INET
        self.by_tcp, self.stream = self.dialled.transport == "TCP", b""
        self.sip = connect(self.family, self.peer) if self.by_tcp else open_port(self.family)
        self.rtp, self.rtcp = open_pair(self.media_family)
        self.contact = Address(self.local, self.sip.getsockname()[1])
        self.listens_at = Address(self.media, self.rtp.getsockname()[1])
        self.uri, self.from_tag = f"sip:{self.dialled.user}@{self.server}", str(secrets.randbelow(2**31))
        self.call_id, self.cseq = secrets.token_hex(12), 100 + secrets.randbelow(1000)
        self.replies: dict[str, list[Message]] = {}  # by the branch of the request
        self.ack: tuple[bytes, Address] | None = None
        self.invite_branch = ""
        self.closed = False  # whether the server has closed the TCP connection
        self.over = False  # whether this phone has hung up
        self.clocks_apart = time.monotonic() - time.time()
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up, also on Ctrl-C: otherwise the server plays on to a closed port."""
        try:
            self.hang_up()
        finally:
            for sock in (self.sip, self.rtp, self.rtcp):
                sock.close()

    @property
    def is_up(self) -> bool:
        """Return whether a dialog exists that neither side has ended."""
        return bool(self.final and self.final.status < 300 and not self.bye and not self.server_bye)

    @property
    def ended(self) -> float:
        """Return when the call was over: at the reply to BYE."""
        last = self.bye or self.server_bye
        return last.when if last else math.inf

    @property
    def heard(self) -> list[Packet]:
        """Return the packets that arrived within `seconds` after the first one, and before the end of the call."""
        return [p for p in self.packets if p.when < min(self.packets[0].when + self.seconds, self.ended)]

    # the steps of a call

    def ask_options(self) -> None:
        """Send OPTIONS outside of any dialog (section 11)."""
        self.options = self.ask("OPTIONS", self.uri, self.peer, REPLY_WITHIN)

    def dial(self) -> None:
        """Send INVITE with the offer. `take_reply` sends the ACK as soon as the final reply arrives."""
        self.ask("INVITE", self.uri, self.peer, RESPONSE_WITHIN, self.offer())

    def hear(self, seconds: float, first_within: float) -> None:
        """Listen for `seconds` from the first packet on. Give up if no packet arrives within `first_within` seconds."""
        self.seconds = seconds
        self.listen(time.monotonic() + first_within, lambda: bool(self.packets or self.server_bye))
        if self.packets:
            self.listen(self.packets[0].when + seconds, lambda: bool(self.server_bye))

    def hang_up(self) -> None:
        """End the call by BYE, or by CANCEL while it rings (RFC 3261 sections 15.1.1 and 9.1)."""
        if self.over:
            return
        self.over = True
        if self.invite_branch and not self.final:
            self.listen(time.monotonic() + T1, lambda: bool(self.final))  # the final reply may be on its way
            if not self.final and self.replies[self.invite_branch]:
                self.ask("CANCEL", self.uri, self.peer, REPLY_WITHIN)
                self.listen(time.monotonic() + T1, lambda: bool(self.final))
        if self.is_up and self.final:
            uri, to = self.remote_target(self.final)
            self.bye = self.ask("BYE", uri, to, 2 * REPLY_WITHIN)
            if not self.bye and to != self.peer:  # the music must stop even if the Contact is unreachable
                self.ask("BYE", uri, self.peer, REPLY_WITHIN)

    # SIP

    def offer(self) -> str:
        """Return the SDP of a held phone that only listens, as Grandstream phones write it (RFC 7088 section 2.1)."""
        version = "IP6" if self.media_family == socket.AF_INET6 else "IP4"
        numbers = [CODECS[codec] for codec in self.codecs]
        lines = [
            "v=0",
            f"o=201 8000 8000 IN {version} {self.media}",
            "s=SIP Call",
            f"c=IN {version} {self.media}",
            "t=0 0",
            f"m=audio {self.listens_at.port} RTP/AVP {' '.join(map(str, numbers))} {TELEPHONE_EVENT}",
            "a=recvonly",
            *(f"a=rtpmap:{CODECS[codec]} {codec}/8000" for codec in self.codecs),
            "a=ptime:20",
            f"a=rtpmap:{TELEPHONE_EVENT} telephone-event/8000",
            f"a=fmtp:{TELEPHONE_EVENT} 0-15",
        ]
        return "\r\n".join(lines) + "\r\n"

    def request(self, method: str, uri: str, branch: str, body: str = "") -> bytes:
        """Return a request as bytes. Within a dialog it has the To tag and the route set (section 12.2.1.1)."""
        of_invite = method in ("ACK", "CANCEL")  # these have the CSeq number of the INVITE
        to = f"<{self.uri}>"
        routes: list[str] = []
        if self.final and method != "CANCEL":
            to = self.final.header("to") or to
            if self.final.status < 300:
                routes = route_set(self.final)
        if not of_invite:
            self.cseq += 1
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/{self.dialled.transport} {self.contact};branch={branch};rport",
            *(f"Route: {route}" for route in routes),
            "Max-Forwards: 70",
            f'From: "Check" <sip:201@{bracketed(self.local)}>;tag={self.from_tag}',
            f"To: {to}",
            f"Call-ID: {self.call_id}{'-ping' if method == 'OPTIONS' else ''}",  # OPTIONS is not part of the call
            f"CSeq: {self.cseq} {method}",
            f"Contact: <sip:201@{self.contact}{';transport=tcp' if self.by_tcp else ''}>",
            "User-Agent: test_sip_client",
            "Allow: INVITE, ACK, OPTIONS, CANCEL, BYE",
            "Supported: replaces, path",
            "Accept: application/sdp",
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body.encode())}",
        ]
        return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()

    def ask(self, method: str, uri: str, to: Address, within: float, body: str = "") -> Message | None:
        """Run a client transaction (section 17.1): send, retransmit, and return the final reply or None."""
        branch = "z9hG4bK" + secrets.token_hex(8)
        if method == "CANCEL":
            branch = self.invite_branch  # CANCEL has the branch of the INVITE (section 9.1)
        elif method == "INVITE":
            self.invite_branch = branch
        data = self.request(method, uri, branch, body)
        replies = self.replies.setdefault(branch, [])

        def final() -> Message | None:
            return next((r for r in replies if r.status >= 200 and r.method == method), None)

        started = send_at = time.monotonic()
        gap = T1
        while not final():
            now = time.monotonic()
            rings = method == "INVITE" and bool(replies)  # Timer A stops (section 17.1.1.2)
            end = started + (RING_WITHIN if rings else within)
            if now >= end:
                return None
            if now >= send_at and not rings:
                self.send(data, to)
                send_at = math.inf if self.by_tcp else now + gap  # TCP itself repeats what is lost
                gap = 2 * gap if method == "INVITE" else min(2 * gap, T2)  # Timer A, Timer E
            self.listen(end if rings else min(send_at, end), lambda: bool(final()))
        reply = final()
        self.took[method] = max(0.0, reply.when - started) if reply else within
        return reply

    def remote_target(self, reply: Message) -> tuple[str, Address]:
        """Return the URI of the Contact, and the address for requests: that of the first Route, if there is one."""
        uri = uri_of(reply.header("contact")) or self.uri
        next_hop = next((uri_of(route) for route in route_set(reply)), uri)
        hop = re.match(r"sips?:(?:[^@]*@)?(\[[^\]]+\]|[^:;?\]]+)(?::(\d+))?", next_hop)
        try:
            return uri, resolve(hop[1], int(hop[2] or 5060), self.family)[1] if hop else self.peer
        except Unreachable:
            return uri, self.peer

    def take_sip(self, data: bytes, source: Address, when: float) -> None:
        """Handle a datagram on the SIP port: a response, or a request of the server."""
        message = Message.parse(data, when)
        if message is None:
            self.strays += bool(data.strip(b"\r\n\0"))  # an empty datagram is a keep-alive
        elif message.status:
            self.take_reply(message)
        elif message.method != "ACK":
            known = message.header("call-id") == self.call_id and self.final is not None
            verdict = {"BYE": "200 OK", "OPTIONS": "200 OK"}.get(message.method, "403 Forbidden")
            if message.method == "BYE" and known:
                self.server_bye = self.server_bye or message
            lines = [f"SIP/2.0 {verdict if known else '481 Call/Transaction Does Not Exist'}"]
            names = ("via", "from", "to", "call-id", "cseq")
            lines += [f"{name.title()}: {value}" for name, value in message.headers if name in names]
            self.send(("\r\n".join(lines) + "\r\nContent-Length: 0\r\n\r\n").encode(), source)

    def take_stream(self, data: bytes, when: float) -> None:
        """Cut what came by TCP into messages, by their Content-Length (section 18.3). Nothing at all is the end."""
        self.closed = not data
        self.trouble = self.trouble or ("" if data else "the server closed the connection")
        self.stream = (self.stream + data).lstrip(b"\r\n")
        while b"\r\n\r\n" in self.stream:
            head = self.stream.partition(b"\r\n\r\n")[0]
            length = re.search(rb"\n(?:content-length|l)[ \t]*:[ \t]*(\d+)", head, re.IGNORECASE)
            end = len(head) + 4 + int(length[1] if length else 0)
            if len(self.stream) < end:
                return
            message, self.stream = self.stream[:end], self.stream[end:].lstrip(b"\r\n")
            self.take_sip(message, self.peer, when)

    def take_reply(self, message: Message) -> None:
        """Match a response to its request by the branch (section 17.1.3). Send the ACK for a final reply to INVITE."""
        branch = parameter(message.header("via"), "branch")
        if branch not in self.replies:
            self.strays += 1
            return
        self.replies[branch].append(message)
        if message.method != "INVITE" or message.status < 200:
            return
        # Each final reply to INVITE gets an ACK, and so does each retransmission of the reply (13.2.2.4, 17.1.1.2).
        if self.ack is None:
            self.final, self.acked = message, time.monotonic()
            if message.status < 300:
                self.answer = Answer.parse(message.body)
                uri, to = self.remote_target(message)
                self.ack = self.request("ACK", uri, "z9hG4bK" + secrets.token_hex(8)), to
            else:
                self.ack = self.request("ACK", self.uri, branch), self.peer
        else:
            self.repeats += 1
        self.send(*self.ack)

    # sockets

    def send(self, data: bytes, to: Address) -> None:
        """Send a message once. An error is only recorded in `trouble`: the network may lose the message anyway."""
        try:
            if self.by_tcp:
                self.sip.sendall(data)
            else:
                self.sip.sendto(data, to)
        except OSError as error:
            self.trouble = f"cannot send to {to}: {error.strerror}"

    def listen(self, until: float, enough: Callable[[], bool] = lambda: False) -> None:
        """Read all that arrives until the time `until`, or until `enough` returns true."""
        while not enough() and (left := until - time.monotonic()) > 0:
            sockets = [self.rtp, self.rtcp] if self.closed else [self.sip, self.rtp, self.rtcp]
            for sock in select.select(sockets, [], [], left)[0]:
                try:
                    data, source, when = self.receive(sock)
                except OSError:  # an ICMP error for an earlier datagram
                    continue
                if sock is self.sip and self.by_tcp:
                    self.take_stream(data, when)
                elif sock is self.sip:
                    self.take_sip(data, source, when)
                elif sock is self.rtcp:
                    self.reports.read(data)
                elif packet := Packet.parse(data, source, when):
                    self.packets.append(packet)

    def receive(self, sock: socket.socket) -> tuple[bytes, Address, float]:
        """Return a datagram, its source, and the time of arrival, by the kernel's stamp or by the clock."""
        if self.by_tcp and sock is self.sip:
            return sock.recv(65535), self.peer, time.monotonic()
        if STAMP is None:
            data, source = sock.recvfrom(65535)
            return data, Address(*source[:2]), time.monotonic()
        data, extra, _, source = sock.recvmsg(65535, 64)
        now = when = time.monotonic()
        for _, kind, stamp in extra:
            if kind == STAMP and len(stamp) == struct.calcsize("@ll"):
                seconds, nanoseconds = struct.unpack("@ll", stamp)
                when = seconds + nanoseconds / 1e9 + self.clocks_apart
        # A stamp is useless if the wall clock was set during the call.
        return data, Address(*source[:2]), when if now - 5 < when <= now + 0.01 else now


def route_set(reply: Message) -> list[str]:
    """Return the proxies that requested to stay in the path, nearest first (section 12.1.2)."""
    return re.findall(r"[^,\s]*<[^>]*>[^,]*", ",".join(reply.all("record-route")))[::-1]


def open_port(family: int, port: int = 0) -> socket.socket:
    """Return a UDP socket on every address of this machine, with arrival stamps if the system has them."""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.bind(("", port))
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    if STAMP is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, STAMP, 1)
    return sock


def connect(family: int, server: Address) -> socket.socket:
    """Return a TCP connection to the server."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(REPLY_WITHIN)
    try:
        sock.connect(server)
    except OSError as error:
        sock.close()
        raise Unreachable(
            f"no TCP connection to {server} ({error.strerror or error}): check the address, and port "
            f"{server.port}/tcp in each firewall; without transport=tcp this check calls by UDP"
        ) from None
    return sock


def open_pair(family: int) -> tuple[socket.socket, socket.socket]:
    """Return sockets at an even port for RTP and at the odd port above for RTCP (RFC 3550 section 11)."""
    for _ in range(100):
        rtp = open_port(family)
        port = rtp.getsockname()[1]
        if port % 2 == 0:
            with contextlib.suppress(OSError):
                return rtp, open_port(family, port + 1)
        rtp.close()
    raise Unreachable("this machine has no two free UDP ports in a row: close other programs, then try again")


def make_call(
    server: Address,
    media: str = "",
    codecs: Sequence[str] = tuple(CODECS),
    seconds: float = 5.0,
    first_within: float = MUSIC_WITHIN,
    grace: float = GRACE,
    dialled: Dialled = NO_NAME,
) -> Call:
    """Make one whole call, from OPTIONS to the silence after BYE.

    A server in a container cannot send to this machine's 127.0.0.1: for the server that is the container itself. So
    if a call over loopback reaches the server from another address, or has no music there, a second call listens at an
    address of this machine that the server can reach.
    """
    with Call(server, media, codecs, dialled, grace=grace) as call:
        call.ask_options()
        other = "" if media or not is_loopback(call.media) else seen_address(call)
        if other:
            why = f"the server does not see this machine as {call.media}, so this listens at {other}"
        elif call.options:
            call.dial()
        if call.answer:
            call.hear(seconds, first_within)
            call.hang_up()
            if call.packets:
                call.listen(time.monotonic() + grace + QUIET)
        silent = call.answer and not call.packets and not call.server_bye
        refused = call.final and call.final.status == 488
        if (silent or refused) and not media and is_loopback(call.media):
            other = lan_address(call.family)
            what = (
                f"the server refused to send music to {call.media}" if refused else f"no music arrived at {call.media}"
            )
            why = f"{what}. A server in a container cannot send there, so this calls again and listens at {other}"
    if not other:
        return call
    print(f"info  {why}")
    call = make_call(server, other, codecs, seconds, MUSIC_WITHIN, grace, dialled)
    call.translated = True
    return call


def seen_address(call: Call) -> str:
    """Return an address of this machine that the server can reach, if it sees another one than `call.media`.

    The reply to OPTIONS has the address that the server sees (RFC 3581 section 4). Empty if that is `call.media`, or
    if the reply does not say it.
    """
    seen = parameter(call.options.header("via"), "received").strip("[]") if call.options else ""
    if not seen or is_loopback(seen):
        return ""
    return seen if is_own(seen) else lan_address(call.family)


def is_own(host: str) -> bool:
    """Return whether `host` is an address of this machine."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


# ── the judgement ───────────────────────────────────────────────────────────────────────────────────────────


class Finding(NamedTuple):
    """One line of the report."""

    name: str
    ok: bool | None  # None: for information only
    text: str
    advice: str = ""  # what to do next when it is not ok

    def __str__(self) -> str:
        mark = {True: "ok", False: "FAIL", None: "info"}[self.ok]
        start, indent = f"{mark:4}  {self.name:9} ", " " * 16
        lines = textwrap.wrap(self.text, 110, initial_indent=start, subsequent_indent=indent)
        if self.ok is False:
            lines += textwrap.wrap(self.advice, 110, initial_indent=indent, subsequent_indent=indent)
        return "\n".join(lines)


REFUSED = {
    401: "the server wants a password, and phones send none for their music: switch that off in its settings",
    403: "the server does not let this machine call: see which addresses its settings allow, and its log",
    404: "the server does not know the number 123. Is this the music server? Check address and port",
    488: "the server cannot play what this call asks for, or not to this address; the line above says why. "
    "Try without --codec and --media, then see the server's log",
    503: "the server runs, but takes no call now. It is starting, or full, or stopping: its log says which. "
    "Try again in 5 seconds",
}
REFUSED |= {407: REFUSED[401], 415: REFUSED[488], 606: REFUSED[488], 486: REFUSED[503], 600: REFUSED[503]}
SEE_LOG = "see the server's log: it has the reason"
REPORT = "This is a fault of the server: report it with its log, MOH_LOG=debug"


def judge_signalling(call: Call) -> list[Finding]:
    """Judge the replies to OPTIONS and INVITE."""
    final = call.final
    if not call.options:
        return [Finding("OPTIONS", False, f"no reply from {call.server} in {REPLY_WITHIN:g} s", no_reply(call))]
    status, text = call.options.status, f"{call.options.reason} in {1000 * call.took['OPTIONS']:.1f} ms"
    found = [Finding("OPTIONS", status == 200, text, REFUSED.get(status, SEE_LOG))]
    cancelled = "CANCEL" in call.took
    if not final or cancelled:
        text = f"no answer in {RESPONSE_WITHIN:g} s"
        if cancelled:
            text = f"it rang for {RING_WITHIN:g} s and did not answer, so the call was cancelled"
        advice = (
            "the server replied to OPTIONS, so the network is fine: see in the server's log what it did with the INVITE"
        )
        return [*found, Finding("INVITE", False, text, advice)]
    if final.status >= 300:
        text = final.reason
        text += "".join(f"; Warning: {warning}" for warning in final.all("warning"))
        text += "".join(f"; Retry-After: {wait}" for wait in final.all("retry-after"))
        return [*found, Finding("INVITE", False, text, REFUSED.get(final.status, SEE_LOG))]
    text = f"{final.reason} in {1000 * call.took['INVITE']:.1f} ms"
    if call.answer:
        text += f": {'/'.join(call.answer.formats.values())} from {call.answer.source}"
    advice = fault_of_answer(call, final)
    return [*found, Finding("INVITE", not advice, text, advice)]


def no_reply(call: Call) -> str:
    """Return what to check if the server does not reply at all."""
    port = call.server.port
    if is_refused(call.family, call.peer):
        return f"no program listens on UDP port {port} there: start the server, or give the port that it uses"
    if call.strays:
        return "something came back, but not a reply to this request (wrong Via branch): is this a SIP server?"
    return (
        "check, in this order: is the server running? Is the address right? If MOH_ALLOW is set there, does it name "
        f"this machine's network? Does a firewall drop UDP port {port}? In a container, is the port published as "
        f"UDP (docker: -p {port}:{port}/udp)? {call.trouble}"
    )


def fault_of_answer(call: Call, final: Message) -> str:
    """Return what is wrong with a 2xx to the INVITE, and what to do; empty if nothing is wrong."""
    contact = uri_of(final.header("contact"))
    if not parameter(final.header("to"), "tag"):
        return f"its To has no tag, so no phone can hang up this call (RFC 3261 section 12.1.1). {REPORT}"
    if not contact:
        return f"it has no Contact, so no phone can send ACK and BYE (RFC 3261 section 12.1.1). {REPORT}"
    if not call.answer or not final.header("content-type").lower().startswith("application/sdp"):
        return f"it has no SDP answer with an audio stream (RFC 3261 section 13.3.1.4): {final.body!r}. {REPORT}"
    port, direction = call.answer.source.port, call.answer.direction
    if not port or direction != "sendonly":
        return (
            f"it says a={direction} and port {port}; expected a=sendonly and a port, since we offered a=recvonly "
            f"(RFC 3264 section 6.1). {REPORT}"
        )
    if call.repeats > 2:
        return (
            f"the server sent it {call.repeats} times more, so our ACK did not arrive. ACK went to {contact}. If "
            "phones cannot reach that address, set MOH_ADVERTISED_ADDRESS on the server to one that they can "
            f"reach. {call.trouble}"
        )
    return ""


def judge_media(call: Call) -> list[Finding]:
    """Judge the packets without their timing: source, form, continuity, loudness."""
    answer, heard = call.answer, call.heard
    if not answer:
        return []
    if not heard:
        advice = (
            f"it should come by UDP from {answer.source} to {call.listens_at}. Does a firewall drop it, on this "
            f"machine or on the way? Can the server reach {call.media}? If not, give another address of this "
            "machine by --media. If the server is in a container: set MOH_ADVERTISED_ADDRESS there. If that does not "
            "help, use host networking. The server's log says where it sends."
        )
        return [Finding("music", False, "the server answered the call, but no packet of music arrived", advice)]
    delay = 1000 * (heard[0].when - call.acked)
    found = [Finding("music", True, f"first packet {delay:.0f} ms after the ACK, at {call.listens_at}")]

    sources = sorted({packet.source for packet in heard})
    fits = sources == [answer.source]
    text = ", ".join(map(str, sources)) + (", as answered" if fits else f", but the answer said {answer.source}")
    if not fits and (call.translated or call.peer.host == call.listens_at.host):
        # Packets of a container have its own address as source on the machine that it runs on. Docker's bridge gives
        # them that machine's address for all other machines.
        fits = {source.port for source in sources} == {answer.source.port}
        text += " (the container's own address, which only this machine sees)" if fits else ""
    advice = (
        "some phones play only what comes from the address in the answer, so they would be silent (RFC 7088 "
        "section 2.1): set MOH_ADVERTISED_ADDRESS on the server. If it is in a container, and that does not help, "
        "use host networking"
    )
    found.append(Finding("source", fits, text, advice))

    types, sizes = {packet.payload_type for packet in heard}, {len(packet.payload) for packet in heard}
    ssrcs = {packet.ssrc for packet in heard}
    codec = answer.formats.get(heard[0].payload_type, "")
    text = f"payload type {listed(types)} ({codec or 'not in the answer'}), {listed(sizes)} octets each, "
    fits = len(types) == len(ssrcs) == 1 and sizes == {OCTETS} and bool(codec)
    advice = (
        f"expected payload type {listed(set(answer.formats))}, {OCTETS} octets (20 ms) in each packet, and one "
        "SSRC. Two SSRCs mean that two streams arrive here: does a second server or an old call still play?"
    )
    found.append(Finding("form", fits, f"{text}{len(ssrcs)} SSRC", advice))
    found.append(judge_continuity(heard))
    found.append(judge_loudness(codec, b"".join(packet.payload for packet in heard)))
    reports = call.reports
    text = f"{reports.count} sender reports, CNAME {reports.cname or 'not given'}, "
    text += "BYE at the end" if reports.goodbye else "no BYE at the end"
    return [*found, Finding("RTCP", None, text if reports.count else "no sender report arrived")]


def judge_continuity(heard: Sequence[Packet]) -> Finding:
    """Judge whether sequence numbers go up by 1 and timestamps by 160. Both wrap around (RFC 3550 section 5.1)."""
    highest = heard[0].sequence
    stamps: dict[int, int] = {}  # sequence number, unwrapped -> timestamp
    late = double = 0
    for packet in heard:
        number = highest + (packet.sequence - highest + 2**15) % 2**16 - 2**15
        double += number in stamps
        late += number < highest and number not in stamps
        stamps.setdefault(number, packet.timestamp)
        highest = max(highest, number)
    lost = max(stamps) - min(stamps) + 1 - len(stamps)
    order = sorted(stamps)
    steps = [((stamps[b] - stamps[a]) % 2**32, SAMPLES * (b - a)) for a, b in zip(order, order[1:])]
    odd = [step for step, due in steps if step != due]
    text = f"{len(heard)}; {lost} lost, {double} duplicated, {late} out of order; timestamps +{SAMPLES} each"
    if odd:
        text += f" but {len(odd)}: +{listed(set(odd))}"
        advice = (
            "a phone plays such steps as clicks or gaps. See in the server's log whether the music of this call "
            "stopped and started again"
        )
    else:
        advice = (
            "the network loses, duplicates or reorders packets, or two streams arrive here. Try again on the "
            "server's own machine: if all is well there, it is the network"
        )
    return Finding("packets", not odd and 100 * (lost + double + late) <= len(heard), text, advice)


def judge_loudness(codec: str, octets: bytes) -> Finding:
    """Judge whether it is music and not silence; for a codec without a decoder here, only whether the octets differ."""
    advice = "it is silence, not music. Does the server's music file begin with silence? Play the file, or try another"
    if codec not in DECODE:
        kinds = len(set(octets))
        return Finding("loudness", kinds > 1, f"not decoded; {kinds} different octets", advice)
    level = loudness([DECODE[codec][octet] for octet in octets])
    text = f"{level:.0f} dBFS" if level > -math.inf else "digital silence"
    return Finding("loudness", level > SILENCE_DBFS, text, advice)


def judge_pace(call: Call) -> list[Finding]:
    """Judge spacing and jitter. No test uses this, since a busy machine can delay the packets of a good server."""
    heard = call.heard
    if len(heard) < 10:
        return []
    gaps = [1000 * (b.when - a.when) for a, b in zip(heard, heard[1:])]
    jitter = 0.0  # RFC 3550 section 6.4.1, in ms
    for a, b, gap in zip(heard, heard[1:], gaps):
        sent = ((b.timestamp - a.timestamp + 2**31) % 2**32 - 2**31) / 8  # samples to ms
        jitter += (abs(gap - sent) - jitter) / 16
    bursts = sum(gap < 5 for gap in gaps) / len(gaps)
    lasted = min(call.seconds, call.ended - heard[0].when)
    due = round(lasted / PACKET_TIME)
    gaps.sort()
    median, p99 = gaps[len(gaps) // 2], gaps[int(0.99 * (len(gaps) - 1))]
    text = (
        f"{len(heard)} of {due} packets due in {lasted:.1f} s; spacing p50 {median:.1f}, p99 {p99:.1f}, "
        f"max {gaps[-1]:.1f} ms; jitter {jitter:.2f} ms"
    )
    advice = (
        f"one packet is due each 20 ms; {bursts:.0%} came within 5 ms of the one before. Is the server's machine "
        "busy, or this one, or the wireless network? Try again by cable. If nothing is busy, the server sends in "
        "bursts, which phones play badly"
    )
    even = 15 <= median <= 25 and bursts <= 0.05
    if even:
        advice = (
            "the spacing is right, the count is not: the network lost packets, the music stopped, or two streams "
            "arrived. The lines above say which"
        )
    return [Finding("pace", even and 0.9 <= len(heard) / max(1, due) <= 1.1, text, advice)]


def judge_ending(call: Call) -> list[Finding]:
    """Judge the reply to BYE, and the silence after BYE."""
    if not call.final or call.final.status >= 300:
        return []
    if call.server_bye:
        why = call.server_bye.header("reason") or "it gave no reason"
        text = f"the server hung up after {call.server_bye.when - call.acked:.1f} s: {why}"
        advice = "see the server's log: the music failed, or the call reached a limit such as MOH_MAX_CALL"
        found = [Finding("BYE", False, text, advice)]
    elif call.bye and call.bye.status == 200:
        found = [Finding("BYE", True, f"{call.bye.reason} in {1000 * call.took['BYE']:.1f} ms")]
    else:
        text = call.bye.reason if call.bye else f"no reply in {2 * REPLY_WITHIN:g} s"
        advice = (
            f"BYE went to {uri_of(call.final.header('contact'))}, the server's Contact. If phones cannot reach "
            "that address, set MOH_ADVERTISED_ADDRESS on the server to one that they can reach. "
            f"{call.trouble}"
        )
        return [Finding("BYE", False, text, advice)]
    if not call.packets:
        return found
    tail = [packet.when - call.ended for packet in call.packets if packet.when > call.ended]
    text = f"last packet {1000 * tail[-1]:.0f} ms after the BYE" if tail else "no packet after the BYE"
    if tail and tail[-1] > call.grace:
        advice = "the server plays on after the end of the call: see its log, then restart it"
        return [*found, Finding("silence", False, f"{text}, {len(tail)} in all", advice)]
    return [*found, Finding("silence", True, f"{text}; listened for {QUIET:g} s")]


def listed(numbers: set[int]) -> str:
    """Return up to three numbers as text, or the lowest and the highest if there are more."""
    few = sorted(numbers)
    return " or ".join(map(str, few)) if len(few) <= 3 else f"{few[0]} to {few[-1]}"


def test_a_caller_hears_music_until_bye(server: tuple[str, int]) -> None:
    """Judge answer, source, form, continuity and loudness of the music, and the silence after BYE, but no timing."""
    call = make_call(Address(*server[:2]), seconds=2.0, grace=1.0)
    for finding in [*judge_signalling(call), *judge_media(call), *judge_ending(call)]:
        assert finding.ok is not False, f"{finding.name}: {finding.text}. What to do: {finding.advice}"
    assert len(call.heard) >= 10, f"only {len(call.heard)} packets in 2 s; see the server's log: did the music stop?"


# ── the report ──────────────────────────────────────────────────────────────────────────────────────────────


def host_and_port(text: str) -> Address:
    """Parse HOST, HOST:PORT, an IPv6 address with or without brackets, or a SIP URI as the server's log prints it.

    The default port is 5060. What a copied line has around the address is left out. Japanese input methods write
    digits, colons and full stops of full width; they mean the same.
    """
    typed = unicodedata.normalize("NFKC", text).replace("\N{IDEOGRAPHIC FULL STOP}", ".").strip(" \t\r\n.,;'\"`")
    if found := re.search(r"<([^<>]*)>", typed):
        typed = found[1].strip()
    scheme = re.match(r"(sips?):(?!\d+$)", typed, re.IGNORECASE)
    if scheme and scheme[1].lower() == "sips":
        raise argparse.ArgumentTypeError(
            f"{text!r} asks for TLS; this check calls by UDP, so expected sip: and not sips:"
        )
    uri = typed[scheme.end() :] if scheme else typed
    target, *parameters = uri.rpartition("@")[2].partition("?")[0].split(";")
    for parameter_text in parameters:
        name, _, value = parameter_text.strip().lower().partition("=")
        if name == "transport" and value not in ("udp", "tcp"):
            raise argparse.ArgumentTypeError(f"{text!r} asks for {value or name}; this check calls by UDP or TCP")
    host = target.strip()
    with contextlib.suppress(ValueError):
        if ":" in host and ipaddress.ip_address(host):  # IPv6 without brackets, and so without a port
            return Address(host, 5060)
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+(?:%\w+)?)\]|([^\s:\[\]@/<>]+))(?::([^\s:/]*))?", host)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r}; expected HOST, HOST:PORT, [IPv6]:PORT or sip:123@HOST:PORT")
    port = found[3] or "5060"
    if not (port.isascii() and port.isdigit() and 1 <= int(port[:9]) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} has the port {port!r}; expected a number from 1 to 65535")
    if (found[2] or "").upper() == "ADDRESS-OF-THIS-MACHINE":
        raise argparse.ArgumentTypeError(
            "write the address of the machine that runs the container in place of ADDRESS-OF-THIS-MACHINE; "
            "'hostname -I' prints it there"
        )
    return Address(found[1] or found[2], int(port))


def server_and_name(text: str) -> tuple[Address, Dialled]:
    """Parse what `host_and_port` parses, and what a SIP URI dials: its user part and `;transport=tcp`.

    A character that no user part may have becomes its escape (RFC 3261 section 25.1), as a phone sends it.
    """
    address = host_and_port(text)
    before, at, after = re.sub("[@\N{FULLWIDTH COMMERCIAL AT}]", "@", text).rpartition("@")
    user = re.sub(r"^.*<|^[\s'\"`]*", "", before)
    user = re.sub(r"^sip[:\N{FULLWIDTH COLON}]", "", user.strip(), flags=re.IGNORECASE)
    user = urllib.parse.quote(unicodedata.normalize("NFC", user), safe="%&=+$,;?/:-_.!~*'()")
    by_tcp = re.search(
        r";\s*transport\s*=\s*tcp\b", unicodedata.normalize("NFKC", after if at else text), re.IGNORECASE
    )
    return address, Dialled(user or NO_NAME.user, "TCP" if by_tcp else "UDP")


def duration(text: str) -> float:
    """Parse the seconds to listen, from 1 to 3600."""
    if not re.fullmatch(r"\d+(\.\d*)?", text) or not 1 <= float(text) <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a number of seconds from 1 to 3600")
    return float(text)


def verdict(call: Call, findings: Sequence[Finding]) -> str:
    """Return the last line of the report: all findings in one sentence."""
    failed = [finding.name for finding in findings if finding.ok is False]
    if not call.packets:
        return f"no music: {failed[0] if failed else 'call'} failed; the lines under FAIL say what to do"
    heard = call.heard
    if failed:
        names = ", ".join(failed)
        return f"{len(heard)} packets of music arrived, but {names} failed; the lines under FAIL say what to do"
    spacing = 1000 * (heard[-1].when - heard[0].when) / max(1, len(heard) - 1)
    level = next(f.text for f in findings if f.name == "loudness")
    return f"music is playing: {len(heard)} packets in {call.seconds:.1f} s, {spacing:.1f} ms apart, {level}"


def main() -> int:
    """Make one call as the command line says. The module's docstring lists the exit statuses."""
    parser = argparse.ArgumentParser(description="Call the music-on-hold server and judge what arrives.")
    where = "address of the server, also as sip:NAME@HOST:PORT for the music NAME (default 127.0.0.1:5060)"
    parser.add_argument("server", metavar="HOST[:PORT]", nargs="?", type=server_and_name, help=where)
    parser.add_argument("--seconds", type=duration, default=5.0, help="how long to listen (default 5)")
    parser.add_argument("--codec", choices=list(CODECS), help="offer only this codec (default: all of them)")
    where = "listen at this address of this machine (default: the one on the route to HOST)"
    parser.add_argument("--media", metavar="ADDRESS", type=ipaddress.ip_address, help=where)
    parser.add_argument("--save", metavar="FILE.wav", help="write the music to this file, 8 kHz 16 bit mono")
    options, others = parser.parse_known_args()
    if others:
        port = (
            f"; a port is written behind a colon: {options.server[0].host}:{others[0]}" if others[0].isdigit() else ""
        )
        parser.error(f"unrecognized arguments: {' '.join(others)}{port}")
    if options.save and options.codec == "G722":
        parser.error("--save can write PCMU and PCMA, not G722")
    server, dialled = options.server or (Address("127.0.0.1", 5060), NO_NAME)
    # SIGTERM hangs up the call, like Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    codecs = [options.codec] if options.codec else list(CODECS)
    by = " by TCP" if dialled.transport == "TCP" else ""
    print(f"calling sip:{dialled.user}@{server}{by}, to listen for {options.seconds:g} s", flush=True)
    # On loopback the first packet arrives at once. If the server is in a container, no packet arrives.
    media = str(options.media or "")
    try:
        loopback = is_loopback(resolve(*server)[1].host) and not media
        within = 1.5 if loopback else MUSIC_WITHIN
        call = make_call(server, media, codecs, options.seconds, within, dialled=dialled)
    except Unreachable as error:
        print(f"FAIL  {error}")
        return 1
    except KeyboardInterrupt:
        print("stopped, and hung up")
        return 1
    findings = [*judge_signalling(call), *judge_media(call), *judge_pace(call), *judge_ending(call)]
    if options.save and call.heard and call.answer:
        codec = call.answer.formats.get(call.heard[0].payload_type, "")
        try:
            if codec not in DECODE:
                raise OSError(0, f"no decoder for {codec or 'this payload type'}")
            save_wav(options.save, call.heard, codec, options.seconds)
            findings.append(Finding("saved", True, options.save))
        except OSError as error:
            findings.append(Finding("saved", False, f"{options.save}: {error.strerror}", "give another file name"))
    print(*findings, sep="\n")
    print(verdict(call, findings))
    return int(any(finding.ok is False for finding in findings))


if __name__ == "__main__":
    sys.exit(main())
