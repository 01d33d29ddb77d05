"""The same as ``receive.c`` where there is no compiler: slower, but with the same stamps of the kernel.

``python3 -m bench.common.receive_slowly HOST FIRST COUNT SECONDS FILE``; what it says and writes is told there.
"""

from __future__ import annotations

import resource
import select
import socket
import struct
import sys
import time
from typing import BinaryIO, Optional

SO_TIMESTAMPNS, SO_RXQ_OVFL = 35, 40
"""Linux' numbers of two options that ``socket`` does not name."""
LOOK = 0.01
"""Seconds from one look at all sockets to the next."""
RECORD = struct.Struct("=qIIHH")
"""Arrival in ns since 1970, timestamp, SSRC, place of the port, sequence number."""


def bound(host: str, port: int) -> Optional[socket.socket]:
    """A socket with that port and the kernel's stamps; none where somebody has it."""
    taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        taken.bind((host, port))
    except OSError:
        taken.close()
        return None
    taken.setblocking(False)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    taken.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    taken.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
    return taken


def empty(source: socket.socket, place: int, file: BinaryIO) -> Optional[int]:
    """Write down what has come; -1 as the ``place`` keeps nothing. Gives the packets dropped so far, where told."""
    dropped = None
    while True:
        try:
            packet, notes, _, _ = source.recvmsg(2048, 128)
        except BlockingIOError:
            return dropped
        arrival = 0
        for level, kind, data in notes:
            if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                seconds, nanoseconds = struct.unpack("@ll", data)
                arrival = seconds * 1_000_000_000 + nanoseconds
            elif level == socket.SOL_SOCKET and kind == SO_RXQ_OVFL:
                dropped = struct.unpack("=I", data)[0]
        if place >= 0 and len(packet) >= 12 and packet[0] >> 6 == 2 and arrival:
            _, sequence, timestamp, ssrc = struct.unpack_from("!HHII", packet)
            file.write(RECORD.pack(arrival, timestamp, ssrc, place, sequence))


def main() -> int:
    """Receive until standard input is closed or the time is over."""
    host, (port, count), seconds = sys.argv[1], map(int, sys.argv[2:4]), float(sys.argv[4])
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    ready = select.epoll()
    sockets: dict[int, tuple[socket.socket, int]] = {}
    ports: list[int] = []
    dropped: dict[int, int] = {}
    for even in range(port, 65535, 2):
        if len(ports) == count:
            break
        if (rtp := bound(host, even)) is None:
            continue
        if (rtcp := bound(host, even + 1)) is None:
            rtp.close()
            continue
        for source, place in ((rtp, len(ports)), (rtcp, -1)):
            sockets[source.fileno()] = (source, place)
            ready.register(source, select.EPOLLIN)
        ports.append(even)
    print("ports", *ports, flush=True)
    if len(ports) < count:
        print(f"receive: {len(ports)} free pairs of ports of {host}, {count} wanted", file=sys.stderr)
        return 1
    give_up = time.monotonic() + seconds
    last = False
    with open(sys.argv[5], "wb") as file:
        while not last:
            last = bool(select.select([sys.stdin], [], [], LOOK)[0]) or time.monotonic() > give_up
            for descriptor, _ in ready.poll(0):
                source, place = sockets[descriptor]
                if (lost := empty(source, place, file)) is not None:
                    dropped[descriptor] = lost
    print("dropped", sum(dropped.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
