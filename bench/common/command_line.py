"""What the entry points have in common: choosing what to measure, and ending all of it together."""

from __future__ import annotations

import argparse
import importlib.util
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Choice(NamedTuple):
    """One of the measurements of an entry point: what it is for, and its main function."""

    help: str
    main: Callable[[Sequence[str]], int]


def choose(program: str, description: str, choices: Mapping[str, Choice]) -> int:
    """Run the measurement that the first argument names, with the other arguments; its exit status."""
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
    """Let SIGTERM and Ctrl-C raise, so that all processes that were started are ended.

    A shell that runs this in the background has SIGINT ignored: here it counts again.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)


def add_plot(parser: argparse.ArgumentParser) -> None:
    """The option that draws the figures."""
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw the figures; needs bench/requirements.txt")


def check_plot(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    """End with a message where ``--plot`` cannot draw, before anything is measured."""
    if given.plot and not importlib.util.find_spec("matplotlib"):
        parser.error("--plot needs matplotlib: pip install -r bench/requirements.txt")


def numbers(parser: argparse.ArgumentParser, option: str, text: str) -> list[int]:
    """The numbers of an option, separated by commas; ends with a message where ``text`` is something different."""
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        parser.error(f"{option} is {text!r}; expected numbers separated by commas")
