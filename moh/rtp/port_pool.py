"""The RTP ports that calls take in turn (RFC 3550 §11: RTP on an even port, RTCP on the next). No socket here."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Optional


def shared_port(first: int, last: int) -> int:
    """The port of a range that any number of calls may have together: one without a partner, else the last even one."""
    return last - last % 2


class PortPool:
    """A pool of even ports, and one for everybody who finds none.

    What was freed longest ago is taken first, so that a late packet meets no new call.
    """

    def __init__(
        self,
        first: int,
        last: int,
        usable: Callable[[int], bool] = lambda port: True,
        most: Optional[int] = None,
        shared: Optional[int] = None,
    ) -> None:
        """Both ends belong to the range; an even port whose partner lies behind ``last`` is left out.

        ``usable`` tells whether another program leaves us a port; it is asked each time one is taken. ``most`` is how
        many calls may have a port of their own, ``None``: as many as there are. ``shared`` is the port that all others
        have together, ``None``: they find no port.
        """
        self._usable = usable
        self._free = deque(port for port in range(first + first % 2, last, 2) if port != shared)
        self._taken: set[int] = set()
        self._most = len(self._free) if most is None else most
        self.shared = shared
        self.sharing = 0
        """How many have the shared port now."""

    def acquire(self, alone: bool = False) -> Optional[int]:
        """An even port that nobody has, else the shared one unless it is needed ``alone``; ``None``: there is none."""
        for _ in range(len(self._free) if self.free else 0):
            port = self._free.popleft()
            if self._usable(port):
                self._taken.add(port)
                return port
            self._free.append(port)
        if self.shared is None or alone:
            return None
        self.sharing += 1
        return self.shared

    def release(self, port: int) -> None:
        """Free ``port``. Giving back what was not taken is a fault of ours, and raises ``ValueError``."""
        if port == self.shared and self.sharing:
            self.sharing -= 1
        elif port in self._taken:
            self._taken.remove(port)
            self._free.append(port)
        else:
            raise ValueError(f"RTP port {port} was given back, but nobody had taken it")

    @property
    def free(self) -> int:
        """How many calls more may have a port of their own."""
        return max(0, min(len(self._free), self._most - len(self._taken)))

    @property
    def exclusive_available(self) -> bool:
        """Whether the next call need not share: it finds a port of its own, or none at all."""
        return self.shared is None or self.free > 0

    @property
    def taken(self) -> int:
        """How many have a port of their own now."""
        return len(self._taken)

    @property
    def exhausted(self) -> bool:
        """Whether nobody more finds a port."""
        return self.shared is None and not self.free
