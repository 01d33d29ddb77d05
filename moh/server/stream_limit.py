"""The rate limit of TCP and TLS for many connection threads: ``StreamRateLimiter`` with a lock and a clock."""

from __future__ import annotations

import logging
import threading
import time

from ..guard.allowances import Allowances
from ..guard.rate_limit import StreamRateLimiter

TOO_FAST = "messages that came too fast"

log = logging.getLogger("moh")


class StreamLimit:
    """Decides how long a message that came by TCP or TLS waits before it is handled. Any thread may use it."""

    def __init__(self, allowances: Allowances) -> None:
        self._lock = threading.Lock()
        self._limiter = StreamRateLimiter(allowances, time.monotonic())

    def delay(self, host: str, data: bytes) -> float:
        """The seconds that the message ``data`` of ``host`` has to wait. The first delay of a host is logged."""
        now = time.monotonic()
        with self._lock:
            seconds = self._limiter.delay(host, data, now)
            first = seconds > 0 and self._limiter.tally.count_and_should_log(TOO_FAST, host, now)
        if first:
            log.warning("messages from %s wait: it sends faster than its rate (TCP or TLS)", host)
        return seconds

    def drain(self, now: float) -> str:
        """A summary of the delays that got no line of their own, from time to time; otherwise empty."""
        with self._lock:
            return self._limiter.tally.drain(now)

    def counts(self) -> dict[str, int]:
        """All delays since the start, by reason."""
        with self._lock:
            return dict(self._limiter.tally.counts)
