"""The shared stream alone, in a process of its own, so that its cost can be read from ``/proc``.

``shared_process.py FILES SECONDS LOCAL LOCAL_PORT FIRST COUNT PORT THREADS CALLERS`` encodes the music of FILES
("RATE=FILE" by commas), which is SECONDS long. The program prints "ready" when all music is encoded, waits for a line
on its standard input, and plays to all COUNT callers, from the address FIRST on, at PORT. It ends when its standard
input is closed, and prints "sent N failed M skipped K". THREADS is the greatest number of threads that send; 0 stands
for the number in the server. CALLERS is "equal" (PCMU, packets of 20 ms) or "mixed" (all codecs, packets of 20, 40 and
60 ms, 20 payload types). The ``moh`` that plays is the one on PYTHONPATH.
"""

from __future__ import annotations

import ipaddress
import sys
import time
from pathlib import Path
from typing import Any

from moh.common.actions import Address, StartStream, Target
from moh.common.codecs import CODECS, PCMU, Codec
from moh.common.tunes import Tune, Tunes
from moh.server.tuning import steady_interpreter
from moh.shared.shared_stream import SharedStream

ENCODED = 30.0
"""Seconds that encoding may take."""
SHAPES = {
    "equal": [(PCMU, 20, 0)],
    "mixed": [
        (codec, ptime, payload_type)
        for payload_type in range(96, 116) for codec in CODECS for ptime in (20, 40, 60)
    ],
}  # fmt: skip
"""Kinds of callers. The callers of a kind get these packets in turn: codec, milliseconds in a packet, payload type."""


def encoded_loop(stream: Any, tune: int, codec: Codec, ptime: int) -> Any:
    """The loop of a tune. An earlier commit, which may be measured too, has no table of loops."""
    if hasattr(stream, "loops"):
        return stream.loops.get(tune, codec, ptime).loop
    return stream.encoded_loop(tune, codec, ptime)


def main() -> int:
    """Play until the standard input is closed."""
    files, seconds, local, local_port, first, count, port, threads, callers = sys.argv[1:]
    shapes = SHAPES[callers]
    steady_interpreter()
    tunes = Tunes()
    paths = {int(rate): Path(file) for rate, _, file in (each.partition("=") for each in files.split(","))}
    tune = tunes.add(Tune(paths, float(seconds)))
    stream = SharedStream(local, int(local_port), tunes, int(threads) or None)
    begin, source = int(ipaddress.ip_address(first)), Address(local, int(local_port))

    def start(number: int) -> None:
        host = str(ipaddress.ip_address(begin + number))
        codec, ptime, payload_type = shapes[number % len(shapes)]
        target = Target(Address(host, int(port)), Address(host, int(port) + 1), source, codec, payload_type, ptime)
        stream.order(StartStream(f"{number:032x}", 1, target, 0.0, tune))

    start(0)
    give_up = time.monotonic() + ENCODED
    for loop in [encoded_loop(stream, tune, codec, ptime) for codec, ptime, _ in shapes]:
        while loop.payload_at(loop.plan.octets - 1, 1) is None and not loop.failure and time.monotonic() < give_up:
            time.sleep(0.01)
        if loop.failure:
            sys.exit(loop.failure)
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
