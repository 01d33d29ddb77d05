"""End to end: server and ffmpegs in a memory cgroup, as a container with a limit has it, and one ffmpeg eats it all.

RLIMIT_AS, by which a process gets no more memory, is in ``test_scarcity``; here the kernel has to kill somebody.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import StartServer
from tests.chaos.crew import ENGINES, SLOW, Rest, all_hear, calls, hang_up
from tests.chaos.test_ffmpegs import shelf
from tests.support.phone import Ear, Phone
from tests.support.running import wait_for

MOST = 200_000_000
"""Octets that the server and all its ffmpegs may have together; an ffmpeg's own limit alone is more, 256 MB."""
EATER = "eaten = []\nwhile True: eaten.append(b'x' * (1 << 20))"


class Group:
    """A memory cgroup of version 1 or 2, made new in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._second = (folder / "memory.max").exists()

    @property
    def joins(self) -> list[str]:
        """The words in front of a command that let it and its children be members."""
        return ["sh", "-c", 'echo $$ >"$0" && exec "$@"', str(self._folder / "cgroup.procs")]

    @property
    def members(self) -> set[int]:
        return {int(line) for line in (self._folder / "cgroup.procs").read_text().split()}

    @property
    def killed(self) -> int:
        """How many of it the kernel has killed for want of memory."""
        name = "memory.events" if self._second else "memory.oom_control"
        counts = dict(line.split() for line in (self._folder / name).read_text().splitlines())
        return int(counts["oom_kill"])

    @property
    def peak(self) -> int:
        """Most octets that it has had, of files as well; 0 where the kernel does not tell."""
        file = self._folder / ("memory.peak" if self._second else "memory.max_usage_in_bytes")
        return int(file.read_text()) if file.exists() else 0

    def limit(self, most: int) -> None:
        """Let it have no more than ``most`` octets, and no swap."""
        names = ("memory.max", "memory.swap.max") if self._second else ("memory.limit_in_bytes", "memory.swappiness")
        (self._folder / names[0]).write_text(str(most))
        if (swap := self._folder / names[1]).exists():
            swap.write_text("0")

    def remove(self) -> None:
        """Kill who is still in it, and take it away."""
        for pid in self.members:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it has ended by itself
        wait_for(lambda: not self.members, "an empty cgroup")
        self._folder.rmdir()


def parent() -> Path:
    """The folder of a cgroup in which one with a limit of memory can be made; skips where there is none."""
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
                # with processes in it, a cgroup gives no controllers to those below it; its parent does
                folder = (Path(mount[1] + path)).parent if path != "/" else Path(mount[1])
                given = folder / "cgroup.subtree_control"
                if given.exists() and "memory" in given.read_text().split():
                    return folder
    pytest.skip("no cgroup of this machine has a limit of memory to give")


@pytest.fixture
def group() -> Iterator[Group]:
    """One with a limit; gone at the end, whatever happens."""
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
            pytest.skip(f"this cgroup has no limit of memory, or does not tell who was killed: {error}")
        yield made
    finally:
        made.remove()


@pytest.mark.parametrize("engine", ENGINES)
def test_the_kernel_takes_the_ffmpeg_that_eats_and_neither_the_server_nor_who_plays(
    group: Group, start_server: StartServer, tmp_path: Path, engine: str
) -> None:
    eats = f'exec {sys.executable} -c "{EATER}"'
    server = start_server(before=group.joins, MOH_FFMPEG_CALLS=engine, MOH_LOG="info", **shelf(tmp_path, eats)).ready()
    rest = Rest(server)
    with calls(server, 3) as held, Phone(server.address) as phone, Ear() as ear:
        playing = set(server.ffmpegs)
        assert playing | {server.process.pid} <= group.members
        assert {Path(f"/proc/{pid}/oom_score_adj").read_text().strip() for pid in playing} <= {"900"}
        assert int(Path(f"/proc/{server.process.pid}/oom_score_adj").read_text()) < 900
        (tmp_path / "spoilt").touch()
        # in another codec, since the shared stream has encoded the first already
        answer = phone.ask(phone.invite(ear.address).replace(b"RTP/AVP 0 8 101", b"RTP/AVP 8 101 0"))
        assert answer.status == 200
        phone.to_tag = answer.to_tag
        phone.ack()
        reason = phone.await_request("BYE", SLOW).get("reason")
        assert "the music failed twice" in reason or "could not be encoded" in reason
        assert group.killed >= 1, "the limit was not reached"
        assert server.process.poll() is None and set(server.ffmpegs) == playing
        all_hear(held)
        hang_up(held)
        print(f"the kernel took {group.killed}; at most {group.peak / 1e6:.0f} MB")
        (tmp_path / "spoilt").unlink()
    rest.is_well()
    server.terminate()
    assert server.exit_status() == 0, server.log[-3000:]
    assert "Traceback" not in server.log
