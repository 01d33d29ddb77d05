"""The shared stream alone, in a process of its own, so that what it costs can be read from ``/proc``.

``python3 -m bench.playing.shared_process FILE SECONDS LOCAL LOCAL_PORT FIRST COUNT PORT THREADS``: plays the music of
FILE, SECONDS long and with the sample rate of PCMU, to one caller. Says "ready" when all of it is encoded, waits for a
line on its standard input, and plays to all COUNT callers, from the address FIRST on, at PORT. Ends when that is
closed, and says "sent N failed M skipped K". THREADS is how many may pace, 0: as many as the server would have.
"""

from __future__ import annotations

import ipaddress
import sys
import time
from pathlib import Path

from moh.common.actions import Address, StartStream, Target
from moh.common.codecs import PCMU
from moh.server.tuning import steady_interpreter
from moh.shared.shared_stream import SharedStream

ENCODED = 20.0
"""Seconds that encoding may take."""


def main() -> int:
    """Play until the standard input is closed."""
    file, seconds, local, local_port, first, count, port, threads = sys.argv[1:]
    steady_interpreter()
    broadcast = SharedStream(local, int(local_port), int(threads) or None)
    tune = broadcast.add_tune({PCMU.sample_rate: Path(file)}, float(seconds))
    begin, leaves = int(ipaddress.ip_address(first)), Address(local, int(local_port))

    def start(number: int) -> None:
        host = str(ipaddress.ip_address(begin + number))
        target = Target(Address(host, int(port)), Address(host, int(port) + 1), leaves, PCMU, 0, 20)
        broadcast.order(StartStream(f"{number:032x}", 1, target, 0.0, tune))

    start(0)
    give_up = time.monotonic() + ENCODED
    frames = broadcast.frames(tune, PCMU, 20)
    while frames.payload_at(frames.plan.octets - 1, 1) is None and not frames.trouble and time.monotonic() < give_up:
        time.sleep(0.01)
    print("ready", flush=True)
    if not sys.stdin.readline():
        return 0
    for number in range(1, int(count)):
        start(number)
    sys.stdin.read()
    told = broadcast.stats()
    print(f"sent {told.sent} failed {told.lost} skipped {told.skipped}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
