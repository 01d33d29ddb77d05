"""How many calls a second a server takes from one PBX, and what a call costs: ``python -m bench.playing rate``.

SIPp makes short calls (``rate.xml``) from one address that ``MOH_ALLOW`` names. The rate grows until the server fails:
less than 99.9 % of the calls are good, the repeated requests are more than 0.1 % of the calls, p99 of the answers is
more than 200 ms, or SIPp begins less than 95 % of the calls in time. A server is started anew for each rate. All
servers are measured in turn, in an order that changes. Each ratio is made of two figures of the same round. Everything
is on the loopback.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.common.command_line import end_on_signals, numbers
from bench.common.compiler import compiled
from bench.common.farm import SOURCE, pacing
from bench.common.figures import quantile
from bench.common.processes import await_quiet, prefer, share, used
from bench.common.program import ROOT
from bench.common.receiver import HOST
from bench.common.sink import Sink
from bench.playing.capacity import Capacity, Climb, Step, steps_at_most, tables
from bench.playing.rounds import AGAINST, OWN, add_against, add_nice, announce, in_turn
from bench.playing.sip_servers import SipServer, peer, project
from bench.playing.sipp import make_calls
from bench.playing.topologies import Loopback

PBX = "127.0.0.2"
"""The address of the PBX: of its calls and of their music."""
PORTS = 1000
"""Pairs of ports of the PBX for the music of its calls, which take them in turn."""
IDLE, WINDOWS = 1.0, 10
"""The server's idle time is measured in windows of ``IDLE`` seconds, before SIPp begins its calls."""
ANSWERS = Path(__file__).with_name("answer.c")
CALL_RATE = "MOH_CALL_RATE"
"""The setting that keeps the guard from refusing calls of the PBX. Older versions do not have it."""
LIMIT = "answers in C"
"""The name of the program of ``--limit``."""


def arguments(options: Sequence[str]) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.playing rate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--first", type=int, default=400, help="the first rate, in calls a second (%(default)s)")
    parser.add_argument("--most", type=int, default=4000, help="the greatest rate that is tried (%(default)s)")
    parser.add_argument("--seconds", type=float, default=4.0, help="seconds at each rate (%(default)s)")
    parser.add_argument("--call", type=float, default=0.2, help="seconds of music of each call (%(default)s)")
    parser.add_argument("--others", default="0,1000", help="callers that listen meanwhile, by commas (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds (%(default)s)")
    parser.add_argument("--python", default=sys.executable, help="the Python of the servers (%(default)s)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the servers; may be repeated"
    )
    add_against(parser)
    parser.add_argument("--against-python", metavar="PYTHON", help="the Python of that server (that of --python)")
    parser.add_argument(
        "--peer", action="append", default=[], metavar="NAME=COMMAND",
        help="another server in the foreground; {port}, {first} and {last} in its command are the SIP port and the "
        "range of RTP ports; may be repeated",
    )  # fmt: skip
    parser.add_argument("--limit", action="store_true", help="also the least program that answers (answer.c)")
    add_nice(parser)
    parser.add_argument("--quiet", type=float, default=20.0, metavar="PERCENT", help=argparse.SUPPRESS)
    parser.add_argument(
        "--patience", type=float, default=2.0, help="longest wait for a quiet machine, in seconds (%(default)s)"
    )
    given = parser.parse_args(options)
    given.others = numbers(parser, "--others", given.others)
    if not 1 <= given.first <= given.most <= 20000 or not 0.5 <= given.seconds <= 60 or given.rounds < 1:
        parser.error("expected 1 to 20000 calls a second, 0.5 to 60 seconds, and at least 1 round")
    if not all(0 <= count <= 60000 for count in given.others):
        parser.error("expected 0 to 60000 others")
    for named in [*given.set, *given.peer]:
        if not named.partition("=")[2]:
            parser.error(f"{named!r} has no value; expected NAME=VALUE or NAME=COMMAND")
    return given


def servers(given: argparse.Namespace, folder: Path) -> dict[str, SipServer]:
    """Return the servers that are measured, by name. Each has a folder of its own for its converted music."""
    trees = {OWN: (ROOT, given.python)}
    if given.against or given.against_python:
        trees[AGAINST] = (given.against or ROOT, given.against_python or given.python)
    found = {}
    for name, (tree, python) in trees.items():
        settings = {"MOH_ALLOW": f"{HOST},{PBX}", "MOH_FFMPEG_CALLS": "0"}
        if CALL_RATE in (tree / "moh/common/config.py").read_text(encoding="utf-8"):
            settings[CALL_RATE] = str(given.most)
        settings.update(named.split("=", 1) for named in given.set)
        found[name] = project(tree, folder / name, settings, python)
    for named in given.peer:
        name, _, command = named.partition("=")
        found[name] = peer(command, folder / name)
    if given.limit:
        found[LIMIT] = peer(f"{compiled(ANSWERS, folder)} {HOST} {{port}}", folder / LIMIT)
    return found


