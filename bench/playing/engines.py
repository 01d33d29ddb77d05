"""What the shared stream costs with thousands of callers, and how punctual it is: ``python -m bench.playing engines``.

It is compared with ``send.c``, the least work that sends as much, and with an ffmpeg for each caller. The measurement
needs a C compiler, and root for callers behind a virtual network card. Nothing leaves the machine. In each round all
engines play to the same callers one after another, in an order that changes. Each ratio is made of two figures of the
same round.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.common.command_line import end_on_signals, numbers
from bench.common.compiler import compiled
from bench.common.farm import SOURCE, pacing
from bench.common.processes import await_quiet, prefer, private_memory, share, threads
from bench.common.program import ROOT, environment
from bench.playing.load import Load, tables
from bench.playing.rounds import AGAINST, Meter, add_against, add_nice, add_options, announce, caption, in_turn, parse
from bench.playing.senders import C_SOURCE, CSender, FfmpegPerCaller, Sender, SharedProcess, WholeServerSender
from bench.playing.topologies import Loopback, Topology, Veth
from moh.common.codecs import PCMU
from moh.common.config import Settings
from moh.mastering.prepare import BUILTIN, prepare

SETTLE = 2.0
"""Seconds from the start of the last caller's music until measuring begins.

Each thousand of callers adds ``EACH_THOUSAND``.
"""
EACH_THOUSAND = 0.3
LONGEST = 120.0
"""Longest time of one measurement, in seconds."""
CALLERS = {
    "shared": range(1, 65536), "shared x1": range(4001, 8001), "C": range(1, 8001), "C burst": range(1, 8001),
    "C x2": range(4001, 65536), "ffmpeg": range(1, 201), "server": range(1, 20001), "server shared": range(1, 20001),
    "shared mixed": range(1000, 4001), "against": range(1, 65536), "against mixed": range(1000, 4001),
}  # fmt: skip
"""The engines, each with the range of numbers of callers that it is measured with."""


def arguments(options: Sequence[str]) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.playing engines", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--callers", default="100,1000,5000,10000", help="numbers of callers, by commas (%(default)s)")
    parser.add_argument("--topologies", default="loopback,veth", help="networks, by commas (%(default)s)")
    usual = ",".join(name for name in CALLERS if not name.startswith(AGAINST))
    parser.add_argument("--engines", default=usual, help="engines, by commas (%(default)s)")
    add_against(parser)
    add_nice(parser)
    add_options(parser, rounds=4, seconds=8.0, quiet=20.0, patience=5.0)
    given = parse(parser, options)
    given.callers = numbers(parser, "--callers", given.callers)
    given.topologies, given.engines = given.topologies.split(","), given.engines.split(",")
    if not all(1 <= count <= 60000 for count in given.callers):
        parser.error("expected 1 to 60000 callers")
    if given.against and not any(name.startswith(AGAINST) for name in given.engines):
        given.engines.append(AGAINST)
    if set(given.engines) - set(CALLERS) or set(given.topologies) - {"loopback", "veth"}:
        parser.error(f"expected engines out of {', '.join(CALLERS)}, and topologies out of loopback, veth")
    return given


def measure(
    sender: Sender, topology: Topology, program: str, callers: int, seconds: float, nice: int
) -> tuple[Load, str]:
    """Play to all callers, measure for ``seconds``, and end the engine. Return also what the engine printed last."""
    farm = topology.farm(program, callers, LONGEST)
    output = ""
    try:
        sender.open(topology, callers, farm.port)
        empty = private_memory(sender.players())
        sender.begin()
        if nice:
            prefer([farm.pid, *sender.players()], nice)
        time.sleep(SETTLE + EACH_THOUSAND * callers / 1000)
        players = sender.players()
        full = private_memory(players)
        farm.begin()
        meter, before = Meter(players, [farm.pid]), threads(players)
        time.sleep(seconds)
        (cpu, others), after = meter.stop(), threads(players)
        counts = farm.end()
    finally:
        try:
            output = sender.finish()
        finally:
            farm.close()
    if counts["dropped"] or counts["overflow"]:
        print(f"The receiver was too slow for {counts['dropped']} packets: they count as lost.", file=sys.stderr)
    each_thread = (share({0: before[one]}, {0: after[one]}) for one in before.keys() & after)
    load = Load(
        cpu=cpu / callers, thread=max(each_thread, default=float("nan")), memory=(full - empty) / callers / 1000,
        others=others, **figures(counts),
    )  # fmt: skip
    return load, output


def figures(counts: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of ``Load`` that follow from a farm's counts."""
    return {name: value for name, value in pacing(counts).items() if name in Load.__annotations__}


