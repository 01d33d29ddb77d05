"""The farm: one process (``farm.c``) that receives the music of thousands of callers; its counts as figures."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("farm.c")
BIN_MS = 0.01
"""Milliseconds of one bin of the farm's spacings."""


class Farm:
    """A farm for ``count`` callers, whose addresses begin at ``first``. All callers have the same ``port``.

    The farm counts the packets of every ``each``-th caller. It ends with this process, or after ``seconds``. ``prefix``
    is a command that runs the farm's program, such as ``ip netns exec NAME``. ``where`` says how the farm receives:
    ``udp``, or ``packet:`` and the name of a device (see ``farm.c``).
    """

    def __init__(
        self, program: str, prefix: list[str], where: str, first: str, count: int, each: int, seconds: float, port: int
    ) -> None:
        command = [program, where, str(port), first, str(count), str(each), str(seconds)]
        # The farm has a session of its own, so that Ctrl-C reaches only this process. It ends when its standard input
        # is closed.
        self._process = subprocess.Popen(
            [*prefix, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._process.stdout is not None
        key, *rest = self._process.stdout.readline().split() or [""]
        if key != "port":
            self.close()
            raise RuntimeError(f"the receiver does not start: {' '.join(command)}")
        self.port = int(rest[0])

    @property
    def pid(self) -> int:
        """The number of the farm's process."""
        return self._process.pid

    def begin(self) -> None:
        """Set all counts to zero and begin to count."""
        self._command("begin")
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def end(self) -> dict[str, Any]:
        """Stop counting, and return the counts since ``begin``, by the names in ``farm.c``."""
        self._command("end")
        assert self._process.stdout is not None
        found: dict[str, Any] = json.loads(self._process.stdout.readline() or "{}")
        return found

    def _command(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()

    def close(self) -> None:
        """End the farm. A second call does nothing."""
        if self._process.returncode is None:
            try:
                self._process.communicate(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.communicate()


def spacing(bins: Sequence[Sequence[int]], share: float) -> float:
    """Return the milliseconds that ``share`` (0 to 1) of all spacings do not exceed; nan without spacings.

    ``bins`` are pairs, in the order of the bins: the number of a bin, and the count of spacings in it.
    """
    left = share * sum(count for _, count in bins)
    for number, count in bins:
        left -= count
        if left < 0:
            return (number + 0.5) * BIN_MS
    return (bins[-1][0] + 0.5) * BIN_MS if bins else float("nan")


def pacing(counts: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures that follow from a farm's counts, by their names in ``bench.playing.load.Load``.

    ``late10`` and ``late20`` are late by more than 10 and 20 ms.
    """
    due = counts.get("due", 0)
    return {
        "spacing_p50": spacing(counts.get("spacings", []), 0.5),
        "spacing_p99": spacing(counts.get("spacings", []), 0.99),
        "spacing_max": counts["widest"] if due else float("nan"),
        "jitter": counts["jitter"] if due else float("nan"),
        "late": 100 * counts["late"] / max(1, counts["packets"]) if due else float("nan"),
        "late10": 100 * counts.get("late10", 0) / max(1, counts["packets"]) if due else float("nan"),
        "late20": 100 * counts.get("late20", 0) / max(1, counts["packets"]) if due else float("nan"),
        "lost": 100 * counts["lost"] / due if due else float("nan"),
        "skipped": 100 * counts["skipped"] / due if due else float("nan"),
        "silent": counts.get("silent", 0),
    }
