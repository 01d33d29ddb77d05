"""A phone that writes raw SIP messages, and an ear that receives its music: for the tests that open sockets.

The module uses only the standard library, never ``moh``. So an independent reader of SIP and RTP checks the server.
"""

from __future__ import annotations

import re
import secrets
import socket
import struct
import time
from collections.abc import Sequence
from typing import NamedTuple, Optional

from tests.support.running import TEST_TIMEOUT, Address, free_ports

MAGIC = "z9hG4bK"


class Message(NamedTuple):
    """A SIP message: its first line, its header fields in order, its body, and its source address."""

    first: str
    fields: list[tuple[str, str]]
    body: str
    source: Address

    @classmethod
    def read(cls, data: bytes, source: Address) -> Message:
        head, _, body = data.decode().partition("\r\n\r\n")
        first, *lines = head.split("\r\n")
        fields = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        return cls(first, fields, body, source)

    @property
    def status(self) -> int:
        """Return the status of a response; 0 for a request."""
        return int(self.first.split()[1]) if self.first.startswith("SIP/2.0 ") else 0

    @property
    def method(self) -> str:
        """Return the method of a request, or of the request that a response answers."""
        return self.get("cseq").split()[1]

    def get(self, name: str) -> str:
        """Return the value of the first header field ``name``; empty if there is none."""
        return next((value for key, value in self.fields if key == name.lower()), "")

    @property
    def branch(self) -> str:
        return parameter(self.get("via"), "branch")

    @property
    def to_tag(self) -> str:
        return parameter(self.get("to"), "tag")

    def sdp(self, kind: str) -> str:
        """Return the value of the first line ``kind=`` of the session description."""
        return next((line[2:] for line in self.body.split("\r\n") if line.startswith(f"{kind}=")), "")

    @property
    def media(self) -> Address:
        """Return the address and port that the session description names for the music."""
        return self.sdp("c").split()[-1], int(self.sdp("m").split()[1])


def parameter(value: str, name: str) -> str:
    """Return the parameter ``;name=…`` of the header field ``value``; empty if there is none."""
    found = re.search(rf";\s*{name}\s*=\s*([^\s;,]+)", value)
    return found[1] if found else ""


def offer(media: Address, *lines: str, formats: str = "0 8 101") -> str:
    """Return a session description that asks for music at ``media``. ``lines`` replace ``a=recvonly``."""
    host, port = media
    family = "IP6" if ":" in host else "IP4"
    written = ["v=0", "o=phone 8000 8000 IN IP4 127.0.0.1", "s=-", f"c=IN {family} {host}", "t=0 0"]
    written += [f"m=audio {port} RTP/AVP {formats}", *(lines or ["a=recvonly"])]
    return "\r\n".join(written) + "\r\n"


class Phone:
    """One caller with a socket of its own. After ``call`` it has one call."""

    def __init__(self, server: Address, host: str = "127.0.0.1") -> None:
        self.server = server
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.address: Address = self.socket.getsockname()
        self.uri = f"sip:123@{server[0]}:{server[1]}"
        self.from_tag = secrets.token_hex(4)
        self.call_id = secrets.token_hex(8)
        self.to_tag = ""
        self.cseq = 0

    def __enter__(self) -> Phone:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def request(
        self, method: str, *lines: str, body: str = "", cseq: Optional[int] = None, branch: str = "", via: str = ""
    ) -> bytes:
        """Return a request. ACK and CANCEL have the last CSeq number again, all other methods take the next number."""
        if method not in ("ACK", "CANCEL"):
            self.cseq += 1
        host, port = self.address
        written = [
            f"{method} {self.uri} SIP/2.0",
            f"Via: {via or f'SIP/2.0/UDP {host}:{port};rport'};branch={branch or MAGIC + secrets.token_hex(8)}",
            "Max-Forwards: 70",
            f'From: "Front desk" <sip:201@{host}>;tag={self.from_tag}',
            f"To: <{self.uri}>" + (f";tag={self.to_tag}" if self.to_tag else ""),
            f"Call-ID: {self.call_id}",
            f"CSeq: {self.cseq if cseq is None else cseq} {method}",
            f"Contact: <sip:201@{host}:{port}>",
            *(["Content-Type: application/sdp"] if body else []),
            *lines,
            f"Content-Length: {len(body)}",
        ]
        return ("\r\n".join(written) + "\r\n\r\n" + body).encode()

    def invite(self, media: Optional[Address], *lines: str) -> bytes:
        """Return an INVITE for music at ``media``, without an offer if that is None. ``lines`` are header fields."""
        return self.request("INVITE", *lines, body=offer(media) if media else "")

    def send(self, data: bytes) -> None:
        self.socket.sendto(data, self.server)

    def receive(self, seconds: float = TEST_TIMEOUT) -> Message:
        """Return the next message. Fails if none arrives."""
        self.socket.settimeout(seconds)
        try:
            data, source = self.socket.recvfrom(65535)
        except socket.timeout:
            raise AssertionError(f"no SIP message within {seconds} s") from None
        return Message.read(data, source)

    def final(self, request: bytes) -> Message:
        """Wait for the final answer to ``request`` and return it. All other messages are skipped."""
        branch = Message.read(request, self.address).branch
        give_up = time.monotonic() + TEST_TIMEOUT
        while time.monotonic() < give_up:
            message = self.receive()
            if message.status >= 200 and message.branch == branch:
                return message
        raise AssertionError(f"no final answer to {request[:20]!r}")

    def ask(self, request: bytes) -> Message:
        """Send ``request``, wait for its final answer, and return it."""
        self.send(request)
        return self.final(request)

    def options(self) -> Message:
        return self.ask(self.request("OPTIONS"))

    def ack(self, body: str = "") -> None:
        self.send(self.request("ACK", body=body))

    def call(self, media: Optional[Address], *lines: str) -> Message:
        """Make a call (INVITE, 200, ACK). Return the 200. ``lines`` are header fields of the INVITE."""
        return self.dial(self.invite(media, *lines))

    def call_with(self, body: str) -> Message:
        """Make a call (INVITE, 200, ACK) whose INVITE has the session description ``body``. Return the 200."""
        return self.dial(self.request("INVITE", body=body))

    def dial(self, invite: bytes) -> Message:
        """Send ``invite``, wait for its 200 and acknowledge that. Return the 200."""
        return self.accept(self.ask(invite))

    def accept(self, answer: Message, body: str = "") -> Message:
        """Acknowledge ``answer``, a 200 to INVITE. From then on this phone is in the dialog of that 200."""
        assert answer.status == 200, answer
        self.to_tag = answer.to_tag
        self.ack(body)
        return answer

    def bye(self) -> Message:
        return self.ask(self.request("BYE"))

    def await_request(self, method: str, seconds: float = TEST_TIMEOUT) -> Message:
        """Wait for the server's next request with ``method``, and answer it with 200. Return the request."""
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            message = self.receive(seconds)
            if message.status == 0 and message.method == method:
                echoed = [f"{name}: {value}" for name, value in message.fields if name in ECHOED]
                self.send(("\r\n".join(["SIP/2.0 200 OK", *echoed, "Content-Length: 0"]) + "\r\n\r\n").encode())
                return message
        raise AssertionError(f"no {method} from the server")


