"""In which order pieces play, and which of them are in one hour."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import NamedTuple, Optional

from ..mastering.arrangement import how_many_fit
from ..mastering.filter_graphs import LONGEST


def natural(name: str) -> tuple[object, ...]:
    """The key by which names are sorted as people do: 2 before 10, capitals beside small letters."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return tuple((int(part), part) if number % 2 else part for number, part in enumerate(parts)), name


def shuffled(pieces: Sequence[str], seed: str) -> list[str]:
    """The pieces in an order that only ``seed`` decides."""
    return random.Random(seed).sample(list(pieces), len(pieces))


class Hour(NamedTuple):
    """The pieces of one hour."""

    pieces: list[str]
    unknown: Optional[str]
    """The piece whose length has to be known before the hour is complete; ``None`` where it is complete."""


def hour_of(order: Sequence[str], lengths: Mapping[str, float], longest: float = LONGEST) -> Hour:
    """The first pieces of ``order`` that fit into ``longest`` seconds together, at least one.

    ``lengths`` has the seconds of those pieces that are known.
    """
    known = list(takewhile(lengths.__contains__, order))
    fitting = how_many_fit([lengths[piece] for piece in known], longest)
    return Hour(known[:fitting], order[fitting] if fitting == len(known) < len(order) else None)


def from_piece(pieces: Sequence[str], first: Optional[str]) -> list[str]:
    """The pieces in their order, round to the one before ``first``; from the beginning where ``first`` is not there."""
    begin = pieces.index(first) if first in pieces else 0
    return [*pieces[begin:], *pieces[:begin]]
