"""How long the server takes from its start to the first 200, and to music: ``python -m bench.playing start``.

OPTIONS gets the status that an INVITE would get, so its first 200 says that a caller would be answered and hear music.
The call that follows shows when the first packet of music comes. All starts of a round are measured one after another,
in an order that changes. One of them is a Python that does nothing.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import select
import shutil
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
from bench.common.figures import markdown, ratio
from bench.common.messages import Dialog, HostPort, offer
from bench.common.processes import TICK, await_quiet, end, prefer
from bench.common.program import ROOT, environment
from bench.common.receiver import HOST
from bench.playing.methods import free_pairs
from bench.playing.rounds import AGAINST, add_against, in_turn
from moh.ffmpeg.launch import leash

NOTHING = "python -c pass"
"""The reference of all ratios: a Python that does nothing, from its start to its end."""
FIRST_PORT = 27000
"""The search for free ports begins here."""
PATIENCE = 30.0
"""Seconds that a server may take to its first 200, and after that to its first packet."""
REFUSED_WAIT = 0.002
"""Seconds until the next OPTIONS where the port is closed, or where the server has no music yet (503)."""
UNANSWERED_WAIT = 0.1
"""Seconds until the next OPTIONS where the port is open: the first one waits in the server's socket to be read."""


class Way(NamedTuple):
    """One way to start the server: a command in a folder."""

    command: Sequence[str]
    folder: Path
    compiled: bool = True
    """Whether Python finds the modules compiled."""
    converted: bool = True
    """Whether the music is in the cache; otherwise the server has to convert it."""
    container: bool = False


@dataclass(frozen=True)
class Started:
    """One start, in milliseconds. Of a program that is no server, ``answer`` is the time to its end."""

    answer: float
    """From the start to the first 200."""
    cpu: float
    """Processor time until then, of the program and of its children that have ended. Of a container it is not known."""
    packet: float = float("nan")
    """From the start to the first packet of music of the call that follows at once."""


def arguments(options: Sequence[str]) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.playing start", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds (%(default)s)")
    add_against(parser)
    parser.add_argument(
        "--container", action="append", default=[], metavar="IMAGE",
        help="also containers of this image, by docker run --network host; may be repeated",
    )  # fmt: skip
    parser.add_argument("--no-script", action="store_true", help="leave out ./start.sh, which installs what is missing")
    parser.add_argument("--nice", type=int, default=0, help="niceness of what is started; below 0 needs root")
    given = parser.parse_args(options)
    if given.rounds < 1:
        parser.error(f"--rounds is {given.rounds}; expected at least 1")
    return given


def ways(given: argparse.Namespace) -> dict[str, Way]:
    """Return what is measured, by name."""
    found = {NOTHING: Way([sys.executable, "-c", "pass"], ROOT)}
    for folder in [ROOT, *([given.against.absolute()] if given.against else [])]:
        name = "" if folder == ROOT else f", {AGAINST}"
        server = [sys.executable, "sip_server.py"]
        found[f"sip_server.py --help{name}"] = Way([*server, "--help"], folder)
        found[f"sip_server.py{name}"] = Way(server, folder)
        found[f"not converted before{name}"] = Way(server, folder, converted=False)
        found[f"nor compiled{name}"] = Way(server, folder, compiled=False, converted=False)
        if not given.no_script:
            found[f"./start.sh{name}"] = Way(["./start.sh"], folder)
    for image in given.container:
        found[f"container {image}"] = Way([image], ROOT, converted=False, container=True)
    return found


def settings(way: Way, port: int, cache: Path, empty: Path) -> dict[str, str]:
    """Return the environment of one start."""
    values = {
        "MOH_BIND": HOST, "MOH_SIP_PORT": port, "MOH_RTP_PORTS": f"{port + 2}-{port + 21}", "MOH_LOG": "warning",
        "MOH_CACHE": cache if way.converted else empty / "cache",
    }  # fmt: skip
    if not way.compiled:
        values["PYTHONPYCACHEPREFIX"] = empty / "compiled"
    variables = environment(**values)
    variables.pop("PYTHONDONTWRITEBYTECODE", None)  # with it, Python would compile all modules at each start
    return variables


def command_of(way: Way, variables: Mapping[str, str]) -> Sequence[str]:
    """Return the command of one start. A container gets its settings by options."""
    if not way.container:
        return way.command
    options = [f"--env={name}={variables[name]}" for name in ("MOH_BIND", "MOH_SIP_PORT", "MOH_RTP_PORTS", "MOH_LOG")]
    limits = ["--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--init"]  # as in docker-compose.yml
    return ["docker", "run", "--rm", "--network=host", *limits, *options, *way.command]