def run(
    given: argparse.Namespace, folder: Path, topologies: list[Topology], loads: dict[tuple[str, str, int], list[Load]]
) -> None:
    """Measure all rounds, and put the result of each measurement into ``loads``."""
    farm, send = compiled(SOURCE, folder), compiled(C_SOURCE, folder)
    music = prepare(Settings.from_environment(environment(MOH_CACHE=folder, MOH_MUSIC=BUILTIN)))
    assert PCMU.sample_rate in music.paths
    other = given.against or ROOT
    every: dict[str, Sender] = {
        "shared": SharedProcess(music, 0), "shared x1": SharedProcess(music, 1),
        "shared mixed": SharedProcess(music, 0, "mixed"), "against": SharedProcess(music, 0, root=other),
        "against mixed": SharedProcess(music, 0, "mixed", other),
        "C": CSender(send, 20, 1), "C burst": CSender(send, 1, 1), "C x2": CSender(send, 20, 2),
        "ffmpeg": FfmpegPerCaller(music, folder / "ffmpeg.log"),
        "server": WholeServerSender(folder, 50), "server shared": WholeServerSender(folder, 0),
    }  # fmt: skip
    chosen = [name for name in CALLERS if name in given.engines]
    loads.update(
        ((topology.name, name, callers), [])
        for topology in topologies for callers in given.callers for name in chosen if callers in CALLERS[name]
    )  # fmt: skip
    once = sum(SETTLE + EACH_THOUSAND * callers / 1000 + given.seconds + 1.5 for _, _, callers in loads)
    announce(given.rounds * once / 60, given.rounds * (once + len(loads) * given.patience) / 60)
    for number in range(given.rounds):
        for topology in topologies:
            for callers in given.callers:
                for name in in_turn([name for name in chosen if callers in CALLERS[name]], number):
                    await_quiet(given.quiet, given.patience)
                    load, output = measure(every[name], topology, farm, callers, given.seconds, given.nice)
                    loads[topology.name, name, callers].append(load)
                    print(
                        f"round {number + 1} of {given.rounds}, {topology.name}, {callers} callers, {name}: cpu "
                        f"{load.cpu:.4f} %, spacing p99 {load.spacing_p99:.2f} ms, jitter {load.jitter:.3f} ms, late "
                        f"{load.late:.3f} %, silent {load.silent:.0f}, others {load.others:.0f} %; {output}",
                        file=sys.stderr,
                    )


def main(options: Sequence[str]) -> int:
    """Measure, print the tables, and draw them. After Ctrl-C they show what was measured until then."""
    end_on_signals()
    given = arguments(options)
    topologies: list[Topology] = []
    loads: dict[tuple[str, str, int], list[Load]] = {}
    try:
        if given.nice:
            prefer([os.getpid()], given.nice)
        with tempfile.TemporaryDirectory(prefix="moh-bench-") as folder:
            if "loopback" in given.topologies:
                topologies.append(Loopback())
            if "veth" in given.topologies:
                try:
                    topologies.append(Veth())
                except RuntimeError as error:
                    print(f"Without the virtual network card: {error}.", file=sys.stderr)
            run(given, Path(folder), topologies, loads)
    except KeyboardInterrupt:
        if not any(loads.values()):
            return 130
        print("Ended before all was measured.")
    except (RuntimeError, PermissionError) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        for topology in topologies:
            topology.close()
    print(tables(loads))
    if given.plot:
        from bench.common.plots import draw_engines

        draw_engines(loads, caption(given), given.plot)
    return 0
