"""An ffmpeg that encodes music as it plays: samples go in and octets come out, without waiting for either."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import IO

from ..ffmpeg.spawn import start_process

MOST_READ = 65536
"""Octets that are read at once: as many as a pipe holds."""


class LiveEncoder:
    """An ffmpeg between two pipes. It is for one thread, and ends with ``close``."""

    def __init__(self, command: Sequence[str], errors: IO[bytes]) -> None:
        """Start ``command``, which writes into the file ``errors``. Raises ``OSError`` where it does not start."""
        self.ended = False
        """Whether ffmpeg has closed one of the pipes: it has ended, or will soon."""
        self._errors = errors
        descriptors: list[int] = []
        try:
            given, self._input = os.pipe()
            descriptors += [given, self._input]
            self._output, taken = os.pipe()
            descriptors += [self._output, taken]
            self._process = start_process(command, taken, errors.fileno(), given)
            os.set_blocking(self._input, False)
            os.set_blocking(self._output, False)
        except BaseException:
            for descriptor in descriptors:
                os.close(descriptor)
            raise
        os.close(given)
        os.close(taken)

    def write(self, data: bytes) -> int:
        """Give ``data`` to ffmpeg. Return how many octets it has taken; the pipe may be full."""
        try:
            return os.write(self._input, data)
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            self.ended = True
            return 0

    def read(self) -> bytes:
        """Return what ffmpeg has encoded since; empty where there is nothing yet."""
        try:
            data = os.read(self._output, MOST_READ)
        except BlockingIOError:
            return b""
        self.ended = self.ended or not data
        return data

    def close(self) -> str:
        """End ffmpeg, and return what it has printed, for people."""
        self._process.kill()
        os.close(self._input)
        os.close(self._output)
        status = self._process.wait()
        self._errors.seek(0)
        printed = self._errors.read(300).decode("utf-8", "replace").strip()
        return repr(printed) if printed else f"ffmpeg ended with status {status}"
