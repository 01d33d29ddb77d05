"""What the shared stream costs and how punctual it is with thousands of callers, beside the least that C can do.

``python -m bench.playing engines --help``, from the project's folder. Needs Linux and a C compiler; root for callers
beyond a virtual network card. Other servers are measured where they are installed (``bench.playing.peers``). Nothing
leaves the machine. In each round all engines play to the same callers one after another, and the next round takes them
in the opposite order; what is compared was measured in the same round.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.common.command_line import add_plot, check_plot, end_on_signals, numbers
from bench.common.compiler import compiled
from bench.common.farm import SOURCE as FARM
from bench.common.farm import pacing
from bench.common.processes import await_quiet, machine, prefer, private_memory, share, spent, threads
from bench.common.program import environment
from bench.playing.crowds import SEND, Crowd, Ffmpegs, Sender, Shared
from bench.playing.load import Load, tables
from bench.playing.peers import peers
from bench.playing.places import Loopback, Place, Veth
from moh.common.codecs import PCMU
from moh.common.config import Settings
from moh.mastering.prepare import BUILTIN, prepare

SETTLE = 2.0
"""Seconds from the last order until measuring begins; each thousand of callers adds ``EACH_THOUSAND``."""
EACH_THOUSAND = 0.3
LONGEST = 120.0
"""Seconds that one measurement may take with everything."""
FIT = {
    "shared": range(1, 65536), "shared x1": range(4001, 8001), "C": range(1, 8001), "C burst": range(1, 8001),
    "C x2": range(4001, 65536), "ffmpeg": range(1, 201), "baresip": range(1, 256), "rtpengine": range(1, 501),
    "server": range(1, 20001), "server shared": range(1, 20001),
}  # fmt: skip
"""The numbers of callers that each engine is tried with."""
PEERS = "baresip and rtpengine where they are installed; Debian 12 has no Asterisk and no SEMS"
"""Which other servers there are."""


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.playing engines", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--callers", default="100,1000,5000,10000", help="how many at once, by commas (%(default)s)")
    parser.add_argument("--rounds", type=int, default=4, help="how often all is measured (%(default)s)")
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each time (%(default)s)")
    parser.add_argument("--places", default="loopback,veth", help="where the callers are, by commas (%(default)s)")
    parser.add_argument("--engines", default=",".join(FIT), help=f"what plays, by commas (%(default)s); {PEERS}")
    parser.add_argument("--quiet", type=float, default=20.0, help="%% of a core that others may take (%(default)s)")
    parser.add_argument("--patience", type=float, default=5.0, help="seconds to wait for that at most (%(default)s)")
    parser.add_argument("--nice", type=int, default=0, help="niceness of all that is measured; below 0 needs root")
    add_plot(parser)
    given = parser.parse_args(words)
    given.callers = numbers(parser, "--callers", given.callers)
    given.places, given.engines = given.places.split(","), given.engines.split(",")
    if not all(1 <= count <= 60000 for count in given.callers) or given.rounds < 1:
        parser.error("expected 1 to 60000 callers and at least one round")
    if not 1 <= given.seconds <= 60:
        parser.error(f"--seconds is {given.seconds:g}; expected 1 to 60")
    if set(given.engines) - set(FIT) or set(given.places) - {"loopback", "veth"}:
        parser.error(f"expected engines of {', '.join(FIT)}, and places of loopback, veth")
    check_plot(parser, given)
    return given


def measure(crowd: Crowd, place: Place, binary: str, callers: int, seconds: float, nice: int) -> tuple[Load, str]:
    """Play to all, look at them for ``seconds``, end it; also what the engine said at the end."""
    farm = place.farm(binary, callers, LONGEST)
    said = ""
    try:
        crowd.open(place, callers, farm.port)
        empty = private_memory(crowd.players()) * len(crowd.players())
        crowd.begin()
        if nice:
            prefer([farm.pid, *crowd.players()], nice)
        time.sleep(SETTLE + EACH_THOUSAND * callers / 1000)
        players, ours_too = crowd.players(), [os.getpid(), farm.pid]
        full = private_memory(players) * len(players)
        farm.begin()
        whole = {0: machine()}
        before, bench_before, each_before = spent(players), spent(ours_too), threads(players)
        time.sleep(seconds)
        after, bench_after, each_after = spent(players), spent(ours_too), threads(players)
        rest = share(whole, {0: machine()}) - share(before, after) - share(bench_before, bench_after)
        counted = farm.end()
    finally:
        try:
            said = crowd.finish()
        finally:
            farm.close()
    if counted["dropped"] or counted["overflow"]:
        print(f"The receiver was too slow for {counted['dropped']} packets: they count as lost.", file=sys.stderr)
    load = Load(
        cpu=share(before, after) / callers,
        thread=max((share({0: each_before[one]}, {0: each_after[one]}) for one in each_before.keys() & each_after),
                   default=float("nan")),
        memory=(full - empty) / callers / 1000,
        others=max(0.0, rest),
        **pacing(counted),
    )  # fmt: skip
    return load, said


def run(
    given: argparse.Namespace, folder: Path, places: list[Place], loads: dict[tuple[str, str, int], list[Load]]
) -> None:
    """All rounds, which are put into ``loads`` one by one."""
    farm, send = compiled(FARM, folder), compiled(SEND, folder)
    music = prepare(Settings.from_environment(environment(MOH_CACHE=folder, MOH_MUSIC=BUILTIN)))
    assert PCMU.sample_rate in music.paths
    every: dict[str, Crowd] = {
        "shared": Shared(music, 0), "shared x1": Shared(music, 1),
        "C": Sender(send, 20, 1), "C burst": Sender(send, 1, 1), "C x2": Sender(send, 20, 2),
        "ffmpeg": Ffmpegs(music, folder / "ffmpeg.log"), **peers(given.engines, music, folder, given.seconds),
    }  # fmt: skip
    crowds = {name: every[name] for name in FIT if name in given.engines and name in every}
    loads.update(
        ((place.name, name, callers), [])
        for place in places for callers in given.callers for name in crowds if callers in FIT[name]
    )  # fmt: skip
    once = sum(SETTLE + EACH_THOUSAND * callers / 1000 + given.seconds + 1.5 for _, _, callers in loads)
    longest = given.rounds * (once + len(loads) * given.patience) / 60
    print(f"This takes {given.rounds * once / 60:.0f} to {longest:.0f} minutes.", file=sys.stderr)
    for number in range(given.rounds):
        for place in places:
            for callers in given.callers:
                order = [name for name in crowds if callers in FIT[name]]
                for name in order if number % 2 == 0 else order[::-1]:
                    await_quiet(given.quiet, given.patience)
                    load, said = measure(crowds[name], place, farm, callers, given.seconds, given.nice)
                    loads[place.name, name, callers].append(load)
                    print(
                        f"round {number + 1} of {given.rounds}, {place.name}, {callers} callers, {name}: cpu "
                        f"{load.cpu:.4f} %, spacing p99 {load.spacing_p99:.2f} ms, jitter {load.jitter:.3f} ms, late "
                        f"{load.late:.3f} %, silent {load.silent:.0f}, others {load.others:.0f} %; {said}",
                        file=sys.stderr,
                    )


def main(words: Sequence[str]) -> int:
    """Measure, print, draw."""
    end_on_signals()
    given = arguments(words)
    places: list[Place] = []
    loads: dict[tuple[str, str, int], list[Load]] = {}
    try:
        if given.nice:
            prefer([os.getpid()], given.nice)
        with tempfile.TemporaryDirectory(prefix="moh-bench-") as folder:
            if "loopback" in given.places:
                places.append(Loopback())
            if "veth" in given.places:
                try:
                    places.append(Veth())
                except RuntimeError as error:
                    print(f"Without the virtual network card: {error}.", file=sys.stderr)
            run(given, Path(folder), places, loads)
    except KeyboardInterrupt:
        if not any(loads.values()):
            return 130
        print("Not all that was asked for: it was ended before.")
    except (RuntimeError, PermissionError) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        for place in places:
            place.close()
    print(tables(loads))
    if given.plot:
        from bench.common.plots import draw_engines

        what = f"{given.rounds} rounds of {given.seconds:.0f} s; points: median, bars: least and greatest round"
        draw_engines(loads, f"{os.cpu_count()} cores; {what}", given.plot)
    return 0
