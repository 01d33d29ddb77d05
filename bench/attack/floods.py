"""What calls on hold and new callers notice of a flood: ``python -m bench.attack floods``, as root.

A real server in a network namespace of its own has 50 calls, the first 25 by an ffmpeg each. Each flood of ``flood.c``
is compared with the seconds just before it. During each flood, probes (``bench.attack.probes``) call the server.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.attack.probes import Call, Probes, place, takes_calls
from bench.attack.results import Row, absent, table
from bench.attack.scene import HEAD, OFFER, PHONE, SERVER, add_server, enter_namespace
from bench.attack.target import FFMPEGS, Resources, Target, overflown
from bench.common.compiler import compiled
from bench.common.farm import SOURCE as FARM
from bench.common.farm import Farm, pacing
from bench.common.processes import prefer, share, used
from bench.common.program import EACH_FFMPEG

SOURCE = Path(__file__).with_name("flood.c")
CALLS = 50
LISTENERS = "127.1.0.0"
"""The address that receives the music of the first call on hold; each further call has the next address."""
SETTLE = 3.0
"""Seconds from the start of the last call on hold until measuring begins."""
QUIET = 4.0
"""Seconds of the comparison before each flood."""
LINGER = 45.0
"""Seconds that the server has to release the resources of a flood. It gives up a call without ACK after 32."""
LONGEST = 1800.0
"""Seconds after which the receiver of the music ends by itself."""
NICE = -10
"""Niceness of the server, of the receiver and of this process. The flood runs on the same machine, with 0."""
ROUTES = ("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "10.0.0.0/8")
"""Networks. The namespace has all their addresses."""
ONE, MANY, PRIVATE = ("198.51.100.1", 1), ("198.18.0.0", 65536), ("10.64.0.0", 65536)
"""Sources of floods: the first address of each, and the number of its addresses."""


class Flood(NamedTuple):
    """One flood: it sends ``data`` ``rate`` times a second from the addresses of ``source``.

    ``mode`` is a mode of ``flood.c``: udp, tcp or pipe.
    """

    name: str
    mode: str
    source: tuple[str, int]
    rate: int
    data: bytes


def message(method: str, formats: str = "", fields: str = PHONE) -> bytes:
    """Return a request for ``flood.c``, which replaces each "########" in it by a number.

    If ``formats`` are given, the request has an offer of them.
    """
    values = {"method": method, "host": MANY[0], "server": SERVER[0], "number": "########", "tag": "", "via": ""}
    body = OFFER.format(host=MANY[0], formats=formats) if formats else ""
    kind = "Content-Type: application/sdp\r\n" if body else ""
    return (HEAD.format(**values) + fields.format(**values) + kind + "\r\n" + body).encode()


def floods() -> list[Flood]:
    """Return all floods. The first one sends nothing."""
    options, invite = message("OPTIONS"), message("INVITE", "0 8 9 101")
    scanner = message("REGISTER", fields="Max-Forwards: 70\r\nUser-Agent: friendly-scanner\r\n")
    garbage = bytes(range(256)) * 255
    return [
        Flood("none", "udp", ONE, 0, b""),
        Flood("OPTIONS, one source", "udp", ONE, 20000, options),
        Flood("OPTIONS, many", "udp", MANY, 20000, options),
        Flood("OPTIONS, many private", "udp", PRIVATE, 20000, options),
        Flood("INVITE without ACK, one source", "udp", ONE, 5000, invite),
        Flood("INVITE without ACK, many", "udp", MANY, 5000, invite),
        Flood("64 KB of garbage, one source", "udp", ONE, 2000, garbage),
        Flood("64 KB of garbage, many", "udp", MANY, 2000, garbage),
        Flood("REGISTER, friendly-scanner, many", "udp", MANY, 20000, scanner),
        Flood("TCP half open, one source", "tcp", ONE, 1000, invite[: len(invite) // 2]),
        Flood("TCP half open, many", "tcp", MANY, 1000, invite[: len(invite) // 2]),
        Flood("TCP, one OPTIONS each, three sources", "tcp", (ONE[0], 3), 200, options),
        Flood("OPTIONS by TCP, one source", "pipe", ONE, 20000, options),
        Flood("OPTIONS by TCP, many", "pipe", MANY, 20000, options),
        Flood("OPTIONS by TCP, many private", "pipe", PRIVATE, 20000, options),
        Flood("ACK by TCP, many", "pipe", MANY, 20000, message("ACK")),
        Flood("keep-alives by TCP, one source", "pipe", ONE, 20000, b"\r" * 4096),
    ]


def measure(flood: Flood, program: str, file: Path, seconds: float, target: Target, farm: Farm, calls: int) -> Row:
    """Measure before, during and after one flood, with ``calls`` calls on hold."""
    before, rss, (_, counters), pids = target.resources(farm), target.rss(), target.statistics(), target.processes()
    file.write_bytes(flood.data)
    probes = Probes(SERVER)
    farm.begin()
    spent_before = used(pids)
    time.sleep(QUIET)
    quiet, pace_before = share(spent_before, used(pids)), farm.end()
    full_before, spent_before = overflown(), used(pids)
    farm.begin()
    began = time.monotonic()
    probes.begin()
    report: dict[str, Any] = {}
    if flood.rate:
        numbers = map(str, (*SERVER, *flood.source, flood.rate, seconds))
        command = ["nice", "-n", str(-NICE), program, flood.mode, *numbers, str(file)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        failure = watched(target, seconds)
        busy, full = share(spent_before, used(pids)), overflown() - full_before
        report = json.loads(process.communicate(timeout=30)[0] or "{}")
    else:
        failure = watched(target, seconds)
        busy, full = share(spent_before, used(pids)), 0
    lasted, pace_during = time.monotonic() - began, farm.end()
    probes.end()
    now, recovery = before, 0.0
    if not failure:
        failure, now, recovery = restored(target, farm, before)
    after = {} if failure else target.statistics()[1]
    grown = {name: number - counters.get(name, 0) for name, number in after.items() if number > counters.get(name, 0)}
    left = [f"{name} {was} -> {is_}" for name, was, is_ in zip(Resources._fields, before, now) if was != is_]
    lost = (pace_during["lost"], pace_during["skipped"] + absent(pace_during["due"], calls, lasted))
    cpu = (quiet, float("nan") if target.death() else busy)
    return Row(
        flood.name, report, pacing(pace_before), pacing(pace_during), lost, cpu, (rss, target.rss()), max(0, full),
        grown, probes.waits, recovery, left, failure,
    )  # fmt: skip


def watched(target: Target, seconds: float) -> str:
    """Let ``seconds`` pass. Return how and when the server died meanwhile; empty if it lives."""
    began = time.monotonic()
    death, lived = target.death(seconds), time.monotonic() - began
    time.sleep(max(0.0, seconds - lived))
    return f"{death} after {lived:.1f} s" if death else ""


def restored(target: Target, farm: Farm, before: Resources) -> tuple[str, Resources, float]:
    """Wait until the server has the resources of ``before`` again, for ``LINGER`` seconds at most.

    Return three things: why the server takes no more calls (empty if it takes them), the resources that it has now,
    and the seconds of waiting.
    """
    began, now = time.monotonic(), before
    recovery = 0.0
    try:
        while (now := target.resources(farm)) != before and recovery < LINGER:
            recovery = time.monotonic() - began
        failure = "" if takes_calls(SERVER) else target.death() or "takes no calls any more"
    except (OSError, RuntimeError) as error:
        failure = target.death(1.0) or str(error)
    return failure, now, recovery


def start(target: Target, farm: Farm) -> int:
    """Start the server, put calls on hold, and return their number.

    Raises ``RuntimeError`` if the server takes no calls or dies.
    """
    target.start()
    calls = on_hold(farm)
    if death := target.death():
        raise RuntimeError(f"the server {death}, while its calls were made")
    if len(calls) < CALLS:
        print(f"the server takes {len(calls)} of {CALLS} calls", file=sys.stderr)
    prefer([os.getpid(), farm.pid, *target.processes()], NICE)
    time.sleep(SETTLE)
    return len(calls)


def on_hold(farm: Farm) -> list[Call]:
    """Put up to ``CALLS`` calls on hold, until the server refuses one. Each has its music at an address of its own."""
    calls = []
    for number in range(CALLS):
        call = place(SERVER, (f"127.1.0.{number}", farm.port))
        if call is None:
            break
        calls.append(call)
        if number < FFMPEGS:
            time.sleep(EACH_FFMPEG)
    return calls


def campaign(target: Target, chosen: list[Flood], folder: Path, seconds: float) -> list[Row]:
    """Measure all floods, and stop early if the server cannot be started."""
    farm = Farm(str(folder / "farm"), [], "udp", LISTENERS, CALLS, 1, LONGEST, 20000)
    rows: list[Row] = []
    calls = 0
    try:
        for flood in chosen:
            try:
                calls = calls or start(target, farm)
            except RuntimeError as error:
                print(error, file=sys.stderr)
                break
            row = measure(flood, str(folder / "flood"), folder / "data", seconds, target, farm, calls)
            rows.append(row)
            counted = ", ".join(f"{number} {reason}" for reason, number in row.counters.items())
            print(
                f"{table([row]).splitlines()[-1]} {row.during['spacing_p99']:.2f} ms, widest "
                f"{row.during['spacing_max']:.0f} ms; {row.generator}; the server counted: {counted}",
                file=sys.stderr,
            )
            if row.failure:
                print(f"the server {row.failure}; the end of its log: {target.last_output()}", file=sys.stderr)
                calls = 0
    finally:
        target.finish()
        farm.close()
    return rows


def main(options: Sequence[str]) -> int:
    """Measure all floods and print their table."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.attack floods", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each flood in seconds (%(default)s)")
    parser.add_argument("--only", default="", metavar="REGEX", help="run only the floods whose names match")
    parser.add_argument("--part", type=float, default=1.0, help="part of the floods' rates, for a first try")
    add_server(parser)
    given = parser.parse_args(options)
    if not 0 < given.part <= 1:
        parser.error(f"--part is {given.part:g}; expected more than 0, at most 1")
    enter_namespace("floods", [*options])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for network in ROUTES:
        subprocess.run(["ip", "route", "add", "local", network, "dev", "lo"], check=True)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file of 500 MB would delay the end of a crashed process
    chosen = [
        flood._replace(rate=round(flood.rate * given.part)) for flood in floods() if re.search(given.only, flood.name)
    ]
    with tempfile.TemporaryDirectory(prefix="moh-bench-") as name:
        folder = Path(name)
        for source in (SOURCE, FARM):
            compiled(source, folder)
        rows = campaign(Target(folder, given.server), chosen, folder, given.seconds)
    print(table(rows))
    return 0 if len(rows) == len(chosen) else 1
