"""What callers on hold and new callers hear while the server is flooded: ``python -m bench.attack floods``.

A real server in a network namespace of its own has 50 calls, of which 25 have an ffmpeg each. Each flood of ``flood.c``
is measured against the seconds just before it, while honest callers (``bench.attack.honest``) come all the time. A peer
(``bench.attack.targets``) gets the same calls and floods after it, in the same place, by the same clock.
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

from bench.attack.honest import Call, Honest, answers, hang_up, place
from bench.attack.outcome import Row, absent, compared, table
from bench.attack.scene import HEAD, OFFER, PHONE, SERVER, add_server, enter_namespace
from bench.attack.targets import PEERS, Rest, Target, overflown, targets
from bench.common.compiler import compiled
from bench.common.farm import SOURCE as FARM
from bench.common.farm import Farm, pacing
from bench.common.processes import prefer, share, spent

SOURCE = Path(__file__).with_name("flood.c")
CALLS = 50
EARS = "127.1.0.0"
SETTLE = 3.0
"""Seconds from the last call on hold until measuring begins."""
QUIET = 4.0
"""Seconds before each flood that it is measured against."""
LINGER = 45.0
"""Seconds that the server gets to be at rest again: a call without ACK is given up after 32."""
LONGEST = 1800.0
NICE = -10
"""Of the server, those who hear and those who call: the flood is this machine's too, and stands back."""
ROUTES = ("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "10.0.0.0/8")
"""Networks that are the namespace's own, each address of them."""
ONE, MANY, HOUSE = ("198.51.100.1", 1), ("198.18.0.0", 65536), ("10.64.0.0", 65536)
"""Where floods come from: the first address and how many; the last ones are private."""


class Flood(NamedTuple):
    """``data`` to be sent so often a second."""

    name: str
    way: str
    source: tuple[str, int]
    rate: int
    data: bytes


def message(method: str, offer: str = "", lines: str = PHONE) -> bytes:
    """A request in which each "########" is to become its number."""
    names = {"method": method, "host": MANY[0], "server": SERVER[0], "number": "########", "tag": "", "via": ""}
    body = OFFER.format(host=MANY[0], formats=offer) if offer else ""
    kind = "Content-Type: application/sdp\r\n" if body else ""
    return (HEAD.format(**names) + lines.format(**names) + kind + "\r\n" + body).encode()


def floods() -> list[Flood]:
    """All of them, the first being none."""
    options, invite = message("OPTIONS"), message("INVITE", "0 8 9 101")
    scanner = message("REGISTER", lines="Max-Forwards: 70\r\nUser-Agent: friendly-scanner\r\n")
    garbage = bytes(range(256)) * 255
    return [
        Flood("none", "udp", ONE, 0, b""),
        Flood("OPTIONS, one source", "udp", ONE, 20000, options),
        Flood("OPTIONS, many", "udp", MANY, 20000, options),
        Flood("OPTIONS, many private", "udp", HOUSE, 20000, options),
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
        Flood("OPTIONS by TCP, many private", "pipe", HOUSE, 20000, options),
        Flood("ACK by TCP, many", "pipe", MANY, 20000, message("ACK")),
        Flood("keep-alives by TCP, one source", "pipe", ONE, 20000, b"\r" * 4096),
    ]


def measure(flood: Flood, binary: str, file: Path, seconds: float, target: Target, farm: Farm, calls: int) -> Row:
    """The seconds before it, the flood, and the rest afterwards; ``calls`` are on hold."""
    rest, rss, (_, told), pids = target.rest(farm), target.rss(), target.told(), target.processes()
    file.write_bytes(flood.data)
    honest = Honest(SERVER)
    farm.begin()
    spent_before = spent(pids)
    time.sleep(QUIET)
    quiet, before = share(spent_before, spent(pids)), farm.end()
    lost_before, spent_before = overflown(), spent(pids)
    farm.begin()
    began = time.monotonic()
    honest.begin()
    did: dict[str, Any] = {}
    if flood.rate:
        numbers = map(str, (*SERVER, *flood.source, flood.rate, seconds))
        words = ["nice", "-n", str(-NICE), binary, flood.way, *numbers, str(file)]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        fate = watched(target, seconds)
        busy, kernel = share(spent_before, spent(pids)), overflown() - lost_before
        did = json.loads(process.communicate(timeout=30)[0] or "{}")
    else:
        fate = watched(target, seconds)
        busy, kernel = share(spent_before, spent(pids)), 0
    lasted, during = time.monotonic() - began, farm.end()
    honest.end()
    now, rested = rest, 0.0
    if not fate:
        fate, now, rested = settled(target, farm, rest)
    after = {} if fate else target.told()[1]
    grown = {name: number - told.get(name, 0) for name, number in after.items() if number > told.get(name, 0)}
    left = [f"{name} {was} -> {is_}" for name, was, is_ in zip(Rest._fields, rest, now) if was != is_]
    lost = (during["lost"], during["skipped"] + absent(during["due"], calls, lasted))
    cpu = (quiet, float("nan") if target.fate() else busy)
    return Row(
        flood.name, did, pacing(before), pacing(during), lost, cpu, (rss, target.rss()), max(0, kernel), grown,
        honest.waits, rested, left, fate,
    )  # fmt: skip


def watched(target: Target, seconds: float) -> str:
    """Let ``seconds`` pass; how and when it died meanwhile, empty: it did not."""
    began = time.monotonic()
    fate, lived = target.fate(seconds), time.monotonic() - began
    time.sleep(max(0.0, seconds - lived))
    return f"{fate} after {lived:.1f} s" if fate else ""


def settled(target: Target, farm: Farm, rest: Rest) -> tuple[str, Rest, float]:
    """Wait until it has ``rest`` again, for ``LINGER`` seconds at most; why it is no use any more (empty: it takes
    calls), what it has now, and how many seconds that took."""
    began, now = time.monotonic(), rest
    rested = 0.0
    try:
        while (now := target.rest(farm)) != rest and rested < LINGER:
            rested = time.monotonic() - began
        fate = "" if answers(SERVER) else target.fate() or "takes no calls any more"
    except (OSError, RuntimeError) as error:
        fate = target.fate(1.0) or str(error)
    return fate, now, rested


def made_ready(target: Target, held: list[Call], farm: Farm) -> list[Call]:
    """Start the server, unless it holds calls already; where these end with the music, make them anew.

    Raises ``RuntimeError`` where it does not start, or dies of being called.
    """
    if held and not target.plays_once:
        return held
    if not held or not all(hang_up(SERVER, call) for call in held):
        target.start()
        held = []
    calls = on_hold(farm)
    if held and len(calls) < len(held):  # what an earlier flood has left is in their way
        target.start()
        calls = on_hold(farm)
    if fate := target.fate():
        raise RuntimeError(f"{target.name} {fate}, while its calls were made")
    if len(calls) < CALLS:
        print(f"{target.name} takes {len(calls)} of {CALLS} calls", file=sys.stderr)
    prefer([os.getpid(), farm.pid, *target.processes()], NICE)
    time.sleep(SETTLE)
    return calls


def on_hold(farm: Farm) -> list[Call]:
    """As many calls as are taken, each with an ear of its own, in their order."""
    calls = []
    for number in range(CALLS):
        call = place(SERVER, (f"127.1.0.{number}", farm.port))
        if call is None:
            break
        calls.append(call)
    return calls


def campaign(target: Target, chosen: list[Flood], folder: Path, seconds: float) -> list[Row]:
    """All floods against one server; those until it could not be started any more."""
    farm = Farm(str(folder / "farm"), [], "udp", EARS, CALLS, 1, LONGEST, 20000)
    rows: list[Row] = []
    held: list[Call] = []
    try:
        for flood in chosen:
            try:
                held = made_ready(target, held, farm)
            except RuntimeError as error:
                print(error, file=sys.stderr)
                break
            row = measure(flood, str(folder / "flood"), folder / "data", seconds, target, farm, len(held))
            rows.append(row)
            away = ", ".join(f"{number} {reason}" for reason, number in row.told.items())
            print(
                f"{target.name} {table([row]).splitlines()[-1]} {row.during['spacing_p99']:.2f} ms, widest "
                f"{row.during['spacing_max']:.0f} ms; {row.did}; told: {away}",
                file=sys.stderr,
            )
            if row.fate:
                print(f"{target.name} {row.fate}; its last words: {target.said()}", file=sys.stderr)
                held = []
    finally:
        target.finish()
        farm.close()
    return rows


def run(script: Path, seconds: float, only: str, part: float, peers: list[str]) -> int:
    """Measure and print, in a network namespace: our server, then the ``peers``, at ``part`` of the floods' rates."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for network in ROUTES:
        subprocess.run(["ip", "route", "add", "local", network, "dev", "lo"], check=True)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # who crashes is dead at once, not after a core of 500 MB
    chosen = [flood._replace(rate=round(flood.rate * part)) for flood in floods() if re.search(only, flood.name)]
    with tempfile.TemporaryDirectory(prefix="moh-bench-") as name:
        folder = Path(name)
        for source in (SOURCE, FARM):
            compiled(source, folder)
        found = {target.name: campaign(target, chosen, folder, seconds) for target in targets(folder, script, peers)}
    (_, ours), *others = found.items()
    print(table(ours))
    for peer, rows in others:
        print(f"\n{peer}:\n\n{table(rows)}\n\n{compared(ours, rows, peer)}")
    return 0 if all(len(rows) == len(chosen) for rows in found.values()) else 1


def main(words: Sequence[str]) -> int:
    """Read the options and run, in a network namespace."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.attack floods", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each flood takes")
    parser.add_argument("--only", default="", metavar="REGEX", help="those floods whose names match")
    parser.add_argument("--part", type=float, default=1.0, help="share of their rates, to try it out")
    parser.add_argument("--peer", action="append", default=[], choices=PEERS, help="it as well")
    add_server(parser)
    given = parser.parse_args(words)
    if not 0 < given.part <= 1:
        parser.error(f"--part {given.part}: expected more than 0, at most 1")
    enter_namespace("floods", [*words])
    return run(given.server, given.seconds, given.only, given.part, given.peer)
