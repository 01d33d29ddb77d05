"""What the page and the metrics do to the music: ``python -m bench.playing page``.

Callers hear the shared stream. Their packets are measured from a server without a page (``MOH_HTTP`` empty), and from
one whose page is open in 20 browsers while a Prometheus scrapes it each second. In each round both servers are
measured one after the other, in an order that changes. The second server is also measured while its page is closed,
before and after. Each ratio is made of two figures of the same round. Everything is on the loopback.
"""

from __future__ import annotations

import argparse
import math
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from bench.common.command_line import end_on_signals
from bench.common.compiler import compiled
from bench.common.farm import SOURCE, Farm, pacing
from bench.common.figures import combine, markdown, ratio
from bench.common.processes import await_quiet, prefer
from bench.common.program import ROOT
from bench.common.receiver import HOST
from bench.playing.burst import Phone, listen
from bench.playing.rounds import Meter, add_nice, add_options, announce, in_turn, medians, parse
from bench.playing.sip_servers import SipServer, project
from bench.playing.topologies import Loopback
from moh.ffmpeg.launch import leash

VIEWERS = Path(__file__).with_name("viewers.py")
SETTLE = 2.0
"""Seconds from the last caller's call, or from the opening of the pages, until measuring begins."""
EACH_CALL = 0.003
"""Seconds that a call takes, roughly."""
OFF, CLOSED, OPEN = "no page", "page closed", "page open"
"""What is measured: a server without a page, and one with a page that no browser has open, or that all have open."""


@dataclass(frozen=True)
class Sight:
    """One measurement."""

    spacing_p50: float
    """The callers' time from packet to packet, in ms: the median."""
    spacing_p99: float
    spacing_max: float
    late: float
    """Packets more than 5 ms behind the most punctual one of their call, in %."""
    lost: float
    """Packets that did not arrive or were left out, in %."""
    cpu: float
    """Processor time of the server and the process of its page, in % of a core."""
    requests: float
    """Answers of the page in a second."""
    failed: float
    """Requests that got no answer, or another one than 200."""
    slowest: float
    """The slowest answer in ms."""
    others: float
    """Processor time of all other processes, in % of a core."""


