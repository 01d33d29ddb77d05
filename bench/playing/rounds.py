"""What ``calls`` and ``engines`` have in common: rounds in which everything is measured once, and their options."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TypeVar

from bench.common.command_line import add_plot, check_plot
from bench.common.processes import Spent, machine, share, spent

Name = TypeVar("Name")


def add_options(parser: argparse.ArgumentParser, *, rounds: int, seconds: float, quiet: float, patience: float) -> None:
    """The options of a measurement in rounds, with these defaults."""
    parser.add_argument("--rounds", type=int, default=rounds, help="how often everything is measured (%(default)s)")
    parser.add_argument("--seconds", type=float, default=seconds, help="how long each measurement takes (%(default)s)")
    parser.add_argument(
        "--quiet", type=float, default=quiet, metavar="PERCENT",
        help="wait until other processes take less of a core (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--patience", type=float, default=patience, help="seconds to wait for that at most (%(default)s)"
    )
    add_plot(parser)


def parse(parser: argparse.ArgumentParser, options: Sequence[str]) -> argparse.Namespace:
    """The options in ``options``, those of ``add_options`` checked."""
    given = parser.parse_args(options)
    if given.rounds < 1 or not 1 <= given.seconds <= 60:
        parser.error(f"{given.rounds} rounds of {given.seconds:g} seconds; expected at least 1, of 1 to 60 seconds")
    check_plot(parser, given)
    return given


def announce(minutes: float, longest: float) -> None:
    """Print how long the measurement takes, and how long with all the waiting for a quiet machine."""
    print(f"This takes {minutes:.0f} to {longest:.0f} minutes.", file=sys.stderr)


def in_turn(names: Sequence[Name], number: int) -> list[Name]:
    """The names in the order of round ``number``.

    Each comes first, last and in between, so that a slow change of the machine favours none.
    """
    turn = number % len(names) if names else 0
    order = [*names[turn:], *names[:turn]]
    return order if number % 2 == 0 else order[::-1]


def caption(given: argparse.Namespace) -> str:
    """What a picture of these rounds shows."""
    cores, rounds = os.cpu_count(), given.rounds
    return f"{cores} cores; {rounds} rounds of {given.seconds:.0f} s; points: median, bars: least and greatest round"


class Meter:
    """The processor that ``measured`` processes take from now on, and that all other processes take meanwhile.

    This process and the ``helpers`` of the benchmark count as neither.
    """

    def __init__(self, measured: Sequence[int], helpers: Sequence[int]) -> None:
        self._helpers = spent([os.getpid(), *helpers])
        self._machine: dict[int, Spent] = {0: machine()}
        self._measured = spent(measured)

    def stop(self) -> tuple[float, float]:
        """Both, in % of a core. The kernel counts the whole machine by ticks, so the second one is rough."""
        measured = share(self._measured, spent(self._measured))
        helpers = share(self._helpers, spent(self._helpers))
        return measured, max(0.0, share(self._machine, {0: machine()}) - measured - helpers)
