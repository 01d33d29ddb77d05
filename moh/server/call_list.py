"""The calls that go on, for the owner: as data, and as the lines that SIGUSR1 writes into the log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional

from ..common.amounts import amount
from ..sip.snapshot import PLAYING, CallSnapshot
from ..sip.user_agent import UserAgent

AT_ONCE = 100
"""Calls that are read at once under the lock, in less than a millisecond; messages are handled in between."""
MOST_LISTED = 50
"""Calls that get a line; of more calls the newest get one."""
MOST_CALLER = 60
"""Characters of a caller's name in a line."""


@dataclass(frozen=True)
class CallRow:
    """A call, and what its engine knows of it."""

    call: CallSnapshot
    engine: str
    """``ffmpeg`` or ``shared stream``."""
    packets_sent: Optional[int]
    """Of the present stream; ``None`` where the engine does not say."""


class CallList:
    """Reads the calls. ``lock`` protects ``agent``; ``packets_sent`` is that of ``Engines``."""

    def __init__(self, agent: UserAgent, lock: threading.Lock, packets_sent: Callable[[str], Optional[int]]) -> None:
        self._agent = agent
        self._lock = lock
        self._packets_sent = packets_sent

    def rows(self, most: Optional[int] = None, at_once: int = AT_ONCE) -> list[CallRow]:
        """The calls that have not ended, the oldest first; with ``most`` only the newest of them.

        After each ``at_once`` calls, other threads get the lock, and the pacers the interpreter.
        """
        with self._lock:
            ids = self._agent.call_ids
        calls: list[CallSnapshot] = []
        while ids and (most is None or len(calls) < most):
            ids, newest = ids[:-at_once], ids[-at_once:]
            with self._lock:
                found = self._agent.snapshots(newest, time.monotonic())
            calls = [call for call in found if not call.ended] + calls
            time.sleep(0)
        calls = calls if most is None else calls[-most:]
        return [self._row(call) for call in calls]

    def _row(self, call: CallSnapshot) -> CallRow:
        if call.shared:
            return CallRow(call, "shared stream", self._packets_sent(call.id))
        return CallRow(call, "ffmpeg", None)

    def lines(self, calls: int) -> list[str]:
        """A line for each call, ``MOST_LISTED`` at most. ``calls`` is the number of all calls."""
        rows = self.rows(MOST_LISTED)
        lines = [line(row) for row in rows]
        return lines if calls <= len(rows) else [*lines, f"and {amount(calls - len(rows), 'older call')}"]


def line(row: CallRow) -> str:
    """A line for the log."""
    call = row.call
    caller = f"{call.caller[:MOST_CALLER]!r} at {call.source}"
    parts = [f"[{call.id[:8]}] answered {call.age:.0f} s ago: {caller}"]
    if call.name:
        parts.append(f"music {call.name[:MOST_CALLER]!r}")
    if call.receiver is None:
        parts.append(call.state)
    else:
        parts.append(f"{call.codec} to {call.receiver} from port {call.port} by {row.engine}")
        if call.state != PLAYING:
            parts.append(call.state)
        if row.packets_sent is not None:
            parts.append(f"{amount(row.packets_sent, 'packet')} sent")
    if call.played:
        ago = "" if call.reported_before is None else f" ({call.reported_before:.0f} s ago)"
        parts.append(call.heard + ago)
    return "; ".join(parts)
