"""The phones: SIPp makes calls through the proxy (``call.xml``), and writes what happens to each."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from bench.common.messages import HostPort
from moh.ffmpeg.launch import leash

SCENARIO = Path(__file__).with_name("call.xml")
BUFFER = 4 << 20
"""Octets of the buffers of SIPp's socket."""
AT_ONCE = 15000
"""Calls at once, at most."""


@dataclass
class Call:
    """One call, as its phone saw it; times in seconds since 1970."""

    number: int
    """From 1 on."""
    began: float
    """When the INVITE was sent."""
    answered: Optional[float] = None
    """When the 200 came."""
    server: str = ""
    """The host of the Contact of that 200."""
    bye: Optional[float] = None
    """When the BYE was sent."""
    ended: bool = False
    """Whether the BYE was answered by 200."""
    over: bool = False
    """Whether the phone is done with the call."""

    def set_up(self) -> float:
        """Return the milliseconds from INVITE to 200; nan without a 200."""
        return float("nan") if self.answered is None else 1000 * (self.answered - self.began)


def read_calls(lines: Iterable[str]) -> list[Call]:
    """Return the calls of which ``call.xml`` has written ``lines``, in their order."""
    calls: dict[int, Call] = {}
    for line in lines:
        # SIPp may write its own time before the text
        words = line.split()
        what = next((place for place, word in enumerate(words) if word in STEPS), None)
        if what is None or len(words) < what + 3:
            continue
        step, number, rest = words[what], int(words[what + 1]), words[what + 2 :]
        if step == "began":
            calls[number] = Call(number, _time(*rest[:2]))
        elif (call := calls.get(number)) is None:
            continue
        elif step == "answered":
            try:
                call.answered = _time(*rest[:2])
            except ValueError:  # above its limit, SIPp may leave a time out
                continue
            call.server = rest[2] if len(rest) > 2 else ""
        elif step == "bye":
            call.bye = _time(*rest[:2])
        elif step == "ended":
            call.ended = True
        elif step == "over":
            call.over = True
    return [calls[number] for number in sorted(calls)]


STEPS = ("began", "answered", "bye", "ended", "over")
"""The words of the log of ``call.xml``; what it says of refused calls is in what they lack."""


def _time(seconds: str, microseconds: str) -> float:
    return float(seconds) + float(microseconds) / 1e6


class Phones:
    """SIPp, which begins ``rate`` calls a second until it has begun ``count``.

    Each call lasts ``least`` to ``most`` seconds. The music of call number n goes to the ``port`` of the n-th of
    ``hosts``. Raises ``RuntimeError`` if there is no SIPp.
    """

    def __init__(
        self, proxy: HostPort, local: str, hosts: Iterable[str], port: int, rate: float, count: int, least: float,
        most: float, folder: Path,
    ) -> None:  # fmt: skip
        if not shutil.which("sipp"):
            raise RuntimeError("this needs SIPp (Debian's package sip-tester)")
        text = SCENARIO.read_text(encoding="utf-8")
        limits = {"LEAST": least, "MOST": most}
        for name, seconds in limits.items():
            text = text.replace(f'"{name}"', f'"{round(1000 * seconds)}"')
        (folder / "call.xml").write_text(text, encoding="utf-8")
        (folder / "media.csv").write_text("".join(["SEQUENTIAL\n", *(f"{host};{port};\n" for host in hosts)]))
        for old in [*folder.glob("call_*_rtt.csv"), folder / "counts.csv", folder / "steps.log"]:
            old.unlink(missing_ok=True)
        self._folder = folder
        command = [
            *leash(os.getpid()), "sipp", f"{proxy[0]}:{proxy[1]}", "-sf", "call.xml", "-inf", "media.csv", "-i", local,
            "-p", str(proxy[1]), "-nostdin", "-buff_size", str(BUFFER), "-m", str(count), "-r", str(round(1000 * rate)),
            "-rp", "1000000", "-l", str(AT_ONCE), "-trace_logs", "-log_file", "steps.log", "-default_behaviors",
            "all,-abortunexp", "-trace_stat", "-stf", "counts.csv", "-fd", "1", "-trace_rtt", "-rtt_freq", "1",
        ]  # fmt: skip
        self._output = (folder / "sipp.log").open("wb")
        self._process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._output,
            start_new_session=True,
        )  # fmt: skip

    @property
    def pid(self) -> int:
        """The number of SIPp's process."""
        return self._process.pid

    def check(self) -> None:
        """Raise ``RuntimeError`` with what SIPp printed if it has ended already."""
        if self._process.poll() is not None:
            raise RuntimeError(f"SIPp ended: {(self._folder / 'sipp.log').read_text(errors='replace')[-500:]}")

    def wait(self, seconds: float) -> None:
        """Wait until all calls are over, for ``seconds`` at most."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def close(self) -> None:
        """End SIPp."""
        if self._process.poll() is None:
            self._process.terminate()
            give_up = time.monotonic() + 3.0
            while self._process.poll() is None and time.monotonic() < give_up:
                time.sleep(0.05)
            self._process.kill()
            self._process.wait()
        self._output.close()

    def calls(self) -> list[Call]:
        """Return the calls, once SIPp has ended."""
        with (self._folder / "steps.log").open(encoding="utf-8", errors="replace") as lines:
            return read_calls(lines)
