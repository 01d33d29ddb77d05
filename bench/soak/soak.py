"""Whether the server stays as small as it began while calls come and go at random, and is at rest after the last one.

``python3 -m bench.soak.soak --minutes 60``, from the project's folder. Needs Linux; everything stays on the loopback.
Exit status 0 where nothing has grown and nothing is left, else 1. More than 300 lines, the options and the verdict
included.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Optional

from bench.common.processes import children, end
from bench.playing.ways import PATIENCE, ROOT, SENDERS, free_pairs
from bench.soak.callers import HOST, KINDS, MEAN_HOLD, Callers
from moh.ffmpeg.launch import leash
from moh.mastering.prepare import BUILTIN

MOST = 1.0
"""MB that the server may grow by after the warm-up."""
WARM_UP = 5.0
"""Minutes at the beginning that do not count; a third of the time where that is shorter."""
REST = 45.0
"""Seconds beyond the longest call until all that was begun is over: a BYE that nobody answers takes 32."""
ANSWERED = 0.15
"""Seconds that the server gets to write down how many calls it has."""
WORST = ("Traceback", " ERROR ", " CRITICAL ")
SAID = re.compile(r" (\d+) calls: (\d+) by ffmpeg(?:, (\d+) in the shared stream)?")


class Sample(NamedTuple):
    """The server at one moment; ``minute`` since the first call."""

    minute: float
    rss: float
    """MB of 10^6 octets, with what it shares with others."""
    private: float
    """MB of no file. What is nobody else's, as ``smaps`` has it, is nothing at all while a child is being forked."""
    threads: int
    descriptors: int
    processes: int
    """Its children, those that have ended and were not reaped among them."""
    ports: int
    """UDP ports of its range for music that are taken, by its ffmpegs and itself."""
    calls: int
    """As the server counts them."""
    by_ffmpeg: int
    shared: int


class Server:
    """The real server in a process of its own; it dies with us, as its ffmpegs die with it."""

    def __init__(self, folder: Path, longest: int, pairs: int) -> None:
        """``longest`` is the longest call in seconds, ``pairs`` how many pairs of ports it has."""
        port, *senders = free_pairs(random.choice(SENDERS), pairs + 1)
        self.address = (HOST, port)
        self._ports = range(senders[0], senders[-1] + 2)
        self._log = folder / "server.log"
        settings = {
            "MOH_BIND": HOST, "MOH_SIP_PORT": str(port), "MOH_RTP_PORTS": f"{self._ports[0]}-{self._ports[-1]}",
            "MOH_MAX_CALL": f"{longest}s", "MOH_CACHE": str(folder), "MOH_MUSIC": str(BUILTIN),
        }  # fmt: skip
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MOH_")}
        with self._log.open("wb") as said:
            self.process = subprocess.Popen(
                [*leash(os.getpid()), sys.executable, str(ROOT / "sip_server.py")], env={**environment, **settings},
                stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True,
            )  # fmt: skip
        self._lines = self._log.open(encoding="utf-8", errors="replace")
        self._counted = (0, 0, 0)
        self.trouble: list[str] = []
        """Lines of its log that should not be there."""
        self._began = time.monotonic()

    def ready(self) -> None:
        """Wait until it takes calls."""
        give_up = time.monotonic() + 6 * PATIENCE
        while "ready: " not in self._log.read_text(errors="replace"):
            if self.process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"the server does not start: {self._log.read_text(errors='replace')[-300:]}")
            time.sleep(0.05)
        self._began = time.monotonic()

    def ask(self) -> None:
        """Let it write down how many calls it has, which takes a moment."""
        os.kill(self.process.pid, signal.SIGUSR1)

    def sample(self) -> Sample:
        """Look at it now."""
        self._read_log()
        pid = self.process.pid
        status = Path(f"/proc/{pid}/status").read_text()
        return Sample(
            (time.monotonic() - self._began) / 60,
            _number(status, "VmRSS") * 1024 / 1e6,
            _number(status, "RssAnon") * 1024 / 1e6,
            _number(status, "Threads"),
            len(os.listdir(f"/proc/{pid}/fd")),
            len(children(pid, zombies=True)),
            len(set(self._ports).intersection(_taken())),
            *self._counted,
        )

    def _read_log(self) -> None:
        for line in self._lines:
            if found := SAID.search(line):
                self._counted = (int(found[1]), int(found[2]), int(found[3] or 0))
            elif any(word in line for word in WORST):
                self.trouble.append(line.strip())

    def close(self) -> Optional[int]:
        """Ask it to end; its exit status, ``None`` where it had to be killed."""
        end([self.process], grace=PATIENCE)
        self._read_log()
        self._lines.close()
        return self.process.returncode


def _number(status: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE)
    assert found is not None, f"no {name} in /proc/PID/status"
    return int(found[1])


def _taken() -> set[int]:
    """The UDP ports of this machine that somebody has."""
    ports: set[int] = set()
    for name in ("udp", "udp6"):
        try:
            lines = Path(f"/proc/net/{name}").read_text().splitlines()[1:]
        except OSError:
            continue
        ports.update(int(line.split()[1].rpartition(":")[2], 16) for line in lines)
    return ports


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
    parser = argparse.ArgumentParser(prog="python3 -m bench.soak.soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="how long calls come (%(default)s)")
    parser.add_argument("--calls", type=int, default=75, help="how many at once, on the average (%(default)s)")
    parser.add_argument("--every", type=float, default=5.0, help="seconds from sample to sample (%(default)s)")
    parser.add_argument("--longest", type=int, help="longest call in seconds (120, or a quarter of the time)")
    parser.add_argument("--seed", type=int, help="the same callers as in another run")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw it, too; needs bench/requirements.txt")
    given = parser.parse_args()
    if not 0.2 <= given.minutes <= 10000 or not 1 <= given.calls <= 1000 or not 0.2 <= given.every <= 60:
        parser.error("expected 0.2 to 10000 minutes, 1 to 1000 calls, 0.2 to 60 seconds from sample to sample")
    if given.longest is None:
        given.longest = min(120, max(5, round(given.minutes * 15)))
    if given.plot and not importlib.util.find_spec("matplotlib"):
        parser.error("--plot needs matplotlib: pip install -r bench/requirements.txt")
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
    # so that all that was started goes as well, also where a shell in the background has us ignore Ctrl-C
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)
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
        from bench.common.plots import draw_soak

        draw_soak(samples, after, warm_up, f"{callers.figures['calls']} calls in {given.minutes:g} minutes", given.plot)
    print("\n".join(["Flat, and at rest in the end."] if not wrong else ["NOT as it should be:", *wrong]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
