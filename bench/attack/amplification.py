"""Octets that leave for each octet of a forged source address: ``python -m bench.attack amplification``, as root.

A real server in a network namespace of its own, whose loopback has public addresses (RFC 5737). From one of them each
message is sent once, or as often as its row says, and then that address listens and says nothing, as a victim would:
to SIP and to music. What is counted is UDP payload, from the first octet until all that the server repeats is over.

Some rows have a stranger who calls from an address of his own as well, to learn what he writes into a message in his
victim's name; what he sends and gets under his own is not counted.
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

from bench.attack.scene import HEAD, OFFER, PHONE, SERVER, add_server, enter_namespace
from bench.common.program import environment
from moh.mastering.prepare import BUILTIN

ATTACKER = "203.0.113.66"
"""The address of those who have one of their own."""
NEIGHBOUR = "192.168.1.60"
"""A host beside the server that a stranger on the internet names: what it gets is the row's."""
PATIENCE = 5.0
"""Seconds that an attacker waits for an answer of the server's."""


@dataclass
class Case:
    """One way to abuse the server, and what it came to."""

    name: str
    method: str = "INVITE"
    offer: str = ""
    lines: str = ""
    raw: bytes = b""
    times: tuple[float, ...] = (0.0,)
    host: str = ""
    learn: str = ""
    """How the attacker learns a tag of ours: by a "call" of his own before, or by a "CANCEL" of his victim's INVITE."""
    via: str = ""
    """Parameters of Via."""
    taken: int = 0
    given: int = 0
    messages: int = 0
    sockets: list[socket.socket] = field(default_factory=list)

    def message(self, number: int, method: str = "", tag: str = "") -> bytes:
        """What is sent; with ``tag``, which is ours, within a call."""
        if self.raw:
            return self.raw
        method = method or self.method
        body = OFFER.format(host=self.host, formats=self.offer) if self.offer and method == "INVITE" else ""
        kind = "Content-Type: application/sdp\r\n" if body else ""
        head = HEAD.format(method=method, host=self.host, server=SERVER[0], number=number, tag=tag, via=self.via)
        return (head + self.lines.format(host=self.host) + kind + "\r\n" + body).encode()

    def send(self, data: bytes) -> None:
        """In the name of the victim."""
        self.sockets[0].sendto(data, SERVER)
        self.taken += len(data)

    def run(self, number: int) -> None:
        """Send the message, and if there is a tag to be had, what can be done with it."""
        if self.learn == "call":
            before = 1000 + number
            mine = self.message(before).replace(self.host.encode(), ATTACKER.encode())
            self.send(self.message(before, "ACK", tag_of(mine)))
        self.send(self.message(number))
        if self.learn == "CANCEL":
            time.sleep(0.2)  # until the INVITE has been taken in: another worker reads what comes from elsewhere
            self.send(self.message(number, "ACK", tag_of(self.message(number, "CANCEL"))))


def tag_of(data: bytes) -> str:
    """The tag in the answer to what is sent from the attacker's own address, as To has it. ``OSError`` if none is."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind((ATTACKER, 0))
        own.settimeout(PATIENCE)
        own.sendto(data.replace(b";branch", b";rport;branch", 1), SERVER)
        return own.recv(65535).decode().partition("\r\nTo: ")[2].partition("\r\n")[0].partition(">")[2]


REPEATS = (0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5)


def cases() -> list[Case]:
    """All of them; each gets an address of its own."""
    chosen = [
        Case("INVITE, as short as can be"),
        Case("INVITE with an offer, as short as can be", offer="0"),
        Case("INVITE with an offer, as a phone sends it", offer="0 8 9 101", lines=PHONE),
        Case("the same, repeated 6 times", offer="0 8 9 101", lines=PHONE, times=REPEATS),
        Case("INVITE that is refused (only G.729)", offer="18"),
        Case("OPTIONS", "OPTIONS"),
        Case("REGISTER", "REGISTER"),
        Case("BYE for nobody", "BYE"),
        Case("CANCEL for nobody", "CANCEL"),
        Case("a method that nobody knows", "DANCE"),
        Case("a request without its header fields", raw=b"OPTIONS\r\nv:SIP/2.0/UDP a\r\n\r\n"),
        Case("garbage", raw=bytes(range(256))),
        Case("ACK with the tag of a call of one's own, then INVITE", offer="0 8 9 101", lines=PHONE, learn="call"),
        Case("INVITE that its sender cancels by his own address, ACK", offer="0 8 9 101", lines=PHONE, learn="CANCEL"),
        Case("INVITE with `maddr`, a neighbour of ours", offer="0 8 9 101", lines=PHONE, via=f";maddr={NEIGHBOUR}"),
        Case("INVITE of a private address", offer="0 8 9 101", lines=PHONE, host="192.168.1.50"),
    ]
    for number, case in enumerate(chosen, 1):
        case.host = case.host or f"198.51.100.{number}"
    return chosen


def measure(chosen: list[Case], seconds: float) -> None:
    """Send all, and listen."""
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
            owners[sock].given += len(sock.recv(65535))
            owners[sock].messages += 1


def table(chosen: list[Case]) -> str:
    """As README has it."""
    rows = ["| what comes in a stranger's name | octets in | octets out | datagrams out | out for 1 in |"]
    rows.append("|---|--:|--:|--:|--:|")
    for case in chosen:
        factor = case.given / case.taken
        rows.append(f"| {case.name} | {case.taken} | {case.given} | {case.messages} | {factor:.1f} |")
    return "\n".join(rows)


def main(words: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.attack amplification", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--seconds", type=float, default=70.0, help="how long to listen: 64 is a whole life of a call")
    add_server(parser)
    given = parser.parse_args(words)
    enter_namespace("amplification", [*words])
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
    print(table(chosen))
    return 0
