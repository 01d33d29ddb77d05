"""Whether the ports of a container are published, as far as that shows from inside of it.

The container's gateway is the machine that runs it. A datagram that is sent to a published port of the machine comes
back into the container. A port that is not published answers with ICMP "port unreachable". Where neither comes, a
firewall is between, and nothing is known.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from secrets import token_bytes
from typing import Optional

from ..common.addresses import is_private
from ..common.config import Settings
from ..rtp.port_pool import shared_port
from .finding import Finding, finding

ROUTES = Path("/proc/net/route")
PATIENCE = 0.4
"""Seconds to wait for a datagram that comes back, or for ICMP."""
KEEP_ALIVE = b"\r\n\r\n"
"""What is sent to the SIP port: RFC 5626 §3.5.1 has it ignored."""
MOST_TRIED = 20
"""RTP ports that are tried, until one is free."""


def gateway() -> str:
    """The IPv4 address of the default route's gateway; empty where there is none."""
    try:
        rows = [line.split() for line in ROUTES.read_text(encoding="ascii").splitlines()[1:]]
    except OSError:
        return ""
    found = next((row[2] for row in rows if row[1] == "00000000" and row[2] != "00000000"), "")
    return socket.inet_ntoa(struct.pack("@I", int(found, 16))) if found else ""


def published_findings(settings: Settings, runs: bool) -> Iterator[Finding]:
    """What a container behind a bridge can know of its published ports. ``runs``: our server has the SIP port."""
    machine = gateway()
    first, last = settings.rtp_ports
    if runs and machine and is_refused(machine, settings.sip_port):
        yield finding("sip-not-published", port=settings.sip_port)
    port = _free_port(first, last)
    comes_back = _comes_back(machine, port) if machine and port else None
    if comes_back is None:
        yield finding("rtp-unknown", first=first, last=last)
    elif comes_back:
        yield finding("rtp-published", port=port)
    else:
        # between private addresses music arrives all the same (docs/no-music.md)
        outside = settings.advertised_address and not is_private(settings.advertised_address)
        yield finding("rtp-not-published", "warning" if outside else "", first=first, last=last, port=port)


def is_refused(machine: str, port: int) -> bool:
    """Whether the machine answers with ICMP that no program has the UDP port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return _send(sock, (machine, port), KEEP_ALIVE) and _waits_in_vain(sock)


def _free_port(first: int, last: int) -> int:
    """A port of the range that neither a call nor another program has; 0 where none of the last ones is free."""
    for port in range(shared_port(first, last) - 1, first - 1, -1)[:MOST_TRIED]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
            return port
    return 0


def _comes_back(machine: str, port: int) -> Optional[bool]:
    """Whether a datagram to ``port`` of the machine arrives here; ``None`` where nothing at all comes of it."""
    token = token_bytes(16)
    with ExitStack() as stack:
        ear, sender = (stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2))
        try:
            ear.bind(("0.0.0.0", port))
        except OSError:
            return None
        if not _send(sender, (machine, port), token):
            return None
        until = time.monotonic() + PATIENCE
        while (left := until - time.monotonic()) > 0:
            for sock in select.select([ear, sender], [], [], left)[0]:
                try:
                    if sock.recv(64) == token and sock is ear:
                        return True
                except ConnectionRefusedError:
                    return False
                except OSError:
                    return None
    return None


def _send(sock: socket.socket, to: tuple[str, int], data: bytes) -> bool:
    try:
        sock.connect(to)
        sock.send(data)
    except OSError:
        return False
    return True


def _waits_in_vain(sock: socket.socket) -> bool:
    sock.settimeout(PATIENCE)
    try:
        sock.recv(1)
    except ConnectionRefusedError:
        return True
    except OSError:
        pass
    return False
