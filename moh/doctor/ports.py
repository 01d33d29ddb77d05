"""What the doctor finds out about ports while no server of this set-up runs: which program has them, if any."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ..common.config import Settings
from ..net.sockets import family_of
from ..rtp.port_pool import shared_port
from .finding import Finding, finding

UNKNOWN = "?"
"""The name of a program that the system does not tell this user."""
LISTENS = "0A"
"""The state of a TCP socket that listens, as ``/proc`` writes it."""


def port_findings(settings: Settings) -> Iterator[Finding]:
    """The ports of the settings that another program has; one finding says so where all are free."""
    taken = list(_taken(settings))
    yield from taken
    if not taken:
        first, last = settings.rtp_ports
        yield finding("ports-free", sip=settings.sip_port, rtp=f"{first}-{last}")


def _taken(settings: Settings) -> Iterator[Finding]:
    listeners = [("UDP", settings.sip_port, "MOH_SIP_PORT"), ("TCP", settings.sip_port, "MOH_SIP_PORT")]
    if settings.tls_cert:
        listeners.append(("TLS", settings.tls_port, "MOH_TLS_PORT"))
    for transport, port, setting in listeners:
        if is_taken(settings.bind, port, transport):
            yield finding(
                "port-taken", port=port, transport=transport, setting=setting, program=holder(port, transport)
            )
    if settings.http and is_taken(settings.http.host, settings.http.port, "TCP"):
        page = settings.http.port
        yield finding("port-taken", port=page, transport="TCP", setting="MOH_HTTP", program=holder(page, "TCP"))
    first, last = settings.rtp_ports
    shared = shared_port(first, last)
    if is_taken(settings.bind, shared, "UDP"):
        yield finding("rtp-port-taken", port=shared, first=first, last=last, program=holder(shared, "UDP"))


def is_taken(host: str, port: int, transport: str) -> bool:
    """Whether another socket has the port at the local address ``host``, so that the server could not listen there."""
    with socket.socket(family_of(host), socket.SOCK_DGRAM if transport == "UDP" else socket.SOCK_STREAM) as probe:
        if transport != "UDP":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            if transport != "UDP":
                probe.listen(1)
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def holder(port: int, transport: str) -> str:
    """The name and number of the program that has the port; ``UNKNOWN`` where the system does not tell."""
    inodes = set(_inodes(port, "udp" if transport == "UDP" else "tcp"))
    for folder in Path("/proc").iterdir() if inodes else ():
        if not folder.name.isdigit():
            continue
        with suppress(OSError):
            if any(os.readlink(entry.path) in inodes for entry in os.scandir(folder / "fd")):
                name = (folder / "comm").read_text(encoding="utf-8", errors="replace").strip()
                return f"{name} ({folder.name})"
    return UNKNOWN


def _inodes(port: int, protocol: str) -> Iterator[str]:
    """The sockets that have the port, as the links of ``/proc/PID/fd`` name them."""
    for name in (protocol, f"{protocol}6"):
        try:
            rows = Path("/proc/net", name).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, rows):
            listens = protocol == "udp" or fields[3] == LISTENS
            if listens and int(fields[1].rpartition(":")[2], 16) == port:
                yield f"socket:[{fields[9]}]"
