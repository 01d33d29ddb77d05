"""Processor time and memory of processes, from Linux' ``/proc``. And a function that ends processes."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
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


def used(pids: Iterable[int]) -> dict[int, Spent]:
    """Return the processor time of each process and of its descendants, also of those that have ended.

    ``share`` of two such readings misses no process that begins or ends between them. A descendant of another one of
    ``pids`` counts only there.
    """
    started: dict[int, list[int]] = {}
    for child, parent, _ in _relatives():
        started.setdefault(parent, []).append(child)
    families = {pid: _family(pid, started) for pid in pids}
    inner = {member for family in families.values() for member in family[1:]}
    found = {}
    for pid, family in families.items():
        seconds = [_with_ended_children(member) for member in family]
        if pid not in inner and seconds[0]:
            found[pid] = Spent(sum(seconds), time.monotonic())
    return found


def _family(pid: int, started: Mapping[int, Sequence[int]]) -> list[int]:
    """Return ``pid`` and its descendants; ``started`` has the children of each process."""
    family = [pid]
    for member in family:
        family += started.get(member, [])
    return family


def _with_ended_children(pid: int) -> float:
    """Return the seconds of a process and of its children that have ended; 0 if it has ended itself."""
    try:
        fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
        # the fields: user and system time of all descendants that have ended
        return _clock(pid) + (int(fields[13]) + int(fields[14])) / TICK
    except OSError:
        return 0.0


def _clock(pid: int) -> float:
    """Return the seconds on the processor clock of a process (``clock_getcpuclockid``)."""
    return time.clock_gettime((~pid << 3) | 2)


def prefer(pids: Iterable[int], nice: int) -> None:
    """Set the niceness of processes, -20 to 19, and that of their sessions if the kernel schedules by session.

    The threads of a process keep their differences, as the pacers of the server differ from its other threads.
    A child that such a process starts later inherits it, unless the child begins a new session. Raises
    ``PermissionError``.
    """
    for pid in pids:
        main = os.getpriority(os.PRIO_PROCESS, pid)
        for thread in map(int, os.listdir(f"/proc/{pid}/task")):
            own = os.getpriority(os.PRIO_PROCESS, thread) - main
            os.setpriority(os.PRIO_PROCESS, thread, max(-20, min(19, nice + own)))
        group = Path(f"/proc/{pid}/autogroup")
        try:
            group.write_text(str(nice), encoding="utf-8")
        except FileNotFoundError:
            continue  # the kernel does not schedule by session
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            # A process that init started belongs to no session's group: only the niceness of its threads counts.


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


def private_memory(pids: Iterable[int]) -> float:
    """Return the octets of private memory of all processes that can be read."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            rollup = _read(f"/proc/{pid}/smaps_rollup")
            total += sum(int(kib) for kib in re.findall(r"^Private_\w+:\s+(\d+) kB", rollup, re.MULTILINE)) * 1024
    return float(total)


def children(pid: int, zombies: bool = False) -> list[int]:
    """Return the running child processes of ``pid``; with ``zombies``, also those that are not reaped yet."""
    return [child for child, parent, state in _relatives() if parent == pid and (zombies or state != "Z")]


def _relatives() -> Iterator[tuple[int, int, str]]:
    """Yield the number of each process, that of its parent, and its state."""
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                state, parent = _read(f"/proc/{entry.name}/stat").rpartition(")")[2].split()[:2]
                yield int(entry.name), int(parent), state


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
