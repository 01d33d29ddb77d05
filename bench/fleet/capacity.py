"""What one machine of a fleet can do: ``python -m bench.fleet capacity``.

It measures what a caller of the shared stream costs the whole server behind a virtual network card (``veth``), and a
sender in C beside it; what a call's set-up costs the server; how many calls a second Kamailio takes, with stubs in C as
its servers, and what one costs it; and what an RTCP report costs. ``--keep`` writes these figures down for
``python -m bench.fleet arithmetic``. This needs root, SIPp, Kamailio and a C compiler. Nothing leaves the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from statistics import median

from bench.common.command_line import end_on_signals, numbers
from bench.common.compiler import compiled
from bench.common.farm import SOURCE
from bench.common.figures import markdown, quantile
from bench.common.processes import await_quiet, prefer, share, used
from bench.common.program import ROOT
from bench.fleet import arithmetic, page
from bench.fleet.members import PHONE, PROXY, SIP_PORT, Member, proxy, server_address
from bench.fleet.phones import Phones
from bench.fleet.reports import report_us
from bench.playing import rate as playing_rate
from bench.playing.capacity import Climb, Step
from bench.playing.engines import measure as play
from bench.playing.load import Load
from bench.playing.rate import ANSWERS
from bench.playing.rounds import add_nice
from bench.playing.senders import C_SOURCE, CSender, Sender, WholeServerSender
from bench.playing.sip_servers import project
from bench.playing.sipp import read_answers, read_counts
from bench.playing.topologies import Veth

SET_UP_RATE = 300
"""Calls a second at which the set-up's cost is measured."""
STUBS = 2
"""Programs that answer calls for Kamailio."""
MUSIC = 0.2
"""Mean seconds of a call through Kamailio. The stubs play nothing."""
IDLE, SHORT = 1.0, 3.0
"""Seconds in which Kamailio's idle time is measured, and seconds of each rate at most."""
LEAST, MOST = 800, 6000
"""The first and the greatest rate that is tried with Kamailio, in calls a second."""
MUSIC_COLUMNS = (
    "callers", "engine", "cpu % a caller", "thread %", "spacing p99 ms", "late %", "not sent %", "packets a second",
    "Mbit/s", "a core: packets",
)  # fmt: skip
PROXY_COLUMNS = (
    ("calls a second", "most", "{:,.0f}"), ("ms a call", "each", "{:.3f}"),
    ("INVITE to 200, ms", "answer_p50", "{:.0f}"), ("p99", "answer_p99", "{:.0f}"), ("cpu %", "cpu", "{:.0f}"),
)  # fmt: skip


def arguments(options: Sequence[str]) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.fleet capacity", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--callers", default="1000,2000", help="callers that hear music, by commas (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds (%(default)s)")
    parser.add_argument("--seconds", type=float, default=6.0, help="seconds of each measurement (%(default)s)")
    parser.add_argument("--python", default=sys.executable, help="the Python of the servers (%(default)s)")
    add_nice(parser)
    parser.add_argument("--quiet", type=float, default=20.0, metavar="PERCENT", help=argparse.SUPPRESS)
    parser.add_argument(
        "--patience", type=float, default=5.0, help="longest wait for a quiet machine, in seconds (%(default)s)"
    )
    page.add_note(parser)
    parser.add_argument(
        "--keep", action="store_true", help="keep the figures for arithmetic, and write all into the page"
    )
    given = parser.parse_args(options)
    given.callers = numbers(parser, "--callers", given.callers)
    if given.rounds < 1 or not 1 <= given.seconds <= 30 or not all(100 <= count <= 8000 for count in given.callers):
        parser.error("expected at least 1 round, of 1 to 30 seconds, and 100 to 8000 callers")
    return given


class CountedVeth(Veth):
    """A virtual network card whose packets and octets are counted by the kernel."""

    def sent(self) -> tuple[int, int]:
        """Return the octets and the packets that have been sent so far."""
        text = subprocess.run([*self.prefix, "cat", "/proc/net/dev"], capture_output=True, text=True, check=True).stdout
        fields = next(line for line in text.splitlines() if line.strip().startswith("out:")).split(":")[1].split()
        return int(fields[8]), int(fields[9])


