"""What RTCP reports cost the server: callers on the loopback that send far more of them than phones do."""

from __future__ import annotations

import secrets
import socket
import struct
import time
from pathlib import Path

from bench.common.processes import share, used
from bench.common.program import ROOT
from bench.playing.sip_servers import project

CALLERS = 200
PORT = 26990
"""The port of each caller's music; its RTCP comes from the port above."""
RATE = 4000
"""Reports a second, of all callers."""
SETTLE = 3.0
"""Seconds until the music of the first caller has been encoded."""


def report_us(folder: Path, python: str, seconds: float) -> float:
    """Return the processor time that the server takes for one report, in µs."""
    server = project(ROOT, folder / "reports", {"MOH_FFMPEG_CALLS": "0", "MOH_ALLOW": "127.0.0.0/8"}, python)
    sockets: list[socket.socket] = []
    try:
        server.open()
        hosts = [f"127.1.{number // 200}.{number % 200 + 1}" for number in range(CALLERS)]
        for host in hosts:
            for port in (PORT, PORT + 1):
                one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 if port == PORT and host != hosts[0] else 1 << 16)
                one.bind((host, port))
                sockets.append(one)
            if refused := server.call(host, PORT):
                raise RuntimeError(f"the server refuses a call: {refused}")
        sockets[0].settimeout(10)
        data, source = sockets[0].recvfrom(2048)
        time.sleep(SETTLE)
        quiet = _share(server.pid, seconds, [], source, data)
        busy = _share(server.pid, seconds, sockets[1::2], source, data)
    finally:
        server.close()
        for one in sockets:
            one.close()
    return (busy - quiet) / 100 / RATE * 1e6


def _share(pid: int, seconds: float, sockets: list[socket.socket], server: tuple[str, int], rtp: bytes) -> float:
    """Return what the server takes in % of a core, while each of ``sockets`` sends reports about its stream."""
    ssrcs = [secrets.randbits(32) for _ in sockets]
    stream = struct.unpack_from("!I", rtp, 8)[0]
    before, began, sent = used([pid]), time.monotonic(), 0
    while (past := time.monotonic() - began) < seconds:
        while sockets and sent < past * RATE:
            number = sent % len(sockets)
            sequence = 1000 + int(past * 50)
            block = struct.pack("!BBHIIIIIII", 0x81, 201, 7, ssrcs[number], stream, 0, sequence, 8, 0, 0)
            sockets[number].sendto(block, server)
            sent += 1
        time.sleep(0.005)
    return share(before, used([pid]))
