"""What one flood came to, and the tables that are made of that. Nothing here touches the world."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional

from bench.attack.honest import KINDS
from bench.common.figures import markdown, quantile


@dataclass
class Row:
    """What one flood came to."""

    name: str
    did: dict[str, Any]
    before: dict[str, float]
    during: dict[str, float]
    lost: tuple[int, int]
    """Packets of music that were sent and did not arrive, and that were left out by the server or never came."""
    cpu: tuple[float, float]
    """Of the server and what it has started, in % of a core; nan where it died."""
    rss: tuple[float, float]
    kernel: int
    """Datagrams that found the buffer of the socket full."""
    told: dict[str, int]
    """What SIGUSR1 counts of this time."""
    waits: dict[str, list[Optional[float]]]
    rested: float
    """Seconds until all was as before."""
    left: list[str] = field(default_factory=list)
    """What was not, in the end."""
    fate: str = ""
    """Why the next flood needs the server started anew; empty: it does not."""

    @property
    def outcome(self) -> str:
        """For people: how the server came out of it."""
        left = ", ".join(self.left)
        return "; ".join(filter(None, (self.fate, left))) or f"at rest after {self.rested:.0f} s"


def absent(due: int, calls: int, seconds: float) -> int:
    """Packets of ``calls`` that should have come within ``seconds`` and that no later one tells of: those of calls that
    fell silent. Two of each call are the beginning and the end of that time."""
    missing = calls * (int(50 * seconds) - 2) - due
    return missing if missing > 0 else 0


def waited(waits: list[Optional[float]]) -> str:
    """How many were answered, and after how many milliseconds the median and the last one of them."""
    answered = [1000 * each for each in waits if each is not None]
    if not answered:
        return f"0 of {len(waits)}"
    return f"{len(answered)} of {len(waits)}, {quantile(answered, 0.5):.0f} / {max(answered):.0f}"


def shown(value: float, digits: int) -> str:
    """A figure; "-" for nan, where there is none."""
    return "-" if value != value else f"{value:.{digits}f}"


def table(rows: list[Row]) -> str:
    """As README has it."""
    head = ["flood", "a second", "octets out for 1 in", "lost in the kernel %", "server cpu %", "music lost / left out",
            "spacing p99", *(f"{kind}: answered, ms" for kind in KINDS), "RSS MB", "afterwards"]  # fmt: skip
    lines = [head]
    for row in rows:
        did, sent = row.did, max(1, row.did.get("sent", 0))
        rate = f"{did['sent'] / did['seconds']:.0f}" if did else ""
        out = f"{did['answer_octets'] / max(1, did['sent_octets']):.4f}" if did else ""
        ratio = row.during["spacing_p99"] / row.before["spacing_p99"]
        cells = [row.name, rate, out, f"{100 * row.kernel / sent:.1f}" if did else "",
                 " -> ".join(shown(each, 0) for each in row.cpu), f"{row.lost[0]} / {row.lost[1]}",
                 f"x {shown(ratio, 2)}", *(waited(row.waits[kind]) for kind in KINDS),
                 " -> ".join(shown(each, 1) for each in row.rss), row.outcome]  # fmt: skip
        lines.append(cells)
    return markdown(lines)


def compared(ours: list[Row], theirs: list[Row], peer: str) -> str:
    """What a peer has of the same floods, as figures of both and their ratio; nothing hides a server that died."""
    lines = [["flood", "spacing p99 ms: moh", peer, "ratio", "server cpu %: moh", peer, "ratio"]]
    for one, other in zip(ours, theirs):
        cells = [one.name]
        for mine, its, digits in (
            (one.during["spacing_p99"], other.during["spacing_p99"], 2),
            (one.cpu[1], other.cpu[1], 0),
        ):
            cells += [shown(mine, digits), shown(its, digits), f"x {shown(its / mine if mine else float('nan'), 2)}"]
        lines.append(cells)
    return markdown(lines)
