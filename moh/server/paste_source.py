"""What the lines around a pasted message say of its way: from which address to which, and by which transport."""

from __future__ import annotations

import re
from typing import NamedTuple, Optional

from ..common.actions import Address
from ..common.addresses import usual_text

LINES_BEFORE = 30
"""Lines before a message that are read; Wireshark shows most of them, the nearest ones count."""
MOST_READ = 500
"""Characters of such a line that are read; the search for addresses in a line of digits takes the square of its length.
"""
HOST = r"\[?([0-9a-fA-F.:]+?)\]?"
END_OF_OURS = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ ")
"""How a line of our log begins."""
OURS = re.compile(r"[<>] (from|to) (\S+):(\d+) by (UDP|TCP|TLS)")
ARROW = re.compile(rf"{HOST}:(\d+) *(?:-+>|→) *{HOST}:(\d+)(?!\d)")
"""sngrep, tshark and many others."""
TCPDUMP = re.compile(r"IP6? (\S+)\.(\d+) > (\S+)\.(\d+): ")
ASTERISK = re.compile(rf"(?:read from|Received SIP request .*? from) (UDP|TCP|TLS):{HOST}:(\d+)(?!\d)")
FREESWITCH = re.compile(r"bytes from (udp|tcp|tls)/\[([^\]]+)\]:(\d+)")
TRACEBACK = re.compile(rf"a message from {HOST}:(\d+): b['\"]")
WIRESHARK_HOSTS = re.compile(r"Internet Protocol Version \d, Src: (\S+?),? .*?Dst: (\S+)")
FOLLOWED = re.compile(rf"^Node 0: {HOST}:(\d+)$")
"""What tshark prints before a stream that it follows; node 0 has sent the lines that are not indented."""
WIRESHARK_PORTS = re.compile(r"(User Datagram|Transmission Control) Protocol, Src Port: (\d+), Dst Port: (\d+)")


class Way(NamedTuple):
    """The way of a message, as far as it is known."""

    source: Optional[Address] = None
    to: Optional[Address] = None
    transport: str = ""
    ours: bool = False
    """Whether the server itself has sent the message."""
    guess: str = ""
    """An address in a bare session description that is likely to be the phone's."""


def way_of(lines: list[str], place: int) -> Way:
    """What the line with the start of a message, at ``place``, and the lines before it say."""
    ports: Optional[tuple[str, str]] = None
    for line in reversed(lines[max(0, place - LINES_BEFORE) : place + 1]):
        if found := WIRESHARK_PORTS.search(line[:MOST_READ]):
            ports = (found[2], found[3])
        elif (way := _read(line, ports)) is not None:
            return way
    return Way()


def _read(line: str, ports: Optional[tuple[str, str]]) -> Optional[Way]:
    """The way that one line names. ``ports`` are those of a line of Wireshark that follows."""
    line = line[:MOST_READ]
    if found := OURS.search(line):
        there = _address(found[2], found[3])
        return Way(None, there, found[4], True) if found[1] == "to" else Way(there, None, found[4])
    if found := ASTERISK.search(line):
        return Way(_address(found[2], found[3]), None, found[1])
    if found := FREESWITCH.search(line):
        return Way(_address(found[2], found[3]), None, found[1].upper())
    if found := TRACEBACK.search(line) or FOLLOWED.search(line):
        return Way(_address(found[1], found[2]))
    if found := ARROW.search(line) or TCPDUMP.search(line):
        return Way(_address(found[1], found[2]), _address(found[3], found[4]))
    if found := WIRESHARK_HOSTS.search(line):
        source, to = ports or ("5060", "5060")
        return Way(_address(found[1], source), _address(found[2], to))
    return None


def _address(host: str, port: str) -> Optional[Address]:
    literal = usual_text(host.strip("[](),"))
    return Address(literal, int(port)) if literal and len(port) < 6 and 0 < int(port) < 65536 else None
