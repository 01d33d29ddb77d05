"""The samples of an endless tune, read from its WAV file as they are needed. The file may be written meanwhile."""

from __future__ import annotations

import os
import struct
from pathlib import Path

SAMPLE = 2
"""Octets of a sample."""
MOST_CHUNKS = 100
"""Chunks of a WAV file before its samples, at most."""
CHUNK = struct.Struct("<4sI")
FORMAT = struct.Struct("<HHIIHH")


class EndlessSamples:
    """A WAV file of 16 bits and one channel that is repeated for ever; for one thread. It is closed by ``close``."""

    def __init__(self, path: Path, rate: int, seconds: float) -> None:
        """Raises ``OSError`` where the file cannot be read, or is no such WAV file with ``rate`` samples a second."""
        self.samples = round(seconds * rate)
        """The length of the tune."""
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._offset = self._find_data(rate)
        except BaseException:
            self.close()
            raise

    def _find_data(self, rate: int) -> int:
        place = 12
        for _ in range(MOST_CHUNKS):
            head = os.pread(self._fd, CHUNK.size, place)
            if len(head) < CHUNK.size:
                break
            name, length = CHUNK.unpack(head)
            place += CHUNK.size
            if name == b"data":
                return place
            if name == b"fmt ":
                _, channels, found, _, _, bits = FORMAT.unpack(os.pread(self._fd, FORMAT.size, place))
                if (channels, found, bits) != (1, rate, 8 * SAMPLE):
                    raise OSError(0, f"the file has {channels} x {bits} bits at {found} Hz; expected 1 x 16 at {rate}")
            place += length + length % 2
        raise OSError(0, "the file is no WAV file")

    def read(self, first: int, count: int) -> bytes:
        """``count`` samples from ``first`` on, which counts from the beginning of the endless tune and may be negative.

        Raises ``OSError`` where the file is shorter than the tune.
        """
        parts = []
        while count > 0:
            place = first % self.samples
            part = min(count, self.samples - place)
            data = os.pread(self._fd, part * SAMPLE, self._offset + place * SAMPLE)
            if len(data) < part * SAMPLE:
                raise OSError(0, "the file is shorter than its music")
            parts.append(data)
            first, count = first + part, count - part
        return b"".join(parts)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)
