"""Whether the server stays as small as it began while calls come and go at random: ``python -m bench.soak``.

It needs Linux. Everything stays on the loopback. The exit status is 0 if the memory has not grown and nothing is left
after the last call, otherwise 1.
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
from bench.common.figures import markdown
from bench.soak.callers import KINDS, MEAN_HOLD, Callers
from bench.soak.sample import Sample, Server

MOST_GROWTH = 1.0
"""MB that the server may grow by after the warm-up."""
WARM_UP = 5.0
"""Minutes of the warm-up, in which memory may grow. In a short soak the warm-up is a third of the time."""
REST = 45.0
"""Seconds after the end of the longest call until the sample at rest. A BYE without an answer takes 32."""
LOG_DELAY = 0.15
"""Seconds that the server has for logging its number of calls."""


def growth(samples: Sequence[Sample], field: str, minutes: float, warm_up: float) -> float:
    """Return how much ``field`` has grown from the first tenth of the time after the warm-up to the last tenth.

    The medians of both tenths are compared, since the number of calls varies.
    """
    window = max(0.25, (minutes - warm_up) / 10)
    early = [getattr(each, field) for each in samples if warm_up <= each.minute < warm_up + window]
    late = [getattr(each, field) for each in samples if minutes - window <= each.minute <= minutes]
    return statistics.median(late) - statistics.median(early) if early and late else float("nan")


def table(before: Sample, samples: Sequence[Sample], after: Sample, minutes: float, warm_up: float) -> str:
    """Return the table of the samples in Markdown."""
    if not samples:
        return "no samples"
    warm = next((each for each in samples if each.minute >= warm_up), samples[-1])
    rows = [["", "before", f"after {warm.minute:.1f} min", f"after {samples[-1].minute:.1f} min", "most", "at rest",
             "growth"]]  # fmt: skip
    for field, name, form in COLUMNS:
        cells = [getattr(each, field) for each in (before, warm, samples[-1], max(samples, key=_by(field)), after)]
        grown = growth(samples, field, minutes, warm_up)
        rows.append([name, *(form.format(cell) for cell in cells), f"{grown:+.2f}"])
    return markdown(rows)


def _by(field: str) -> Callable[[Sample], float]:
    return lambda each: float(getattr(each, field))


COLUMNS = (
    ("rss", "RSS, MB", "{:.2f}"), ("private", "private, MB", "{:.2f}"), ("threads", "threads", "{}"),
    ("descriptors", "descriptors", "{}"), ("processes", "child processes", "{}"), ("ports", "RTP ports", "{}"),
    ("calls", "calls", "{}"), ("by_ffmpeg", "by ffmpeg", "{}"), ("shared", "in the shared stream", "{}"),
)  # fmt: skip
"""The rows of the table: a field of a sample, its name and its format."""
AT_REST = ("threads", "descriptors", "processes", "ports", "calls", "by_ffmpeg", "shared")


def arguments() -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="minutes in which calls come (%(default)s)")
    parser.add_argument("--calls", type=int, default=75, help="average number of calls at once (%(default)s)")
    parser.add_argument("--every", type=float, default=5.0, help="seconds from sample to sample (%(default)s)")
    parser.add_argument("--longest", type=int, help="longest call in seconds (120, or a quarter of the time)")
    parser.add_argument("--seed", type=int, help="repeats the callers of the run with that seed")
    add_plot(parser)
    given = parser.parse_args()
    if not 0.2 <= given.minutes <= 10000 or not 1 <= given.calls <= 1000 or not 0.2 <= given.every <= 60:
        parser.error("expected 0.2 to 10000 minutes, 1 to 1000 calls, 0.2 to 60 seconds from sample to sample")
    if given.longest is None:
        given.longest = min(120, max(5, round(given.minutes * 15)))
    check_plot(parser, given)
    if not Path("/proc/self/smaps_rollup").exists():
        parser.error("needs Linux: /proc has the figures of a process")
    return given


def run(given: argparse.Namespace, folder: Path) -> tuple[Sample, list[Sample], Sample, Callers, list[str]]:
    """Run the soak. Return the samples before, during and after it, the callers, and the errors of the server.

    The errors come from the server's log and its exit status.
    """
    seed = given.seed if given.seed is not None else random.randrange(10**6)
    lasting = min(MEAN_HOLD, given.longest)
    vanishing = sum(KINDS[kind] for kind in ("mute", "closed port", "expired")) / sum(KINDS.values())
    rate = given.calls / (lasting * (1 - vanishing) + given.longest * vanishing * 0.7)
    print(
        f"{given.minutes:g} minutes, {rate:.2f} calls begin each second, about {given.calls} at once, none longer than "
        f"{given.longest} s; --seed {seed}. It ends within {given.longest + REST:.0f} s after that.",
        file=sys.stderr,
    )
    server = Server(folder, given.longest, 70)
    callers: Optional[Callers] = None
    status = 0
    samples: list[Sample] = []
    try:
        server.wait_until_ready()
        before = server.sample()
        callers = Callers(server.address, rate, given.longest, random.Random(seed))
        began = time.monotonic()
        callers.open()
        while (now := time.monotonic()) - began < given.minutes * 60:
            next_sample = min(now + given.every, began + given.minutes * 60)
            callers.run(next_sample - LOG_DELAY)
            server.log_statistics()
            callers.run(next_sample)
            samples.append(server.sample())
            if len(samples) % max(1, round(60 / given.every)) == 0:
                print(_summary(samples[-1]), file=sys.stderr)
        callers.stop()
        give_up = time.monotonic() + given.longest + REST
        after = server.sample()
        while time.monotonic() < give_up and any(getattr(after, field) > getattr(before, field) for field in AT_REST):
            server.log_statistics()
            callers.run(time.monotonic() + 1.0)
            after = server.sample()
        print(_summary(after), file=sys.stderr)
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


def _summary(now: Sample) -> str:
    return (
        f"minute {now.minute:.1f}: {now.calls} calls, {now.by_ffmpeg} by ffmpeg, {now.shared} in the shared stream; "
        f"{now.private:.2f} MB private, {now.threads} threads, {now.descriptors} descriptors, {now.ports} RTP ports"
    )


def verdict(
    before: Sample, samples: Sequence[Sample], after: Sample, minutes: float, warm_up: float, callers: Callers
) -> list[str]:
    """Return the reasons why the soak has failed; none if all is well."""
    wrong = []
    for field in ("rss", "private"):
        grown = growth(samples, field, minutes, warm_up)
        if not grown < MOST_GROWTH:
            wrong.append(f"{field}: {grown:+.2f} MB after the warm-up; expected less than {MOST_GROWTH:g}")
    for field, name, _ in COLUMNS:
        if field in AT_REST and getattr(after, field) > getattr(before, field):
            wrong.append(f"{name}: {getattr(after, field)} at rest; expected {getattr(before, field)}, as before")
    wrong += [f"received no music: {caller}" for caller in callers.silent[:10]]
    for name in ("unanswered", "strays"):
        if callers.figures[name]:
            wrong.append(f"{name}: {callers.figures[name]}; expected none")
    wrong += [f"{name}: {count}" for name, count in callers.figures.items() if name.startswith("refused")]
    if callers.calls:
        wrong.append(f"{callers.calls} callers are still in their calls")
    return wrong


def main() -> int:
    """Run the soak, print its table and its verdict, and draw the picture."""
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
    print("\n".join(["No growth, and at rest in the end."] if not wrong else ["WRONG:", *wrong]))
    return 1 if wrong else 0
