"""Processor time and memory of processes, from Linux' ``/proc``. And a function that ends processes."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

TICK = os.sysconf("SC_CLK_TCK")
"""Ticks in a second. ``/proc/PID/stat`` counts in ticks; nearly always 100."""
GRACE = 1.0
"""Seconds from SIGTERM to SIGKILL."""


class Spent(NamedTuple):
    """User and system time of a process in seconds, and the moment of reading."""

    seconds: float
    read_at: float


def spent(pids: Iterable[int]) -> dict[int, Spent]:
    """Return the processor time of each process up to now, without processes that have ended.

    It is the process's own clock, in nanoseconds: a call takes less than one tick of ``/proc/PID/stat`` each second.
    Threads that have ended count as well, child processes do not.
    """
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            found[pid] = Spent(_clock(pid), time.monotonic())
    return found


def used(pid: int) -> Spent:
    """Return the processor time of a process and of all processes that it has started, also of those that have ended.

    ``share`` of two such readings misses no process that begins or ends between them. Raises ``OSError`` if the process
    has ended.
    """
    seconds = _clock(pid)
    # the fields: user and system time of the children that have ended, and of theirs
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    seconds += (int(fields[13]) + int(fields[14])) / TICK
    for child in children(pid):
        with contextlib.suppress(OSError):
            seconds += used(child).seconds
    return Spent(seconds, time.monotonic())


def _clock(pid: int) -> float:
    """Return the seconds on the processor clock of a process (``clock_getcpuclockid``)."""
    return time.clock_gettime((~pid << 3) | 2)


def prefer(pids: Iterable[int], nice: int) -> None:
    """Set the niceness of processes, -20 to 19, and that of their sessions if the kernel schedules by session.

    A child that such a process starts later inherits it, unless the child begins a new session. Raises
    ``PermissionError``.
    """
    for pid in pids:
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.setpriority(os.PRIO_PROCESS, int(thread), nice)
        group = Path(f"/proc/{pid}/autogroup")
        if group.exists():
            group.write_text(str(nice), encoding="utf-8")


def threads(pids: Iterable[int]) -> dict[int, Spent]:
    """Return the processor time of each thread up to now, by thread number; empty if the kernel does not count it."""
    found = {}
    for pid in pids:
        try:
            for entry in os.scandir(f"/proc/{pid}/task"):
                seconds = int(_read(f"{entry.path}/schedstat").split()[0]) / 1e9
                found[int(entry.name)] = Spent(seconds, time.monotonic())
        except (OSError, IndexError):
            continue
    return found


def share(before: dict[int, Spent], after: dict[int, Spent]) -> float:
    """Return how much processor the processes took between both readings, all together, in % of a core.

    A process that only one of the readings has does not count.
    """
    return 100 * sum(
        (late.seconds - early.seconds) / (late.read_at - early.read_at)
        for pid, late in after.items()
        if (early := before.get(pid)) is not None and late.read_at > early.read_at
    )


def machine() -> Spent:
    """Return the processor time of all cores since the machine started."""
    # the fields: user, nice, system, idle, waiting for disks, irq, softirq, taken by other virtual machines
    fields = [int(field) for field in _read("/proc/stat").split("\n", 1)[0].split()[1:9]]
    return Spent((sum(fields) - fields[3] - fields[4]) / TICK, time.monotonic())


def busy(seconds: float) -> float:
    """Measure for ``seconds`` how much processor the whole machine takes, in % of a core."""
    before = {0: machine()}
    time.sleep(seconds)
    return share(before, {0: machine()})


def await_quiet(most: float, patience: float) -> None:
    """Wait until the machine takes less than ``most`` % of a core over a second, for ``patience`` seconds at most."""
    give_up = time.monotonic() + patience
    while time.monotonic() < give_up and busy(1.0) > most:
        pass


def private_memory(pids: Sequence[int]) -> float:
    """Return the octets of private memory of a process: the average of all that can be read, or 0."""
    sizes = []
    for pid in pids:
        try:
            rollup = _read(f"/proc/{pid}/smaps_rollup")
        except OSError:
            continue
        sizes.append(sum(int(kib) for kib in re.findall(r"^Private_\w+:\s+(\d+) kB", rollup, re.MULTILINE)) * 1024)
    return sum(sizes) / len(sizes) if sizes else 0.0


def children(pid: int, zombies: bool = False) -> list[int]:
    """Return the running child processes of ``pid``; with ``zombies``, also those that are not reaped yet."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, parent = _read(f"{folder}/stat").rpartition(")")[2].split()[:2]
            except (OSError, ValueError):
                continue
            if int(parent) == pid and (zombies or state != "Z"):
                found.append(int(folder.name))
    return found


def end(processes: Sequence[subprocess.Popen[bytes]], grace: float = GRACE) -> None:
    """Send SIGTERM to each process, SIGKILL to those that run ``grace`` seconds later, and wait for all."""
    for process in processes:
        process.terminate()
    give_up = time.monotonic() + grace
    for process in processes:
        try:
            process.wait(max(0.01, give_up - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
    for process in processes:
        process.wait()


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
