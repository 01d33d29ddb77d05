"""End to end: server and ffmpegs in a memory cgroup, as in a container with a limit; one ffmpeg exhausts the memory.

In this test the kernel must kill a process. ``test_scarcity`` tests a limit that refuses more memory, RLIMIT_AS.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import StartServer
from tests.chaos.support import ENGINES, BadFfmpeg, Rest, all_hear, calls, hang_up, music_fails
from tests.support.phone import Ear, Phone
from tests.support.running import wait_for

MOST = 200_000_000
"""Octets that the server and its ffmpegs may have together. They are less than the limit of one ffmpeg, 256 MB."""
EXHAUST_MEMORY = "blocks = []\nwhile True: blocks.append(b'x' * (1 << 20))"


class Group:
    """A new memory cgroup of version 1 or 2 in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._second = (folder / "memory.max").exists()

    @property
    def joins(self) -> list[str]:
        """Return a command that runs its arguments as members of the group."""
        return ["sh", "-c", 'echo $$ >"$0" && exec "$@"', str(self._folder / "cgroup.procs")]

    @property
    def members(self) -> set[int]:
        return {int(line) for line in (self._folder / "cgroup.procs").read_text().split()}

    @property
    def killed(self) -> int:
        """Return how many processes of the group the kernel has killed because the memory was used up."""
        name = "memory.events" if self._second else "memory.oom_control"
        counts = dict(line.split() for line in (self._folder / name).read_text().splitlines())
        return int(counts["oom_kill"])

    @property
    def peak(self) -> int:
        """Return the most octets that the group has used, page cache included; 0 if the kernel does not count them."""
        file = self._folder / ("memory.peak" if self._second else "memory.max_usage_in_bytes")
        return int(file.read_text()) if file.exists() else 0

    def limit(self, most: int) -> None:
        """Limit the group to ``most`` octets, without swap."""
        names = ("memory.max", "memory.swap.max") if self._second else ("memory.limit_in_bytes", "memory.swappiness")
        (self._folder / names[0]).write_text(str(most))
        if (swap := self._folder / names[1]).exists():
            swap.write_text("0")

    def remove(self) -> None:
        """Kill the remaining processes of the group, and remove it."""
        for pid in self.members:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # the process has ended by itself
        wait_for(lambda: not self.members, "an empty cgroup")
        self._folder.rmdir()


def parent() -> Path:
    """Return the folder of a cgroup in which a cgroup with a memory limit can be made.

    Skips the test if there is none.
    """
    rows = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    for _, controllers, path in rows:
        for mount in mounts:
            if mount[2] == "cgroup" and "memory" in controllers.split(",") and "memory" in mount[3].split(","):
                own = Path(mount[1] + path)
                return own if own.is_dir() else Path(mount[1])
    for _, controllers, path in rows:
        for mount in mounts:
            if mount[2] == "cgroup2" and not controllers:
                # A cgroup with processes gives no controllers to the cgroups in it. Its parent gives them.
                folder = (Path(mount[1] + path)).parent if path != "/" else Path(mount[1])
                given = folder / "cgroup.subtree_control"
                if given.exists() and "memory" in given.read_text().split():
                    return folder
    pytest.skip("this machine has no cgroup that can limit memory")


@pytest.fixture
def group() -> Iterator[Group]:
    """A cgroup with a memory limit. It is removed at the end, even after a failure."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("needs Linux, and root to make a cgroup")
    folder = parent() / f"moh-chaos-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"cannot make a cgroup: {error}")
    made = Group(folder)
    try:
        try:
            made.limit(MOST)
            assert made.killed == 0
        except (OSError, KeyError) as error:
            pytest.skip(f"this cgroup cannot limit memory, or does not count killed processes: {error}")
        yield made
    finally:
        made.remove()


@pytest.mark.parametrize("engine", ENGINES)
def test_the_kernel_kills_only_the_ffmpeg_that_exhausts_the_memory(
    group: Group, start_server: StartServer, tmp_path: Path, engine: str
) -> None:
    bad_ffmpeg = BadFfmpeg(tmp_path, f'exec {sys.executable} -c "{EXHAUST_MEMORY}"')
    server = start_server(before=group.joins, MOH_FFMPEG_CALLS=engine, MOH_LOG="info", PATH=bad_ffmpeg.path).ready()
    rest = Rest(server)
    with calls(server, 3) as held, Phone(server.address) as phone, Ear() as ear:
        playing = set(server.ffmpegs)
        assert playing | {server.process.pid} <= group.members
        assert {Path(f"/proc/{pid}/oom_score_adj").read_text().strip() for pid in playing} <= {"900"}
        assert int(Path(f"/proc/{server.process.pid}/oom_score_adj").read_text()) < 900
        with bad_ffmpeg.in_use():
            music_fails(phone, ear)
            assert group.killed >= 1, "the limit was not reached"
            assert server.process.poll() is None and set(server.ffmpegs) == playing
            all_hear(held)
            hang_up(held)
            print(f"the kernel killed {group.killed}; at most {group.peak / 1e6:.0f} MB were used")
    rest.is_well()
    server.terminate()
    assert server.exit_status() == 0, server.log[-3000:]
    assert "Traceback" not in server.log
