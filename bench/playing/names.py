"""What files that appear in the music folder do to the music: ``python -m bench.playing names``.

Callers hear the shared stream. Their packets are measured from a server with one file, and from one with a music
folder, whose default is the same file: while nothing changes in the folder, and from the moment on at which a thousand
files appear in it and the library converts them. In each round both servers are measured one after the other, in an
order that changes. The folder is measured before the files appear and after they are gone. Everything is on the
loopback.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Optional

from bench.common.command_line import end_on_signals
from bench.common.compiler import compiled
from bench.common.farm import SOURCE, Farm, pacing
from bench.common.figures import combine, markdown, ratio
from bench.common.processes import await_quiet, children, prefer, share, used
from bench.common.program import ROOT
from bench.playing.burst import Phone, listen
from bench.playing.rounds import Meter, add_nice, add_options, announce, in_turn, medians, parse
from bench.playing.sip_servers import SipServer, project
from bench.playing.topologies import Loopback
from moh.mastering.prepare import BUILTIN
from moh.net.state_client import read_state

SETTLE = 2.0
"""Seconds from the last caller's call until measuring begins."""
EACH_CALL = 0.003
"""Seconds that a call takes, roughly."""
READY_TIMEOUT = 60.0
"""Seconds that the folder's default may take until it plays, and the library until it has calmed down."""
CALM = 10.0
"""Processor time of the library, in % of a core, below which it converts nothing."""
LIBRARY = b"moh.library"
ONE, STILL, APPEAR = "one file", "folder", "files appear"
"""What is measured: a server with one file, and one with a folder that does not change, or in which files appear."""


@dataclass(frozen=True)
class Sight:
    """One measurement."""

    spacing_p50: float
    """The callers' time from packet to packet, in ms: the median."""
    spacing_p99: float
    spacing_max: float
    late: float
    """Packets more than 5 ms behind the most punctual one of their call, in %."""
    late10: float
    """The same for 10 ms, and for 20 ms."""
    late20: float
    lost: float
    """Packets that did not arrive or were left out, in %."""
    cpu: float
    """Processor time of the server's own process, in % of a core."""
    library: float
    """Processor time of the library and its ffmpegs, in % of a core."""
    ready: float
    """Names whose music became ready meanwhile."""
    others: float
    """Processor time of all other processes, in % of a core."""


def library_of(server: SipServer) -> Optional[int]:
    """Return the number of the library's process; ``None`` where there is none."""
    for child in children(server.pid):
        with suppress(OSError):
            if LIBRARY in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                return child
    return None


def ready_names(server: SipServer) -> int:
    """Return how many names have music."""
    names = read_state(*server.address, 2.0)["names"]
    return int(names["by_state"].get("ready", 0)) if names else 0


def converting(server: SipServer, seconds: float) -> float:
    """Measure for ``seconds`` how much processor the library takes, in % of a core."""
    library = [library_of(server) or 0]
    before = used(library)
    time.sleep(seconds)
    return share(before, used(library))


def wait(condition: Callable[[], bool], what: str) -> None:
    """Wait until ``condition`` is true. Raises ``RuntimeError`` after ``READY_TIMEOUT``."""
    give_up = time.monotonic() + READY_TIMEOUT
    while not condition():
        if time.monotonic() > give_up:
            raise RuntimeError(f"waited {READY_TIMEOUT:.0f} s in vain: {what}")
        time.sleep(0.2)


def look(server: SipServer, farm: Farm, given: argparse.Namespace, change: Callable[[], None]) -> Sight:
    """Measure the music for some seconds, from ``change`` on."""
    library = library_of(server)
    before = ready_names(server) if library else 0
    time.sleep(1.0)  # the state that was just made is no part of what is measured
    farm.begin()
    meter, spent = Meter([server.pid], [farm.pid]), used([library] if library else [])
    change()
    time.sleep(given.seconds)
    cpu, others = meter.stop()
    by_library = share(spent, used([library])) if library else 0.0
    counts = pacing(farm.end())
    return Sight(
        spacing_p50=counts["spacing_p50"], spacing_p99=counts["spacing_p99"], spacing_max=counts["spacing_max"],
        late=counts["late"], late10=counts["late10"], late20=counts["late20"],
        lost=counts["lost"] + counts["skipped"], cpu=cpu - by_library, library=by_library,
        ready=ready_names(server) - before if library else 0, others=others,
    )  # fmt: skip


def measure(with_folder: bool, given: argparse.Namespace, program: str, folder: Path) -> dict[str, Sight]:
    """Run a server with its callers, and measure all that can be measured of it."""
    topology = Loopback()
    farm = topology.farm(program, given.callers, longest(given))
    music, cache = folder / "music", folder / ("names" if with_folder else "one")
    for made in (music, cache):  # what an earlier round has converted is converted again
        shutil.rmtree(made, ignore_errors=True)
    music.mkdir()
    shutil.copy(BUILTIN, music / "default.mp3")
    os.utime(music / "default.mp3", (1.0e9, 1.0e9))
    source = music if with_folder else BUILTIN
    server = project(ROOT, cache, {"MOH_FFMPEG_CALLS": "0", "MOH_MUSIC": str(source), "MOH_CACHE_LIMIT": "20G"})
    phone = None
    try:
        server.open()
        if given.nice:
            prefer([farm.pid, server.pid], given.nice)
        if with_folder:
            wait(lambda: ready_names(server) == 1, "the default is ready")
        phone = Phone(server.address)
        listen(phone, server.last_rtp_port, topology.first, farm.port, given.callers)
        time.sleep(SETTLE)
        if not with_folder:
            return {ONE: look(server, farm, given, lambda: None)}
        before = look(server, farm, given, lambda: None)
        found = look(server, farm, given, lambda: appear(folder / "piece.mp3", music, given.files))
        if not found.library > 0:
            raise RuntimeError("the library converts nothing")
        for path in music.glob("piece*"):
            path.unlink()
        wait(lambda: converting(server, 1.0) < CALM, "the library has calmed down")
        return {STILL: combine([before, look(server, farm, given, lambda: None)]), APPEAR: found}
    finally:
        if phone is not None:
            phone.close()
        server.close()
        farm.close()


