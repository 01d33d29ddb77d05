"""What the receiver of a call's music reports by RTCP: how much arrived, and how evenly (RFC 3550 §6.4).

An engine makes a ``StreamReport`` of an RTCP packet. The core collects these reports in the ``Reception`` of the call.
All numbers of a report may be wrong, by a fault or by intent, so each is brought within what was sent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, Optional

from .rtcp import has_bye, read_compound

NOTHING_ARRIVES_AFTER = 8.0
"""Seconds without a new packet, by at least two reports in a row, after which nothing counts as arriving. A receiver
reports each 2.5 to 7.5 s (RFC 3550 §6.2), and its first report may be older than the first packet."""
ALL_LOST = 0.98
"""The part of lost packets from which a report counts as one by which nothing arrives."""
SLACK = 500
"""Packets by which a report may be ahead of the number of sent packets: for an ffmpeg, ``sent`` is an estimate."""
FORMER_SSRCS = 8
"""Streams before the present one of which the SSRC is remembered."""
LONGEST_JITTER = 10.0
"""Seconds; what is reported above that is no jitter of a stream that is heard."""


class StreamReport(NamedTuple):
    """An engine's report, not an action: what the receiver of one stream has reported of it."""

    call: str
    ssrc: int
    """That of the stream. The streams of a call before and after a hold have different ones."""
    sent: int
    """Packets of the stream that had been sent. Of an ffmpeg they are estimated by the time."""
    passed: int
    """Packets up to the latest that has arrived, with those that were lost; 0 where the report names no packet."""
    lost: int
    """All that the receiver counts as lost, which may be more than ``passed``: see ``Reception.lost_before``."""
    fraction_lost: float
    """The part of the packets since the report before that was lost."""
    jitter: float
    """In seconds."""


def stream_report(data: bytes, call: str, ssrc: int, first: int, sent: int, clock_rate: int) -> Optional[StreamReport]:
    """What the compound packet ``data`` reports of a stream; ``None`` where it holds no report.

    ``first`` is the sequence number of the stream's first packet. An empty report in front of a BYE says nothing.
    """
    compound = read_compound(data)
    block = next((block for block in reversed(compound.blocks) if block.ssrc == ssrc), None)
    if block is None:
        return StreamReport(call, ssrc, sent, 0, 0, 0.0, 0.0) if compound.is_report and not has_bye(data) else None
    passed = _passed(block.highest, first, sent)
    return StreamReport(call, ssrc, sent, passed, max(block.lost, 0), block.fraction_lost, block.jitter / clock_rate)


def _passed(highest: int, first: int, sent: int) -> int:
    """How many of ``sent`` packets, counted from number ``first``, come up to number ``highest``.

    Only the lower 16 bits of ``highest`` count. The upper bits hold the number of wraps, but some phones do not count
    them, and a phone that starts its receiver anew during a call counts them from 0 again.
    """
    behind = (first + sent - 1 + SLACK - highest) & 0xFFFF
    return max(sent + SLACK - behind, 0)


@dataclass(frozen=True)
class Reception:
    """What the receiver of a call's music has reported so far, of all streams of the call together."""

    reports: int = 0
    named: int = 0
    """Reports that name packets of the music; a receiver that gets none has none to name."""
    at: float = 0.0
    """When the latest report came."""
    jitter: float = 0.0
    """In seconds, as last reported."""
    ssrc: int = 0
    passed: int = 0
    lost: int = 0
    """``ssrc``, ``passed`` and ``lost`` are those of the present stream; ``lost`` is without ``lost_before``."""
    lost_before: int = 0
    """Packets that the receiver counts as lost, but that went out before the present stream began. The shared stream
    gives a call its former SSRC again after two holds. The receiver may still have its state of this SSRC, and then
    counts the packets that other receivers got meanwhile (RFC 3550 §A.3)."""
    began: float = 0.0
    """When the present stream began."""
    former_ssrcs: tuple[int, ...] = ()
    """Those of the latest streams before it."""
    former_passed: int = 0
    former_lost: int = 0
    """The packets of the streams before it."""
    moved_at: float = 0.0
    """When the present stream began, or a report showed that more packets had arrived."""
    unmoved: int = 0
    """Reports in a row that have shown no new packet."""

    def with_report(self, report: StreamReport, began: float, now: float) -> Reception:
        """The reception with one more report. ``began`` is when the present stream began."""
        before = self
        if report.ssrc != self.ssrc or began != self.began:
            before = replace(
                self, ssrc=report.ssrc, passed=0, lost=0, began=began, moved_at=began, unmoved=0,
                former_passed=self.former_passed + self.passed, former_lost=self.former_lost + self.lost,
                former_ssrcs=(*self.former_ssrcs, self.ssrc)[-FORMER_SSRCS:],
            )  # fmt: skip
        moved = report.passed > before.passed and report.fraction_lost < ALL_LOST
        counted = replace(
            before, reports=self.reports + 1, at=now,
            moved_at=now if moved else before.moved_at, unmoved=0 if moved else before.unmoved + 1,
        )  # fmt: skip
        if not report.passed:
            return counted
        lost_before = before._lost_before(report)
        return replace(
            counted, named=self.named + 1, jitter=report.jitter, passed=report.passed,
            lost=min(report.lost - lost_before, report.passed), lost_before=lost_before,
        )  # fmt: skip

    def _lost_before(self, report: StreamReport) -> int:
        """``lost_before`` by one more report of the present stream.

        By the first report it is all that the receiver counts, if the call has had the SSRC before, or if the count is
        more than can be lost since the stream began. A count that falls below it later has begun anew.
        """
        if self.passed:
            return min(self.lost_before, report.lost)
        return report.lost if report.ssrc in self.former_ssrcs or report.lost > report.passed else 0

    @property
    def lost_in_all(self) -> int:
        """The packets of all streams of the call that the receiver counts as lost."""
        return self.former_lost + self.lost

    @property
    def passed_in_all(self) -> int:
        """The packets of all streams of the call up to the latest that has arrived."""
        return self.former_passed + self.passed

    @property
    def loss(self) -> float:
        """The part of all packets that was lost, from 0 to 1."""
        passed = self.passed_in_all
        return self.lost_in_all / passed if passed else 0.0

    @property
    def nothing_arrives(self) -> bool:
        """Whether, by the latest reports, no packet has arrived for ``NOTHING_ARRIVES_AFTER`` seconds."""
        return self.unmoved >= 2 and self.at - self.moved_at >= NOTHING_ARRIVES_AFTER

    @property
    def silent_for(self) -> float:
        """The seconds up to the latest report in which, by the reports, no packet arrived."""
        return self.at - self.moved_at if self.unmoved else 0.0

    def text(self) -> str:
        """What the receiver has reported, for the log."""
        if not self.reports:
            return "no report from the receiver"
        if not self.named:
            return "the receiver's reports name no packet of the music"
        jitter = f"{self.jitter * 1000:.0f} ms" if self.jitter <= LONGEST_JITTER else f"above {LONGEST_JITTER:.0f} s"
        ends = f", and nothing in its last {self.silent_for:.0f} s" if self.nothing_arrives else ""
        return f"the receiver reported {percent(self.loss)} lost, jitter {jitter}{ends}"


NO_REPORTS = Reception()
"""The reception of a call whose receiver has not reported yet."""


def percent(part: float) -> str:
    """A part from 0 to 1 as a percentage, which is 0 only where nothing was lost."""
    return "0 %" if not part else "less than 0.1 %" if part < 0.0005 else f"{part * 100:.1f} %"
