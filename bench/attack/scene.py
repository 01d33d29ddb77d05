"""What the attacks share: the address of the server, the network namespace, and the parts of messages.

The loopback of the namespace has public addresses (RFC 5737). So the server receives datagrams from public sources,
and no datagram leaves the machine.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from bench.common.program import SCRIPT

SERVER = ("203.0.113.1", 5070)
INSIDE = "MOH_BENCH_NAMESPACE"
"""The environment variable that is set if this process is in the namespace already."""
HEAD = (
    "{method} sip:1@{server} SIP/2.0\r\nVia: SIP/2.0/UDP {host};branch=z9hG4bK{number}{via}\r\n"
    "From: <sip:1@{host}>;tag=1\r\nTo: <sip:1@{server}>{tag}\r\nCall-ID: {number}\r\nCSeq: 1 {method}\r\n"
)
"""The shortest request without a fault."""
PHONE = (
    "Max-Forwards: 70\r\nContact: <sip:1@{host}>\r\nUser-Agent: phone 1.0\r\nSupported: replaces, timer\r\n"
    "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, REFER\r\n"
)
"""Header fields that a phone adds."""
OFFER = "v=0\r\nc=IN IP4 {host}\r\nm=audio 4000 RTP/AVP {formats}\r\n"


def enter_namespace(measurement: str, options: list[str]) -> None:
    """Replace this process by the same measurement in a network namespace, unless it runs in one already; needs root.

    The process keeps its number, so that ending it also ends all processes that it starts.
    """
    if INSIDE not in os.environ:
        command = ["unshare", "--net", sys.executable, "-m", "bench.attack", measurement, *options]
        os.execvpe(command[0], command, {**os.environ, INSIDE: "1"})


def add_server(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--server``, which names another version of the server."""
    parser.add_argument("--server", type=Path, default=SCRIPT, help="sip_server.py of another version")
