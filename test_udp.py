#!/usr/bin/env python3
"""Check that the server replies: send SIP OPTIONS over UDP and judge the reply (RFC 3261 section 11).

    python test_udp.py [HOST[:PORT]] [--wait SECONDS] [--music]    also as a SIP URI, such as sip:123@192.0.2.2:5060

Without HOST it asks the server of this machine, at the address in MOH_BIND and MOH_SIP_PORT; by default this is
127.0.0.1:5060.

With --wait it asks again, for so many seconds, while the server is not ready yet (503) or does not know yet whether it
can play the owner's music. If that is not known in the end, all is well: callers hear the built-in piece.

With --music it also asks whether music leaves the server. A server that does not know plays a few packets to itself,
and knows in a moment. It answers this to its own machine alone; asked from another one, --music changes nothing.

It prints one line. The exit status is 0 (a well-formed 200), 1 (any other result) or 2 (bad usage), so it is also the
health check of the container. OPTIONS gets the status that an INVITE would get, but starts no call. Asked from its own
machine, the server also says in a Warning if it cannot play the owner's music; the exit status is 1 then, too.

It needs only the standard library and none of the server's own code. So it runs wherever it is copied to, and reads
SIP independently. pytest collects `test_options_is_answered` and fills in `server`, a (host, port).
"""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import os
import re
import secrets
import socket
import sys
import time
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

T1 = 0.5  # seconds until the first retransmission; each gap is twice the one before (Timer E, RFC 3261 17.1.2.2)
GIVE_UP_AFTER = 2.0  # seconds; a healthy server replies within milliseconds
UNDECIDED = "callers hear the built-in piece, since the music is still being prepared"
"""The Warning of a server that does not know yet whether it can play the owner's music."""
LISTENING = "it is being found out whether music leaves the server"
"""The Warning of a server that will know that in a moment."""
LISTEN_WITHIN = 12.0  # seconds; the server gives up after five
COMPACT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "l": "content-length"}  # RFC 3261 7.3.3


class Server(NamedTuple):
    """The address of the server."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Question:
    """The parts of an OPTIONS that the reply must repeat (RFC 3261 section 8.2.6.2)."""

    branch: str
    from_tag: str
    call_id: str
    cseq: str

    @classmethod
    def new(cls) -> Question:
        """Return new random identifiers. `z9hG4bK` is the magic cookie of RFC 3261 section 8.1.1.7."""
        cseq = f"{secrets.randbelow(9000) + 1} OPTIONS"
        return cls("z9hG4bK" + secrets.token_hex(8), secrets.token_hex(4), secrets.token_hex(12), cseq)

    def to_bytes(self, server: Server, local: Server, music: bool = False) -> bytes:
        """Return the request. `rport` asks for a reply to the source port of the request (RFC 3581)."""
        lines = [
            f"OPTIONS sip:123@{server} SIP/2.0",
            f"Via: SIP/2.0/UDP {local};branch={self.branch};rport",
            "Max-Forwards: 70",
            f"From: <sip:check@{local}>;tag={self.from_tag}",
            f"To: <sip:123@{server}>",
            f"Call-ID: {self.call_id}",
            f"CSeq: {self.cseq}",
            f"Contact: <sip:check@{local}>",
            "Accept: application/sdp",
            "User-Agent: test_udp",
            *(["Moh-Check: music"] if music else []),
            "Content-Length: 0",
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


@dataclass(frozen=True)
class Reply:
    """The final response: its status, its header fields by long lower-case name, and the time until it came."""

    status: int
    reason: str
    fields: dict[str, str]
    milliseconds: float

    @classmethod
    def parse(cls, data: bytes, milliseconds: float) -> Reply | None:
        """Return the SIP response in a datagram, or None if there is none. It has the first field of each name."""
        head = re.split(r"\r?\n\r?\n", data.decode("utf-8", "replace"), maxsplit=1)[0]
        first, *lines = re.sub(r"\r?\n[ \t]+", " ", head).splitlines() or [""]
        if not (start := re.fullmatch(r"SIP/2\.0 +(\d{3}) ?(.*)", first, re.IGNORECASE)):
            return None
        fields: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields.setdefault(COMPACT.get(name, name), value.strip())
        return cls(int(start[1]), start[2].strip(), fields, milliseconds)


def warning(reply: Reply) -> str:
    """Return the text of the reply's Warning; empty if there is none (RFC 3261 section 20.43)."""
    found = re.fullmatch(r'399 \S+ "((?:[^"\\]|\\.)*)"', reply.fields.get("warning", ""))
    return re.sub(r"\\(.)", r"\1", found[1]) if found else ""


