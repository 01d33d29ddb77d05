"""The shared stream alone, in a process of its own, so that its cost can be read from ``/proc``.

``python -m bench.playing.shared_process FILE SECONDS LOCAL LOCAL_PORT FIRST COUNT PORT THREADS`` plays the music of
FILE to one caller. FILE is SECONDS long and has the sample rate of PCMU. The program prints "ready" when all music is
encoded, waits for a line on its standard input, and plays to all COUNT callers, from the address FIRST on, at PORT. It
ends when its standard input is closed, and prints "sent N failed M skipped K". THREADS is the greatest number of
threads that send; 0 stands for the number in the server.
"""

from __future__ import annotations

import ipaddress
import sys
import time
from pathlib import Path

from moh.common.actions import Address, StartStream, Target
from moh.common.codecs import PCMU
from moh.common.tunes import Tune, Tunes
from moh.server.tuning import steady_interpreter
from moh.shared.shared_stream import SharedStream

ENCODED = 20.0
"""Seconds that encoding may take."""


def main() -> int:
    """Play until the standard input is closed."""
    file, seconds, local, local_port, first, count, port, threads = sys.argv[1:]
    steady_interpreter()
    tunes = Tunes()
    tune = tunes.add(Tune({PCMU.sample_rate: Path(file)}, float(seconds)))
    stream = SharedStream(local, int(local_port), tunes, int(threads) or None)
    begin, source = int(ipaddress.ip_address(first)), Address(local, int(local_port))

    def start(number: int) -> None:
        host = str(ipaddress.ip_address(begin + number))
        target = Target(Address(host, int(port)), Address(host, int(port) + 1), source, PCMU, 0, 20)
        stream.order(StartStream(f"{number:032x}", 1, target, 0.0, tune))

    start(0)
    give_up = time.monotonic() + ENCODED
    loop = stream.encoded_loop(tune, PCMU, 20)
    while loop.payload_at(loop.plan.octets - 1, 1) is None and not loop.failure and time.monotonic() < give_up:
        time.sleep(0.01)
    print("ready", flush=True)
    if not sys.stdin.readline():
        return 0
    for number in range(1, int(count)):
        start(number)
    sys.stdin.read()
    counts = stream.stats()
    print(f"sent {counts.sent} failed {counts.lost} skipped {counts.skipped}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
