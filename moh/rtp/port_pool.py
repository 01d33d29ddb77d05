"""The pool of RTP ports: RTP on an even port, RTCP on the next one (RFC 3550 §11). No socket in here."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Optional


def shared_port(first: int, last: int) -> int:
    """The port of a range that the shared stream uses: its last even port, which may have no odd partner."""
    return last - last % 2


class PortPool:
    """A pool of even ports with their odd partners, and one port that all further calls share.

    The port that was freed longest ago is given out first, so that a late packet reaches no new call.
    """

    def __init__(
        self,
        first: int,
        last: int,
        usable: Callable[[int], bool] = lambda port: True,
        most: Optional[int] = None,
        shared: Optional[int] = None,
    ) -> None:
        """``first`` and ``last`` belong to the range; an even port whose partner is above ``last`` is left out.

        ``usable`` says whether a port is free, so that no other program has it; it is called each time a port is given
        out. ``most`` limits the calls with a port of their own; ``None`` is no limit. ``shared`` is the port of all
        further calls; with ``None`` they get no port.
        """
        self._usable = usable
        self._free = deque(port for port in range(first + first % 2, last, 2) if port != shared)
        self._taken: set[int] = set()
        self._most = len(self._free) if most is None else most
        self.shared = shared
        self.sharing = 0
        """How many calls have the shared port now."""

    def acquire(self, alone: bool = False, share: bool = False) -> Optional[int]:
        """A free port, otherwise the shared one; with ``share`` the shared one, if there is one. ``None`` without any.

        A call that must be ``alone`` on its port never gets the shared one.
        """
        shared = self.shared is not None and share and not alone
        for _ in range(len(self._free) if self.free and not shared else 0):
            port = self._free[0]
            if self._usable(port):
                self._free.popleft()
                self._taken.add(port)
                return port
            self._free.rotate(-1)
        if self.shared is None or alone:
            return None
        self.sharing += 1
        return self.shared

    def release(self, port: int) -> None:
        """Give ``port`` back. Raises ``ValueError`` for a port that was not acquired, which is a bug of the caller."""
        if port == self.shared and self.sharing:
            self.sharing -= 1
        elif port in self._taken:
            self._taken.remove(port)
            self._free.append(port)
        else:
            raise ValueError(f"RTP port {port} was released, but it was not acquired")

    @property
    def free(self) -> int:
        """How many further calls can have a port of their own."""
        return max(0, min(len(self._free), self._most - len(self._taken)))

    @property
    def exclusive_available(self) -> bool:
        """Whether the next call does not have to share its port: it gets a port of its own, or no port at all."""
        return self.shared is None or self.free > 0

    @property
    def exhausted(self) -> bool:
        """Whether the next call gets no port."""
        return self.shared is None and not self.free