def music(given: argparse.Namespace, folder: Path) -> tuple[list[list[str]], float, float]:
    """Return the table of the music, the processor time of a caller in % of a core, and the octets of a packet."""
    farm, rows = compiled(SOURCE, folder), [list(MUSIC_COLUMNS)]
    engines: dict[str, Callable[[], Sender]] = {
        "server": lambda: WholeServerSender(folder, 0), "sender in C": lambda: CSender(send, 20, 1),
    }  # fmt: skip
    send, octets = compiled(C_SOURCE, folder), 0.0
    loads: dict[tuple[int, str], list[Load]] = {}
    veth = CountedVeth()
    try:
        for _ in range(given.rounds):
            for callers in given.callers:
                for name, make in engines.items():
                    await_quiet(given.quiet, given.patience)
                    before = veth.sent()
                    load, _ = play(make(), veth, farm, callers, given.seconds, given.nice)
                    after = veth.sent()
                    octets = (after[0] - before[0]) / max(1, after[1] - before[1])
                    loads.setdefault((callers, name), []).append(load)
                    print(f"{callers} callers, {name}: {load.cpu:.4f} % each, {octets:.1f} octets", file=sys.stderr)
    finally:
        veth.close()
    for (callers, name), rounds in loads.items():
        rows.append(_music_row(callers, name, rounds, octets))
    best = [load.cpu for load in loads[max(given.callers), "server"]]
    return rows, median(best), octets


def _music_row(callers: int, name: str, rounds: Sequence[Load], octets: float) -> list[str]:
    def middle(field: str) -> float:
        return float(median(getattr(load, field) for load in rounds))

    missing = middle("skipped") + middle("lost")
    packets = arithmetic.PACKETS * callers * (1 - missing / 100)
    wire = packets * (octets + arithmetic.BETWEEN_FRAMES) * 8 / 1e6
    return [
        f"{callers:,}", name, f"{middle('cpu'):.4f}", f"{middle('thread'):.0f}", f"{middle('spacing_p99'):.2f}",
        f"{middle('late'):.3f}", f"{missing:.3f}", f"{packets:,.0f}", f"{wire:.0f}",
        f"{arithmetic.PACKETS * 100 / middle('cpu'):,.0f}",
    ]  # fmt: skip


def set_up_ms(given: argparse.Namespace, folder: Path) -> float:
    """Return the processor time of the server for one call in ms, by ``bench.playing.rate``."""
    options = ["--first", str(SET_UP_RATE), "--most", str(SET_UP_RATE), "--nice", str(given.nice)]
    settings = {"MOH_ALLOW": f"127.0.0.1,{playing_rate.PBX}", "MOH_FFMPEG_CALLS": "0", "MOH_CALL_RATE": "4000"}
    server = project(ROOT, folder / "set-up", settings, given.python)
    farm, chosen = compiled(SOURCE, folder), playing_rate.arguments(options)
    server.open()  # a first start converts the music
    server.close()
    steps = []
    for _ in range(given.rounds):
        await_quiet(given.quiet, given.patience)
        steps.append(playing_rate.measure(server, SET_UP_RATE, 0, farm, chosen, folder))
        print(f"set-up: {playing_rate.line(steps[-1])}", file=sys.stderr)
    return median(step.each for step in steps)


def through(front: Member, behind: Sequence[Member], rate: int, given: argparse.Namespace, folder: Path) -> Step:
    """Make ``rate`` calls a second through ``front``; ``behind`` answer them. Each call lasts ``MUSIC`` seconds."""
    seconds = min(given.seconds, SHORT)
    with ExitStack() as stack:
        for one in [*behind, *([] if front in behind else [front])]:
            stack.callback(one.close)
            one.start()
            one.await_ready(PHONE)
            if given.nice:
                prefer(one.processes(), given.nice)
        pid = front.pid
        time.sleep(0.5)
        still = used([pid])
        time.sleep(IDLE)
        began = used([pid])
        idle = share(still, began)
        phones = Phones(
            (PROXY, SIP_PORT), PHONE, ["127.1.0.1"], 26900, rate, round(rate * seconds), 0.5 * MUSIC, 1.5 * MUSIC,
            folder,
        )  # fmt: skip
        stack.callback(phones.close)
        if given.nice:
            prefer([phones.pid], given.nice)
        phones.wait(seconds + MUSIC + 10)
        ended = used([pid])
        phones.close()
    created, _, repeats = read_counts((folder / "counts.csv").read_text())
    calls = phones.calls()
    answers = [one for file in folder.glob("call_*_rtt.csv") for one in read_answers(file.read_text())]
    took = [one.took for one in answers]
    begun = [call.began for call in calls]
    span = max(begun, default=0.0) - min(begun, default=0.0)
    busy, lasted, nan = share(began, ended), ended[pid].read_at - began[pid].read_at, float("nan")
    good = sum(call.answered is not None and call.ended for call in calls)
    return Step(
        rate=rate, offered=(len(begun) - 1) / span if span else nan, good=100 * good / max(1, created),
        repeats=100 * repeats / max(1, created), answer_p50=quantile(took, 0.5), answer_p99=quantile(took, 0.99),
        cpu=busy, each=10 * (busy - idle) * lasted / max(1, created), spacing_p99=nan, late=nan, lost=nan, silent=nan,
    )  # fmt: skip


