"""The tunes that the server has, by number. Both engines look a tune up here; a ``StartStream`` names its number.

The law kept here: a number is never given twice, so a call that hears an old tune never gets a new one by mistake.
Each method may be called from any thread and never waits.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Tune:
    """One piece of converted music, or a live one."""

    files: Mapping[int, Path]
    """A WAV file for each sample rate that a codec needs, in Hz."""
    seconds: float
    """The length of the music in seconds, the same in each file."""
    owner: object = None
    """An object that removes the files when it is freed; the tune holds it, so the files stay as long as the tune."""
    plain: Mapping[int, Path] = field(default_factory=dict)
    """The same music without its announcements, in files as ``files``; empty where it has none."""
    plain_for: float = 0.0
    """Seconds for which a new receiver of the shared stream hears ``plain``."""
    announcements: tuple[tuple[float, float], ...] = ()
    """When each announcement begins and ends, in seconds of the music. Outside of them ``plain`` equals ``files``."""
    began: Optional[float] = None
    """A live tune: when its second 0 was played, or would have been, by the monotonic clock; its files are rings, which
    another process writes round and round ahead of that. ``None`` for any other tune."""


class Tunes:
    """A table of tunes, numbered from 0 in the order in which they were added."""

    def __init__(self) -> None:
        self._tunes: dict[int, Tune] = {}
        self._numbers = itertools.count()

    def add(self, tune: Tune) -> int:
        """Add ``tune`` and return its number. The earlier tunes stay, for the calls that hear them."""
        number = next(self._numbers)
        self._tunes[number] = tune
        return number

    def get(self, number: int) -> Tune:
        """Return the tune with this ``number``. Raises ``LookupError`` if the table has no such tune, or no longer."""
        try:
            return self._tunes[number]
        except KeyError:
            raise LookupError(f"tune is {number}; expected one of {sorted(self._tunes)}") from None

    def keep(self, numbers: set[int]) -> None:
        """Remove all tunes except those in ``numbers``. A tune that another thread adds meanwhile stays."""
        for number in set(self._tunes) - numbers:
            del self._tunes[number]