def measure(way: Way, port: int, cache: Path, nice: int = 0) -> Started:
    """Start a program once, and end it. Raises ``RuntimeError`` if it is a server and gives no music."""
    with tempfile.TemporaryDirectory(prefix="moh-start-") as empty, tempfile.TemporaryFile() as log:
        variables = settings(way, port, cache, Path(empty))
        command = [*leash(os.getpid()), *command_of(way, variables)]
        began = time.monotonic()
        process = subprocess.Popen(
            command, cwd=way.folder, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        try:
            if nice:
                prefer([process.pid], nice)
            if way.command[-1] in ("pass", "--help"):
                before = children_spent()
                process.wait(PATIENCE)
                return Started(1000 * (time.monotonic() - began), 1000 * (children_spent() - before))
            answer = first_200((HOST, port), process, began + PATIENCE)
            cpu = 1000 * spent_with_children(process.pid) if answer and not way.container else math.nan
            packet = first_packet((HOST, port), time.monotonic() + PATIENCE) if answer else 0.0
            if not packet:
                log.seek(0)
                raise RuntimeError(f"{way.command[-1]} gives no music: {log.read()[-300:].decode(errors='replace')}")
            return Started(1000 * (answer - began), cpu, 1000 * (packet - began))
        finally:
            end([process], grace=10.0)


def children_spent() -> float:
    """Return the processor time in seconds of all children of this process that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def spent_with_children(pid: int) -> float:
    """Return the processor time in seconds of a process, with that of its children that have ended: proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICK


def first_200(server: HostPort, process: subprocess.Popen[bytes], give_up: float) -> float:
    """Send OPTIONS until the server answers with 200. Return the time by ``time.monotonic``.

    Return 0 if no 200 comes, and at once when the process has ended.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.bind((HOST, 0))
        phone.connect(server)  # the kernel then reports a closed port
        while process.poll() is None and time.monotonic() < give_up:
            try:
                phone.send(Dialog(server, phone.getsockname()).request("OPTIONS", 1))
                if not select.select([phone], [], [], UNANSWERED_WAIT)[0]:
                    continue
                if phone.recv(65535).startswith(b"SIP/2.0 200"):
                    return time.monotonic()
            except ConnectionRefusedError:
                pass
            time.sleep(REFUSED_WAIT)
    return 0.0


def first_packet(server: HostPort, give_up: float) -> float:
    """Call the server. Return when the first packet of music comes, by ``time.monotonic``; 0 if none comes."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear,
    ):
        phone.bind((HOST, 0))
        ear.bind((HOST, 0))
        dialog = Dialog(server, phone.getsockname())
        phone.sendto(dialog.request("INVITE", 1, body=offer(ear.getsockname(), HOST)), server)
        while time.monotonic() < give_up:
            ready = select.select([phone, ear], [], [], max(0.0, give_up - time.monotonic()))[0]
            came = time.monotonic()
            if ear in ready:
                phone.sendto(dialog.request("BYE", 2), server)
                select.select([phone], [], [], 1.0)
                return came
            if phone in ready and (answer := phone.recv(65535).decode()).startswith("SIP/2.0 200"):
                dialog.learn_tag(answer)
                phone.sendto(dialog.request("ACK", 1), server)
    return 0.0


def table(measured: Mapping[str, Sequence[Started]]) -> str:
    """Return the table in Markdown: the median of all rounds, the least and the greatest, and the ratios to Python."""
    rows = [("start", "first 200 ms", "first packet ms", "cpu ms until 200", f"200: x {NOTHING}", "cpu: the same")]
    for name, rounds in measured.items():
        reference = measured[NOTHING]
        rows.append(
            (
                name, _range([one.answer for one in rounds]), _range([one.packet for one in rounds]),
                _range([one.cpu for one in rounds]), str(ratio(rounds, reference, "answer")),
                "" if math.isnan(rounds[0].cpu) else str(ratio(rounds, reference, "cpu")),
            )
        )  # fmt: skip
    return markdown(rows)


def _range(values: Sequence[float]) -> str:
    if any(map(math.isnan, values)):
        return ""
    return f"{median(values):.0f} ({min(values):.0f}-{max(values):.0f})"


def main(options: Sequence[str]) -> int:
    """Measure, and print the table. Return the exit status."""
    given = arguments(options)
    end_on_signals()
    found = ways(given)
    if given.container and not shutil.which("docker"):
        print("--container needs Docker", file=sys.stderr)
        return 1
    measured: dict[str, list[Started]] = {name: [] for name in found}
    print(f"This takes {given.rounds * len(found) * 3 / 60:.0f} minutes or less.", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="moh-start-") as cache:
        try:
            for name in found:  # a first start converts the music, compiles modules and installs what is missing
                measure(found[name], free_pairs(FIRST_PORT, 12)[0], Path(cache), given.nice)
            for number in range(given.rounds):
                await_quiet(40.0, 5.0)
                for name in in_turn(list(found), number):
                    measured[name].append(measure(found[name], free_pairs(FIRST_PORT, 12)[0], Path(cache), given.nice))
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 1
    print(table(measured))
    return 0
