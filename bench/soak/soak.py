"""Whether the server stays as small as it began while calls come and go at random, and is at rest after the last one.

``python3 -m bench.soak --minutes 60``, from the project's folder. Needs Linux; everything stays on the loopback.
Exit status 0 where nothing has grown and nothing is left, else 1.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Optional

from bench.common.command_line import add_plot, check_plot, end_on_signals
from bench.soak.callers import KINDS, MEAN_HOLD, Callers
from bench.soak.sample import Sample, Server

MOST = 1.0
"""MB that the server may grow by after the warm-up."""
WARM_UP = 5.0
"""Minutes at the beginning that do not count; a third of the time where that is shorter."""
REST = 45.0
"""Seconds beyond the longest call until all that was begun is over: a BYE that nobody answers takes 32."""
ANSWERED = 0.15
"""Seconds that the server gets to write down how many calls it has."""


def growth(samples: Sequence[Sample], field: str, minutes: float, warm_up: float) -> float:
    """From the tenth of the time that follows the warm-up to the last tenth; of their medians, since calls vary."""
    window = max(0.25, (minutes - warm_up) / 10)
    early = [getattr(each, field) for each in samples if warm_up <= each.minute < warm_up + window]
    late = [getattr(each, field) for each in samples if minutes - window <= each.minute <= minutes]
    return statistics.median(late) - statistics.median(early) if early and late else float("nan")


def table(before: Sample, samples: Sequence[Sample], after: Sample, minutes: float, warm_up: float) -> str:
    """What there was when, in Markdown."""
    if not samples:
        return "no samples"
    warm = next((each for each in samples if each.minute >= warm_up), samples[-1])
    rows = [["", "before", f"after {warm.minute:.1f} min", f"after {samples[-1].minute:.1f} min", "most", "at rest",
             "growth"]]  # fmt: skip
    for field, name, form in COLUMNS:
        cells = [getattr(each, field) for each in (before, warm, samples[-1], max(samples, key=_by(field)), after)]
        grown = growth(samples, field, minutes, warm_up)
        rows.append([name, *(form.format(cell) for cell in cells), f"{grown:+.2f}"])
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["| " + " | ".join(cell.rjust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|", *lines[1:]])


def _by(field: str) -> Callable[[Sample], float]:
    return lambda each: float(getattr(each, field))


COLUMNS = (
    ("rss", "RSS, MB", "{:.2f}"), ("private", "private, MB", "{:.2f}"), ("threads", "threads", "{}"),
    ("descriptors", "descriptors", "{}"), ("processes", "child processes", "{}"), ("ports", "RTP ports", "{}"),
    ("calls", "calls", "{}"), ("by_ffmpeg", "by ffmpeg", "{}"), ("shared", "in the shared stream", "{}"),
)  # fmt: skip
KEPT = ("threads", "descriptors", "processes", "ports", "calls", "by_ffmpeg", "shared")


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="python3 -m bench.soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="how long calls come (%(default)s)")
    parser.add_argument("--calls", type=int, default=75, help="how many at once, on the average (%(default)s)")
    parser.add_argument("--every", type=float, default=5.0, help="seconds from sample to sample (%(default)s)")
    parser.add_argument("--longest", type=int, help="longest call in seconds (120, or a quarter of the time)")
    parser.add_argument("--seed", type=int, help="the same callers as in another run")
    add_plot(parser)
    given = parser.parse_args()
    if not 0.2 <= given.minutes <= 10000 or not 1 <= given.calls <= 1000 or not 0.2 <= given.every <= 60:
        parser.error("expected 0.2 to 10000 minutes, 1 to 1000 calls, 0.2 to 60 seconds from sample to sample")
    if given.longest is None:
        given.longest = min(120, max(5, round(given.minutes * 15)))
    check_plot(parser, given)
    if not Path("/proc/self/smaps_rollup").exists():
        parser.error("expected Linux, since /proc tells what a process has")
    return given


def run(given: argparse.Namespace, folder: Path) -> tuple[Sample, list[Sample], Sample, Callers, list[str]]:
    """Before, meanwhile, at rest; the callers; and what is wrong with the server, as far as it says so itself."""
    seed = given.seed if given.seed is not None else random.randrange(10**6)
    lasting = min(MEAN_HOLD, given.longest)
    forgotten = sum(KINDS[kind] for kind in ("mute", "deaf", "expired")) / sum(KINDS.values())
    rate = given.calls / (lasting * (1 - forgotten) + given.longest * forgotten * 0.7)
    print(
        f"{given.minutes:g} minutes, {rate:.2f} calls begin each second, about {given.calls} at once, none longer than "
        f"{given.longest} s; --seed {seed}. Afterwards it takes up to {given.longest + REST:.0f} s until all is over.",
        file=sys.stderr,
    )
    server = Server(folder, given.longest, 70)
    callers: Optional[Callers] = None
    status: Optional[int] = None
    samples: list[Sample] = []
    try:
        server.ready()
        before = server.sample()
        callers = Callers(server.address, rate, given.longest, random.Random(seed))
        began = time.monotonic()
        callers.open()
        while (now := time.monotonic()) - began < given.minutes * 60:
            look = min(now + given.every, began + given.minutes * 60)
            callers.run(look - ANSWERED)
            server.ask()
            callers.run(look)
            samples.append(server.sample())
            if len(samples) % max(1, round(60 / given.every)) == 0:
                print(_told(samples[-1]), file=sys.stderr)
        callers.stop()
        give_up = time.monotonic() + given.longest + REST
        after = server.sample()
        while time.monotonic() < give_up and any(getattr(after, field) > getattr(before, field) for field in KEPT):
            server.ask()
            callers.run(time.monotonic() + 1.0)
            after = server.sample()
        print(_told(after), file=sys.stderr)
        while callers.calls and time.monotonic() < give_up:
            callers.run(time.monotonic() + 0.2)
    finally:
        status = server.close()
        if callers is not None:
            callers.close()
    wrong = [f"its log: {line}" for line in server.trouble[:10]]
    if status != 0:
        wrong.append(f"it ended with status {status}; expected 0")
    return before, samples, after, callers, wrong


def _told(now: Sample) -> str:
    return (
        f"minute {now.minute:.1f}: {now.calls} calls, {now.by_ffmpeg} by ffmpeg, {now.shared} in the shared stream; "
        f"{now.private:.2f} MB private, {now.threads} threads, {now.descriptors} descriptors, {now.ports} RTP ports"
    )


def verdict(
    before: Sample, samples: Sequence[Sample], after: Sample, minutes: float, warm_up: float, callers: Callers
) -> list[str]:
    """What is not as it should be."""
    wrong = []
    for field in ("rss", "private"):
        grown = growth(samples, field, minutes, warm_up)
        if not grown < MOST:
            wrong.append(f"{field}: {grown:+.2f} MB after the warm-up; expected less than {MOST:g}")
    for field, name, _ in COLUMNS:
        if field in KEPT and getattr(after, field) > getattr(before, field):
            wrong.append(f"{name}: {getattr(after, field)} at rest; expected {getattr(before, field)}, as before")
    wrong += [f"heard nothing: {caller}" for caller in callers.silent[:10]]
    for name in ("unanswered", "strays"):
        if callers.figures[name]:
            wrong.append(f"{name}: {callers.figures[name]}; expected none")
    wrong += [f"{name}: {count}" for name, count in callers.figures.items() if name.startswith("refused")]
    if callers.calls:
        wrong.append(f"{callers.calls} callers are still in their calls")
    return wrong


def main() -> int:
    """Measure, print, draw."""
    end_on_signals()
    given = arguments()
    warm_up = min(WARM_UP, given.minutes / 3)
    try:
        with tempfile.TemporaryDirectory(prefix="moh-soak-") as folder:
            before, samples, after, callers, wrong = run(given, Path(folder))
    except KeyboardInterrupt:
        return 130
    print(table(before, samples, after, given.minutes, warm_up))
    print("\n" + ", ".join(f"{count} {name}" for name, count in callers.figures.items()) + ".")
    grown = growth(samples, "private", given.minutes, warm_up)
    print(f"Growth after the first {warm_up:g} minutes: {grown:+.2f} MB private.")
    wrong = verdict(before, samples, after, given.minutes, warm_up, callers) + wrong
    if given.plot:
        from bench.soak.plot import draw_soak

        draw_soak(samples, after, warm_up, f"{callers.figures['calls']} calls in {given.minutes:g} minutes", given.plot)
    print("\n".join(["Flat, and at rest in the end."] if not wrong else ["NOT as it should be:", *wrong]))
    return 1 if wrong else 0
