"""What plays while a radio is away: a converted piece, round and round."""

from __future__ import annotations

import wave
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from ..mastering.cache import open_ours
from .samples import FRAMES, RATES


class NoFallback(Exception):
    """The files of a fallback cannot be read. The text says why."""


class Fallback:
    """The files of a piece, and the position in them. The files stay open, so that the piece may be removed."""

    def __init__(self, files: Mapping[int, Path]) -> None:
        self.files = dict(files)
        self._files: list[BinaryIO] = []
        self._sounds: dict[int, wave.Wave_read] = {}
        try:
            for rate in RATES:
                file = open_ours(files[rate])
                self._files.append(file)
                self._sounds[rate] = sound = wave.open(file)  # noqa: SIM115 -- it stays open
                form = (sound.getframerate(), sound.getnchannels(), sound.getsampwidth())
                if form != (rate, 1, 2) or not sound.getnframes():
                    raise NoFallback(f"{str(files[rate])!r} has {form}; expected {(rate, 1, 2)} and sound")
        except (OSError, KeyError, EOFError, wave.Error) as error:
            raise NoFallback(f"its fallback cannot be read: {error}") from None
        self._length = min(sound.getnframes() * FRAMES // rate for rate, sound in self._sounds.items())
        self.position = 0
        """The next frame that is read."""

    def read(self, frames: int) -> dict[int, bytes]:
        """The next ``frames``. Raises ``NoFallback`` where the files were cut short."""
        parts: dict[int, list[bytes]] = {rate: [] for rate in RATES}
        while frames > 0:
            count = min(frames, self._length - self.position)
            for rate, sound in self._sounds.items():
                scale = rate // FRAMES
                sound.setpos(self.position * scale)
                octets = sound.readframes(count * scale)
                if len(octets) != 2 * count * scale:
                    raise NoFallback(f"{str(self.files[rate])!r} was cut short")
                parts[rate].append(octets)
            self.position = (self.position + count) % self._length
            frames -= count
        return {rate: b"".join(octets) for rate, octets in parts.items()}

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()
