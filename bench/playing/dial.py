"""Makes calls for many callers: ``python -m bench.playing.dial LOCAL PORT FIRST CALLERS TO FFMPEGS``.

The program is a process of its own, since it has to be in the server's network namespace. The server listens at
LOCAL:PORT. The music of the calls goes to the CALLERS addresses from FIRST on, all at the port TO. The program prints
"ready" when the server answers. It makes the calls when a line comes on its standard input, and prints the number of
answered calls. The first FFMPEGS callers get an ffmpeg each, so their calls come slowly. The program ends when its
standard input is closed.
"""

from __future__ import annotations

import ipaddress
import sys
import time

from bench.common.phone import Phone
from bench.common.program import EACH_FFMPEG

PATIENCE = 10.0
"""Seconds that the server may take until it answers."""
REPEAT = 0.2
"""Seconds from one OPTIONS to the next, until the server answers."""
ANSWER = 2.0
"""Seconds that the answer to a request may take."""
EVERY = 1 / 800
"""Least seconds from one call to the next. The server takes up to 1000 calls a second from one address."""


def main(local: str, port: str, first: str, callers: str, to: str, ffmpegs: str) -> int:
    """Make the calls. Return 1 if the server does not answer."""
    phone = Phone(local, (local, int(port)))
    give_up = time.monotonic() + PATIENCE
    while not phone.reaches_server(REPEAT):
        if time.monotonic() > give_up:
            return 1
    print("ready", flush=True)
    if not sys.stdin.readline():
        return 0
    taken, refused = 0, ""
    began = time.monotonic()
    for number in range(int(callers)):
        slow = min(number, int(ffmpegs))
        time.sleep(max(0.0, began + slow * EACH_FFMPEG + (number - slow) * EVERY - time.monotonic()))
        refused = phone.call(str(ipaddress.ip_address(first) + number), int(to), ANSWER)
        if refused:
            break
        taken += 1
    print(f"plays to {taken} of {callers}" + (f"; {refused}" if refused else ""), flush=True)
    sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
