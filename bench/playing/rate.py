"""How many calls a second the whole server takes, while other callers listen: ``python -m bench.playing rate``.

SIPp makes the calls: INVITE, 200, ACK, a second of music at an address of its own, BYE, 200 (``rate.xml``). The shared
stream plays to all of them (``MOH_FFMPEG_CALLS=0``). Everything is on the loopback.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.common.command_line import end_on_signals, numbers
from bench.common.compiler import compiled
from bench.common.farm import SOURCE, pacing
from bench.common.figures import markdown, quantile
from bench.common.processes import await_quiet, prefer, share, spent
from bench.common.program import environment
from bench.common.receiver import HOST
from bench.playing.methods import WholeServer
from bench.playing.topologies import Loopback
from moh.common.config import Settings
from moh.ffmpeg.launch import leash
from moh.mastering.prepare import BUILTIN, prepare

SETTLE = 3.0
"""Seconds from the start of the last listening caller until SIPp begins its calls."""
CALL = 1.0
"""Seconds that a call lasts, as ``rate.xml`` says."""
ADDRESSES = 20000
"""The number of addresses that SIPp's calls use in turn."""
HEAD = (
    "calls a second", "answered", "ended", "good %", "answer ms", "p99", "server cpu %", "others' spacing p99", "max",
    "jitter ms", "late %", "lost %", "skipped %", "silent",
)  # fmt: skip


def measure_rates(rates: Sequence[int], others: int, seconds: float, nice: int, folder: Path) -> str:
    """Measure at each of ``rates`` while ``others`` callers listen. Return the table in Markdown.

    Raises ``RuntimeError`` if a program or the server fails.
    """
    if not shutil.which("sipp"):
        raise RuntimeError("this needs SIPp (Debian's package sip-tester)")
    farm = compiled(SOURCE, folder)
    settings = environment(MOH_CACHE=folder, MOH_MUSIC=BUILTIN, MOH_FFMPEG_CALLS=0)
    prepare(Settings.from_environment(settings))  # fills the cache: a server without music answers 503
    rows: list[Sequence[str]] = [HEAD]
    for rate in rates:
        await_quiet(20.0, 5.0)
        server = WholeServer("ffmpeg", folder, settings)
        try:
            rows.append(_measure(server, farm, rate, others, (seconds, nice), folder))
        finally:
            server.finish()
        print(" | ".join(rows[-1]), file=sys.stderr)
    return markdown(rows)


def _measure(
    server: WholeServer, program: str, rate: int, others: int, how: tuple[float, int], folder: Path
) -> list[str]:
    seconds, nice = how
    topology = Loopback()
    farm = topology.farm(program, others, seconds + others / 100 + 60)
    try:
        server.open(1)
        if nice:
            prefer([farm.pid, *server.helpers()], nice)
        first = int(ipaddress.ip_address(topology.first))
        for number in range(others):
            server.begin(farm.port, str(ipaddress.ip_address(first + number)))
        time.sleep(SETTLE)
        rows = (f"{ipaddress.ip_address(first + 2**16 + number)};{farm.port};" for number in range(ADDRESSES))
        (folder / "held.csv").write_text("\n".join(["SEQUENTIAL", *rows]) + "\n")
        for old in folder.glob("rate_*.csv"):
            old.unlink()
        farm.begin()
        before = spent(server.helpers())
        errors = _sipp(server.port, rate, seconds, nice, folder)
        after = spent(server.helpers())
        counted = farm.end()
    finally:
        farm.close()
    counts, found = read_counts((folder / "counts.csv").read_text()), []
    for written in folder.glob("rate_*_rtt.csv"):
        found += read_answers(written.read_text())
    answers, moments = [took for _, took in found], [at for at, _ in found]
    # SIPp takes longer than ``seconds`` if the server cannot keep up
    span = max(seconds, (max(moments, default=0.0) - min(moments, default=0.0)) / 1000)
    music = pacing(counted)
    tried = max(1, counts["TotalCallCreated"])
    if errors and not counts["SuccessfulCall"]:
        print(errors, file=sys.stderr)
    return [
        str(rate), f"{len(answers) / span:.0f}", f"{counts['SuccessfulCall'] / span:.0f}",
        f"{100 * counts['SuccessfulCall'] / tried:.2f}",
        f"{quantile(answers, 0.5):.1f}", f"{quantile(answers, 0.99):.1f}", f"{share(before, after):.0f}",
        f"{music['spacing_p99']:.2f}", f"{music['spacing_max']:.0f}", f"{music['jitter']:.3f}", f"{music['late']:.3f}",
        f"{music['lost']:.3f}", f"{music['skipped']:.3f}", f"{music['silent']:.0f}",
    ]  # fmt: skip


def _sipp(port: int, rate: int, seconds: float, nice: int, folder: Path) -> str:
    """Run SIPp until it has made its calls. Return its error messages."""
    command = [
        *leash(os.getpid()), "sipp", f"{HOST}:{port}", "-sf", str(Path(__file__).with_name("rate.xml")),
        "-inf", "held.csv", "-i", HOST, "-nostdin", "-m", str(round(rate * seconds)), "-r", str(rate),
        "-l", str(rate * 40), "-timeout", f"{seconds + CALL + 40:.0f}s",
        "-trace_stat", "-stf", "counts.csv", "-trace_rtt", "-rtt_freq", "1",
    ]  # fmt: skip
    sipp = subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        if nice:
            prefer([sipp.pid], nice)
        return sipp.communicate(timeout=seconds + 90)[1][-500:]
    finally:
        sipp.kill()
        sipp.wait()


def read_counts(table: str) -> dict[str, int]:
    """Return SIPp's last counts of calls, from the table that ``-trace_stat`` writes."""
    names, *_, last = table.splitlines()
    counts = dict(zip(names.split(";"), last.split(";")))
    found = {name: int(counts[f"{name}(C)"]) for name in ("SuccessfulCall", "FailedCall")}
    return {**found, "TotalCallCreated": int(counts["TotalCallCreated"])}


def read_answers(table: str) -> list[tuple[float, float]]:
    """Return for each 200 when it came, and how long after its INVITE, both in milliseconds.

    ``table`` is the one that ``-trace_rtt`` writes.
    """
    rows = (line.split(";") for line in table.splitlines())
    return [(float(row[0]), float(row[1])) for row in rows if len(row) > 2 and row[0][:1].isdigit()]


def main(options: Sequence[str]) -> int:
    """Measure all rates and print their table."""
    end_on_signals()
    parser = argparse.ArgumentParser(
        prog="python -m bench.playing rate", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--rates", default="50,100,200,400,800", help="calls a second, by commas (%(default)s)")
    parser.add_argument("--others", type=int, default=1000, help="callers that listen meanwhile (%(default)s)")
    parser.add_argument("--seconds", type=float, default=8.0, help="seconds at each rate (%(default)s)")
    parser.add_argument("--nice", type=int, default=0, help="niceness of all that is measured; below 0 needs root")
    given = parser.parse_args(options)
    rates = numbers(parser, "--rates", given.rates)
    if not all(1 <= rate <= 5000 for rate in rates) or not 1 <= given.others <= 60000 or not 1 <= given.seconds <= 60:
        parser.error("expected 1 to 5000 calls a second, 1 to 60000 others, and 1 to 60 seconds")
    try:
        if given.nice:
            prefer([os.getpid()], given.nice)
        with tempfile.TemporaryDirectory(prefix="moh-bench-") as folder:
            print(measure_rates(rates, given.others, given.seconds, given.nice, Path(folder)))
    except KeyboardInterrupt:
        return 130
    except (RuntimeError, PermissionError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0