def is_undecided(reply: Reply) -> bool:
    """Return whether the server will know more in some seconds."""
    return reply.status == 503 or (reply.status == 200 and warning(reply) in (UNDECIDED, LISTENING))


class NoReply(Exception):
    """Raised if no usable reply came back. The text tells the user what to do."""


def ask(server: Server, music: bool = False) -> tuple[Question, Reply]:
    """Send OPTIONS, retransmit it, and return it with its final reply. Raises NoReply after GIVE_UP_AFTER seconds."""
    question = Question.new()
    started = time.monotonic()
    refused = ""
    with open_socket(server) as sock:
        request = question.to_bytes(server, Server(*sock.getsockname()[:2]), music)
        gap, send_at, end = T1, started, started + GIVE_UP_AFTER
        while (now := time.monotonic()) < end:
            try:
                if now >= send_at:
                    send_at, gap = now + gap, 2 * gap
                    sock.send(request)
                sock.settimeout(max(0.001, min(send_at, end) - time.monotonic()))
                reply = Reply.parse(sock.recv(65535), (time.monotonic() - started) * 1000)
            except socket.timeout:  # in Python 3.9 this is not the same as TimeoutError
                continue
            except ConnectionRefusedError:
                # ICMP says that the port is closed. Go on: the server may be starting.
                refused = f"no program listens on UDP port {server.port} there. Start the server, or give its port"
                time.sleep(0.05)
                continue
            except OSError as error:
                raise NoReply(
                    f"cannot send to {server} ({error.strerror or error}). Check this machine's network and firewall"
                ) from None
            if reply and reply.status >= 200:  # 1xx is only provisional
                return question, reply
    advice = refused or (
        "check that it runs, that this is its address, that no firewall drops it, and that the port of a "
        f"container is published as UDP (docker: -p {server.port}:{server.port}/udp)"
    )
    raise NoReply(f"{server} did not reply to OPTIONS within {GIVE_UP_AFTER:g} s: {advice}")


def open_socket(server: Server) -> socket.socket:
    """Return a UDP socket that is connected to the server, so that a closed port is reported as an error."""
    try:
        found = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise NoReply(
            f"{server.host!r} has no address ({error.strerror}). Check the spelling, or give the server's IP address"
        ) from None
    # IPv4 addresses come first: "localhost" can have both kinds of address, and the server only IPv4.
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    family, kind, protocol, _, address = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.connect(address)
    except OSError as error:
        sock.close()
        raise NoReply(
            f"this machine has no route to {server} ({error.strerror}). Check the address and the network"
        ) from None
    return sock


def fault(question: Question, reply: Reply) -> str:
    """Return what is wrong with the reply, and what to do; empty if nothing is wrong."""
    status = f"{reply.status} {reply.reason}".strip()
    again = f". Try again in {wait} s" if (wait := reply.fields.get("retry-after")) else ""
    if reply.status == 503:
        why = "It is starting, or full, or stopping: its log says which"
        return f"answered {status}: it runs, but takes no call now. {why}{again}"
    if reply.status in (486, 600):
        return f"answered {status}: it runs, but takes no more calls now{again}"
    if reply.status != 200:
        return f"answered {status} instead of 200: see its log for the reason. Is this the music server?"
    if (trouble := warning(reply)) and trouble != UNDECIDED:
        return f"answered {status}, but something is wrong: {trouble}"
    if wrong := malformed(question, reply):
        return f"sent {wrong}. Is this the music server? Then report the fault with its log, MOH_LOG=debug"
    return ""


