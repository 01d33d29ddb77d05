"""What the doctor finds out about the machine: ffmpeg, limits of files, processes and memory, room on disks."""

from __future__ import annotations

import os
import re
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Optional

from ..common.codecs import CODECS
from ..common.config import Settings
from ..common.errors import SettingsError
from ..ffmpeg.launch import encoders, player
from ..mastering.cache_folder import absolute
from ..mastering.conversion import ROOM
from .finding import Finding, finding, megabytes

FILES_OF_A_CALL, FILES_AT_REST = 3, 100
"""Open files that a call with an ffmpeg needs, and a server without a call."""
TASKS_AT_REST = 40
"""Threads and processes that a server without a call has, and a conversion of the music."""
TASKS_OF_A_CALL = 2
"""Threads of an ffmpeg that plays, and the process that starts it."""
MEMORY_OF_A_CALL, MEMORY_OF_A_SLIM_ONE, MEMORY_AT_REST = 12e6, 1e6, 60e6
"""Octets of private memory of an ffmpeg that plays, of the slim one, and of a server without a call."""
SLIM = (2e6, 20e6)
"""Octets that the file of the slim ffmpeg may have. It is one file; Debian's is a small one with 200 libraries."""
LEAST_TASKS = 5
"""Free processes below which not even the first calls get an ffmpeg."""
USUAL_LENGTH = 300.0
"""Seconds of music for which room on the disk is wanted, where the length of the owner's music is not known."""
LITTLE_ROOM = 50e6
"""Octets that are little for a trace."""
CGROUP = Path("/sys/fs/cgroup")
CGROUP_OF_PROCESS = Path("/proc/self/cgroup")


# -- ffmpeg ------------------------------------------------------------------------------------------------------------


def ffmpeg_findings() -> Iterator[Finding]:
    """Whether there is an ffmpeg, and for which codecs of the server it has an encoder."""
    if shutil.which("ffmpeg") is None:
        yield finding("ffmpeg-missing")
        return
    available = encoders()
    lacking = [codec.name for codec in CODECS if codec.encoder not in available]
    if len(lacking) == len(CODECS):
        yield finding("ffmpeg-broken", program=shutil.which("ffmpeg"))
        return
    for name in lacking:
        yield finding("ffmpeg-lacks", codec=name)
    if not lacking:
        yield finding("ffmpeg", codecs=", ".join(codec.name for codec in CODECS), program=player())


# -- limits ------------------------------------------------------------------------------------------------------------


class Limit(NamedTuple):
    """A limit of processes: its name, how many it allows, and how many more may start."""

    name: str
    most: int
    room: int


