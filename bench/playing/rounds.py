"""What the measurements share: rounds, in which everything is measured once, and the options of the rounds."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from bench.common.command_line import add_plot, check_plot
from bench.common.figures import combine
from bench.common.processes import Spent, machine, share, spent, used

Name = TypeVar("Name")
OWN, AGAINST = "this", "against"
"""The names of this project and of the one in the folder ``--against``, in all tables."""


def add_options(parser: argparse.ArgumentParser, *, rounds: int, seconds: float, quiet: float, patience: float) -> None:
    """Add the options of a measurement in rounds. The arguments are their defaults."""
    parser.add_argument("--rounds", type=int, default=rounds, help="number of rounds (%(default)s)")
    parser.add_argument("--seconds", type=float, default=seconds, help="seconds of each measurement (%(default)s)")
    parser.add_argument(
        "--quiet", type=float, default=quiet, metavar="PERCENT",
        help="wait until other processes take less of a core (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--patience", type=float, default=patience, help="longest wait for a quiet machine, in seconds (%(default)s)"
    )
    add_plot(parser)


def add_against(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--against``."""
    parser.add_argument(
        "--against", type=Path, metavar="TREE", help="the project at another commit, measured in turn with this one"
    )


def add_nice(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--nice``."""
    parser.add_argument(
        "--nice", type=int, default=0,
        help="niceness of all that is measured, against other work on the machine; below 0 needs root",
    )  # fmt: skip


def parse(parser: argparse.ArgumentParser, options: Sequence[str]) -> argparse.Namespace:
    """Parse ``options``, and check those that ``add_options`` has added."""
    given = parser.parse_args(options)
    if given.rounds < 1 or not 1 <= given.seconds <= 60:
        parser.error(f"{given.rounds} rounds of {given.seconds:g} seconds; expected at least 1, of 1 to 60 seconds")
    check_plot(parser, given)
    return given


def announce(minutes: float, longest: float) -> None:
    """Print that the measurement takes ``minutes``, or up to ``longest`` if it waits for a quiet machine."""
    print(f"This takes {minutes:.0f} to {longest:.0f} minutes.", file=sys.stderr)


def in_turn(names: Sequence[Name], number: int) -> list[Name]:
    """Return ``names`` in the order in which round ``number`` measures them.

    Each round begins with another name, and every second round goes backwards. So each name is measured early, late and
    in between, and a slow change of the machine favours none.
    """
    turn = number % len(names) if names else 0
    order = [*names[turn:], *names[:turn]]
    return order if number % 2 == 0 else order[::-1]


def medians(columns: Sequence[Sequence[str]], measured: Mapping[str, Sequence[Any]]) -> list[list[str]]:
    """Return the rows of a table: a server each, with the median of each figure over all its rounds.

    A column has its title, the name of the figure, and the form in which it is written.
    """
    rows = [["server", *(title for title, _, _ in columns)]]
    for name, rounds in measured.items():
        middle = combine(rounds)
        rows.append([name, *(form.format(getattr(middle, field)) for _, field, form in columns)])
    return rows


def caption(given: argparse.Namespace) -> str:
    """Return the caption of a picture of these rounds."""
    cores, rounds = os.cpu_count(), given.rounds
    return f"{cores} cores; {rounds} rounds of {given.seconds:.0f} s; points: median, bars: least and greatest round"


class Meter:
    """It meters from now on how much processor the ``measured`` processes take, and how much all other processes take.

    All processes that a measured process has started count with it. This process and the ``helpers`` of the benchmark
    do not count.
    """

    def __init__(self, measured: Sequence[int], helpers: Sequence[int]) -> None:
        self._helpers = spent([os.getpid(), *helpers])
        self._machine: dict[int, Spent] = {0: machine()}
        self._measured = used(measured)

    def stop(self) -> tuple[float, float]:
        """Return two numbers in % of a core: for the measured processes, and for all other processes.

        The second number is rough, since the kernel counts the whole machine by ticks.
        """
        measured = share(self._measured, used(self._measured))
        helpers = share(self._helpers, spent(self._helpers))
        return measured, max(0.0, share(self._machine, {0: machine()}) - measured - helpers)
