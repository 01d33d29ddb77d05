"""The process of the radios, started by hand as the server starts it, and what it writes into its rings."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
import wave
from array import array
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Optional

from tests.radio.stations import made
from tests.support.running import ROOT

RATES = (8000, 16000)
TIMEOUT = 20.0
RUN = "import runpy; runpy.run_module('moh.radio', run_name='__main__')"


def fallback(folder: Path, name: str = "fallback", frequency: int = 440, seconds: float = 7.0) -> dict[int, Path]:
    """A converted piece that is a tone."""
    files = {}
    for rate in RATES:
        files[rate] = folder / f"{name}-{rate}.wav"
        sound = made("-f", "lavfi", "-i", f"aevalsrc=0.1*sin(2*PI*{frequency}*t):s={rate}:d={seconds}", "-f", "s16le")
        with wave.open(str(files[rate]), "wb") as file:
            file.setparams((1, 2, rate, 0, "NONE", ""))
            file.writeframes(sound)
        files[rate].chmod(0o644)
    return files


class Radios:
    """The process, and what it has reported."""

    def __init__(self, cache: Path, patch: str = "", **settings: str) -> None:
        """``patch`` is Python that the process executes first: it may shorten pauses."""
        others = {name: value for name, value in os.environ.items() if not name.startswith("MOH_")}
        self.process = subprocess.Popen(
            [sys.executable, *(["-c", f"{patch}; {RUN}"] if patch else ["-m", "moh.radio"])], cwd=ROOT,
            env={**others, "MOH_CACHE": str(cache), "MOH_ALLOW_RADIO": "127.0.0.0/8", **settings},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.reports: list[dict[str, Any]] = []
        self._queue: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def play(self, name: str, addresses: list[str], files: Mapping[int, Path], ring: Any = None) -> None:
        self.order(do="play", name=name, addresses=addresses, fallback=texts(files), fallback_seconds=7.0, ring=ring)

    def order(self, **order: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()

    def wait(self, seconds: float = TIMEOUT, **expected: Any) -> dict[str, Any]:
        """The next report with these values. A value may be a function that decides."""
        give_up = time.monotonic() + seconds
        while (left := give_up - time.monotonic()) > 0:
            try:
                report = self._queue.get(timeout=left)
            except queue.Empty:
                break
            if all(matches(report.get(key), value) for key, value in expected.items()):
                return report
        raise AssertionError(f"no report with {expected} within {seconds} s, only {self.reports}")

    def close(self) -> str:
        """End the process. Return what it printed for the log."""
        assert self.process.stdin is not None and self.process.stderr is not None
        self.process.stdin.close()
        assert self.process.wait(10) == 0
        said = self.process.stderr.read().decode()
        self.process.stderr.close()
        return said

    def __enter__(self) -> Radios:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            report = json.loads(line)
            self.reports.append(report)
            self._queue.put(report)


def matches(value: Any, expected: Any) -> bool:
    return bool(expected(value)) if isinstance(expected, Callable) else value == expected  # type: ignore[arg-type]


def texts(files: Mapping[int, Path]) -> dict[str, str]:
    return {str(rate): str(path) for rate, path in files.items()}


class Listener:
    """Reads a ring as a player does: each second of it when it is played."""

    def __init__(self, ring: Mapping[str, Any], rate: int = 8000, ahead: float = 0.0) -> None:
        self.rate = rate
        self.heard: array[int] = array("h")
        self._path = Path(ring["files"][str(rate)])
        self._size, self._began, self._ahead = int(ring["seconds"]) * rate, ring["began"], ahead
        self._file = self._path.open("rb")
        self._position: Optional[int] = None

    def listen(self, seconds: float, until: Callable[[], bool] = lambda: False) -> array[int]:
        """Listen for ``seconds``, or until ``until`` is true. Return what was heard in that time."""
        give_up, begin = time.monotonic() + seconds, len(self.heard)
        while (now := time.monotonic()) < give_up and not until():
            played = int((now + self._ahead - self._began) * self.rate)
            position = played if self._position is None else self._position
            while position < played:
                count = min(played - position, self._size - position % self._size)
                self._file.seek(44 + 2 * (position % self._size))
                self.heard.frombytes(self._file.read(2 * count))
                position += count
            self._position = position
            time.sleep(0.05)
        return self.heard[begin:]
