"""Effects on listeners when no two callers ask for the same packets: ``python -m bench.attack shapes``, as root.

A real server in a network namespace of its own plays to 100 honest listeners by its shared stream. Then one public
address makes 600 calls at the rate that it is allowed. In one run all of these calls ask for the same packets. In the
other run no two calls do: they have payload types 0 to 127, codecs, and packet lengths from 10 to 50 ms. Each figure is
compared with the seconds before the calls, with the same server. Several versions of the server are measured in turn.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.attack.probes import place
from bench.attack.scene import OFFER, SERVER, add_server, enter_namespace
from bench.attack.target import Target
from bench.common.compiler import compiled
from bench.common.farm import SOURCE as FARM
from bench.common.farm import Farm, pacing
from bench.common.figures import combine, markdown, ratio
from bench.common.phone import Phone
from bench.common.processes import prefer, share, spent
from bench.playing.rounds import in_turn

LISTENERS, CALLERS = 100, 600
ATTACKER = "198.51.100.66"
AT_ONCE, EVERY = 190, 1 / 19
"""The number of calls that the attacker makes at once, and the seconds between later calls: just within the limit."""
ANSWER = 4.0
"""Seconds that an answer may take."""
SETTLE = 2.0
"""Seconds from the last call until measuring begins."""
LONGEST = 300.0
"""Seconds after which the receiver of the music ends by itself."""
NICE = -19
"""Niceness of the server and of the receiver."""
FORMATS = ("0", "8", "9")
"""The formats of the listeners in turn. With more codecs, music is sent at more moments, and the p99 varies less."""
ENCODINGS = ("PCMU/8000", "PCMA/8000", "G722/8000")
PTIMES = (10, 20, 30, 40, 50)


def equal(number: int) -> str:
    """Return the offer of a caller that asks for the same packets as all others."""
    return OFFER.format(host=ATTACKER, formats="0")


def unlike(number: int) -> str:
    """Return the offer of a caller that asks for other packets than all others."""
    payload_type, ptime = number % 128, PTIMES[number // 128]
    lines = f"a=rtpmap:{payload_type} {ENCODINGS[number % len(ENCODINGS)]}\r\na=ptime:{ptime}\r\n"
    return OFFER.format(host=ATTACKER, formats=str(payload_type)) + lines


KINDS = {"equal": equal, "unlike": unlike}


@dataclass(frozen=True)
class Load:
    """The figures of one run, before the attacker's calls (``alone``) and during them."""

    cpu_alone: float
    """Processor time of the server before the calls, in % of a core."""
    cpu: float
    p99_alone: float
    """Time from one packet of a listener to the next before the calls, in ms: the 99th percentile."""
    p99: float
    late: float
    """Packets more than 5 ms late during the calls, in %."""
    lost: float
    """Packets that did not arrive during the calls, or that the server left out, in %."""
    taken: float
    """The number of the attacker's calls that the server has taken."""


def dial(kind: str) -> int:
    """Make the attacker's calls. Return how many the server takes."""
    phone, taken, began = Phone(ATTACKER, SERVER), 0, time.monotonic()
    for number in range(CALLERS):
        time.sleep(max(0.0, began + max(0, number - AT_ONCE) * EVERY - time.monotonic()))
        refused = phone.call_with(KINDS[kind](number), ANSWER)
        if refused:
            print(f"call {number} of {kind} callers: {refused}", file=sys.stderr)
        taken += not refused
    return taken


def listened(farm: Farm, pid: int, seconds: float) -> tuple[float, dict[str, float]]:
    """Measure for ``seconds``. Return the processor of the server in % of a core, and the figures of the music."""
    farm.begin()
    before = spent([pid])
    time.sleep(seconds)
    return share(before, spent([pid])), pacing(farm.end())


def measure(script: Path, kind: str, folder: Path, seconds: float) -> Load:
    """Measure one run, with a server of its own."""
    target = Target(folder, script, ffmpegs=0)
    farm = Farm(str(folder / "farm"), [], "udp", "127.1.0.0", LISTENERS, 1, LONGEST, 20000)
    try:
        target.start()
        for number in range(LISTENERS):
            if place(SERVER, (f"127.1.0.{number}", farm.port), FORMATS[number % len(FORMATS)]) is None:
                raise RuntimeError(f"the server refuses listener {number}: {target.last_output()}")
        prefer([farm.pid, *target.processes()], NICE)
        time.sleep(SETTLE)
        cpu_alone, alone = listened(farm, target.pid, seconds)
        taken = dial(kind)
        time.sleep(SETTLE)
        cpu, attacked = listened(farm, target.pid, seconds)
    finally:
        target.finish()
        farm.close()
    lost = attacked["lost"] + attacked["skipped"]
    return Load(cpu_alone, cpu, alone["spacing_p99"], attacked["spacing_p99"], attacked["late"], lost, taken)


def table(loads: dict[tuple[str, str], list[Load]]) -> str:
    """Return the table in Markdown: the medians of the rounds, and ratios with their least and greatest values."""
    titles = "server, callers, taken, cpu % alone, with them, p99 ms alone, with them, ratio, late %, lost %"
    rows = [titles.split(", ")]
    for (version, kind), rounds in loads.items():
        if rounds:
            middle = combine(rounds)
            alone = [Load(*(one.cpu_alone,) * 2, *(one.p99_alone,) * 2, 0, 0, 0) for one in rounds]
            rows.append(
                [
                    version, kind, f"{middle.taken:.0f}", f"{middle.cpu_alone:.1f}", f"{middle.cpu:.1f}",
                    f"{middle.p99_alone:.2f}", f"{middle.p99:.2f}", str(ratio(rounds, alone, "p99")),
                    f"{middle.late:.3f}", f"{middle.lost:.3f}",
                ]
            )  # fmt: skip
    return markdown(rows)


def main(options: Sequence[str]) -> int:
    """Measure all rounds and print their table."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.attack shapes", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=4, help="number of rounds (%(default)s)")
    parser.add_argument("--seconds", type=float, default=12.0, help="seconds of each measurement (%(default)s)")
    parser.add_argument("--before", type=Path, metavar="SCRIPT", help="sip_server.py of a version to compare with")
    add_server(parser)
    given = parser.parse_args(options)
    enter_namespace("shapes", [*options])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for host in (SERVER[0], ATTACKER):
        subprocess.run(["ip", "address", "add", f"{host}/32", "dev", "lo"], check=True)
    versions = {"before": given.before, "now": given.server} if given.before else {"now": given.server}
    loads: dict[tuple[str, str], list[Load]] = {(version, kind): [] for version in versions for kind in KINDS}
    print(f"This takes about {given.rounds * len(loads) * (35 + 2 * given.seconds) / 60:.0f} minutes.", file=sys.stderr)
    with (
        tempfile.TemporaryDirectory(prefix="moh-bench-") as name,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rtp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rtcp,
    ):
        for port, sock in ((4000, rtp), (4001, rtcp)):  # never read: if they are full, the kernel drops packets
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            sock.bind((ATTACKER, port))
        compiled(FARM, Path(name))
        prefer([os.getpid()], NICE)
        for number in range(given.rounds):
            for version, kind in in_turn(list(loads), number):
                load = measure(versions[version], kind, Path(name), given.seconds)
                loads[version, kind].append(load)
                print(f"round {number + 1}, {version}, {kind}: {load}", file=sys.stderr)
    print(table(loads))
    return 0
