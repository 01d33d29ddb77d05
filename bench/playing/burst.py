"""What a burst of calls does to its callers and to those that listen already: ``python -m bench.playing burst``.

Listeners hear the shared stream. Then 50 phones call within 80 ms. The benchmark measures how long each of them waits
for its first packet, and the packets of the listeners before the burst and during it. Each run has a server of its
own. In each round all variants (project, ffmpeg, quiet or busy machine) are measured one after another, in an order
that changes; each ratio is made of two figures of the same run. Everything is on the loopback.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import re
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench.common.command_line import end_on_signals
from bench.common.compiler import compiled
from bench.common.farm import SOURCE as FARM_SOURCE
from bench.common.farm import pacing
from bench.common.figures import Ratio, combine, markdown, quantile, ratio, starts
from bench.common.messages import Dialog, HostPort, offer
from bench.common.processes import await_quiet, end, prefer
from bench.common.program import ROOT
from bench.common.receiver import HOST, SOURCE, Receiver
from bench.playing.rounds import AGAINST, OWN, add_against, add_nice, add_options, announce, in_turn, parse
from bench.playing.sip_servers import project
from bench.playing.topologies import Loopback
from moh.ffmpeg.launch import leash

SETTLE = 2.0
"""Seconds from the last listener's call until measuring begins."""
LONGEST = 120.0
"""Longest time of one run, in seconds."""
ANSWER = 5.0
"""Seconds that the answer to a request may take."""
REPEAT = 0.5
"""Seconds after which a listener's INVITE is repeated (RFC 3261 T1)."""
EVERY = 1 / 500
"""Least seconds from one listener's call to the next."""


class Variant(NamedTuple):
    """What is measured: a project, one of its ffmpegs, and how many processes keep the machine busy."""

    tree: str
    ffmpeg: str
    busy: int


@dataclass(frozen=True)
class Burst:
    """One run. "Before" and "during" are the listeners' figures before the burst and from its first INVITE on."""

    first_p50: float
    """From INVITE to the first packet, in ms: the median of the burst's callers."""
    first_p99: float
    """The 99th percentile of the same."""
    first_max: float
    """The longest of the same."""
    silent: float
    """Callers of the burst without any packet."""
    answer_p99: float
    """From INVITE to 200, in ms: the 99th percentile."""
    ffmpegs: float
    """Callers of the burst with an ffmpeg of their own."""
    p99_before: float
    """The listeners' time from packet to packet, in ms: the 99th percentile."""
    p99_during: float
    max_before: float
    """The longest of the same."""
    max_during: float
    late_before: float
    """The listeners' packets more than 5 ms behind the most punctual one of their call, in %."""
    late_during: float
    lost: float
    """The listeners' packets that did not arrive or were left out during the burst, in %."""


