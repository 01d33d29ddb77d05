"""The calls that a server takes a second: which rate is tried next, and the tables, without input or output."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.common.figures import combine, markdown, ratio

GOOD, REPEATS, ANSWER, OFFERED = 99.9, 0.1, 200.0, 0.95
"""A server takes a rate if at least ``GOOD`` % of the calls are good, the repeated requests are at most ``REPEATS`` %
of the calls, and p99 of the answers is at most ``ANSWER`` ms. SIPp has to begin calls at ``OFFERED`` of the rate or
more."""
STEEP, CLOSE = 1.5, 1.07
"""Each rate is ``STEEP`` times the one before, until the server fails. Then the gap between the greatest rate that
passed and the least that failed is halved, until it is less than a factor of ``CLOSE``."""
TRIES = 2
"""A rate has failed if it fails this often in a row: another program may take the machine for a moment."""


@dataclass(frozen=True)
class Step:
    """One rate for a few seconds. The music is that of the other callers meanwhile."""

    rate: float
    """Calls a second that were wanted."""
    offered: float
    """Calls a second that SIPp really began."""
    good: float
    """Calls without any fault, in %."""
    repeats: float
    """Requests that SIPp sent again, in % of the calls."""
    answer_p50: float
    """From INVITE to 200, in ms: the median."""
    answer_p99: float
    """The 99th percentile of the same."""
    cpu: float
    """Processor time of the server and of its children, in % of a core, with the music of the others."""
    each: float
    """Processor time of one call in ms: what the server took above its idle time, divided by the calls."""
    spacing_p99: float
    """The others' time from packet to packet, in ms: the 99th percentile."""
    late: float
    """The others' packets more than 5 ms behind the most punctual one of their call, in %."""
    lost: float
    """The others' packets that never came or were left out, in %."""
    silent: float
    """The others without any packet."""

    def passes(self) -> bool:
        """Whether the server takes this rate. What is not known (nan) is not enough."""
        return (
            self.good >= GOOD
            and self.repeats <= REPEATS
            and self.answer_p99 <= ANSWER
            and self.offered >= OFFERED * self.rate
        )


@dataclass(frozen=True)
class Capacity:
    """The greatest rate that a server takes in one round, and the figures at that rate; 0 and nan if it takes none."""

    most: float
    """Calls a second."""
    each: float
    """Processor time of one call in ms at the first rate, which is the same for all servers."""
    answer_p50: float
    answer_p99: float
    cpu: float
    spacing_p99: float
    late: float
    lost: float
    silent: float


class Climb:
    """The rates of one server in one round, from ``first`` on, up to ``most``: which one is measured next."""

    def __init__(self, first: int, most: int) -> None:
        self._first, self._most = first, most
        self.steps: list[Step] = []
        self._passed = self._failed = 0
        self._tries = 0

    def rate(self) -> int:
        """Return the rate that is measured next; 0 if all is known."""
        if self._tries:
            return round(self.steps[-1].rate)
        if not self.steps:
            return self._first
        if not self._failed:
            return 0 if self._passed >= self._most else min(self._most, round(self._passed * STEEP))
        if not self._passed:
            return round(self._failed / STEEP) if self._failed > 1 else 0
        return 0 if self._failed < self._passed * CLOSE else (self._passed + self._failed) // 2

    def add(self, step: Step) -> None:
        """Add what was measured at ``rate()``."""
        self.steps.append(step)
        if step.passes():
            self._passed, self._tries = round(step.rate), 0
        else:
            self._tries += 1
            if self._tries == TRIES:
                self._failed, self._tries = round(step.rate), 0

    def capacity(self) -> Capacity:
        """Return what the steps say."""
        nan = float("nan")
        passed = [step for step in self.steps if step.passes()]
        each = next((step.each for step in reversed(self.steps) if step.rate == self._first), nan)  # the last try
        if not passed:
            return Capacity(0, each, nan, nan, nan, nan, nan, nan, nan)
        best = max(passed, key=lambda step: step.rate)
        return Capacity(
            best.rate, each, best.answer_p50, best.answer_p99, best.cpu, best.spacing_p99, best.late, best.lost,
            best.silent,
        )  # fmt: skip


def steps_at_most(first: int, most: int) -> int:
    """Return how many steps a climb has at most if the first rate passes."""
    up = math.ceil(math.log(most / first, STEEP)) + 1
    return up + TRIES * math.ceil(math.log2((STEEP - 1) / (CLOSE - 1)))


Capacities = Mapping[tuple[int, str], Sequence[Capacity]]
"""The rounds of each number of other callers and each server."""

COLUMNS = (
    ("calls a second", "most", "{:.0f}"), ("ms a call", "each", "{:.2f}"), ("answer ms", "answer_p50", "{:.0f}"),
    ("p99", "answer_p99", "{:.0f}"), ("cpu %", "cpu", "{:.0f}"), ("others' spacing p99", "spacing_p99", "{:.2f}"),
    ("late %", "late", "{:.3f}"), ("lost %", "lost", "{:.3f}"), ("silent", "silent", "{:.0f}"),
)  # fmt: skip
COMPARED = (("most", "calls a second"), ("each", "ms a call"))


def tables(measured: Capacities, reference: str) -> str:
    """Return both tables in Markdown: the medians of all rounds, and the ratios of ``reference`` to each server."""
    rows = [["others", "server", *(title for title, _, _ in COLUMNS)]]
    compared = [["others", "servers", *(title for _, title in COMPARED)]]
    for (others, name), rounds in measured.items():
        if not rounds:
            continue
        middle = combine(rounds)
        figures = (form.format(getattr(middle, field)) for _, field, form in COLUMNS)
        rows.append([str(others), name, *("" if figure == "nan" else figure for figure in figures)])
        if name != reference and (own := measured.get((others, reference))):
            ratios = (str(ratio(own, rounds, field)) for field, _ in COMPARED)
            compared.append([str(others), f"{reference} / {name}", *ratios])
    text = markdown(rows)
    if len(compared) > 1:
        text += f"\n\nRatios of figures of the same round, median (least-greatest):\n\n{markdown(compared)}"
    return text
