"""Octets that leave for each octet of a forged source address: ``python -m bench.attack amplification``, as root.

Each message is sent to a real server from a public address of its own, once or as often as its row says. That address
then listens for SIP and for music and sends nothing, as the victim of a forged source address would. The figures are
octets of UDP payload, from the first message until the server repeats nothing any more.

In some rows the attacker also has an address of its own. There it learns the tag of the server, which it then writes
into messages with the victim's address. The messages to and from the attacker's own address are not counted.

A second table follows: the music that an attacker causes with its own address, by ``bench.attack.unasked_music``.
"""

from __future__ import annotations

import argparse
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.attack import unasked_music
from bench.attack.scene import HEAD, OFFER, PHONE, SERVER, add_server, enter_namespace
from bench.common.program import environment
from moh.mastering.prepare import BUILTIN

ATTACKER = "203.0.113.66"
"""The attacker's own address."""
NEIGHBOUR = "192.168.1.60"
"""A host in the server's network. A message from the internet names it; octets that arrive there are counted, too."""
PATIENCE = 5.0
"""Seconds that the attacker waits for an answer."""
REPEATS = (0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5)
"""The seconds at which a repeated message is sent."""


@dataclass
class Case:
    """One way to abuse the server, and the octets that it took and brought."""

    name: str
    method: str = "INVITE"
    formats: str = ""
    """The formats of the offer. If empty, the message has no offer."""
    fields: str = ""
    raw: bytes = b""
    """The whole message, for a case that sends no proper request."""
    times: tuple[float, ...] = (0.0,)
    host: str = ""
    """The victim's address."""
    learn: str = ""
    """How the attacker learns the server's tag: by a "call" of its own, or by a "CANCEL" for the victim's INVITE."""
    via: str = ""
    """Parameters that the message adds to its Via."""
    octets_in: int = 0
    octets_out: int = 0
    datagrams_out: int = 0
    sockets: list[socket.socket] = field(default_factory=list)

    def message(self, number: int, method: str = "", tag: str = "") -> bytes:
        """The message that is sent. Within a call, ``tag`` is the tag of the server."""
        if self.raw:
            return self.raw
        method = method or self.method
        body = OFFER.format(host=self.host, formats=self.formats) if self.formats and method == "INVITE" else ""
        kind = "Content-Type: application/sdp\r\n" if body else ""
        head = HEAD.format(method=method, host=self.host, server=SERVER[0], number=number, tag=tag, via=self.via)
        return (head + self.fields.format(host=self.host) + kind + "\r\n" + body).encode()

    def send(self, data: bytes) -> None:
        """Send ``data`` from the victim's address."""
        self.sockets[0].sendto(data, SERVER)
        self.octets_in += len(data)

    def run(self, number: int) -> None:
        """Send the message. If the attacker learns the server's tag, send an ACK with that tag, too."""
        if self.learn == "call":
            before = 1000 + number
            own = self.message(before).replace(self.host.encode(), ATTACKER.encode())
            self.send(self.message(before, "ACK", tag_of(own)))
        self.send(self.message(number))
        if self.learn == "CANCEL":
            time.sleep(0.2)  # until the server knows the INVITE: another of its workers reads the CANCEL
            self.send(self.message(number, "ACK", tag_of(self.message(number, "CANCEL"))))