class Phone:
    """Makes calls to the server from one socket, each with music to an address of its own."""

    def __init__(self, server: HostPort) -> None:
        self._server = server
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.bind((HOST, 0))
        self._local: HostPort = self._socket.getsockname()

    def call(self, host: str, port: int) -> tuple[Dialog, int]:
        """Make a call (INVITE, 200, ACK). Return the dialog and the server's port of its music."""
        dialog = Dialog(self._server, self._local)
        invite = dialog.request("INVITE", 1, body=offer((host, port), HOST))
        self._socket.sendto(invite, self._server)
        give_up = time.monotonic() + ANSWER
        self._socket.settimeout(REPEAT)
        while time.monotonic() < give_up:
            try:
                answer = self._socket.recv(65535).decode("utf-8", "replace")
            except socket.timeout:
                self._socket.sendto(invite, self._server)
                continue
            if dialog.call_id in answer and answer.startswith("SIP/2.0 200"):
                self._acknowledge(dialog, answer)
                return dialog, music_port(answer)
            if dialog.call_id in answer and re.match(r"SIP/2\.0 [3-6]", answer):
                raise RuntimeError(answer.partition("\r")[0])
        raise RuntimeError("no answer")

    def hang_up(self, dialog: Dialog) -> None:
        """End a call; the answer is not read."""
        self._socket.sendto(dialog.request("BYE", 2), self._server)

    def burst(self, ports: Sequence[int], seconds: float) -> tuple[list[float], list[float], list[int]]:
        """Send an INVITE for each of ``ports``, evenly within ``seconds``, and an ACK for each 200.

        Return when each INVITE was sent, in seconds since 1970; the answers' delays in ms; the ports of their music.
        """
        dialogs = [Dialog(self._server, self._local) for _ in ports]
        invites = [dialog.request("INVITE", 1, body=offer((HOST, port), HOST)) for dialog, port in zip(dialogs, ports)]
        by_id = {dialog.call_id: number for number, dialog in enumerate(dialogs)}
        began: list[float] = []
        delays: dict[int, float] = {}
        music: list[int] = []
        first = time.time()
        self._socket.settimeout(None)
        while len(delays) < len(ports) and time.time() < first + seconds + ANSWER:
            now, due = time.time(), first + len(began) * seconds / len(ports)
            if len(began) < len(ports) and due <= now:
                began.append(now)
                self._socket.sendto(invites[len(began) - 1], self._server)
                continue
            wait = max(0.0, due - now) if len(began) < len(ports) else 0.1
            if not select.select([self._socket], [], [], wait)[0]:
                continue
            answer = self._socket.recv(65535).decode("utf-8", "replace")
            call_id = re.search(r"^Call-ID: *(\S+)", answer, re.MULTILINE)
            number = by_id.get(call_id[1], -1) if call_id else -1
            if answer.startswith("SIP/2.0 200") and number >= 0 and number not in delays:
                delays[number] = 1000 * (time.time() - began[number])
                self._acknowledge(dialogs[number], answer)
                music.append(music_port(answer))
        return began, list(delays.values()), music

    def _acknowledge(self, dialog: Dialog, answer: str) -> None:
        dialog.learn_tag(answer)
        self._socket.sendto(dialog.request("ACK", 1), self._server)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def music_port(answer: str) -> int:
    """Return the port in the session description of a 200; 0 without one."""
    found = re.search(r"^m=audio (\d+)", answer, re.MULTILINE)
    return int(found[1]) if found else 0


def listen(phone: Phone, shared: int, first: str, port: int, count: int) -> None:
    """Make calls until ``count`` of them hear the shared stream. Then end those that got an ffmpeg."""
    own: list[Dialog] = []
    number, address = 0, int(ipaddress.ip_address(first))
    while number < count:
        time.sleep(EVERY)
        dialog, music = phone.call(str(ipaddress.ip_address(address + number)), port)
        if music == shared:
            number += 1
        else:
            own.append(dialog)
    for dialog in own:
        phone.hang_up(dialog)


def measure(variant: Variant, given: argparse.Namespace, programs: tuple[str, str], folder: Path) -> Burst:
    """Run one server, its listeners and the burst."""
    topology = Loopback()
    farm = topology.farm(programs[0], given.listeners, LONGEST)
    root = given.against if variant.tree == AGAINST else ROOT
    settings = {"MOH_FFMPEG_CALLS": str(given.calls)}
    server = project(root, folder / variant.tree, settings, ffmpeg=given.ffmpegs[variant.ffmpeg])
    receiver = Receiver(programs[1], folder, given.calls, LONGEST)
    hogs: list[subprocess.Popen[bytes]] = []
    phone = None
    try:
        server.open(given.calls + 40)
        if given.nice:
            prefer([farm.pid, receiver.pid, server.pid], given.nice)
        phone = Phone(server.address)
        listen(phone, server.last_rtp_port, topology.first, farm.port, given.listeners)
        for _ in range(variant.busy):
            hogs.append(
                subprocess.Popen([*leash(os.getpid()), "sh", "-c", "while :; do :; done"], start_new_session=True)
            )
        if given.nice:
            prefer([hog.pid for hog in hogs], given.nice)
        time.sleep(SETTLE)
        farm.begin()
        time.sleep(given.seconds)
        before = pacing(farm.end())
        farm.begin()
        began, answers, music = phone.burst(receiver.ports, given.within / 1000)
        time.sleep(max(0.0, began[0] + given.seconds - time.time()))
        during = pacing(farm.end())
        time.sleep(max(0.0, began[0] + given.wait - time.time()))
        received = receiver.packets()
    finally:
        end(hogs, 0.0)
        if phone is not None:
            phone.close()
        server.close()
        receiver.close()
        farm.close()
    delays = starts(received, began)
    return Burst(
        first_p50=quantile(delays, 0.5), first_p99=quantile(delays, 0.99), first_max=max(delays, default=float("nan")),
        silent=given.calls - len(delays), answer_p99=quantile(answers, 0.99),
        ffmpegs=sum(port != server.last_rtp_port for port in music),
        p99_before=before["spacing_p99"], p99_during=during["spacing_p99"], max_before=before["spacing_max"],
        max_during=during["spacing_max"], late_before=before["late"], late_during=during["late"],
        lost=during["lost"] + during["skipped"],
    )  # fmt: skip


