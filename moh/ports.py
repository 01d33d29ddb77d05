"""The RTP ports that calls take in turn (RFC 3550 §11: RTP on an even port, RTCP on the next). No socket here."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Optional


class Ports:
    """A pool of even ports. What was freed longest ago is taken first, so that a late packet meets no new call."""

    def __init__(self, first: int, last: int, usable: Callable[[int], bool] = lambda port: True) -> None:
        """Both ends belong to the range; an even port whose partner lies behind ``last`` is left out.

        ``usable`` tells whether another program leaves us a port; it is asked each time one is taken.
        """
        self._usable = usable
        self._free = deque(range(first + first % 2, last, 2))
        self._taken: set[int] = set()

    def take(self) -> Optional[int]:
        """An even port that nobody has; ``None`` when all are taken."""
        for _ in range(len(self._free)):
            port = self._free.popleft()
            if self._usable(port):
                self._taken.add(port)
                return port
            self._free.append(port)
        return None

    def give_back(self, port: int) -> None:
        """Free ``port``. Giving back what was not taken is a fault of ours, and raises ``ValueError``."""
        if port not in self._taken:
            raise ValueError(f"RTP port {port} was given back, but nobody had taken it")
        self._taken.remove(port)
        self._free.append(port)

    @property
    def free(self) -> int:
        """How many ports wait for a call."""
        return len(self._free)

    @property
    def taken(self) -> int:
        """How many ports are in use now."""
        return len(self._taken)
