"""What has been: the calls that ended last, and totals since the start. For the owner; nothing here decides anything.

A call is noted at the end of each turn that has touched it (``Registry.settle``). The law kept here: however many calls
come, the history keeps ``MOST_ENDED`` of them, and a few numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple, Optional

from ..common.actions import Action, StartStream
from ..common.histogram import Histogram
from ..rtp.reception import Reception
from .call import Call
from .snapshot import CallSnapshot, snapshot

MOST_ENDED = 100
"""Ended calls that are kept."""
FIRST_PACKET_BOUNDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds from the 200 to the first packet of the music: the bounds of their histogram."""
NEW, ANSWERED, COUNTED, ENDED = range(4)
"""The values of ``Call.noted``: nothing, that it was answered, also what plays to it, also its end."""
NO_CODEC = "none"
"""In place of the codec, for a call that ended before one was agreed."""


class EndedCall(NamedTuple):
    """A call that has ended."""

    call: CallSnapshot
    """The call at its end."""
    at: float
    """When it ended."""
    reason: str
    """One of a few fixed texts, as in ``Call.ended_by``."""
    why: str
    """The same in a sentence, which may have text of the caller in it."""


class History:
    """The latest ended calls, and totals."""

    def __init__(self) -> None:
        self.answered = 0
        """Calls that were answered since the start."""
        self.answered_at: Optional[float] = None
        """When the latest call was answered."""
        self.calls: dict[tuple[str, bool], int] = {}
        """Calls since the start, by their first codec and by whether they share their port."""
        self.first_packet = Histogram(FIRST_PACKET_BOUNDS)
        """Of calls on a port of their own."""
        self.restarts = 0
        """Streams on a port of their own that ended by themselves and were started again."""
        self.reported_lost = 0
        self.reported_expected = 0
        """The packets that receivers have reported as lost, and those that should have reached them by then."""
        self._lost = 0
        self._ended: deque[Call] = deque(maxlen=MOST_ENDED)

    def note(self, call: Call) -> None:
        """Note what is new of a call, at the end of a turn."""
        if call.noted == NEW:
            self.answered += 1
            self.answered_at = call.answered_at
            call.noted = ANSWERED
        if call.noted == ANSWERED and (call.ended or call.media.playing):
            wanted = call.media.wanted
            key = (NO_CODEC if wanted is None else wanted.codec.name, call.media.origin.shared)
            self.calls[key] = self.calls.get(key, 0) + 1
            call.noted = COUNTED
        if call.ended and call.noted == COUNTED:
            self._ended.append(call)
            call.noted = ENDED

    def note_first_packet(self, call: Call, at: float) -> None:
        """Note when the first packet of the first stream of a call has left."""
        self.first_packet.add(at - call.answered_at)

    def note_restart(self, call: Call, actions: Iterable[Action]) -> None:
        """Note the ``actions`` after the end of a stream: whether another one starts."""
        if not call.media.origin.shared:
            self.restarts += sum(isinstance(action, StartStream) for action in actions)

    def note_reception(self, before: Reception, after: Reception) -> None:
        """Note one more report. A receiver may count fewer packets as lost than before; the totals never fall."""
        self._lost += after.lost_in_all - before.lost_in_all
        self.reported_lost = max(self.reported_lost, self._lost)
        self.reported_expected += max(after.passed_in_all - before.passed_in_all, 0)

    def ended(self, newest_known: str = "") -> list[EndedCall]:
        """The latest ended calls, the newest first, as far as those before the call with the id ``newest_known``.

        For a hundred calls this takes about a millisecond.
        """
        found: list[EndedCall] = []
        for call in reversed(self._ended):
            if call.id == newest_known:
                break
            found.append(EndedCall(snapshot(call, call.ended_at), call.ended_at, call.ended_by, call.why))
        return found
