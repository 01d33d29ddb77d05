"""What happened how often, by reason; and of what may come in floods, which is worth a line of its own in the log.

The law kept here: whoever is turned away for the first time has his line at once, so that who sets up a phone sees why;
all that follows is counted, and told in one line for each ``PERIOD``. However many come, the log grows slowly.
"""

from __future__ import annotations

from collections import OrderedDict

PERIOD = 10.0
"""Seconds between two lines of what was only counted."""
AT_ONCE = 10
"""Most lines that are told at once in such a time, of whatever source."""
MEMORY = 600.0
"""Seconds after which the same source has a line at once again."""
MOST_SOURCES = 1024
"""Pairs of reason and source that are remembered."""


class Counters:
    """Counts. A ``reason`` is one of few words of ours, never a stranger's."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._told: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._quiet: dict[str, tuple[int, str]] = {}
        self._since = 0.0
        self._at_once = 0

    def count(self, reason: str) -> None:
        """It happened once more."""
        self.counts[reason] = self.counts.get(reason, 0) + 1

    def count_and_should_log(self, reason: str, source: str, now: float) -> bool:
        """It happened once more, because of ``source``; whether to write a line about it, or else it is kept."""
        self.count(reason)
        if now - self._since >= PERIOD and not self._quiet:
            self._since, self._at_once = now, 0
        if now - self._told.get((reason, source), -MEMORY) >= MEMORY and self._at_once < AT_ONCE:
            self._at_once += 1
            self._told[reason, source] = now
            self._told.move_to_end((reason, source))
            if len(self._told) > MOST_SOURCES:
                self._told.popitem(last=False)
            return True
        self._quiet[reason] = (self._quiet.get(reason, (0, ""))[0] + 1, source)
        return False

    def drain(self, now: float) -> str:
        """What was kept, once in ``PERIOD``; else empty."""
        if not self._quiet or now - self._since < PERIOD:
            return ""
        told = ", ".join(f"{count} {reason} (last {source})" for reason, (count, source) in self._quiet.items())
        self._quiet, self._since, self._at_once = {}, now, 0
        return told

    def summary(self) -> str:
        """All counts, the largest first, for people."""
        ordered = sorted(self.counts.items(), key=lambda item: -item[1])
        return ", ".join(f"{count} {reason}" for reason, count in ordered)