COLUMNS = (
    ("first packet ms", "first_p50", "{:.0f}"), ("p99", "first_p99", "{:.0f}"), ("max", "first_max", "{:.0f}"),
    ("silent", "silent", "{:.0f}"), ("200 p99", "answer_p99", "{:.0f}"), ("ffmpegs", "ffmpegs", "{:.0f}"),
    ("listeners' p99 before", "p99_before", "{:.2f}"), ("during", "p99_during", "{:.2f}"),
    ("max before", "max_before", "{:.0f}"), ("during", "max_during", "{:.0f}"),
    ("late % before", "late_before", "{:.2f}"), ("during", "late_during", "{:.2f}"), ("lost %", "lost", "{:.3f}"),
)  # fmt: skip


def tables(measured: Mapping[Variant, Sequence[Burst]]) -> str:
    """Return both tables in Markdown: the medians of all rounds, and the ratios."""
    rows = [["project", "ffmpeg", "busy", *(title for title, _, _ in COLUMNS)]]
    compared = [["project", "ffmpeg", "busy", "listeners' p99 during / before", f"first packet p99, {OWN} / {AGAINST}"]]
    for variant, rounds in measured.items():
        if not rounds:
            continue
        name, middle = [variant.tree, variant.ffmpeg, str(variant.busy)], combine(rounds)
        rows.append([*name, *(form.format(getattr(middle, field)) for _, field, form in COLUMNS)])
        p99 = [one.p99_during / one.p99_before for one in rounds]
        other = measured.get(variant._replace(tree=AGAINST)) if variant.tree != AGAINST else None
        gain = str(ratio(rounds, other, "first_p99")) if other else ""
        compared.append([*name, str(Ratio(median(p99), min(p99), max(p99))), gain])
    return f"{markdown(rows)}\n\nRatios of figures of the same round, median (least-greatest):\n\n{markdown(compared)}"


def arguments(options: Sequence[str]) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.playing burst", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--listeners", type=int, default=1000, help="listeners of the shared stream (%(default)s)")
    parser.add_argument("--calls", type=int, default=50, help="calls of the burst (%(default)s)")
    parser.add_argument("--within", type=float, default=80.0, help="milliseconds of the burst (%(default)s)")
    parser.add_argument("--wait", type=float, default=8.0, help="seconds to wait for first packets (%(default)s)")
    parser.add_argument(
        "--ffmpeg", action="append", default=[], metavar="NAME=PATH", help="an ffmpeg; may be repeated (the PATH's)"
    )
    add_against(parser)
    parser.add_argument(
        "--busy", default="0,2", help="numbers of processes that keep the machine busy, by commas (%(default)s)"
    )
    add_nice(parser)
    add_options(parser, rounds=3, seconds=3.0, quiet=40.0, patience=5.0)
    given = parse(parser, options)
    given.ffmpegs = dict(named.split("=", 1) for named in given.ffmpeg or ["PATH=ffmpeg"])
    given.variants = [
        Variant(tree, name, int(busy))
        for busy in given.busy.split(",")
        for name in given.ffmpegs
        for tree in ([AGAINST, OWN] if given.against else [OWN])
    ]
    return given


def main(options: Sequence[str]) -> int:
    """Measure all variants and print their tables. After Ctrl-C they show what was measured until then."""
    end_on_signals()
    given = arguments(options)
    measured: dict[Variant, list[Burst]] = {variant: [] for variant in given.variants}
    once = given.listeners * EVERY * 1.5 + SETTLE + given.seconds + given.wait + 2
    announce(given.rounds * len(measured) * once / 60, given.rounds * len(measured) * (once + given.patience) / 60)
    try:
        if given.nice:
            prefer([os.getpid()], given.nice)
        with tempfile.TemporaryDirectory(prefix="moh-bench-") as name:
            folder = Path(name)
            programs = (compiled(FARM_SOURCE, folder), compiled(SOURCE, folder))
            for number in range(given.rounds):
                for variant in in_turn(given.variants, number):
                    await_quiet(given.quiet, given.patience)
                    measured[variant].append(found := measure(variant, given, programs, folder))
                    print(f"round {number + 1}, {variant}: {found}", file=sys.stderr)
    except KeyboardInterrupt:
        if not any(measured.values()):
            return 130
        print("Ended before all was measured.")
    except (RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(tables(measured))
    return 0
