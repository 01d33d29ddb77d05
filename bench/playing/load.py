"""The figures of ``bench.playing.engines``, and their tables. This module does no input or output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.common.figures import combine, markdown, ratio


@dataclass(frozen=True)
class Load:
    """One measurement: one engine plays to a number of callers in one topology, for some seconds."""

    cpu: float
    """User and system time of all processes that play, for one caller, in % of a core."""
    thread: float
    """User and system time of the busiest thread, in % of a core, 0 to 100."""
    memory: float
    """Private memory that was added with the callers, for one caller, in KB of 1000 octets."""
    spacing_p50: float
    """Time from one packet of a caller to the next, in ms: the median."""
    spacing_p99: float
    """Time from packet to packet, in ms: the 99th percentile."""
    spacing_max: float
    """Time from packet to packet, in ms: the longest."""
    jitter: float
    """Interarrival jitter by RFC 3550 §6.4.1, in ms, the mean over all packets."""
    late: float
    """Packets more than 5 ms behind the most punctual one of their caller, in %."""
    lost: float
    """Packets whose sequence number never came, in %."""
    skipped: float
    """Packets that the engine left out because their time had passed, in %: their timestamps are missing, but no
    sequence number is."""
    silent: float
    """Callers without any packet, among the callers whose packets are counted."""
    others: float
    """Processor time of all other processes of the machine meanwhile, in % of a core."""


Loads = Mapping[tuple[str, str, int], Sequence[Load]]
"""The rounds of each topology, engine and number of callers."""

COLUMNS = (
    ("cpu %", "cpu", "{:.4f}"), ("thread %", "thread", "{:.1f}"), ("KB", "memory", "{:.2f}"),
    ("spacing ms", "spacing_p50", "{:.2f}"), ("p99", "spacing_p99", "{:.2f}"), ("max", "spacing_max", "{:.0f}"),
    ("jitter ms", "jitter", "{:.3f}"), ("late %", "late", "{:.3f}"), ("lost %", "lost", "{:.3f}"),
    ("skipped %", "skipped", "{:.3f}"), ("silent", "silent", "{:.0f}"), ("others %", "others", "{:.0f}"),
)  # fmt: skip
PAIRS = (
    ("shared", "C"), ("shared", "C burst"), ("shared x1", "C"), ("shared", "C x2"), ("ffmpeg", "shared"),
    ("server shared", "C"), ("server", "ffmpeg"), ("shared mixed", "shared"), ("shared", "against"),
    ("against mixed", "against"), ("shared mixed", "against mixed"),
)  # fmt: skip
"""Pairs of engines. Their figures are compared if both were measured."""
COMPARED = (("cpu", "cpu"), ("spacing_p99", "spacing p99"), ("jitter", "jitter"))


def tables(loads: Loads) -> str:
    """Return both tables in Markdown: the medians of all rounds, and the ratios of ``PAIRS``."""
    rows = [["topology", "callers", "engine", *(title for title, _, _ in COLUMNS)]]
    for (topology, engine, callers), rounds in loads.items():
        if rounds:
            middle = combine(rounds)
            rows.append(
                [topology, str(callers), engine, *(form.format(getattr(middle, name)) for _, name, form in COLUMNS)]
            )
    compared = [["topology", "callers", "engines", *(title for _, title in COMPARED)]]
    for topology, callers in dict.fromkeys((topology, callers) for topology, _, callers in loads):
        for one, other in PAIRS:
            first, second = loads.get((topology, one, callers)), loads.get((topology, other, callers))
            if first and second:
                ratios = (str(ratio(first, second, name)) for name, _ in COMPARED)
                compared.append([topology, str(callers), f"{one} / {other}", *ratios])
    return f"{markdown(rows)}\n\nRatios of figures of the same round, median (least-greatest):\n\n{markdown(compared)}"
