#!/usr/bin/env python3
"""Call the music-on-hold server, and write its music to standard output without end.

    python3 pbx_music.py HOST[:PORT]

It is for a PBX that plays what a program writes, such as Asterisk with ``mode=custom`` (docs/pbx.md): one call then
serves all callers that the PBX holds. The output is 16 bit linear sound, 8 kHz, one channel, at the pace of the music.

It needs Python 3.9 and ``test_sip_client.py``, in the same folder or in the folder above. When the server ends the
call, or no music arrives, this program ends, and the PBX starts it again. Exit status: 0 if the server or the PBX ended
it, 1 if there was no music.
"""

from __future__ import annotations

import array
import fcntl
import os
import signal
import struct
import sys
import termios
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))

from test_sip_client import DECODE, MUSIC_WITHIN, Address, Call, Unreachable, host_and_port

OCTETS_A_SECOND = 2 * 8000
CUSHION = OCTETS_A_SECOND // 5
"""Silence that lies in the pipe ahead of the music, so that a late packet does not leave the PBX without sound."""
LOW = OCTETS_A_SECOND // 50
"""When fewer octets than this wait in the pipe, another cushion goes ahead: the clock of the PBX runs faster."""
HIGH = OCTETS_A_SECOND
"""When more octets than this wait in the pipe, music is left out: the PBX does not read, or its clock runs slower."""
SILENT = 10.0
"""Seconds without a packet after which the call counts as lost."""
PAUSE = 5.0
"""Seconds before the end if there was no music, since the PBX starts this program again at once."""

SAMPLES = [struct.pack("=h", sample) for sample in DECODE["PCMU"]]


def waiting(pipe: int) -> int:
    """Return how many octets wait in the pipe."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


def write_music(payload: bytes, pipe: int) -> None:
    """Write the sound of one packet, as far as the pipe has room for it: the music never waits for the PBX."""
    sound = b"".join(map(SAMPLES.__getitem__, payload))
    ahead = waiting(pipe)
    if ahead > HIGH:
        return
    os.write(pipe, (bytes(CUSHION) if ahead < LOW else b"") + sound)


def play(server: Address, pipe: int) -> str:
    """Make one call, and write its music until the call or the pipe ends. Return why there was no music, or nothing."""
    with Call(server, codecs=["PCMU"]) as call:
        call.dial()
        if not call.answer:
            reply = call.final
            return f"{reply.status} {reply.reason}" if reply else call.trouble or "no reply to INVITE"
        last = time.monotonic() + MUSIC_WITHIN
        while not call.server_bye:
            call.listen(time.monotonic() + 0.5, lambda: bool(call.packets or call.server_bye))
            for packet in call.packets:
                write_music(packet.payload, pipe)
                last = packet.when
            call.packets.clear()
            if time.monotonic() > last + SILENT:
                return f"no packet for {SILENT:g} s"
    return ""


def main() -> int:
    """Play until something ends it. The module's docstring lists the exit statuses."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    for ends in (signal.SIGHUP, signal.SIGTERM):  # Asterisk sends SIGHUP first; both hang up the call
        signal.signal(ends, signal.default_int_handler)
    try:
        why = play(host_and_port(sys.argv[1]), sys.stdout.fileno())
    except (BrokenPipeError, KeyboardInterrupt):
        return 0
    except Unreachable as error:
        why = str(error)
    if not why:
        return 0
    print(f"no music from {sys.argv[1]}: {why}", file=sys.stderr)
    time.sleep(PAUSE)
    return 1


if __name__ == "__main__":
    sys.exit(main())