def measure(
    server: SipServer, rate: int, others: int, farm_program: str, given: argparse.Namespace, folder: Path
) -> Step:
    """Start the server, let ``others`` callers listen, and make ``rate`` calls a second."""
    topology = Loopback()
    with ExitStack() as stack:
        sink = stack.enter_context(Sink(PBX, PORTS))
        farm = topology.farm(farm_program, max(1, others), given.seconds + others / 100 + 60)
        stack.callback(farm.close)
        stack.callback(server.close)
        server.open()
        if given.nice:
            prefer([farm.pid, server.pid], given.nice)
        first = int(ipaddress.ip_address(topology.first))
        for number in range(others):
            if refused := server.call(str(ipaddress.ip_address(first + number)), farm.port):
                raise RuntimeError(f"the server takes {number} of {others} other callers: {refused}")
        if not others:
            server.call(PBX, sink.ports[0])  # the first call encodes the music, so it is not measured
        pid = server.pid
        idle, began = idle_share(pid), used([pid])
        farm.begin()
        calls = make_calls(server.address, PBX, sink.ports, rate, given.seconds, given.call, given.nice, folder)
        ended, counted = used([pid]), farm.end()
    if calls.errors and not calls.successful:
        print(calls.errors, file=sys.stderr)
    busy = share(began, ended)
    lasted = ended[pid].read_at - began[pid].read_at
    answers, created = [answer.took for answer in calls.answers], max(1, calls.created)
    music = pacing(counted if others else {})
    return Step(
        rate=rate, offered=calls.offered(), good=100 * calls.successful / created,
        repeats=100 * calls.repeats / created, answer_p50=quantile(answers, 0.5), answer_p99=quantile(answers, 0.99),
        cpu=busy, each=10 * (busy - idle) * lasted / created,
        spacing_p99=music["spacing_p99"], late=music["late"], lost=music["lost"] + music["skipped"],
        silent=music["silent"],
    )  # fmt: skip


def idle_share(pid: int) -> float:
    """Return what a server takes without new calls, in % of a core.

    At first it still encodes the music for the first caller. So this waits until a window takes no less than the last.
    """
    last = float("inf")
    for _ in range(WINDOWS):
        before = used([pid])
        time.sleep(IDLE)
        now = share(before, used([pid]))
        if now > 0.9 * last - 1:
            return min(now, last)
        last = now
    return last


def run(given: argparse.Namespace, folder: Path, measured: dict[tuple[int, str], list[Capacity]]) -> None:
    """Measure all rounds, and put the result of each into ``measured``."""
    farm_program, every = compiled(SOURCE, folder), servers(given, folder)
    for server in every.values():  # a first start converts the music, and shows whether the server starts
        server.open()
        server.close()
    measured.update(((others, name), []) for others in given.others for name in every)
    step = sum(5 + others / 250 + 2 * IDLE + given.seconds for others in given.others)
    once = given.rounds * len(every) * step / 60
    announce(once, once * steps_at_most(given.first, given.most))
    for number in range(given.rounds):
        for others in given.others:
            # the least program plays no music, so other callers do not matter to it
            names = [name for name in every if name != LIMIT or not others]
            climbs = {name: Climb(given.first, given.most) for name in names}
            while left := [name for name, climb in climbs.items() if climb.rate()]:
                for name in in_turn(left, number):
                    await_quiet(given.quiet, given.patience)
                    step = measure(every[name], climbs[name].rate(), others, farm_program, given, folder)
                    climbs[name].add(step)
                    where = f"round {number + 1} of {given.rounds}, {others} others, {name}"
                    print(f"{where}: {line(step)}", file=sys.stderr)
            for name, climb in climbs.items():
                measured[others, name].append(climb.capacity())


def line(step: Step) -> str:
    """Return a step in one line."""
    return (
        f"{step.rate:.0f} calls a second {'pass' if step.passes() else 'FAIL'}: good {step.good:.2f} %, repeats "
        f"{step.repeats:.2f} %, answer {step.answer_p50:.0f} ms, p99 {step.answer_p99:.0f}, cpu {step.cpu:.0f} %, "
        f"{step.each:.2f} ms a call, others' spacing p99 {step.spacing_p99:.2f} ms, late {step.late:.3f} %, lost "
        f"{step.lost:.3f} %"
    )


def main(options: Sequence[str]) -> int:
    """Measure and print the tables. After Ctrl-C they show the rounds that were complete until then."""
    end_on_signals()
    given = arguments(options)
    measured: dict[tuple[int, str], list[Capacity]] = {}
    try:
        if given.nice:
            prefer([os.getpid()], given.nice)
        with tempfile.TemporaryDirectory(prefix="moh-bench-") as folder:
            run(given, Path(folder), measured)
    except KeyboardInterrupt:
        if not any(measured.values()):
            return 130
        print("Ended before all was measured.")
    except (RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(tables(measured, OWN))
    return 0
