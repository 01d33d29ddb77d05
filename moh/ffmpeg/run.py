"""Runs one ffmpeg of the music's conversion to its end, and reads its output, progress and errors."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Optional

from ..common.errors import SettingsError
from .launch import leash

Progress = Callable[[float], None]
"""A function that is called several times a second with the share of a conversion that is done, 0 to 1.

The function may raise an exception to cancel the conversion.
"""

LOG_OPTIONS = ("-nostdin", "-nostats", "-loglevel", "level+info")
"""The options that make ffmpeg print errors and meters in the form that is read here and in ``loudness``."""
OUTPUT_KEPT = 65536
"""Octets that are read of the beginning of ffmpeg's output, and of its end: a damaged file makes ffmpeg print
megabytes."""

REPORT_EVERY = 0.2
"""Seconds between two reports of progress."""


class FfmpegFailed(Exception):
    """ffmpeg ended with an error. ``why`` is the first error message, ``said`` is all output that was kept."""

    def __init__(self, status: int, said: str) -> None:
        plain = [line.strip() for line in said.splitlines() if line.strip()]
        self.why = first_error(said) or next(iter(plain), f"exit {status}")
        self.said = said
        super().__init__(self.why)

    @property
    def disk_full(self) -> bool:
        """Whether ffmpeg could not write because the disk or the quota is full."""
        return "No space left on device" in self.said or "Disk quota exceeded" in self.said


def run(command: Sequence[str], progress: Optional[Progress] = None, seconds: Optional[float] = None) -> str:
    """Run an ffmpeg command to its end and return what ffmpeg printed to standard error. Raises ``FfmpegFailed``.

    ``progress`` gets the share that is done, of ``seconds`` of sound or of the length in the first input's header.
    ffmpeg is killed when the thread that waits for it here ends, or when an exception interrupts the wait.
    """
    program = shutil.which(command[0])
    if program is None:
        raise SettingsError(f"ffmpeg does not run: {os.strerror(2)}; expected it on the PATH")
    command = [*leash(os.getpid()), program, *command[1:]]
    if progress:
        command[-1:-1] = ["-progress", "pipe:1", "-stats_period", str(REPORT_EVERY)]
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=output)
        except OSError as error:
            raise SettingsError(f"ffmpeg does not run: {error.strerror}; expected it on the PATH") from None
        assert process.stdout is not None
        try:
            share = 0.0
            for done in _seconds_done(process.stdout.fileno()):
                if done is not None and (seconds := seconds or declared(_read_output(output))):
                    share = min(1.0, done / seconds)
                if progress:
                    progress(share)
            status = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            process.stdout.close()
        said = _read_output(output)
    if status != 0:
        raise FfmpegFailed(status, said)
    return said


def _seconds_done(handle: int) -> Iterator[Optional[float]]:
    """Yield the seconds of sound that ffmpeg has done at each report, and ``None`` after 0.2 s without a report."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    while True:
        if not poll.poll(int(REPORT_EVERY * 1000)):
            yield None
        elif not (said := os.read(handle, 65536)):
            return
        elif done := re.findall(rb"out_time_us=(\d+)", said):
            yield int(done[-1]) / 1e6


def _read_output(output: IO[bytes]) -> str:
    """The beginning and the end of ffmpeg's output so far. The position at which ffmpeg writes does not change."""
    handle = output.fileno()
    size = os.fstat(handle).st_size
    said = os.pread(handle, OUTPUT_KEPT, 0)
    if size > OUTPUT_KEPT:
        said += b"\n" + os.pread(handle, OUTPUT_KEPT, max(OUTPUT_KEPT, size - OUTPUT_KEPT))
    return said.decode("utf-8", "replace")


def first_error(said: str) -> str:
    """The first error message that ffmpeg printed; empty where it printed none."""
    found = re.search(r"^.*?\[(?:error|fatal)\] (.*\S)", said, re.MULTILINE)
    return found[1] if found else ""


def declared(said: str) -> Optional[float]:
    """The length in seconds that the first input's header states; ``None`` where the header states none."""
    found = re.search(r"^.*?\bDuration: (\d+):(\d\d):(\d\d(?:\.\d+)?)", said, re.MULTILINE)
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3]) if found else None


def has_soxr(said: str) -> bool:
    """Whether the ffmpeg that printed ``said`` was built with soxr, the better of its two resamplers."""
    return "--enable-libsoxr" in said
