"""What the entry points share: they choose a measurement, and end all its processes on a signal."""

from __future__ import annotations

import argparse
import importlib.util
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Choice(NamedTuple):
    """One of the measurements of an entry point: its line of help, and its main function."""

    help: str
    main: Callable[[Sequence[str]], int]


def choose(program: str, description: str, choices: Mapping[str, Choice]) -> int:
    """Run the measurement that the first argument names, with the other arguments. Return its exit status."""
    listed = "\n".join(f"  {name:14} {choice.help}" for name, choice in choices.items())
    parser = argparse.ArgumentParser(
        prog=program, description=description, epilog=f"measurements:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("measurement", choices=choices, help="what to measure; see its own --help")
    parser.add_argument("options", nargs=argparse.REMAINDER, help="options of that measurement")
    given = parser.parse_args()
    return choices[given.measurement].main(given.options)


def end_on_signals() -> None:
    """Make SIGTERM and Ctrl-C raise an exception, so that the measurement ends all its processes.

    A shell starts a background process with SIGINT ignored; this function makes SIGINT effective again.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)


def add_plot(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--plot``, which draws the figures."""
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw the figures; needs bench/requirements.txt")


def check_plot(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    """End the program with a message if ``--plot`` is given and cannot draw. Called before the measurement."""
    if given.plot and not importlib.util.find_spec("matplotlib"):
        parser.error("--plot needs matplotlib: pip install -r bench/requirements.txt")


def numbers(parser: argparse.ArgumentParser, option: str, text: str) -> list[int]:
    """Return the numbers in ``text``, separated by commas. If it has others, end the program with a message."""
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        parser.error(f"{option} is {text!r}; expected numbers separated by commas")
