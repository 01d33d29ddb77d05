"""The log lines about what was refused, dropped and counted: a few lines in ten seconds, even in a flood."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..common.amounts import amount
from ..common.counters import Latest
from ..common.faults import FaultLog
from ..common.histogram import Histogram
from ..guard.rate_limit import RateLimiter
from ..shared.shared_stream import SharedStreamStats
from ..sip.user_agent import UserAgent
from ..transport.tcp import TcpServer
from .call_list import CallList
from .engines import Engines
from .stream_limit import StreamLimit
from .workers import WORKERS, Workers

SET_UP_BOUNDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds from an INVITE to its 200: the bounds of their histogram."""
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
    latest: dict[str, Latest]
    """The latest event of each reason for which requests were refused, calls were warned of, or datagrams rejected."""
    rejected: dict[str, int]
    """Datagrams that the rate limiter rejected."""
    delayed: dict[str, int]
    """Messages by TCP and TLS that had to wait."""
    dropped: int
    """Datagrams for which there was no worker."""
    unexpected_errors: int


class Statistics:
    """Reads the counters of the server's parts. Only the main thread logs by it. ``lock`` protects ``agent``."""

    def __init__(
        self, agent: UserAgent, lock: threading.Lock, limiter: RateLimiter, streams: StreamLimit, workers: Workers,
        engines: Engines, tcp: Sequence[TcpServer], faults: Sequence[FaultLog],
    ) -> None:  # fmt: skip
        """``faults`` are the fault logs of all threads."""
        self.agent = agent
        self.lock = lock
        self.limiter = limiter
        self.workers = workers
        self.engines = engines
        self.history = agent.history
        self.set_up = Histogram(SET_UP_BOUNDS)
        """Seconds from the arrival of an INVITE at the server's thread until its 200 has been handed to the kernel.

        Calls that waited for the address of a host name are not in it.
        """
        self._set_up_lock = threading.Lock()
        self._streams = streams
        self._tcp = tcp
        self._faults = faults
        self._logged_drops = 0
        self._logged_refusals: Counter[str] = Counter()
        self._logged_at = 0.0

    def note_set_up(self, arrivals: Iterable[float], now: float) -> None:
        """Note that INVITEs that arrived at these times were answered ``now``. Any thread may call this."""
        with self._set_up_lock:
            for arrived in arrivals:
                self.set_up.add(now - arrived)

    def log_periodically(self, now: float) -> None:
        """Log what was counted since the last lines, if the time for a line has come."""
        if rejected := self.limiter.tally.drain(now):
            log.warning("rejected more datagrams: %s", rejected)
        if delayed := self._streams.drain(now):
            log.warning("more messages wait (TCP or TLS): %s", delayed)
        with self.lock:
            counted = self.agent.tally.drain(now)
        if counted:
            log.info("counted, without lines of their own: %s", counted)
        self._log_drops(sum((Counter(server.refused) for server in self._tcp), Counter()), now)

    def _log_drops(self, refused: Counter[str], now: float) -> None:
        drops = self.workers.dropped
        if (drops, refused) == (self._logged_drops, self._logged_refusals) or now - self._logged_at < DROPS_EVERY:
            return
        if datagrams := drops - self._logged_drops:
            log.warning("dropped %s: more came than %d workers can handle", amount(datagrams, "datagram"), WORKERS)
        if connections := refused - self._logged_refusals:
            log.warning("refused %s: %s", amount(sum(connections.values()), "connection"), listed(connections))
        self._logged_drops, self._logged_refusals, self._logged_at = drops, refused, now

    def counts(self) -> Counts:
        """What was counted since the start, and how many calls go on now. Any thread may call this."""
        with self.lock:  # a worker changes the calls while it handles a message
            calls, events, latest = self.agent.calls, dict(self.agent.tally.counts), dict(self.agent.tally.latest)
        return Counts(
            calls=calls,
            by_ffmpeg=self.engines.ffmpegs.playing,
            shared=self.engines.shared.stats(),
            events=events,
            latest={**self.limiter.tally.latest, **latest},
            rejected=dict(self.limiter.tally.counts),
            delayed=self._streams.counts(),
            dropped=self.workers.dropped,
            unexpected_errors=sum(each.count for each in self._faults),
        )

    def log_summary(self) -> None:
        """Log the state of the server and its calls, for SIGUSR1."""
        counts, engines = self.counts(), self.engines
        log.info("%s: %s", amount(counts.calls, "call"), engines.summary())
        rejected = {"for want of workers": counts.dropped, **counts.rejected}
        log.info(
            "since the start: %s; datagrams rejected: %s; messages that waited (TCP or TLS): %s; unexpected errors: %d",
            listed(counts.events) or "nothing", listed(rejected), listed(counts.delayed) or "none",
            counts.unexpected_errors,
        )  # fmt: skip
        for line in CallList(self.agent, self.lock, engines.packets_sent).lines(counts.calls):
            log.info("%s", line)


def listed(counts: Mapping[str, int]) -> str:
    """All counts as one list, the largest first."""
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items(), key=lambda item: -item[1]))