ECHOED = ("via", "from", "to", "call-id", "cseq")


class Packet(NamedTuple):
    """An RTP packet (RFC 3550 section 5.1)."""

    size: int
    payload_type: int
    marked: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    source: Address


class Ear:
    """A receiver of RTP. It has an even port for RTP, and the next port for RTCP."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.address: Address = (host, port or free_ports(2))
        self._rtp, self._rtcp = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_DGRAM)
        self._rtp.bind(self.address)
        self._rtcp.bind((host, self.address[1] + 1))

    def __enter__(self) -> Ear:
        return self

    def __exit__(self, *_: object) -> None:
        self._rtp.close()
        self._rtcp.close()

    def packets(self, count: int) -> list[Packet]:
        """Return the next ``count`` RTP packets. Fails if they do not arrive."""
        return [self._packet() for _ in range(count)]

    def raw(self) -> bytes:
        """Return the next datagram at the RTP port, not parsed."""
        return self._datagram()[0]

    def _datagram(self) -> tuple[bytes, Address]:
        self._rtp.settimeout(TEST_TIMEOUT)
        try:
            return self._rtp.recvfrom(2048)
        except socket.timeout:
            raise AssertionError(f"no music at {self.address} within {TEST_TIMEOUT} s") from None

    def waiting(self) -> list[Packet]:
        """Return the packets that have arrived already."""
        self._rtp.setblocking(False)
        found: list[Packet] = []
        while True:
            try:
                data, source = self._rtp.recvfrom(2048)
            except BlockingIOError:
                return found
            found.append(self.read(data, source))

    def _packet(self) -> Packet:
        return self.read(*self._datagram())

    @staticmethod
    def read(data: bytes, source: Address) -> Packet:
        first, second, sequence, timestamp, ssrc = struct.unpack("!BBHII", data[:12])
        assert first == 0x80, "version 2, no padding, no extension, no contributing sources"
        return Packet(len(data), second & 127, second > 127, sequence, timestamp, ssrc, data[12:], source[:2])

    def falls_silent(self) -> bool:
        """Wait until no packet arrives for 0.3 s: the music has ended. Return false if it does not end."""
        give_up = time.monotonic() + TEST_TIMEOUT
        self._rtp.settimeout(0.3)
        while time.monotonic() < give_up:
            try:
                self._rtp.recv(2048)
            except socket.timeout:
                return True
        return False

    def heard_nothing(self) -> bool:
        """Return whether no packet has arrived since the last one that was read."""
        return not self.waiting()

    def report(self) -> tuple[bytes, Address]:
        """Return the next RTCP datagram and its source."""
        self._rtcp.settimeout(TEST_TIMEOUT)
        try:
            data, source = self._rtcp.recvfrom(2048)
        except socket.timeout:
            raise AssertionError(f"no RTCP at {self.address} within {TEST_TIMEOUT} s") from None
        return data, source[:2]

    def send_rtp(self, data: bytes, to: Address) -> None:
        """Send RTP from the port that receives it."""
        self._rtp.sendto(data, to)

    def send_rtcp(self, data: bytes, to: Address) -> None:
        """Send RTCP from the port of this ear that receives RTCP."""
        self._rtcp.sendto(data, to)


def has_no_gap(packets: Sequence[Packet]) -> bool:
    """Return whether ``packets`` are one stream in order, without a missing or a duplicated packet."""
    first = packets[0]
    numbers = [(packet.sequence - first.sequence) % 2**16 for packet in packets]
    return {packet.ssrc for packet in packets} == {first.ssrc} and numbers == list(range(len(packets)))


def is_music(packets: Sequence[Packet]) -> bool:
    """Return whether the payload varies as music does. Silence has only one or two different octets."""
    return len(set(b"".join(packet.payload for packet in packets))) > 50


def reports(data: bytes) -> list[int]:
    """Return the packet types in an RTCP datagram (RFC 3550 section 12.1).

    200 is a sender report, 202 a source description, 203 a BYE.
    """
    types = []
    while data:
        types.append(data[1])
        data = data[4 * (struct.unpack("!H", data[2:4])[0] + 1) :]
    return types
