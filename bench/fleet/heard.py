"""The music that arrives: a process (``hear.c``) receives the calls' packets, and says what each call lacked."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).with_name("hear.c")
FIRST = "127.1.0.0"
"""The address of the first call's music."""


class Music(NamedTuple):
    """What one call heard; times in seconds since 1970."""

    place: int
    """The number of the call, from 0 on."""
    server: str
    """The address that the music came from."""
    first: float
    last: float
    packets: int
    lost: int
    """Packets whose sequence number never came."""
    skipped: int
    """Packets that the sender left out."""


class Hole(NamedTuple):
    """A hole in the music of one call: it lasted ``seconds``, and the music went on ``at``."""

    place: int
    at: float
    seconds: float
    lost: int
    skipped: int


class Heard(NamedTuple):
    """What all calls heard."""

    music: dict[int, Music]
    holes: list[Hole]
    dropped: int
    """Packets that the receiver itself has missed."""
    twice: int = 0
    """Calls that got music from two servers."""


def read_heard(lines: Iterable[str]) -> Heard:
    """Read what ``hear.c`` prints."""
    heard: dict[int, Music] = {}
    holes: list[Hole] = []
    counts = {"dropped": 0, "twice": 0}
    for line in lines:
        kind, *rest = line.split() or [""]
        if kind == "call":
            place, server, first, last, packets, lost, skipped = rest
            times = int(first) / 1e9, int(last) / 1e9
            heard[int(place)] = Music(int(place), server, *times, int(packets), int(lost), int(skipped))
        elif kind == "hole":
            place, at, length, lost, skipped = rest
            holes.append(Hole(int(place), int(at) / 1e9, int(length) / 1e9, int(lost), int(skipped)))
        elif kind in counts:
            counts[kind] = int(rest[0])
    return Heard(heard, holes, counts["dropped"], counts["twice"])


class Receiver:
    """A process that receives the music of ``count`` calls at ``port``, for ``seconds`` at most."""

    def __init__(self, program: str, count: int, port: int, seconds: float) -> None:
        self._process = subprocess.Popen(
            [program, str(port), FIRST, str(count), str(seconds)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, start_new_session=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        if not self._process.stdout.readline().startswith("port "):
            self.close()
            raise RuntimeError(f"the receiver does not start at port {port}")

    @property
    def pid(self) -> int:
        """The number of the receiver's process."""
        return self._process.pid

    def result(self) -> Heard:
        """End the receiver, and return what all calls heard."""
        return read_heard(self._process.communicate(timeout=60)[0].splitlines())

    def close(self) -> None:
        """End the receiver. After ``result`` this does nothing."""
        if self._process.returncode is None:
            self._process.kill()
            self._process.communicate()
