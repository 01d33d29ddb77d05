"""What a call with an ffmpeg of its own costs, and how its packets come: ``python -m bench.playing calls``.

It compares the plain command of ffmpeg, the server's command, the server's command by other ffmpegs, and the whole
server. In each round it measures every method once with each number of calls, one after another, in an order that
changes. Each ratio is made of two figures of the same round, so that other work on the machine mostly cancels.
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

from bench.common.command_line import end_on_signals, numbers
from bench.common.compiler import compiled
from bench.common.figures import Figures, combine, markdown, pacing, quantile, ratio, starts
from bench.common.processes import await_quiet, prefer, private_memory
from bench.common.program import ROOT, environment
from bench.common.receiver import SOURCE, Receiver
from bench.playing.methods import FfmpegCommands, Method, copied, plain, server_command
from bench.playing.rounds import AGAINST, Meter, add_against, add_nice, add_options, announce, caption, in_turn, parse
from bench.playing.sip_servers import SipServer, WholeServer, project
from moh.common.codecs import PCMU
from moh.common.config import Settings
from moh.mastering.prepare import BUILTIN, prepare

PLAIN, COPY, OURS = "plain", "copy", "ours"
"""The plain command, the command that copies ready packets, and the server's command by the ffmpeg on the PATH."""
SERVER = "server"
"""The names of whole servers begin with this."""
SETTLE = 3.0
"""Seconds from the start of the last call until measuring begins."""

Measured = dict[tuple[str, int], list[Figures]]
"""The rounds of each method with each number of calls."""


def arguments(options: Sequence[str]) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.playing calls", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", default="1,25,50,100,200", help="numbers of calls, by commas (%(default)s)")
    parser.add_argument("--every", type=float, default=0.15, help="seconds from call to call (%(default)s)")
    parser.add_argument(
        "--ffmpeg", action="append", default=[], metavar="NAME=PATH",
        help="another ffmpeg for the server's command; may be repeated",
    )  # fmt: skip
    parser.add_argument("--server", action="store_true", help="also whole calls, from INVITE, through the real server")
    add_against(parser)
    add_nice(parser)
    parser.add_argument("--no-plain", action="store_true", help="leave out the plain command and the copying one")
    add_options(parser, rounds=3, seconds=10.0, quiet=40.0, patience=10.0)
    given = parse(parser, options)
    given.calls = numbers(parser, "--calls", given.calls)
    if not all(1 <= count <= 1000 for count in given.calls):
        parser.error("expected 1 to 1000 calls")
    for named in given.ffmpeg:
        name, _, path = named.partition("=")
        if not name or name in (PLAIN, COPY, OURS) or not shutil.which(path):
            parser.error(f"--ffmpeg is {named!r}; expected NAME=PATH of a program, NAME not {PLAIN}, {COPY} or {OURS}")
    return given


def measure(method: Method, calls: int, program: str, folder: Path, given: argparse.Namespace) -> Figures:
    """Start ``calls`` calls, one after another. Measure all of them, and end them."""
    every, seconds = given.every, given.seconds
    receiver = Receiver(program, folder, calls, calls * (every + 0.1) + SETTLE + seconds + 60)
    try:
        method.open(calls)
        if given.nice:
            prefer([receiver.pid, *method.processes()], given.nice)  # ffmpegs that are started later inherit it
        empty = private_memory(method.processes())
        began = []
        first = time.monotonic()
        for number, port in enumerate(receiver.ports):
            time.sleep(max(0.0, first + number * every - time.monotonic()))
            began.append(method.begin(port))
        time.sleep(SETTLE)
        meter, begin = Meter(method.processes(), [receiver.pid]), time.time()
        time.sleep(seconds)
        end, (cpu, others) = time.time(), meter.stop()
        private = private_memory(method.processes()) - empty
        method.finish()
        received = receiver.packets()
    finally:
        try:
            method.finish()
        finally:
            receiver.close()
    if receiver.dropped:
        print(f"The receiver was too slow for {receiver.dropped} packets: they count as lost.", file=sys.stderr)
    delays = starts(received, began)
    return Figures(
        cpu=cpu / calls,
        private=private / calls / 1e6,
        start_p50=quantile(delays, 0.5),
        start_p99=quantile(delays, 0.99),
        silent=calls - len(delays),
        others=others,
        **pacing(received, begin, end),
    )