def tag_of(data: bytes) -> str:
    """Send ``data`` from the attacker's own address and return the tag in the answer's To.

    Raises ``OSError`` if no answer comes.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind((ATTACKER, 0))
        own.settimeout(PATIENCE)
        own.sendto(data.replace(b";branch", b";rport;branch", 1), SERVER)
        return own.recv(65535).decode().partition("\r\nTo: ")[2].partition("\r\n")[0].partition(">")[2]


def cases() -> list[Case]:
    """Return all cases. The victim of each has an address of its own."""
    chosen = [
        Case("INVITE, as short as possible"),
        Case("INVITE with an offer, as short as possible", formats="0"),
        Case("INVITE with an offer, as a phone sends it", formats="0 8 9 101", fields=PHONE),
        Case("the same, repeated 6 times", formats="0 8 9 101", fields=PHONE, times=REPEATS),
        Case("INVITE that is refused (only G.729)", formats="18"),
        Case("OPTIONS", "OPTIONS"),
        Case("REGISTER", "REGISTER"),
        Case("BYE without a call", "BYE"),
        Case("CANCEL without a call", "CANCEL"),
        Case("an unknown method", "DANCE"),
        Case("a request without its header fields", raw=b"OPTIONS\r\nv:SIP/2.0/UDP a\r\n\r\n"),
        Case("garbage", raw=bytes(range(256))),
        Case("ACK with the tag of the attacker's own call, then INVITE", formats="0 8 9 101", fields=PHONE,
             learn="call"),
        Case("INVITE, CANCEL from the attacker's own address, ACK", formats="0 8 9 101", fields=PHONE,
             learn="CANCEL"),
        Case("INVITE with `maddr`, a neighbour of the server", formats="0 8 9 101", fields=PHONE,
             via=f";maddr={NEIGHBOUR}"),
        Case("INVITE from a private address", formats="0 8 9 101", fields=PHONE, host="192.168.1.50"),
    ]  # fmt: skip
    for number, case in enumerate(chosen, 1):
        case.host = case.host or f"198.51.100.{number}"
    return chosen


def measure(chosen: list[Case], seconds: float) -> None:
    """Send the messages of all cases, and count for ``seconds`` what arrives at the victims."""
    owners: dict[socket.socket, Case] = {}
    for case in chosen:
        own = [(case.host, port) for port in (5060, 4000, 4001)]
        for address in [*own, (NEIGHBOUR, 5060)] if case.via else own:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind(address)
            owners[sock] = case
            case.sockets.append(sock)
    began = time.monotonic()
    waiting = sorted((when, number) for number, case in enumerate(chosen) for when in case.times)
    while (now := time.monotonic() - began) < seconds:
        while waiting and waiting[0][0] <= now:
            number = waiting.pop(0)[1]
            chosen[number].run(number)
        for sock in select.select(list(owners), [], [], 0.1)[0]:
            owners[sock].octets_out += len(sock.recv(65535))
            owners[sock].datagrams_out += 1


def table(chosen: list[Case]) -> str:
    """Return the table of all cases in Markdown."""
    rows = ["| message with a forged source address | octets in | octets out | datagrams out | out for 1 in |"]
    rows.append("|---|--:|--:|--:|--:|")
    for case in chosen:
        factor = case.octets_out / case.octets_in
        rows.append(f"| {case.name} | {case.octets_in} | {case.octets_out} | {case.datagrams_out} | {factor:.1f} |")
    return "\n".join(rows)


def main(options: Sequence[str]) -> int:
    """Measure all cases and print their table."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.attack amplification", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--seconds", type=float, default=70.0, help="how long to listen; a call without ACK takes 64")
    add_server(parser)
    given = parser.parse_args(options)
    enter_namespace("amplification", [*options])
    chosen = cases()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for host in {SERVER[0], ATTACKER, NEIGHBOUR, *(case.host for case in chosen)}:
        subprocess.run(["ip", "address", "add", f"{host}/32", "dev", "lo"], check=True)
    with tempfile.TemporaryDirectory(prefix="moh-bench-") as folder:
        settings = environment(MOH_SIP_PORT=SERVER[1], MOH_CACHE=folder, MOH_MUSIC=BUILTIN)
        log = Path(folder) / "log"
        with log.open("wb") as out:
            server = subprocess.Popen([sys.executable, str(given.server)], env=settings, stdout=out, stderr=out)
        try:
            while "ready:" not in log.read_text():
                if server.poll() is not None:
                    print(log.read_text(), file=sys.stderr)
                    return 1
                time.sleep(0.1)
            measure(chosen, given.seconds)
        finally:
            server.terminate()
            server.wait(10)
    print(table(chosen), flush=True)
    print("\n" + unasked_music.measure(given.server))
    return 0
