"""The log lines about what was refused, dropped and counted: a few lines in ten seconds, even in a flood."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from ..common.amounts import amount
from ..common.counters import Counters
from ..common.faults import FaultLog
from ..guard.rate_limit import RateLimiter
from ..sip.user_agent import UserAgent
from ..transport.tcp import TcpServer
from .engines import Engines
from .stream_limit import StreamLimit
from .workers import WORKERS, Workers

DROPS_EVERY = 10.0
"""Seconds between two lines about dropped datagrams and refused connections."""

log = logging.getLogger("moh")


class Statistics:
    """Reads the counters of the server's parts. Only the main thread uses it. ``lock`` protects ``agent``."""

    def __init__(
        self, agent: UserAgent, lock: threading.Lock, limiter: RateLimiter, streams: StreamLimit, workers: Workers
    ) -> None:
        self._agent = agent
        self._lock = lock
        self._limiter = limiter
        self._streams = streams
        self._workers = workers
        self._logged = (0, 0)  # dropped datagrams and refused connections that were logged so far
        self._logged_at = 0.0

    def log_periodically(self, tcp: Sequence[TcpServer], now: float) -> None:
        """Log what was counted since the last lines, if the time for a line has come."""
        if rejected := self._limiter.tally.drain(now):
            log.warning("rejected more datagrams: %s", rejected)
        if delayed := self._streams.drain(now):
            log.warning("delayed more by TCP: %s", delayed)
        with self._lock:
            counted = self._agent.tally.drain(now)
        if counted:
            log.info("more of the same: %s", counted)
        self._log_drops(sum(server.refused for server in tcp), now)

    def _log_drops(self, refused: int, now: float) -> None:
        drops = (self._workers.dropped, refused)
        if drops == self._logged or now - self._logged_at < DROPS_EVERY:
            return
        datagrams, connections = drops[0] - self._logged[0], drops[1] - self._logged[1]
        if datagrams:
            log.warning("dropped %s: more came than %d workers can handle", amount(datagrams, "datagram"), WORKERS)
        if connections:
            why = "too many at once, too many from one address, or not in MOH_ALLOW"
            log.warning("refused %s: %s", amount(connections, "connection"), why)
        self._logged, self._logged_at = drops, now

    def log_summary(self, engines: Engines, faults: Sequence[FaultLog]) -> None:
        """Log the state of the server, for SIGUSR1."""
        with self._lock:  # a worker changes the calls while it handles a message
            calls = self._agent.calls
            so_far = self._agent.tally.summary()
        log.info("%s: %s", amount(calls, "call"), engines.summary())
        rejected = joined(f"{self._workers.dropped} for want of workers", self._limiter.tally)
        log.info(
            "since the start: %s; datagrams rejected: %s; delayed by TCP: %s; unexpected errors: %d",
            so_far or "nothing", rejected, self._streams.summary() or "none", sum(each.count for each in faults),
        )  # fmt: skip


def joined(first: str, counters: Counters) -> str:
    """``first`` and the counts of ``counters``, as one list."""
    return ", ".join(part for part in (first, counters.summary()) if part)
