"""The measured effects of one flood, and the table of all floods. This module does no input or output."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional

from bench.attack.probes import KINDS
from bench.common.figures import markdown, quantile


@dataclass
class Row:
    """The measured effects of one flood: one row of the table."""

    name: str
    generator: dict[str, Any]
    """The report of ``flood.c``; empty if the flood sends nothing."""
    before: dict[str, float]
    """The figures of the music before the flood, by their names in ``bench.playing.load.Load``."""
    during: dict[str, float]
    lost: tuple[int, int]
    """Two numbers of music packets: those that were sent and did not arrive, and those that the server did not send."""
    cpu: tuple[float, float]
    """Processor time of the server and its ffmpegs, before and during the flood, in % of a core.

    The second number is nan if the server died.
    """
    rss: tuple[float, float]
    """MB of the server's memory, before and after the flood."""
    overflown: int
    """Datagrams that found the buffer of the SIP socket full."""
    counters: dict[str, int]
    """The growth of each counter of the server during the flood."""
    waits: dict[str, list[Optional[float]]]
    """Seconds until the answer to each probe, by kind. ``None`` stands for a probe without an answer."""
    recovery: float
    """Seconds after the flood until the server had the same resources as before."""
    not_restored: list[str] = field(default_factory=list)
    """The resources that the server had not restored after ``recovery`` seconds."""
    failure: str = ""
    """Why the server has to be started anew for the next flood; empty if it takes calls."""

    @property
    def afterwards(self) -> str:
        """Return the last cell of the row: what is wrong with the server, or when it was at rest again."""
        left = ", ".join(self.not_restored)
        return "; ".join(filter(None, (self.failure, left))) or f"at rest after {self.recovery:.0f} s"


def absent(due: int, calls: int, seconds: float) -> int:
    """Return how many packets ``calls`` calls miss within ``seconds``, apart from the ``due`` ones.

    ``due`` counts the packets that came, and those that are known to be lost since a later one of the same call came.
    So the missing packets are those of calls that fell silent. Two packets of each call may lie outside of the time.
    """
    missing = calls * (int(50 * seconds) - 2) - due
    return missing if missing > 0 else 0


def answered(waits: list[Optional[float]]) -> str:
    """Return a cell: how many probes were answered, and the milliseconds of the median and of the last answer."""
    came = [1000 * each for each in waits if each is not None]
    if not came:
        return f"0 of {len(waits)}"
    return f"{len(came)} of {len(waits)}, {quantile(came, 0.5):.0f} / {max(came):.0f}"


def shown(value: float, digits: int) -> str:
    """Return ``value`` as text with ``digits`` digits after the point; "-" for nan."""
    return "-" if value != value else f"{value:.{digits}f}"


def table(rows: list[Row]) -> str:
    """Return the table of all rows in Markdown."""
    head = ["flood", "a second", "octets out for 1 in", "lost in the kernel %", "server cpu %",
            "music lost / not sent", "spacing p99", *(f"{kind}: answered, ms" for kind in KINDS), "RSS MB",
            "afterwards"]  # fmt: skip
    lines = [head]
    for row in rows:
        did, sent = row.generator, max(1, row.generator.get("sent", 0))
        rate = f"{did['sent'] / did['seconds']:.0f}" if did else ""
        out = f"{did['answer_octets'] / max(1, did['sent_octets']):.4f}" if did else ""
        ratio = row.during["spacing_p99"] / row.before["spacing_p99"]
        cells = [row.name, rate, out, f"{100 * row.overflown / sent:.1f}" if did else "",
                 " -> ".join(shown(each, 0) for each in row.cpu), f"{row.lost[0]} / {row.lost[1]}",
                 f"x {shown(ratio, 2)}", *(answered(row.waits[kind]) for kind in KINDS),
                 " -> ".join(shown(each, 1) for each in row.rss), row.afterwards]  # fmt: skip
        lines.append(cells)
    return markdown(lines)
