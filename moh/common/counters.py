"""Counts events by reason, and decides which of them get a log line of their own.

The law kept here: the first event of a reason and a source is logged at once, so that the owner who sets up a phone
sees the reason. All further ones are counted, and logged in one line in ``SUMMARY_EVERY`` seconds. So the log grows
slowly in any flood.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

SUMMARY_EVERY = 10.0
"""Seconds between two summary lines, which name the events that got no line of their own."""
MAX_LINES = 10
"""Events of all sources together that get a line of their own in ``SUMMARY_EVERY`` seconds."""
SAME_SOURCE_AFTER = 600.0
"""Seconds after which an event of the same reason and source gets a line of its own again."""
MAX_PAIRS = 1024
"""Pairs of reason and source that are kept."""
MOST_TEXT = 500
"""Characters that are kept of the latest line of each reason."""


class Latest(NamedTuple):
    """The latest event of a reason: when and from which source it came, and the line for the log, if it has one."""

    at: float
    source: str
    text: str


class Counters:
    """Counters by reason. A ``reason`` is one of a few fixed texts, never text from a message."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.latest: dict[str, Latest] = {}
        """The latest event of each reason that ``count_and_should_log`` counts."""
        self._logged: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._unlogged: dict[str, tuple[int, str]] = {}
        self._since = 0.0
        self._lines = 0

    def count(self, reason: str) -> None:
        """Count one event."""
        self.counts[reason] = self.counts.get(reason, 0) + 1

    def count_and_should_log(self, reason: str, source: str, now: float, text: str = "") -> bool:
        """Count one event from ``source``. Return whether to log it now; if not, ``drain`` reports it later.

        ``text`` is the line for the log; it is kept in ``latest``.
        """
        self.count(reason)
        self.latest[reason] = Latest(now, source, text[:MOST_TEXT])
        if self.should_log(reason, source, now):
            return True
        self._unlogged[reason] = (self._unlogged.get(reason, (0, ""))[0] + 1, source)
        return False

    def should_log(self, reason: str, source: str, now: float) -> bool:
        """Return whether to log an event that is counted as another reason; ``drain`` does not report it."""
        if now - self._since >= SUMMARY_EVERY and not self._unlogged:
            self._since, self._lines = now, 0
        logged_at = self._logged.get((reason, source), -SAME_SOURCE_AFTER)
        if now - logged_at >= SAME_SOURCE_AFTER and self._lines < MAX_LINES:
            self._lines += 1
            self._logged[reason, source] = now
            self._logged.move_to_end((reason, source))
            if len(self._logged) > MAX_PAIRS:
                self._logged.popitem(last=False)
            return True
        return False

    def drain(self, now: float) -> str:
        """Return a summary of the events that got no line, once in ``SUMMARY_EVERY`` seconds; otherwise empty."""
        if not self._unlogged or now - self._since < SUMMARY_EVERY:
            return ""
        text = ", ".join(
            f"{count} x {reason!r} (the last from {source})" for reason, (count, source) in self._unlogged.items()
        )
        self._unlogged, self._since, self._lines = {}, now, 0
        return text
