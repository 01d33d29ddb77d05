"""What a call costs and how its packets come: the naive command, ours, ours by other ffmpegs, the whole server.

``python -m bench.playing calls --help``, from the project's folder. Needs Linux; everything stays on the loopback.
Each round measures every command once for each number of calls, one after another, in an order that changes; what is
compared was measured in the same round, so that what else the machine does cancels as far as it can.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Union

from bench.common.command_line import add_plot, check_plot, end_on_signals, numbers
from bench.common.ears import Ears, receiver
from bench.common.figures import Figures, combine, markdown, pacing, quantile, ratio, starts
from bench.common.processes import await_quiet, machine, private_memory, share, spent
from bench.common.program import environment
from bench.playing.ways import Commands, Way, WholeServer, naive, ours
from moh.common.codecs import PCMU
from moh.common.config import Settings
from moh.mastering.prepare import BUILTIN, prepare

NAIVE, DEBIAN = "naive", "ours"
SETTLE = 3.0
"""Seconds from the start of the last call until measuring begins."""

Measured = dict[tuple[str, int], list[Figures]]
"""The rounds of each command with each number of calls."""


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.playing calls", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--calls", default="1,25,50,100,200", help="how many at once, by commas (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="how often all is measured (%(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each time (%(default)s)")
    parser.add_argument("--every", type=float, default=0.15, help="seconds from call to call (%(default)s)")
    parser.add_argument(
        "--ffmpeg", action="append", default=[], metavar="NAME=PATH", help="another ffmpeg for our command; repeatable"
    )
    parser.add_argument("--server", action="store_true", help="also whole calls, from INVITE, through the real server")
    parser.add_argument("--no-naive", action="store_true", help="leave out the naive command")
    parser.add_argument("--quiet", type=float, default=40.0, help="%% of a core that others may take (%(default)s)")
    parser.add_argument("--patience", type=float, default=10.0, help="seconds to wait for that at most (%(default)s)")
    add_plot(parser)
    given = parser.parse_args(words)
    given.calls = numbers(parser, "--calls", given.calls)
    if not given.calls or not all(1 <= count <= 1000 for count in given.calls) or given.rounds < 1:
        parser.error("expected 1 to 1000 calls and at least one round")
    check_plot(parser, given)
    for named in given.ffmpeg:
        name, _, path = named.partition("=")
        if not name or name in (NAIVE, DEBIAN) or not shutil.which(path):
            parser.error(f"--ffmpeg is {named!r}; expected NAME=PATH of a program, NAME not {NAIVE} or {DEBIAN}")
    return given


def measure(way: Way, calls: int, listen: list[str], folder: Path, seconds: float, every: float) -> Figures:
    """Start the calls one after another, look at all of them for ``seconds``, end them."""
    ears = Ears(listen, folder, calls, calls * (every + 0.1) + SETTLE + seconds + 60)
    try:
        way.open(calls)
        began = []
        first = time.monotonic()
        for number, port in enumerate(ears.ports):
            time.sleep(max(0.0, first + number * every - time.monotonic()))
            began.append(way.begin(port))
        time.sleep(SETTLE)
        ours_too = [os.getpid(), ears.pid]
        whole = {0: machine()}
        before, bench_before, begin = spent(way.players() + way.helpers()), spent(ours_too), time.time()
        time.sleep(seconds)
        end, after, bench_after = time.time(), spent(before), spent(ours_too)
        rest = share(whole, {0: machine()}) - share(before, after) - share(bench_before, bench_after)
        players = way.players()
        private = private_memory(players)
        way.finish()
        heard = ears.packets()
    finally:
        try:
            way.finish()
        finally:
            ears.close()
    if ears.dropped:
        print(f"The receiver was too slow for {ears.dropped} packets: they count as missing.", file=sys.stderr)
    delays = starts(heard, began)
    return Figures(
        cpu=share(before, after) / len(players) if players else float("nan"),
        private=private / 1e6,
        start_p50=quantile(delays, 0.5),
        start_p99=quantile(delays, 0.99),
        silent=calls - len(delays),
        others=max(0.0, rest),  # the kernel counts the whole machine by ticks only, so it may fall short of ours
        **pacing(heard, begin, end),
    )


COLUMNS = (
    ("cpu %", "cpu", "{:.2f}"), ("private MB", "private", "{:.1f}"), ("start ms", "start_p50", "{:.0f}"),
    ("p99", "start_p99", "{:.0f}"), ("spacing ms", "spacing_p50", "{:.1f}"), ("p99", "spacing_p99", "{:.1f}"),
    ("max", "spacing_max", "{:.0f}"), ("jitter ms", "jitter", "{:.2f}"), ("late %", "late", "{:.2f}"),
    ("lost %", "missing", "{:.2f}"), ("silent", "silent", "{:.0f}"), ("others %", "others", "{:.0f}"),
)  # fmt: skip
COMPARED = (("cpu", "cpu"), ("private", "private"), ("start_p50", "start"), ("spacing_p99", "spacing p99"))


def tables(measured: Mapping[tuple[str, int], Sequence[Figures]]) -> str:
    """Both tables, in Markdown: the median of all rounds, and the ratios to our command by the ffmpeg on the PATH."""
    rows = [["calls", "command", *(title for title, _, _ in COLUMNS)]]
    for (name, calls), rounds in measured.items():
        middle = combine(rounds)
        rows.append([str(calls), name, *(form.format(getattr(middle, field)) for _, field, form in COLUMNS)])
    compared = [["calls", "command", *(title for _, title in COMPARED)]]
    for (name, calls), rounds in measured.items():
        if name != DEBIAN and (reference := measured.get((DEBIAN, calls))):
            compared.append([str(calls), name, *(str(ratio(rounds, reference, field)) for field, _ in COMPARED)])
    return f"{markdown(rows)}\n\nAgainst {DEBIAN!r}, median (least-greatest) of the rounds:\n\n{markdown(compared)}"


def run(given: argparse.Namespace, folder: Path) -> Measured:
    """All rounds."""
    listen = receiver(folder)
    settings = environment(MOH_CACHE=folder, MOH_MUSIC=BUILTIN)
    music = prepare(Settings.from_environment(settings))
    said = folder / "ffmpeg.log"
    ways: dict[str, Union[Commands, WholeServer]] = {}
    if not given.no_naive:
        ways[NAIVE] = Commands(naive(music.paths[PCMU.sample_rate]), said)
    binaries = {DEBIAN: "ffmpeg", **dict(named.split("=", 1) for named in given.ffmpeg)}
    for name, binary in binaries.items():
        ways[name] = Commands(ours(binary, music), said)
    if given.server:
        for name, binary in binaries.items():
            ways[f"server, {name}"] = WholeServer(binary, folder, settings)
    measured: Measured = {(name, calls): [] for calls in given.calls for name in ways}
    each = sum(calls * given.every + SETTLE + given.seconds + 2 for calls in given.calls)
    minutes = given.rounds * len(ways) * each / 60
    longest = minutes + given.rounds * len(measured) * given.patience / 60
    print(f"This takes {minutes:.0f} to {longest:.0f} minutes.", file=sys.stderr)
    for number in range(given.rounds):
        for calls in given.calls:
            # each comes first, last and in between, so that a slow change of the machine favours none
            order = list(ways)[number % len(ways) :] + list(ways)[: number % len(ways)]
            for name in order if number % 2 == 0 else order[::-1]:
                await_quiet(given.quiet, given.patience)
                figures = measure(ways[name], calls, listen, folder, given.seconds, given.every)
                measured[name, calls].append(figures)
                print(
                    f"round {number + 1} of {given.rounds}, {calls} calls, {name}: cpu {figures.cpu:.2f} %, start "
                    f"{figures.start_p50:.0f} ms, spacing p99 {figures.spacing_p99:.1f} ms, "
                    f"others {figures.others:.0f} %",
                    file=sys.stderr,
                )
                if figures.silent:
                    print(f"silent calls: {said.read_text(errors='replace')[-300:]}", file=sys.stderr)
    return measured


def main(words: Sequence[str]) -> int:
    """Measure, print, draw."""
    end_on_signals()
    given = arguments(words)
    try:
        with tempfile.TemporaryDirectory(prefix="moh-bench-") as folder:
            measured = run(given, Path(folder))
    except KeyboardInterrupt:
        return 130
    print(tables(measured))
    if given.plot:
        from bench.common.plots import draw

        what = f"{given.rounds} rounds of {given.seconds:.0f} s; points: median, bars: least and greatest round"
        draw(measured, f"{os.cpu_count()} cores, loopback; {what}", given.plot)
    return 0
