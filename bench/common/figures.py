"""From packets, processor times and sizes to the figures of the tables. Nothing here touches the world.

Times are seconds since 1970 in arguments and milliseconds in results.
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
    """Per call, in % of a core: user and system time of its ffmpeg, and its share of the server."""
    private: float
    """Private memory per call, in MB of 10^6 octets."""
    start_p50: float
    """From the start of the process (or the INVITE) to the first packet, in ms: the median call."""
    start_p99: float
    """The same, the 99th percentile of the calls."""
    spacing_p50: float
    """From one packet of a call to the next, in ms: the median."""
    spacing_p99: float
    """The same, the 99th percentile."""
    spacing_max: float
    """The same, the longest."""
    jitter: float
    """Interarrival jitter by RFC 3550 §6.4.1, in ms, the mean over all packets."""
    late: float
    """Packets more than 5 ms behind the most punctual one of their call, in %."""
    missing: float
    """Packets whose sequence number never came, in %."""
    silent: float
    """Calls without any packet."""
    others: float
    """What all other processes of the machine took meanwhile, in % of a core."""


def quantile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` (0 to 1) of all do not exceed; nan where there are none."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def starts(received: Sequence[Sequence[Packet]], began: Sequence[float]) -> list[float]:
    """Milliseconds from the start of each call to its first packet; calls without packets are left out."""
    return [1000 * (packets[0].arrival - at) for packets, at in zip(received, began) if packets]


def pacing(received: Sequence[Sequence[Packet]], begin: float, end: float) -> dict[str, float]:
    """The figures of spacing, by their names in ``Figures``, of the packets between ``begin`` and ``end``."""
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
    """Seconds that each packet is behind the clock of its timestamps; the first packet has 0."""
    first = packets[0]
    behind = []
    for packet in packets:
        ticks = (packet.timestamp - first.timestamp + 2**31) % 2**32 - 2**31
        behind.append(packet.arrival - first.arrival - ticks / CLOCK)
    return behind


Kind = TypeVar("Kind")
"""``Figures``, or another dataclass that holds only numbers."""


def combine(rounds: Sequence[Kind], how: Callable[[Sequence[float]], float] = median) -> Kind:
    """Several measurements as one: each figure by itself, by its median unless ``how`` is another function."""
    kind: Any = type(rounds[0])
    together: Kind = kind(**{each.name: how([getattr(one, each.name) for one in rounds]) for each in fields(kind)})
    return together


@dataclass(frozen=True)
class Ratio:
    """A figure divided by the same one of the reference, round by round: median, least and greatest."""

    middle: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"x {self.middle:.2f} ({self.least:.2f}-{self.most:.2f})"


def ratio(rounds: Sequence[object], reference: Sequence[object], name: str) -> Ratio:
    """The figure ``name`` against that of the reference, which was measured in the same rounds."""
    ratios = [
        getattr(one, name) / getattr(other, name) if getattr(other, name) else float("nan")
        for one, other in zip(rounds, reference)
    ]
    return Ratio(median(ratios), min(ratios), max(ratios))


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; the first row is its head."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["| " + " | ".join(cell.rjust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|", *lines[1:]])
