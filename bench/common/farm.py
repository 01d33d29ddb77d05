"""Starts ``farm.c``, which hears thousands of callers at once, and turns what it counted into figures."""

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
    """A farm that listens for ``count`` callers from the address ``first`` on, of which each ``each``th is heard.

    It ends with us, after ``seconds`` at the latest; ``port`` is theirs. ``prefix`` are the words in front of its
    command, ``where`` its first argument.
    """

    def __init__(
        self, binary: str, prefix: list[str], where: str, first: str, count: int, each: int, seconds: float, port: int
    ) -> None:
        words = [binary, where, str(port), first, str(count), str(each), str(seconds)]
        # a session of its own, so that Ctrl-C reaches us only; it ends as soon as its standard input is closed
        self._process = subprocess.Popen(
            [*prefix, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._process.stdout is not None
        word, *rest = self._process.stdout.readline().split() or [""]
        if word != "port":
            self.close()
            raise RuntimeError(f"the receiver does not start: {' '.join(words)}")
        self.port = int(rest[0])

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def begin(self) -> None:
        """Forget all, and count from now on."""
        self._say("begin")
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def end(self) -> dict[str, Any]:
        """What it counted since, by the names in ``farm.c``."""
        self._say("end")
        assert self._process.stdout is not None
        found: dict[str, Any] = json.loads(self._process.stdout.readline() or "{}")
        return found

    def _say(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()

    def close(self) -> None:
        """End it; may be called again."""
        if self._process.returncode is None:
            try:
                self._process.communicate(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.communicate()


def spacing(bins: Sequence[Sequence[int]], share: float) -> float:
    """The milliseconds that ``share`` (0 to 1) of all spacings do not exceed, by bins of ``BIN_MS``; nan of none.

    ``bins`` are pairs of a bin's number and how many are in it, in their order.
    """
    left = share * sum(count for _, count in bins)
    for number, count in bins:
        left -= count
        if left < 0:
            return (number + 0.5) * BIN_MS
    return (bins[-1][0] + 0.5) * BIN_MS if bins else float("nan")


def pacing(counted: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a farm's counts, by their names in ``bench.playing.load.Load``."""
    due = counted.get("due", 0)
    return {
        "spacing_p50": spacing(counted.get("spacings", []), 0.5),
        "spacing_p99": spacing(counted.get("spacings", []), 0.99),
        "spacing_max": counted["widest"] if due else float("nan"),
        "jitter": counted["jitter"] if due else float("nan"),
        "late": 100 * counted["late"] / max(1, counted["packets"]) if due else float("nan"),
        "lost": 100 * counted["lost"] / due if due else float("nan"),
        "skipped": 100 * counted["skipped"] / due if due else float("nan"),
        "silent": counted.get("silent", 0),
    }
