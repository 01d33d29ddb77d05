"""What one flood did, and the table of all floods. Nothing here touches the world."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional

from bench.attack.probes import KINDS
from bench.common.figures import markdown, quantile


@dataclass
class Row:
    """What one flood did."""

    name: str
    generator: dict[str, Any]
    """What ``flood.c`` reports; empty where nothing was sent."""
    before: dict[str, float]
    """The figures of the music before the flood, by their names in ``bench.playing.load.Load``."""
    during: dict[str, float]
    lost: tuple[int, int]
    """Packets of music that were sent and did not arrive, and that the server did not send in time."""
    cpu: tuple[float, float]
    """Of the server and its ffmpegs before and during the flood, in % of a core; nan where the server died."""
    rss: tuple[float, float]
    """MB before and after."""
    overflown: int
    """Datagrams that found the buffer of the SIP socket full."""
    counters: dict[str, int]
    """What the server's counters have grown by."""
    waits: dict[str, list[Optional[float]]]
    """Seconds until the answer to each probe, by kind; ``None``: no answer."""
    recovery: float
    """Seconds after the flood until the server had the same resources as before."""
    not_restored: list[str] = field(default_factory=list)
    """Resources that were different even then."""
    failure: str = ""
    """Why the server has to be started anew for the next flood; empty: it takes calls."""

    @property
    def afterwards(self) -> str:
        """How the server came out of the flood, for people."""
        left = ", ".join(self.not_restored)
        return "; ".join(filter(None, (self.failure, left))) or f"at rest after {self.recovery:.0f} s"


def absent(due: int, calls: int, seconds: float) -> int:
    """Packets that should have come within ``seconds`` and that no later packet shows to be lost.

    These are the packets of calls that fell silent. ``due`` are those that came or are known to be lost; two packets of
    each call are the beginning and the end of that time.
    """
    missing = calls * (int(50 * seconds) - 2) - due
    return missing if missing > 0 else 0


def answered(waits: list[Optional[float]]) -> str:
    """How many probes were answered, and the milliseconds of the median answer and of the last one."""
    came = [1000 * each for each in waits if each is not None]
    if not came:
        return f"0 of {len(waits)}"
    return f"{len(came)} of {len(waits)}, {quantile(came, 0.5):.0f} / {max(came):.0f}"


def shown(value: float, digits: int) -> str:
    """A figure; "-" for nan."""
    return "-" if value != value else f"{value:.{digits}f}"


def table(rows: list[Row]) -> str:
    """The table, in Markdown."""
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
