"""What processes cost, as Linux tells it in ``/proc``; and how they are ended, each by its number."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

TICK = os.sysconf("SC_CLK_TCK")
"""Parts of a second that ``/proc/PID/stat`` counts in, 100 nearly everywhere."""
GRACE = 1.0
"""Seconds from asking processes to end until they are killed."""


class Spent(NamedTuple):
    """Seconds of processor that a process has had, user and system, and when that was read."""

    seconds: float
    read_at: float


def spent(pids: Iterable[int]) -> dict[int, Spent]:
    """What each process has had till now; one that has ended is left out.

    The scheduler's own count in nanoseconds, where the kernel has it, since a call takes less than one tick of
    ``/proc/PID/stat`` each second; both tell the same sum of user and system time.
    """
    found = {}
    for pid in pids:
        try:
            tasks = [entry.path for entry in os.scandir(f"/proc/{pid}/task")]
            seconds = sum(int(_read(f"{task}/schedstat").split()[0]) for task in tasks) / 1e9
        except (OSError, IndexError):
            try:
                fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
            except OSError:
                continue
            seconds = (int(fields[11]) + int(fields[12])) / TICK
        found[pid] = Spent(seconds, time.monotonic())
    return found


def prefer(pids: Iterable[int], nice: int) -> None:
    """Give processes that niceness, -20 to 19, also against other sessions where the kernel groups by them.

    What they start from now on has it too, except for new sessions. Raises ``PermissionError``.
    """
    for pid in pids:
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.setpriority(os.PRIO_PROCESS, int(thread), nice)
        group = Path(f"/proc/{pid}/autogroup")
        if group.exists():
            group.write_text(str(nice), encoding="utf-8")


def threads(pids: Iterable[int]) -> dict[int, Spent]:
    """What each thread of the processes has had till now, by its number, where the scheduler counts it."""
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
    """How much of a core, in %, the processes known to both took in between, all together."""
    return 100 * sum(
        (late.seconds - early.seconds) / (late.read_at - early.read_at)
        for pid, late in after.items()
        if (early := before.get(pid)) is not None and late.read_at > early.read_at
    )


def machine() -> Spent:
    """What all cores have done since the machine came up."""
    # user, nice, system; then idle and waiting; irq, softirq and what other guests took
    fields = [int(field) for field in _read("/proc/stat").split("\n", 1)[0].split()[1:9]]
    return Spent((sum(fields) - fields[3] - fields[4]) / TICK, time.monotonic())


def busy(seconds: float) -> float:
    """How much of a core, in %, the whole machine takes over the next ``seconds``."""
    before = {0: machine()}
    time.sleep(seconds)
    return share(before, {0: machine()})


def await_quiet(most: float, patience: float) -> None:
    """Wait until the machine takes less than ``most`` % of a core over a second, for ``patience`` seconds at most."""
    give_up = time.monotonic() + patience
    while time.monotonic() < give_up and busy(1.0) > most:
        pass


def private_memory(pids: Sequence[int]) -> float:
    """Octets that the processes share with nobody, on the average; 0 where none can be read."""
    sizes = []
    for pid in pids:
        try:
            rollup = _read(f"/proc/{pid}/smaps_rollup")
        except OSError:
            continue
        sizes.append(sum(int(kib) for kib in re.findall(r"^Private_\w+:\s+(\d+) kB", rollup, re.MULTILINE)) * 1024)
    return sum(sizes) / len(sizes) if sizes else 0.0


def children(pid: int, zombies: bool = False) -> list[int]:
    """The processes that ``pid`` has started and that have not ended; ``zombies``: or were not reaped."""
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
    """Ask each to end, kill those that do not within ``grace`` seconds, and wait for them all."""
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
