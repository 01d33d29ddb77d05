"""From packets, processor times and sizes to the figures of the table. Nothing here touches the world.

Times are seconds since 1970 where they come in, milliseconds where they go out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from statistics import mean, median
from typing import Any, TypeVar

from bench.common.ears import Packet

CLOCK = 8000
"""RTP timestamps a second, of PCMU."""
LATE = 0.005
"""Seconds behind the most punctual packet of its call from which on a packet counts as late."""


@dataclass(frozen=True)
class Figures:
    """One measurement: so many calls by one command, or several of them summed up."""

    cpu: float
    """Per call, in % of a core: user and system time of its ffmpeg (and its share of the server)."""
    private: float
    """Private memory per call, in MB of 10^6 octets."""
    start_p50: float
    """From the start of the process (or the INVITE) to the first packet, in ms: the median call."""
    start_p99: float
    """The same, the worst of a hundred calls, or of all where there are fewer."""
    spacing_p50: float
    """From one packet of a call to the next, in ms."""
    spacing_p99: float
    """The same, the worst in a hundred."""
    spacing_max: float
    """The same, the worst of all."""
    jitter: float
    """Interarrival jitter by RFC 3550 §6.4.1, in ms, the mean over all packets."""
    late: float
    """Packets more than 5 ms behind the most punctual one of their call, in %."""
    missing: float
    """Packets whose sequence number never came, in %."""
    silent: float
    """Calls of which nothing was heard."""
    others: float
    """What all other processes of the machine took meanwhile, in % of a core."""


def quantile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` (0 to 1) of all do not exceed; nan of none."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def starts(heard: Sequence[Sequence[Packet]], began: Sequence[float]) -> list[float]:
    """Milliseconds from the start of each call to its first packet; silent calls are left out."""
    return [1000 * (packets[0].arrival - at) for packets, at in zip(heard, began) if packets]


def pacing(heard: Sequence[Sequence[Packet]], begin: float, end: float) -> dict[str, float]:
    """The figures of spacing, by their names in ``Figures``, of the packets that came from ``begin`` to ``end``."""
    spacings: list[float] = []
    jitters: list[float] = []
    late = came = expected = 0
    for call in heard:
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
    """How far each packet is behind the clock of the timestamps, in seconds, the first one's being 0."""
    first = packets[0]
    behind = []
    for packet in packets:
        ticks = (packet.timestamp - first.timestamp + 2**31) % 2**32 - 2**31
        behind.append(packet.arrival - first.arrival - ticks / CLOCK)
    return behind


Kind = TypeVar("Kind")
"""``Figures``, or another dataclass of nothing but numbers."""


def combine(rounds: Sequence[Kind], how: Callable[[Sequence[float]], float] = median) -> Kind:
    """Several measurements of the same as one: each figure by itself, the median unless ``how`` says otherwise."""
    kind: Any = type(rounds[0])
    together: Kind = kind(**{each.name: how([getattr(one, each.name) for one in rounds]) for each in fields(kind)})
    return together


@dataclass(frozen=True)
class Ratio:
    """A figure divided by that of the reference, round by round: the median, the least and the greatest."""

    middle: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"x {self.middle:.2f} ({self.least:.2f}-{self.most:.2f})"


def ratio(rounds: Sequence[object], reference: Sequence[object], name: str) -> Ratio:
    """How one command compares with the reference in the figure ``name``; both measured in the same rounds."""
    ratios = [
        getattr(one, name) / getattr(other, name) if getattr(other, name) else float("nan")
        for one, other in zip(rounds, reference)
    ]
    return Ratio(median(ratios), min(ratios), max(ratios))


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table, the first row being its head."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["| " + " | ".join(cell.rjust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|", *lines[1:]])