def proxies(given: argparse.Namespace, folder: Path) -> tuple[list[list[str]], float, float]:
    """Return the table of the proxies, Kamailio's processor time of a call in ms, and the calls that it takes."""
    answer = compiled(ANSWERS, folder)

    def stub(host: str) -> Member:
        return Member(f"stub-{host}", host, [answer, host, str(SIP_PORT)], folder)

    stubs = [stub(server_address(number + 1)) for number in range(STUBS)]
    alone = stub(PROXY)
    kinds: dict[str, tuple[Callable[[], Member], Sequence[Member]]] = {
        "Kamailio": (lambda: proxy(folder, [one.address for one in stubs]), stubs),
        "Kamailio, all messages": (lambda: proxy(folder, [one.address for one in stubs], hidden=True), stubs),
        "no proxy": (lambda: alone, [alone]),
    }
    rows = [["", *(title for title, _, _ in PROXY_COLUMNS)]]
    found: dict[str, list[Climb]] = {name: [] for name in kinds}
    for number in range(given.rounds):
        for name, (make, behind) in kinds.items():
            if number and name == "no proxy":
                continue  # the limit of the measurement: one round shows whether it is far enough
            climb = Climb(LEAST, MOST)
            while rate := climb.rate():
                await_quiet(given.quiet, given.patience)
                climb.add(through(make(), behind, rate, given, folder))
                print(f"{name}: {playing_rate.line(climb.steps[-1])}", file=sys.stderr)
            found[name].append(climb)
    middle: dict[str, list[float]] = {}
    for name, climbs in found.items():
        each = [climb.capacity() for climb in climbs]
        middle[name] = [median(getattr(one, field) for one in each) for _, field, _ in PROXY_COLUMNS]
        rows.append([name, *(form.format(value) for value, (_, _, form) in zip(middle[name], PROXY_COLUMNS))])
    return rows, middle["Kamailio"][1], middle["Kamailio"][0]


def run(given: argparse.Namespace, folder: Path) -> tuple[str, arithmetic.Measured]:
    """Measure all. Return the tables, and the figures for the arithmetic."""
    played, caller, octets = music(given, folder)
    each_call = set_up_ms(given, folder)
    proxied, proxy_ms, proxy_rate = proxies(given, folder)
    report = median(report_us(folder, given.python, given.seconds) for _ in range(given.rounds))
    measured = arithmetic.Measured(
        page.today(given.note), page.machine(), round(caller, 4), round(octets), round(each_call, 3),
        round(proxy_ms, 3), round(proxy_rate), round(report, 1),
    )  # fmt: skip
    rounds = f"medians of {given.rounds} rounds" if given.rounds > 1 else "one round"
    other = page.wrapped(
        f"A call's set-up and end takes {measured.set_up_ms:.2f} ms of a core at the server, at {SET_UP_RATE} calls a "
        f"second. An RTCP report takes {measured.report_us:.0f} µs."
    )
    text = (
        f"{measured.when}; {measured.machine}; {rounds} of {given.seconds:.0f} s.\n\nMusic through a virtual network "
        f"card:\n\n{markdown(played)}\n\nCalls:\n\n{markdown(proxied)}\n\n{other}"
    )
    return text, measured


def main(options: Sequence[str]) -> int:
    """Measure, print the tables, and keep them."""
    end_on_signals()
    given = arguments(options)
    try:
        if given.nice:
            prefer([os.getpid()], given.nice)
        with tempfile.TemporaryDirectory(prefix="moh-bench-") as folder:
            text, measured = run(given, Path(folder))
    except KeyboardInterrupt:
        return 130
    except (RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(text)
    if given.keep:
        arithmetic.MEASURED.write_text(json.dumps(asdict(measured), indent=2) + "\n", encoding="utf-8")
        page.write("capacity", text)
        page.write("arithmetic", arithmetic.text(measured, arithmetic.Assumed()))
    return 0
