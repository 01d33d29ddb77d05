"""The figures of the tables, computed from packets, processor times and sizes. This module does no input or output.

Arguments have times in seconds since 1970, results have milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from statistics import mean, median
from typing import Any, TypeVar

from bench.common.receiver import Packet

CLOCK = 8000
"""RTP timestamps a second, of PCMU."""
LATE = 0.005
"""A packet is late if it is more seconds than this behind the most punctual packet of its call."""


@dataclass(frozen=True)
class Figures:
    """One measurement of a number of calls, or several measurements as one."""

    cpu: float
    """Processor time of one call, in % of a core: user and system time of its ffmpeg, and its share of the server."""
    private: float
    """Private memory per call, in MB of 10^6 octets."""
    start_p50: float
    """Time from the start of the process (or from the INVITE) to the first packet, in ms: the median of the calls."""
    start_p99: float
    """Time to the first packet, in ms: the 99th percentile of the calls."""
    spacing_p50: float
    """Time from one packet of a call to the next, in ms: the median."""
    spacing_p99: float
    """Time from packet to packet, in ms: the 99th percentile."""
    spacing_max: float
    """Time from packet to packet, in ms: the longest."""
    jitter: float
    """Interarrival jitter by RFC 3550 §6.4.1, in ms, the mean over all packets."""
    late: float
    """Packets more than 5 ms behind the most punctual one of their call, in %."""
    missing: float
    """Packets whose sequence number never came, in %."""
    silent: float
    """Calls without any packet."""
    others: float
    """Processor time of all other processes of the machine meanwhile, in % of a core."""


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that ``share`` (0 to 1) of all ``values`` do not exceed; nan without values."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def starts(received: Sequence[Sequence[Packet]], began: Sequence[float]) -> list[float]:
    """Return the milliseconds from the start of each call to its first packet, without calls that have no packet."""
    return [1000 * (packets[0].arrival - at) for packets, at in zip(received, began) if packets]


def pacing(received: Sequence[Sequence[Packet]], begin: float, end: float) -> dict[str, float]:
    """Return the figures of the packets that came between ``begin`` and ``end``, by their names in ``Figures``."""
    spacings: list[float] = []
    jitters: list[float] = []
    late = came = expected = 0
    for call in received:
        packets = [packet for packet in call if begin <= packet.arrival < end]
        if len(packets) < 2:
            continue
        spacings += [1000 * (after.arrival - before.arrival) for before, after in zip(packets, packets[1:])]
        delays = transits(packets)
        best = min(delays)
        late += sum(delay - best > LATE for delay in delays)
        jitter = 0.0
        for before, after in zip(delays, delays[1:]):
            jitter += (abs(after - before) - jitter) / 16
            jitters.append(1000 * jitter)
        came += len({packet.sequence for packet in packets})
        expected += (packets[-1].sequence - packets[0].sequence) % 65536 + 1
    return {
        "spacing_p50": quantile(spacings, 0.5),
        "spacing_p99": quantile(spacings, 0.99),
        "spacing_max": max(spacings, default=float("nan")),
        "jitter": mean(jitters) if jitters else float("nan"),
        "late": 100 * late / max(1, came),
        "missing": 100 * (1 - came / expected) if expected else float("nan"),
    }


def transits(packets: Sequence[Packet]) -> list[float]:
    """Return how many seconds each packet is behind the clock of its timestamps. The first packet has 0."""
    first = packets[0]
    behind = []
    for packet in packets:
        ticks = (packet.timestamp - first.timestamp + 2**31) % 2**32 - 2**31
        behind.append(packet.arrival - first.arrival - ticks / CLOCK)
    return behind


Kind = TypeVar("Kind")
"""``Figures``, or another dataclass that holds only numbers."""


def combine(rounds: Sequence[Kind], how: Callable[[Sequence[float]], float] = median) -> Kind:
    """Combine several measurements into one. ``how`` combines the values of each figure, normally to their median."""
    kind: Any = type(rounds[0])
    together: Kind = kind(**{each.name: how([getattr(one, each.name) for one in rounds]) for each in fields(kind)})
    return together


@dataclass(frozen=True)
class Ratio:
    """The ratio of a figure to that of the reference: the median, least and greatest of all rounds."""

    middle: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"x {self.middle:.2f} ({self.least:.2f}-{self.most:.2f})"


def ratio(rounds: Sequence[object], reference: Sequence[object], name: str) -> Ratio:
    """Divide the figure ``name`` of each round by that of ``reference`` in the same round."""
    ratios = [
        getattr(one, name) / getattr(other, name) if getattr(other, name) else float("nan")
        for one, other in zip(rounds, reference)
    ]
    return Ratio(median(ratios), min(ratios), max(ratios))


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown. The first of ``rows`` is its head."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["| " + " | ".join(cell.rjust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|", *lines[1:]])
