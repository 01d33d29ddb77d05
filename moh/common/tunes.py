"""The tunes that the server has, by number. Both engines look a tune up here; a ``StartStream`` names its number.

The law kept here: a number is never given twice, so a call that hears an old tune never gets a new one by mistake.
Each method may be called from any thread and never waits.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Tune:
    """One piece of converted music."""

    files: Mapping[int, Path]
    """A WAV file for each sample rate that a codec needs, in Hz."""
    seconds: float
    """The length of each of them."""
    owner: object = None
    """What keeps the files from being removed, for as long as the tune is in the table."""


class Tunes:
    """A table of tunes, numbered from 0 in the order in which they were added."""

    def __init__(self) -> None:
        self._tunes: dict[int, Tune] = {}
        self._numbers = itertools.count()

    def add(self, tune: Tune) -> int:
        """Add one more tune and return its number. The tunes before it stay, for the calls that hear them."""
        number = next(self._numbers)
        self._tunes[number] = tune
        return number

    def get(self, number: int) -> Tune:
        """Return the tune of that number. Raises ``LookupError`` where there is none, or none any more."""
        try:
            return self._tunes[number]
        except KeyError:
            raise LookupError(f"tune is {number}; expected one of {sorted(self._tunes)}") from None

    def keep(self, numbers: set[int]) -> None:
        """Forget all tunes but these and those that are added meanwhile."""
        for number in set(self._tunes) - numbers:
            del self._tunes[number]