def appear(piece: Path, music: Path, count: int) -> None:
    """Have ``count`` files appear in the folder at once. All have the content of ``piece``, which is an old file."""
    for number in range(count):
        os.link(piece, music / f"piece{number}.mp3")


def make_piece(path: Path, seconds: float) -> None:
    """Make a piece of that length: the built-in one again and again."""
    subprocess.run(
        ["ffmpeg", "-nostdin", "-loglevel", "error", "-stream_loop", "-1", "-i", f"file:{BUILTIN}", "-t", str(seconds),
         "-b:a", "128k", f"file:{path}"], check=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    os.utime(path, (1.0e9, 1.0e9))


def longest(given: argparse.Namespace) -> float:
    """Return the longest time of the farm, in seconds."""
    return float(60 + given.callers * EACH_CALL * 10 + 3 * (given.seconds + SETTLE) + 2 * READY_TIMEOUT)


COLUMNS = (
    ("spacing ms", "spacing_p50", "{:.2f}"), ("p99", "spacing_p99", "{:.2f}"), ("max", "spacing_max", "{:.1f}"),
    ("late 5 %", "late", "{:.3f}"), ("10 %", "late10", "{:.3f}"), ("20 %", "late20", "{:.3f}"),
    ("lost %", "lost", "{:.3f}"), ("cpu %", "cpu", "{:.1f}"), ("library %", "library", "{:.0f}"),
    ("ready", "ready", "{:.0f}"), ("others %", "others", "{:.0f}"),
)  # fmt: skip


def tables(measured: Mapping[str, Sequence[Sight]]) -> str:
    """Return the tables in Markdown: the medians of all rounds, and what is compared within each round."""
    rows = medians(COLUMNS, measured)
    compared = [["compared", "p99", "more late by 5 ms", "by 10 ms", "by 20 ms", "more lost"]]
    for one, other in ((APPEAR, STILL), (APPEAR, ONE), (STILL, ONE)):
        more = [difference(measured[one], measured[other], field) for field in ("late", "late10", "late20", "lost")]
        compared.append([f"{one} / {other}", str(ratio(measured[one], measured[other], "spacing_p99")), *more])
    return (
        f"{markdown(rows)}\n\nRatios of the p99 and differences in % of the packets, of figures of the same round, "
        f"median (least to greatest):\n\n{markdown(compared)}"
    )


def difference(rounds: Sequence[Sight], reference: Sequence[Sight], name: str) -> str:
    """Return by how much the figure ``name`` of each round exceeds that of ``reference`` in the same round."""
    found = [getattr(one, name) - getattr(other, name) for one, other in zip(rounds, reference)]
    return f"{median(found):+.3f} ({min(found):+.3f} to {max(found):+.3f})"


def arguments(options: Sequence[str]) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.playing names", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--callers", type=int, default=1000, help="callers of the shared stream (%(default)s)")
    parser.add_argument("--files", type=int, default=1000, help="files that appear in the folder (%(default)s)")
    parser.add_argument("--length", type=float, default=180.0, help="seconds of music in each file (%(default)s)")
    add_nice(parser)
    add_options(parser, rounds=6, seconds=10.0, quiet=40.0, patience=5.0)
    given = parse(parser, options)
    if not (1 <= given.callers <= 20000 and 1 <= given.files <= 20000 and 1 <= given.length <= 3600):
        parser.error("expected 1 to 20000 callers, 1 to 20000 files, and 1 to 3600 seconds of music")
    return given


def main(options: Sequence[str]) -> int:
    """Measure all rounds and print the tables. After Ctrl-C they show the whole rounds until then."""
    end_on_signals()
    given = arguments(options)
    measured: dict[str, list[Sight]] = {ONE: [], STILL: [], APPEAR: []}
    once = 2 * (given.callers * EACH_CALL + SETTLE + 3) + 4 * given.seconds + 10
    announce(given.rounds * once / 60, given.rounds * (once + 2 * given.patience + READY_TIMEOUT) / 60)
    try:
        if given.nice:
            prefer([os.getpid()], given.nice)
        with tempfile.TemporaryDirectory(prefix="moh-bench-") as name:
            folder = Path(name)
            program = compiled(SOURCE, folder)
            make_piece(folder / "piece.mp3", given.length)
            for number in range(given.rounds):
                found: dict[str, Sight] = {}
                for with_folder in in_turn([False, True], number):
                    await_quiet(given.quiet, given.patience)
                    found.update(measure(with_folder, given, program, folder))
                for what, sight in found.items():
                    measured[what].append(sight)
                    print(
                        f"round {number + 1} of {given.rounds}, {what}: spacing p99 {sight.spacing_p99:.2f} ms, max "
                        f"{sight.spacing_max:.1f} ms, late by 5, 10, 20 ms {sight.late:.3f} {sight.late10:.3f} "
                        f"{sight.late20:.3f} %, lost {sight.lost:.3f} %, cpu {sight.cpu:.1f} %, library "
                        f"{sight.library:.0f} %, {sight.ready:.0f} ready",
                        file=sys.stderr,
                    )
    except KeyboardInterrupt:
        if not measured[APPEAR]:
            return 130
        print("Ended before all was measured.")
    except (RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(tables(measured))
    return 0
