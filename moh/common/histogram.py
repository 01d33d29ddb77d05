"""A histogram: how many values lie up to each of a few bounds. Its size does not grow with the values."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence


class Histogram:
    """Counts values by size. One thread at a time may add; another thread that reads sees a few values less."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """``bounds`` are the upper ends of the ranges, each of which is counted; they grow."""
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        """The values up to each bound that are above the bound before it; at last those above all bounds."""
        self.sum = 0.0
        """The sum of all values; a negative value counts as 0 in it."""

    def add(self, value: float, times: int = 1) -> None:
        """Count ``value``, as often as ``times`` says."""
        self.counts[bisect_left(self.bounds, value)] += times
        if value > 0.0:
            self.sum += value * times


def total(bounds: Sequence[float], histograms: Iterable[Histogram]) -> Histogram:
    """The sum of histograms that all have ``bounds``."""
    found = Histogram(bounds)
    for each in histograms:
        found.counts = [one + other for one, other in zip(found.counts, each.counts)]
        found.sum += each.sum
    return found
