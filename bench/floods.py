"""What those hear who are on hold, and those who call, while the server is flooded: ``python -m bench.abuse --floods``.

A real server in a network namespace of its own has 50 calls, of which 25 have an ffmpeg each. Each flood of ``flood.c``
is measured against the seconds just before it, while honest callers (``bench.honest``) come all the time.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Optional

from bench.abuse import HEAD, OFFER, PHONE, SERVER
from bench.farm import Farm, compiled, pacing
from bench.figures import markdown, quantile
from bench.honest import KINDS, Call, Honest
from bench.processes import children, end, prefer, share, spent
from bench.ways import ROOT
from moh.command import leash

CALLS, FFMPEGS = 50, 25
EARS = "127.1.0.0"
QUIET = 4.0
"""Seconds before each flood that it is measured against."""
LINGER = 45.0
"""Seconds that the server gets to be at rest again: a call without ACK is given up after 32."""
LONGEST = 1800.0
NICE = -10
"""Of the server, those who hear and those who call: the flood is this machine's too, and stands back."""
ROUTES = ("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "10.0.0.0/8")
"""Networks that are the namespace's own, each address of them."""
ONE, MANY, HOUSE = ("198.51.100.1", 1), ("198.18.0.0", 65536), ("10.64.0.0", 65536)
"""Where floods come from: the first address and how many; the last ones are private."""


class Flood(NamedTuple):
    """``data`` to be sent so often a second."""

    name: str
    way: str
    source: tuple[str, int]
    rate: int
    data: bytes


def message(method: str, offer: str = "", lines: str = PHONE) -> bytes:
    """A request in which each "########" is to become its number."""
    names = {"method": method, "host": MANY[0], "server": SERVER[0], "number": "########"}
    body = OFFER.format(host=MANY[0], formats=offer) if offer else ""
    kind = "Content-Type: application/sdp\r\n" if body else ""
    return (HEAD.format(**names) + lines.format(**names) + kind + "\r\n" + body).encode()


def floods() -> list[Flood]:
    """All of them, the first being none."""
    options, invite = message("OPTIONS"), message("INVITE", "0 8 9 101")
    scanner = message("REGISTER", lines="Max-Forwards: 70\r\nUser-Agent: friendly-scanner\r\n")
    garbage = bytes(range(256)) * 255
    return [
        Flood("none", "udp", ONE, 0, b""),
        Flood("OPTIONS, one source", "udp", ONE, 20000, options),
        Flood("OPTIONS, many", "udp", MANY, 20000, options),
        Flood("OPTIONS, many private", "udp", HOUSE, 20000, options),
        Flood("INVITE without ACK, one source", "udp", ONE, 5000, invite),
        Flood("INVITE without ACK, many", "udp", MANY, 5000, invite),
        Flood("64 KB of garbage, one source", "udp", ONE, 2000, garbage),
        Flood("64 KB of garbage, many", "udp", MANY, 2000, garbage),
        Flood("REGISTER, friendly-scanner, many", "udp", MANY, 20000, scanner),
        Flood("TCP half open, one source", "tcp", ONE, 1000, invite[: len(invite) // 2]),
        Flood("TCP half open, many", "tcp", MANY, 1000, invite[: len(invite) // 2]),
    ]


class Rest(NamedTuple):
    """What the server has, apart from memory."""

    calls: int
    threads: int
    descriptors: int
    processes: int
    ports: int


@dataclass
class Row:
    """What one flood came to."""

    name: str
    did: dict[str, Any]
    before: dict[str, float]
    during: dict[str, float]
    lost: tuple[int, int]
    """Packets of music that were sent and did not arrive, and that were left out by the server."""
    cpu: tuple[float, float]
    rss: tuple[float, float]
    kernel: int
    """Datagrams that found the buffer of the socket full."""
    told: dict[str, int]
    """What SIGUSR1 counts of this time."""
    waits: dict[str, list[Optional[float]]]
    rested: float
    """Seconds until all was as before."""
    left: list[str] = field(default_factory=list)
    """What was not, in the end."""


class Target:
    """The server."""

    def __init__(self, folder: Path, script: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MOH_")}
        environment.update(MOH_SIP_PORT=str(SERVER[1]), MOH_FFMPEG_CALLS=str(FFMPEGS), MOH_CACHE=str(folder))
        environment.update(MOH_MUSIC=str(ROOT / "moh" / "builtin.mp3"))
        self._log = folder / "log"
        with self._log.open("wb") as out:
            self.process = subprocess.Popen(
                [*leash(os.getpid()), sys.executable, str(script)], env=environment, stdin=subprocess.DEVNULL,
                stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        give_up = time.monotonic() + 60
        while "ready:" not in (said := self._log.read_text()):
            if self.process.poll() is not None or time.monotonic() > give_up:
                end([self.process])
                raise RuntimeError(said)
            time.sleep(0.1)

    def told(self) -> tuple[int, dict[str, int]]:
        """What it says when asked by SIGUSR1: its calls, and what it has counted."""
        start = self._log.stat().st_size
        os.kill(self.process.pid, signal.SIGUSR1)
        give_up = time.monotonic() + 10
        while time.monotonic() < give_up:
            with self._log.open("rb") as file:
                file.seek(start)
                said = file.read().decode()
            if found := re.search(r" (\d+) calls: .*\n(?:.*\n)*?.* since the start: (.*)\n", said):
                return int(found[1]), counted(found[2])
            time.sleep(0.05)
        raise RuntimeError("the server does not answer SIGUSR1")

    def rest(self) -> Rest:
        """What it has now."""
        pid = self.process.pid
        ports = sum(0x2710 <= int(line.split()[1].rpartition(":")[2], 16) <= 0x2774 for line in bound())
        threads, descriptors = (len(os.listdir(f"/proc/{pid}/{what}")) for what in ("task", "fd"))
        return Rest(self.told()[0], threads, descriptors, len(children(pid, zombies=True)), ports)

    def rss(self) -> float:
        """MB of memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) * 1024 / 1e6


def bound() -> list[str]:
    """The lines of all UDP sockets of this namespace."""
    return Path("/proc/net/udp").read_text().splitlines()[1:]


def overflown() -> int:
    """Datagrams that found the SIP socket full since it is open."""
    return sum(int(line.split()[-1]) for line in bound() if line.split()[1].endswith(f":{SERVER[1]:04X}"))


def counted(said: str) -> dict[str, int]:
    """The numbers of a line of counts."""
    return {reason.strip(): int(number) for number, reason in re.findall(r"(\d+) ([^,;:]+)", said)}


def call(number: int, port: int) -> None:
    """One of those that are on hold all the time, who listens at ``port``."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(10)
        server = ("127.0.0.1", SERVER[1])
        one = Call(server, sock.getsockname(), (f"127.1.0.{number}", port))
        sock.sendto(one.invite(), server)
        while not (answer := sock.recv(65535)).startswith(b"SIP/2.0 200"):
            pass
        sock.sendto(one.ack(answer), server)


def measure(flood: Flood, binary: str, file: Path, seconds: float, target: Target, farm: Farm) -> Row:
    """The seconds before it, the flood, and the rest afterwards."""
    rest, rss, (_, told), pid = target.rest(), target.rss(), target.told(), [target.process.pid]
    file.write_bytes(flood.data)
    honest = Honest(SERVER)
    farm.begin()
    spent_before = spent(pid)
    time.sleep(QUIET)
    quiet, before = share(spent_before, spent(pid)), farm.end()
    lost_before, spent_before = overflown(), spent(pid)
    farm.begin()
    honest.begin()
    did: dict[str, Any] = {}
    if flood.rate:
        words = [
            "nice",
            "-n",
            str(-NICE),
            binary,
            flood.way,
            *map(str, (*SERVER, *flood.source, flood.rate, seconds)),
            str(file),
        ]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        time.sleep(seconds)
        busy, kernel = share(spent_before, spent(pid)), overflown() - lost_before
        did = json.loads(process.communicate(timeout=30)[0] or "{}")
    else:
        time.sleep(seconds)
        busy, kernel = share(spent_before, spent(pid)), 0
    during = farm.end()
    honest.end()
    began = time.monotonic()
    while (now := target.rest()) != rest and time.monotonic() - began < LINGER:
        time.sleep(0.5)
    after = target.told()[1]
    grown = {name: number - told.get(name, 0) for name, number in after.items() if number > told.get(name, 0)}
    return Row(
        flood.name, did, pacing(before), pacing(during), (during["lost"], during["skipped"]), (quiet, busy),
        (rss, target.rss()), kernel, grown, honest.waits, time.monotonic() - began,
        [f"{name} {was} -> {is_}" for name, was, is_ in zip(Rest._fields, rest, now) if was != is_],
    )  # fmt: skip


def waited(waits: list[Optional[float]]) -> str:
    """How many were answered, and after how many milliseconds the median and the last one of them."""
    answered = [1000 * each for each in waits if each is not None]
    if not answered:
        return f"0 of {len(waits)}"
    return f"{len(answered)} of {len(waits)}, {quantile(answered, 0.5):.0f} / {max(answered):.0f}"


def table(rows: list[Row]) -> str:
    """As README has it."""
    head = ["flood", "a second", "octets out for 1 in", "lost in the kernel %", "server cpu %", "music lost / left out",
            "spacing p99", *(f"{kind}: answered, ms" for kind in KINDS), "RSS MB"]  # fmt: skip
    lines = [head]
    for row in rows:
        did, sent = row.did, max(1, row.did.get("sent", 0))
        rate = f"{did['sent'] / did['seconds']:.0f}" if did else ""
        out = f"{did['answer_octets'] / max(1, did['sent_octets']):.4f}" if did else ""
        ratio = row.during["spacing_p99"] / row.before["spacing_p99"]
        cells = [row.name, rate, out, f"{100 * row.kernel / sent:.1f}" if did else "",
                 f"{row.cpu[0]:.0f} -> {row.cpu[1]:.0f}", f"{row.lost[0]} / {row.lost[1]}", f"x {ratio:.2f}",
                 *(waited(row.waits[kind]) for kind in KINDS), f"{row.rss[0]:.1f} -> {row.rss[1]:.1f}"]  # fmt: skip
        lines.append(cells)
    return markdown(lines)


def run(script: Path, seconds: float, only: str) -> int:
    """Measure and print, in a network namespace."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for network in ROUTES:
        subprocess.run(["ip", "route", "add", "local", network, "dev", "lo"], check=True)
    with tempfile.TemporaryDirectory(prefix="moh-bench-") as folder:
        binary = compiled("flood.c", Path(folder))
        farm = Farm(compiled("farm.c", Path(folder)), [], "udp", EARS, CALLS, 1, LONGEST, 20000)
        try:
            target = Target(Path(folder), script)
        except BaseException:
            farm.close()
            raise
        rows = []
        try:
            prefer([os.getpid(), farm.pid, target.process.pid], NICE)
            for number in range(CALLS):
                call(number, farm.port)
            time.sleep(3)
            for flood in floods():
                if re.search(only, flood.name):
                    rows.append(measure(flood, binary, Path(folder) / "data", seconds, target, farm))
                    row = rows[-1]
                    rest = ", ".join(row.left) or f"at rest after {row.rested:.0f} s"
                    away = ", ".join(f"{number} {reason}" for reason, number in row.told.items())
                    print(
                        f"{table(rows[-1:]).splitlines()[-1]} {row.during['spacing_p99']:.2f} ms, widest "
                        f"{row.during['spacing_max']:.0f} ms; {row.did}; {rest}; told: {away}",
                        file=sys.stderr,
                    )
        finally:
            end([target.process], 10)
            farm.close()
    print(table(rows))
    return 0
