"""Runs ffmpeg to its end for the conversion: what it said, how far it is, why it failed. Never used during a call."""

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
"""Called several times a second with the share of a conversion that is done, 0 to 1. It may raise, to cancel it."""

QUIET = ("-nostdin", "-nostats", "-loglevel", "level+info")
"""What ffmpeg is told so that ``Failed`` and the meters find what they look for."""
KEPT = 65536
"""Octets of what ffmpeg says that are read, from the beginning and from the end: a spoilt file makes it say a lot."""


class Failed(Exception):
    """ffmpeg ended with an error. ``why`` is its first complaint, ``said`` all of it that was kept."""

    def __init__(self, status: int, said: str) -> None:
        complaints = re.findall(r"^.*?\[(?:error|fatal)\] (.*\S)", said, re.MULTILINE)
        plain = [line.strip() for line in said.splitlines() if line.strip()]
        self.why = (complaints or plain or [f"exit {status}"])[0]
        self.said = said
        super().__init__(self.why)

    @property
    def is_full(self) -> bool:
        """It could not write for want of room."""
        return "No space left on device" in self.said or "Disk quota exceeded" in self.said


def run(command: Sequence[str], progress: Optional[Progress] = None, seconds: Optional[float] = None) -> str:
    """Run an ffmpeg command to its end and give back what it said. Raises ``Failed``.

    ``progress`` gets the share that is done: of ``seconds`` of sound, or of the length that the first input claims.
    The process dies with the thread that waits for it here, and goes when that is interrupted.
    """
    program = shutil.which(command[0])
    if program is None:
        raise SettingsError(f"ffmpeg does not run: {os.strerror(2)}; expected it on the PATH")
    command = [*leash(os.getpid()), program, *command[1:]]
    if progress:
        command[-1:-1] = ["-progress", "pipe:1", "-stats_period", "0.2"]
    with tempfile.TemporaryFile() as spoken:
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=spoken)
        except OSError as error:
            raise SettingsError(f"ffmpeg does not run: {error.strerror}; expected it on the PATH") from None
        assert process.stdout is not None
        try:
            share = 0.0
            for done in _seconds_done(process.stdout.fileno()):
                if done is not None and (seconds := seconds or declared(_heard(spoken))):
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
        said = _heard(spoken)
    if status != 0:
        raise Failed(status, said)
    return said


def _seconds_done(handle: int) -> Iterator[Optional[float]]:
    """How many seconds ffmpeg has done, whenever it says so; ``None`` each 0.2 s in which it says nothing."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    while True:
        if not poll.poll(200):
            yield None
        elif not (said := os.read(handle, 65536)):
            return
        elif done := re.findall(rb"out_time_us=(\d+)", said):
            yield int(done[-1]) / 1e6


def _heard(spoken: IO[bytes]) -> str:
    """The beginning and the end of what ffmpeg has said so far; its own place in the file is left alone."""
    handle = spoken.fileno()
    size = os.fstat(handle).st_size
    said = os.pread(handle, KEPT, 0)
    if size > KEPT:
        said += b"\n" + os.pread(handle, KEPT, max(KEPT, size - KEPT))
    return said.decode("utf-8", "replace")


def declared(said: str) -> Optional[float]:
    """How many seconds the first input claims to have; ``None`` where it claims nothing."""
    found = re.search(r"^.*?\bDuration: (\d+):(\d\d):(\d\d(?:\.\d+)?)", said, re.MULTILINE)
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3]) if found else None


def has_soxr(said: str) -> bool:
    """Whether the ffmpeg that said this was built with the better of the two resamplers."""
    return "--enable-libsoxr" in said
