"""What a fan-out plays: a tune in one codec, and where the tune has one, its plain twin.

The endless tune is the tune repeated for ever. The law kept here: a position in the endless tune gives the same music
in each of its loops, whether they are encoded at once or as they play.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Optional

LONGEST_PACKET = 120
"""Milliseconds of a packet at most."""
WARM_UP = 1200
"""Milliseconds of the music before it that an encoder gets before the first part that is played, so that it passes a
loop point, or its own start, like any other place. This is a whole number of packets, for each packet length of the
codecs with frames."""
SETTLE = 1.0
"""Seconds after an announcement until a receiver may change from the plain loop to the other. The two encoders then
have nearly the same state again. With music, Opus writes the same octets by then. With G.722, the change adds noise 24
dB below the music for 20 ms, and less than the codec's own noise after that. G.711 has no state."""
INSTANT = 0.0001
"""Seconds that count as none: the times of announcements are sums of fractions."""


class Loop(ABC):
    """A tune in one codec, encoded. ``payload_at`` may be called from any thread, also while it is being encoded."""

    failure: str
    """Why there will be no packets or no more packets; empty while there is no failure."""
    began: Optional[float]
    """When the endless tune began, by the monotonic clock; ``None`` until that is known."""

    @property
    @abstractmethod
    def ready(self) -> bool:
        """Whether packets may leave now."""

    @abstractmethod
    def payload_at(self, position: int, octets: int) -> Optional[memoryview]:
        """The payload of ``octets`` at ``position``, in octets since the beginning of the endless tune.

        Returns ``None`` if this part is not encoded yet. ``octets`` is at most the payload of ``LONGEST_PACKET``.
        """

    @abstractmethod
    def second_at(self, position: int) -> float:
        """The second of the tune at ``position``."""

    @abstractmethod
    def wake(self) -> None:
        """Have the loop encode, if it has ceased because no receiver used it."""


class Announcements:
    """When announcements are spoken in a tune that is ``seconds`` long: begin and end of each, in its seconds."""

    def __init__(self, spans: Sequence[tuple[float, float]] = (), seconds: float = 0.0) -> None:
        self._seconds = seconds
        self._spans = [(begin, (end - begin) % seconds + SETTLE) for begin, end in spans]

    def wait(self, second: float) -> float:
        """Seconds from ``second`` of the tune until no announcement is spoken; 0.0 where the tune has no such place.

        At the beginning of an announcement there is nothing to wait for.
        """
        waited = 0.0
        for _ in range(len(self._spans) + 1):
            place = second + waited
            spoken = [((place - begin) % self._seconds, length) for begin, length in self._spans]
            longest = max((length - since for since, length in spoken if since > INSTANT), default=0.0)
            if longest < INSTANT:
                return waited
            waited += longest
        return 0.0


class LoopPair:
    """The loop of a tune, and that of its plain twin, for receivers that have just come."""

    def __init__(
        self,
        loop: Loop,
        plain: Optional[Loop] = None,
        plain_for: float = 0.0,
        announcements: Optional[Announcements] = None,
    ) -> None:
        self.loop = loop
        self.plain = plain
        self.plain_for = plain_for
        """Seconds for which a new receiver hears ``plain``; 0.0 where there is none."""
        self.announcements = announcements or Announcements()
        self.used_at = 0.0
        """When a receiver was last known to use the pair, by the monotonic clock."""

    @property
    def ready(self) -> bool:
        """Whether packets may leave. Without its plain twin, a tune is played as it is."""
        return self.loop.ready and (self.plain is None or self.plain.ready or bool(self.plain.failure))

    @property
    def failure(self) -> str:
        """Why there will be no packets or no more packets; empty while there is no failure."""
        return self.loop.failure

    def has(self, loop: Loop) -> bool:
        """Whether ``loop`` is one of the two."""
        return loop is self.loop or loop is self.plain

    def wake(self) -> None:
        """Have both loops encode, if they have ceased because no receiver used them."""
        self.loop.wake()
        if self.plain is not None:
            self.plain.wake()