COLUMNS = (
    ("cpu %", "cpu", "{:.2f}"), ("private MB", "private", "{:.1f}"), ("start ms", "start_p50", "{:.0f}"),
    ("p99", "start_p99", "{:.0f}"), ("spacing ms", "spacing_p50", "{:.1f}"), ("p99", "spacing_p99", "{:.1f}"),
    ("max", "spacing_max", "{:.0f}"), ("jitter ms", "jitter", "{:.2f}"), ("late %", "late", "{:.2f}"),
    ("lost %", "missing", "{:.2f}"), ("silent", "silent", "{:.0f}"), ("others %", "others", "{:.0f}"),
)  # fmt: skip
COMPARED = (("cpu", "cpu"), ("private", "private"), ("start_p50", "start"), ("spacing_p99", "spacing p99"))


def tables(measured: Mapping[tuple[str, int], Sequence[Figures]]) -> str:
    """Return both tables in Markdown: the medians of all rounds, and the ratios of all commands to the references.

    A reference is the server's command, and the whole server of ``--against``.
    """
    rows = [["calls", "command", *(title for title, _, _ in COLUMNS)]]
    for (name, calls), rounds in measured.items():
        middle = combine(rounds)
        rows.append([str(calls), name, *(form.format(getattr(middle, field)) for _, field, form in COLUMNS)])
    compared = [["calls", "commands", *(title for _, title in COMPARED)]]
    for (name, calls), rounds in measured.items():
        for other in (OURS, f"{SERVER}, {AGAINST}"):
            reference = measured.get((other, calls))
            if reference and name != other and (other == OURS or name.startswith(SERVER)):
                ratios = (str(ratio(rounds, reference, field)) for field, _ in COMPARED)
                compared.append([str(calls), f"{name} / {other}", *ratios])
    return f"{markdown(rows)}\n\nRatios of figures of the same round, median (least-greatest):\n\n{markdown(compared)}"


def run(given: argparse.Namespace, folder: Path) -> Measured:
    """Measure all rounds."""
    program = compiled(SOURCE, folder)
    settings = environment(MOH_CACHE=folder, MOH_MUSIC=BUILTIN)
    music = prepare(Settings.from_environment(settings))
    log = folder / "ffmpeg.log"
    methods: dict[str, Method] = {}
    if not given.no_plain:
        methods[PLAIN] = FfmpegCommands(plain(music.paths[PCMU.sample_rate]), log)
        methods[COPY] = FfmpegCommands(copied(music.paths[PCMU.sample_rate], folder), log)
    binaries = {OURS: "ffmpeg", **dict(named.split("=", 1) for named in given.ffmpeg)}
    for name, binary in binaries.items():
        methods[name] = FfmpegCommands(server_command(binary, music), log)
    servers: dict[str, SipServer] = {}
    if given.server:
        for name, binary in binaries.items():
            servers[name] = project(ROOT, folder / name, {}, ffmpeg=binary)
    if given.against:
        servers[AGAINST] = project(given.against, folder / AGAINST, {})
    for name, server in servers.items():  # a first start converts the music, and shows whether the server starts
        server.open()
        server.close()
        methods[f"{SERVER}, {name}"] = WholeServer(server)
    measured: Measured = {(name, calls): [] for calls in given.calls for name in methods}
    each = sum(calls * given.every + SETTLE + given.seconds + 2 for calls in given.calls)
    minutes = given.rounds * len(methods) * each / 60
    announce(minutes, minutes + given.rounds * len(measured) * given.patience / 60)
    for number in range(given.rounds):
        for calls in given.calls:
            for name in in_turn(list(methods), number):
                await_quiet(given.quiet, given.patience)
                figures = measure(methods[name], calls, program, folder, given)
                measured[name, calls].append(figures)
                print(
                    f"round {number + 1} of {given.rounds}, {calls} calls, {name}: cpu {figures.cpu:.2f} %, start "
                    f"{figures.start_p50:.0f} ms, spacing p99 {figures.spacing_p99:.1f} ms, "
                    f"others {figures.others:.0f} %",
                    file=sys.stderr,
                )
                if figures.silent:
                    print(f"calls without packets: {log.read_text(errors='replace')[-300:]}", file=sys.stderr)
    return measured


def main(options: Sequence[str]) -> int:
    """Measure, print the tables, and draw them."""
    end_on_signals()
    given = arguments(options)
    try:
        if given.nice:
            prefer([os.getpid()], given.nice)
        with tempfile.TemporaryDirectory(prefix="moh-bench-") as folder:
            measured = run(given, Path(folder))
    except KeyboardInterrupt:
        return 130
    except (RuntimeError, PermissionError) as error:
        print(error, file=sys.stderr)
        return 1
    print(tables(measured))
    if given.plot:
        from bench.common.plots import draw

        draw(measured, f"loopback, {caption(given)}", given.plot)
    return 0
