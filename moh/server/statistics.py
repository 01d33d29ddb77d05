"""The log lines about what was refused, dropped and counted: a few lines in ten seconds, even in a flood."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..common.amounts import amount
from ..common.faults import FaultLog
from ..guard.rate_limit import RateLimiter
from ..shared.shared_stream import SharedStreamStats
from ..sip.user_agent import UserAgent
from ..transport.tcp import TcpServer
from .call_list import CallList
from .engines import Engines
from .stream_limit import StreamLimit
from .workers import WORKERS, Workers

DROPS_EVERY = 10.0
"""Seconds between two lines about dropped datagrams and refused connections."""

log = logging.getLogger("moh")


@dataclass(frozen=True)
class Counts:
    """The present numbers of calls; all other numbers count since the start, by reason."""

    calls: int
    by_ffmpeg: int
    shared: SharedStreamStats
    events: dict[str, int]
    """Why calls ended and requests were refused."""
    rejected: dict[str, int]
    """Datagrams that the rate limiter rejected."""
    delayed: dict[str, int]
    """Messages by TCP and TLS that had to wait."""
    dropped: int
    """Datagrams for which there was no worker."""
    unexpected_errors: int


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
        self._logged_drops = 0
        self._logged_refusals: Counter[str] = Counter()
        self._logged_at = 0.0

    def log_periodically(self, tcp: Sequence[TcpServer], now: float) -> None:
        """Log what was counted since the last lines, if the time for a line has come."""
        if rejected := self._limiter.tally.drain(now):
            log.warning("rejected more datagrams: %s", rejected)
        if delayed := self._streams.drain(now):
            log.warning("more messages wait (TCP or TLS): %s", delayed)
        with self._lock:
            counted = self._agent.tally.drain(now)
        if counted:
            log.info("counted, without lines of their own: %s", counted)
        self._log_drops(sum((Counter(server.refused) for server in tcp), Counter()), now)

    def _log_drops(self, refused: Counter[str], now: float) -> None:
        drops = self._workers.dropped
        if (drops, refused) == (self._logged_drops, self._logged_refusals) or now - self._logged_at < DROPS_EVERY:
            return
        if datagrams := drops - self._logged_drops:
            log.warning("dropped %s: more came than %d workers can handle", amount(datagrams, "datagram"), WORKERS)
        if connections := refused - self._logged_refusals:
            log.warning("refused %s: %s", amount(sum(connections.values()), "connection"), listed(connections))
        self._logged_drops, self._logged_refusals, self._logged_at = drops, refused, now

    def counts(self, engines: Engines, faults: Sequence[FaultLog]) -> Counts:
        """What was counted since the start, and how many calls go on now."""
        with self._lock:  # a worker changes the calls while it handles a message
            calls, events = self._agent.calls, dict(self._agent.tally.counts)
        return Counts(
            calls=calls,
            by_ffmpeg=engines.ffmpegs.playing,
            shared=engines.shared.stats(),
            events=events,
            rejected=dict(self._limiter.tally.counts),
            delayed=self._streams.counts(),
            dropped=self._workers.dropped,
            unexpected_errors=sum(each.count for each in faults),
        )

    def log_summary(self, engines: Engines, faults: Sequence[FaultLog]) -> None:
        """Log the state of the server and its calls, for SIGUSR1."""
        counts = self.counts(engines, faults)
        log.info("%s: %s", amount(counts.calls, "call"), engines.summary())
        rejected = {"for want of workers": counts.dropped, **counts.rejected}
        log.info(
            "since the start: %s; datagrams rejected: %s; messages that waited (TCP or TLS): %s; unexpected errors: %d",
            listed(counts.events) or "nothing", listed(rejected), listed(counts.delayed) or "none",
            counts.unexpected_errors,
        )  # fmt: skip
        for line in CallList(self._agent, self._lock, engines.packets_sent).lines(counts.calls):
            log.info("%s", line)


def listed(counts: Mapping[str, int]) -> str:
    """All counts as one list, the largest first."""
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items(), key=lambda item: -item[1]))