class Viewers:
    """The process of the browsers and the Prometheus (``viewers.py``). It dies with this process."""

    def __init__(self, port: int, given: argparse.Namespace) -> None:
        command = [sys.executable, str(VIEWERS), HOST, str(port), str(given.pages), str(given.every), str(given.scrape)]
        self._process = subprocess.Popen(
            [*leash(os.getpid()), *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        self._began = time.monotonic()
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            self.close()
            raise RuntimeError(f"does not start: {' '.join(command)}")

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def close(self) -> dict[str, float]:
        """End the process. Return its counts by their names in ``Sight``."""
        seconds = time.monotonic() - self._began
        try:
            words = self._process.communicate(timeout=15)[0].split()
        except subprocess.TimeoutExpired:
            self._process.kill()
            words = self._process.communicate()[0].split()
        found = dict(zip(words[::2], map(float, words[1::2]))) if len(words) == 6 else {}
        return {
            "requests": found.get("requests", math.nan) / seconds,
            "failed": found.get("failed", math.nan),
            "slowest": found.get("slowest", math.nan),
        }


def free_port() -> int:
    """Return a port of TCP that is free now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def look(server: SipServer, farm: Farm, page: Optional[int], given: argparse.Namespace) -> Sight:
    """Measure the music for some seconds; with ``page``, the port of the page, while that is open."""
    viewers = Viewers(page, given) if page else None
    try:
        time.sleep(SETTLE)
        farm.begin()
        meter = Meter([server.pid], [farm.pid, *([viewers.pid] if viewers else [])])
        time.sleep(given.seconds)
        cpu, others = meter.stop()
        counts = pacing(farm.end())
    finally:
        seen = viewers.close() if viewers else {"requests": 0.0, "failed": 0.0, "slowest": 0.0}
    if page and not seen["requests"] > seen["failed"]:
        raise RuntimeError("the page does not answer")
    return Sight(
        spacing_p50=counts["spacing_p50"], spacing_p99=counts["spacing_p99"], spacing_max=counts["spacing_max"],
        late=counts["late"], lost=counts["lost"] + counts["skipped"], cpu=cpu, others=others, **seen,
    )  # fmt: skip


def measure(with_page: bool, given: argparse.Namespace, program: str, folder: Path) -> dict[str, Sight]:
    """Run a server with its callers, and measure all that can be measured of it."""
    topology = Loopback()
    farm = topology.farm(program, given.callers, longest(given))
    page = free_port()
    settings = {"MOH_FFMPEG_CALLS": "0", **({"MOH_HTTP": f"{HOST}:{page}"} if with_page else {})}
    server = project(ROOT, folder / ("page" if with_page else "no-page"), settings)
    phone = None
    try:
        server.open()
        if given.nice:
            prefer([farm.pid, server.pid], given.nice)
        phone = Phone(server.address)
        listen(phone, server.last_rtp_port, topology.first, farm.port, given.callers)
        if not with_page:
            return {OFF: look(server, farm, None, given)}
        before = look(server, farm, None, given)
        sight = look(server, farm, page, given)
        return {CLOSED: combine([before, look(server, farm, None, given)]), OPEN: sight}
    finally:
        if phone is not None:
            phone.close()
        server.close()
        farm.close()


def longest(given: argparse.Namespace) -> float:
    """Return the longest time of the farm, in seconds."""
    return float(60 + given.callers * EACH_CALL * 10 + 3 * (given.seconds + 3 * SETTLE))


COLUMNS = (
    ("spacing ms", "spacing_p50", "{:.2f}"), ("p99", "spacing_p99", "{:.2f}"), ("max", "spacing_max", "{:.1f}"),
    ("late %", "late", "{:.3f}"), ("lost %", "lost", "{:.3f}"), ("cpu %", "cpu", "{:.1f}"),
    ("answers/s", "requests", "{:.1f}"), ("failed", "failed", "{:.0f}"), ("slowest ms", "slowest", "{:.0f}"),
    ("others %", "others", "{:.0f}"),
)  # fmt: skip


def tables(measured: Mapping[str, Sequence[Sight]]) -> str:
    """Return both tables in Markdown: the medians of all rounds, and the ratios."""
    rows = medians(COLUMNS, measured)
    compared = [["compared", "p99", "median spacing", "cpu"]]
    for one, other in ((OPEN, OFF), (OPEN, CLOSED), (CLOSED, OFF)):
        pairs = [str(ratio(measured[one], measured[other], field)) for field in ("spacing_p99", "spacing_p50", "cpu")]
        compared.append([f"{one} / {other}", *pairs])
    return f"{markdown(rows)}\n\nRatios of figures of the same round, median (least-greatest):\n\n{markdown(compared)}"


def arguments(options: Sequence[str]) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.playing page", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--callers", type=int, default=1000, help="callers of the shared stream (%(default)s)")
    parser.add_argument("--pages", type=int, default=20, help="browsers that have the page open (%(default)s)")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two requests of a page (%(default)s)")
    parser.add_argument("--scrape", type=float, default=1.0, help="seconds between two scrapes (%(default)s)")
    add_nice(parser)
    add_options(parser, rounds=6, seconds=8.0, quiet=40.0, patience=5.0)
    given = parse(parser, options)
    if not (1 <= given.callers <= 20000 and given.pages >= 0 and given.every > 0 and given.scrape > 0):
        parser.error("expected 1 to 20000 callers, 0 or more pages, and times above 0")
    return given


def main(options: Sequence[str]) -> int:
    """Measure all rounds and print the tables. After Ctrl-C they show the whole rounds until then."""
    end_on_signals()
    given = arguments(options)
    measured: dict[str, list[Sight]] = {OFF: [], CLOSED: [], OPEN: []}
    once = 2 * (given.callers * EACH_CALL + 4) + 4 * (given.seconds + SETTLE) + 1
    announce(given.rounds * once / 60, given.rounds * (once + 2 * given.patience) / 60)
    try:
        if given.nice:
            prefer([os.getpid()], given.nice)
        with tempfile.TemporaryDirectory(prefix="moh-bench-") as name:
            folder = Path(name)
            program = compiled(SOURCE, folder)
            for number in range(given.rounds):
                found: dict[str, Sight] = {}
                for with_page in in_turn([False, True], number):
                    await_quiet(given.quiet, given.patience)
                    found.update(measure(with_page, given, program, folder))
                for what, sight in found.items():
                    measured[what].append(sight)
                    print(
                        f"round {number + 1} of {given.rounds}, {what}: spacing p99 {sight.spacing_p99:.2f} ms, late "
                        f"{sight.late:.3f} %, lost {sight.lost:.3f} %, cpu {sight.cpu:.1f} %, {sight.requests:.0f} "
                        f"answers a second, {sight.failed:.0f} failed, slowest {sight.slowest:.0f} ms",
                        file=sys.stderr,
                    )
    except KeyboardInterrupt:
        if not measured[OPEN]:
            return 130
        print("Ended before all was measured.")
    except (RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(tables(measured))
    return 0