def malformed(question: Question, reply: Reply) -> str:
    """Return the first header field of the reply that a phone would not accept, with the section of RFC 3261.

    Empty if there is none.
    """
    via, to = reply.fields.get("via", ""), reply.fields.get("to", "")
    if parameter(via, "branch") != question.branch:
        return f"Via {via!r} without our branch {question.branch}, so phones would ignore the reply (8.2.6.2)"
    if not parameter(via, "rport"):
        return f"Via {via!r} without a value for rport, so no reply passes a router (RFC 3581 section 4)"
    if parameter(reply.fields.get("from", ""), "tag") != question.from_tag:
        return f"From {reply.fields.get('from')!r} without our tag {question.from_tag} (8.2.6.2)"
    if reply.fields.get("call-id") != question.call_id:
        return f"Call-ID {reply.fields.get('call-id')!r} instead of {question.call_id!r} (8.2.6.2)"
    if reply.fields.get("cseq", "").split() != question.cseq.split():
        return f"CSeq {reply.fields.get('cseq')!r} instead of {question.cseq!r} (8.2.6.2)"
    if not parameter(to, "tag"):
        return f"To {to!r} without a tag, which each final reply needs (8.2.6.2)"
    allow = reply.fields.get("allow", "")
    if missing := {"INVITE", "ACK", "BYE"} - set(re.split(r"[\s,]+", allow)):
        return f"Allow {allow!r} without {', '.join(sorted(missing))}, which a music server needs (11.2)"
    return ""


def parameter(value: str, name: str) -> str:
    """Return the parameter `;name=…` of the first element of a header value; empty if it is missing or has no value."""
    # Remove quoted names and URIs first: they can contain `;` and `,`.
    value = re.sub(r'"(?:\\.|[^"\\])*"|<[^>]*>', "", value).split(",")[0]
    found = re.search(rf";\s*{name}\s*=\s*([^\s;]+)", value, re.IGNORECASE)
    return found[1] if found else ""


def test_options_is_answered(server: tuple[str, int]) -> None:
    """The server answers OPTIONS with 200 in a form that phones accept."""
    question, reply = ask(Server(*server[:2]))
    wrong = fault(question, reply)
    assert not wrong, f"{server[0]}:{server[1]} {wrong}"


def host_and_port(text: str) -> Server:
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
        if name == "transport" and value != "udp":
            raise argparse.ArgumentTypeError(
                f"{text!r} asks for {value or name}; this check calls by UDP, so leave {name} out"
            )
    host = target.strip()
    with contextlib.suppress(ValueError):
        if ":" in host and ipaddress.ip_address(host):  # IPv6 without brackets, and so without a port
            return Server(host, 5060)
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
    return Server(found[1] or found[2], int(port))


def server_here(environment: Mapping[str, str]) -> Server:
    """Return the address of the server whose settings are in ``environment``. Raises ValueError if they have none."""
    bind = ipaddress.ip_address(environment.get("MOH_BIND", "").strip().strip("[]") or "0.0.0.0")
    bind = getattr(bind, "ipv4_mapped", None) or bind
    port = int(environment.get("MOH_SIP_PORT", "").strip() or "5060")
    return Server("127.0.0.1" if bind.is_unspecified else str(bind), port)  # a server on :: has IPv4 as well


def main() -> int:
    """Ask once as the command line says. The module's docstring lists the exit statuses."""
    parser = argparse.ArgumentParser(description="Check that the SIP server replies. Exit status: 0 yes, 1 no.")
    where = (
        "address of the server, also as sip:123@HOST:PORT (default: by MOH_BIND and MOH_SIP_PORT, or 127.0.0.1:5060)"
    )
    parser.add_argument("server", metavar="HOST[:PORT]", nargs="?", type=host_and_port, help=where)
    text = "while the server starts (503) or still prepares the music, ask again for so long"
    parser.add_argument("--wait", metavar="SECONDS", type=float, default=0.0, help=text)
    text = "also ask whether music leaves the server; for the server of this machine"
    parser.add_argument("--music", action="store_true", help=text)
    arguments = parser.parse_args()
    try:
        server: Server = arguments.server or server_here(os.environ)
    except ValueError as error:
        parser.error(f"{error}; expected an IP address in MOH_BIND and a port in MOH_SIP_PORT")
    started = time.monotonic()
    try:
        question, reply = ask(server, arguments.music)
        while is_undecided(reply):
            listens = warning(reply) == LISTENING
            if time.monotonic() >= started + (max(LISTEN_WITHIN, arguments.wait) if listens else arguments.wait):
                break
            time.sleep(0.05 if listens else 0.2)
            question, reply = ask(server, arguments.music)
    except NoReply as error:
        print(f"FAIL {error}")
        return 1
    if wrong := fault(question, reply):
        print(f"FAIL {server} {wrong}")
        return 1
    more = f"; {UNDECIDED}" if warning(reply) == UNDECIDED else ""
    print(f"ok   {server} answered OPTIONS with 200 in {reply.milliseconds:.1f} ms{more}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
