"""Has another server play to a crowd: ``python3 -m bench.playing.dial sip|ng LOCAL PORT FIRST CALLERS TO [FILE]``.

A process of its own, since it has to be where the server is, which may be another network namespace. The server listens
at LOCAL:PORT and is called by SIP, or told by ``ng`` to play FILE; the music goes to the CALLERS addresses from FIRST
on, all at the port TO. Says "ready" once the server answers, calls for all when a line comes, says how many are played
to, and ends with its standard input.
"""

from __future__ import annotations

import ipaddress
import sys
import time
from typing import Union

from bench.common.phone import Phone
from bench.playing.ng import Control

PATIENCE = 10.0
"""Seconds until a server that does not answer is given up."""
LOOK = 0.2
"""Seconds until it is asked again."""
ANSWER = 2.0
"""Seconds that the answer to a request may take."""
EVERY = 1 / 800
"""Seconds from one call to the next, at the least: ours takes 1000 a second from one address."""


def main(kind: str, local: str, port: str, first: str, callers: str, to: str, file: str = "") -> int:
    """See above; 1 where the server does not answer."""
    server = (local, int(port))
    line: Union[Phone, Control] = Control(local, server, file) if kind == "ng" else Phone(local, server)
    give_up = time.monotonic() + PATIENCE
    while not line.there(LOOK):
        if time.monotonic() > give_up:
            return 1
    print("ready", flush=True)
    if not sys.stdin.readline():
        return 0
    taken, refused = 0, ""
    began = time.monotonic()
    for number in range(int(callers)):
        time.sleep(max(0.0, began + number * EVERY - time.monotonic()))
        refused = line.call(str(ipaddress.ip_address(first) + number), int(to), ANSWER)
        if refused:
            break
        taken += 1
    print(f"plays to {taken} of {callers}" + (f"; {refused}" if refused else ""), flush=True)
    sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
