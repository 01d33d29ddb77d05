"""One measurement of ``bench.playing.engines``, and the tables of many of them. Nothing here touches the world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.common.figures import combine, markdown, ratio


@dataclass(frozen=True)
class Load:
    """So many callers played to in one way, in one place, for some seconds."""

    cpu: float
    """User and system time of all that plays, by the number of callers, in % of a core."""
    thread: float
    """That of the busiest thread, in % of a core, 0 to 100."""
    memory: float
    """Private memory that came with the callers, by their number, in KB of 1000 octets."""
    spacing_p50: float
    """From one packet of a caller to the next, in ms."""
    spacing_p99: float
    """The same, the worst in a hundred."""
    spacing_max: float
    """The same, the worst of all."""
    jitter: float
    """Interarrival jitter by RFC 3550 §6.4.1, in ms, the mean over all packets."""
    late: float
    """Packets more than 5 ms behind the most punctual one of their caller, in %."""
    lost: float
    """Packets that never came, by their sequence numbers, in %."""
    skipped: float
    """Packets that were never sent, since their time had passed: a gap of the timestamps alone, in %."""
    silent: float
    """Callers who heard nothing, of those who were looked at."""
    others: float
    """What all other processes of the machine took meanwhile, in % of a core."""


Loads = Mapping[tuple[str, str, int], Sequence[Load]]
"""The rounds of each place, way and number of callers."""

COLUMNS = (
    ("cpu %", "cpu", "{:.4f}"), ("thread %", "thread", "{:.1f}"), ("KB", "memory", "{:.2f}"),
    ("spacing ms", "spacing_p50", "{:.2f}"), ("p99", "spacing_p99", "{:.2f}"), ("max", "spacing_max", "{:.0f}"),
    ("jitter ms", "jitter", "{:.3f}"), ("late %", "late", "{:.3f}"), ("lost %", "lost", "{:.3f}"),
    ("skipped %", "skipped", "{:.3f}"), ("silent", "silent", "{:.0f}"), ("others %", "others", "{:.0f}"),
)  # fmt: skip
PAIRS = (
    ("shared", "C"), ("shared", "C burst"), ("shared x1", "C"), ("shared", "C x2"), ("ffmpeg", "shared"),
    ("baresip", "shared"), ("rtpengine", "shared"),
)  # fmt: skip
"""What is divided by what, where both were measured."""
COMPARED = (("cpu", "cpu"), ("spacing_p99", "spacing p99"), ("jitter", "jitter"))


def tables(loads: Loads) -> str:
    """Both tables, in Markdown: the median of all rounds, and the ratios of what was measured in pairs."""
    rows = [["place", "callers", "engine", *(title for title, _, _ in COLUMNS)]]
    for (place, way, callers), rounds in loads.items():
        if rounds:
            middle = combine(rounds)
            rows.append([place, str(callers), way, *(form.format(getattr(middle, name)) for _, name, form in COLUMNS)])
    compared = [["place", "callers", "engines", *(title for _, title in COMPARED)]]
    for place, callers in dict.fromkeys((place, callers) for place, _, callers in loads):
        for one, other in PAIRS:
            first, second = loads.get((place, one, callers)), loads.get((place, other, callers))
            if first and second:
                ratios = (str(ratio(first, second, name)) for name, _ in COMPARED)
                compared.append([place, str(callers), f"{one} / {other}", *ratios])
    return f"{markdown(rows)}\n\nRatios of figures of the same round, median (least-greatest):\n\n{markdown(compared)}"