def limit_findings(settings: Settings, pid: int = 0) -> Iterator[Finding]:
    """The limits that are too narrow for the settings. ``pid`` is the process of the running server."""
    calls = min(settings.ffmpeg_calls, (settings.rtp_ports[1] - settings.rtp_ports[0] + 1) // 2)
    found = [*_files(calls, pid), *_processes(calls, pid), *_memory(calls)]
    yield from found or [finding("limits", calls=calls)]


def _files(calls: int, pid: int) -> Iterator[Finding]:
    most = _limit_of(pid, "Max open files", resource.RLIMIT_NOFILE)
    needed = FILES_AT_REST + FILES_OF_A_CALL * calls
    if most is not None and most < needed:
        yield finding("limit-files", most=most, calls=calls, needed=needed)


def _processes(calls: int, pid: int) -> Iterator[Finding]:
    needed = TASKS_OF_A_CALL * calls + (0 if pid else TASKS_AT_REST)
    for limit in filter(None, (_limit_of_user(pid), _limit_of_cgroup())):
        if limit.room < needed:
            level = "error" if limit.room < min(needed, LEAST_TASKS) else "warning"
            yield finding(
                "limit-processes", level, limit=limit.name, most=limit.most, room=limit.room, calls=calls, needed=needed
            )


def _limit_of(pid: int, name: str, number: int) -> Optional[int]:
    """The hard limit of a process; that of this one where ``pid`` is 0 or cannot be read. ``None`` is no limit."""
    try:
        text = Path(f"/proc/{pid}/limits").read_text(encoding="ascii") if pid else ""
    except OSError:
        text = ""
    if found := re.search(rf"^{name}\s+(\S+)\s+(\S+)", text, re.MULTILINE):
        return int(found[2]) if found[2].isdigit() else None
    hard = resource.getrlimit(number)[1]
    return None if hard == resource.RLIM_INFINITY else hard


def _limit_of_user(pid: int) -> Optional[Limit]:
    """RLIMIT_NPROC, which counts the threads of all processes of a user. The kernel does not hold root to it."""
    user = _user_of(pid)
    soft = _soft_processes(pid)
    if soft is None or user == 0:
        return None
    return Limit("RLIMIT_NPROC", soft, max(0, soft - _tasks_of(user)))


def _soft_processes(pid: int) -> Optional[int]:
    try:
        text = Path(f"/proc/{pid or 'self'}/limits").read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(r"^Max processes\s+(\d+)", text, re.MULTILINE)
    return int(found[1]) if found else None


def _user_of(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}").st_uid if pid else os.geteuid()
    except OSError:
        return os.geteuid()


def _tasks_of(user: int) -> int:
    """The threads of all processes of a user that can be seen from here."""
    count = 0
    for entry in os.scandir("/proc"):
        try:
            if entry.name.isdigit() and entry.stat().st_uid == user:
                count += len(os.listdir(f"{entry.path}/task"))
        except OSError:
            continue  # the process has just ended
    return count


def _limit_of_cgroup() -> Optional[Limit]:
    """The narrowest ``pids.max`` of this process's control group and those above it."""
    limits = []
    for folder in _groups("pids"):
        most, now = _number(folder / "pids.max"), _number(folder / "pids.current")
        if most is not None and now is not None:
            limits.append(Limit("pids.max", round(most), max(0, round(most - now))))
    return min(limits, key=lambda each: each.room, default=None)


def _groups(controller: str) -> Iterator[Path]:
    """The folders of this process's control group for ``controller``, from the inmost to the outmost."""
    try:
        rows = [line.split(":", 2) for line in CGROUP_OF_PROCESS.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return
    for _, controllers, path in rows:
        if controllers and controller not in controllers.split(","):
            continue
        root = CGROUP / controller if controllers else CGROUP
        inmost = root / path.strip("/")
        for folder in (inmost, *inmost.parents):
            if folder.is_dir():
                yield folder
            if folder == root:
                break


def _number(path: Path) -> Optional[float]:
    """The number in a file of a control group; ``None`` for ``max``, and where there is no such file."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return float(text) if text.isdigit() and float(text) < 1 << 60 else None


def _memory(calls: int) -> Iterator[Finding]:
    free, needed = free_memory(), MEMORY_AT_REST + _memory_of_a_call() * calls
    if free is not None and free < needed:
        yield finding("limit-memory", free=megabytes(free), calls=calls, needed=megabytes(needed))


def _memory_of_a_call() -> float:
    try:
        size = os.stat(shutil.which(player()) or "").st_size
    except OSError:
        return MEMORY_OF_A_CALL
    return MEMORY_OF_A_SLIM_ONE if SLIM[0] <= size <= SLIM[1] else MEMORY_OF_A_CALL


def free_memory() -> Optional[float]:
    """Octets of memory that processes here may still take, by the kernel and by the control groups."""
    found = []
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        text = ""
    if available := re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE):
        found.append(int(available[1]) * 1024.0)
    for folder in _groups("memory"):
        for most, used, cache in (
            ("memory.max", "memory.current", "memory.stat"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat"),
        ):
            limit, now = _number(folder / most), _number(folder / used)
            if limit is not None and now is not None:
                found.append(limit - now + _reclaimable(folder / cache))
    return max(0.0, min(found)) if found else None


def _reclaimable(path: Path) -> float:
    """Octets of files in the kernel's cache, which it gives back when memory is needed."""
    try:
        text = path.read_text(encoding="ascii")
    except OSError:
        return 0.0
    found = re.search(r"^(?:total_)?inactive_file (\d+)", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


# -- room on disks -----------------------------------------------------------------------------------------------------


def disk_findings(settings: Settings, seconds: float, plays: bool) -> Iterator[Finding]:
    """Whether the cache folder and the trace file have room.

    ``seconds`` is the length of the music; 0 where it is not known. ``plays``: the running server has converted it.
    """
    try:
        folder = absolute("MOH_CACHE", settings.cache or "~/.cache/moh")
    except SettingsError:
        return
    needed = (seconds or USUAL_LENGTH) * ROOM
    free = free_at(folder)
    if free is not None and free < needed:
        found = "disk-low" if plays else "disk-full"
        yield finding(found, folder=folder, free=megabytes(free), needed=megabytes(needed))
    room = free_at(Path(settings.trace).absolute()) if settings.trace else None
    if room is not None and room < LITTLE_ROOM:
        yield finding("trace-disk", file=settings.trace, free=megabytes(room))


def free_at(path: Path) -> Optional[float]:
    """Octets that are free on the disk of ``path``, or of the nearest folder above it that exists."""
    for folder in (path, *path.parents):
        try:
            facts = os.statvfs(folder)
        except OSError:
            continue
        return float(facts.f_bavail * facts.f_frsize)
    return None
