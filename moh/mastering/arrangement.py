"""What goes where in an arrangement: how many pieces fit in, how often they are repeated, where the voice speaks.

Pure functions. Times are in ticks of 1/8000 s (``lowering``).

The laws kept here: an arrangement is an hour at most. A caller hears music alone in the first seconds of the loop, as
many as ``MOH_ANNOUNCE`` says. Between two announcements there are 20 s of music at least, also across the loop point.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .filter_graphs import LONGEST
from .lowering import DOWN, TICKS, window

HOUR = round(LONGEST * TICKS)
"""The ticks of the longest arrangement."""
REST = 20 * TICKS
"""Ticks of music between two announcements at least, and before the first: 20 s."""
JOINING = TICKS // 2
"""Ticks after the time without announcements until the first one, 0.5 s. In that time a caller of the shared stream,
who has heard the plain twin from the beginning of the loop on, joins the others."""
LONGEST_SPOKEN = 600 * TICKS
"""Ticks of the longest announcement, 10 min. A longer one is no announcement, and is not spoken."""
EVEN = 1.25
"""A short loop is repeated until the announcements are at most this many times as far apart as wanted."""
LONG = 600 * TICKS
"""Ticks of a loop that is not repeated for that: 10 min."""


@dataclass(frozen=True)
class Plan:
    """How often the row of pieces is repeated in the loop, and the tick at which each announcement's window begins."""

    repeats: int
    windows: tuple[int, ...] = ()


def how_many_fit(seconds: Sequence[float], longest: float = LONGEST) -> int:
    """How many of the pieces, from the first on, one arrangement holds: ``longest`` seconds, or one longer piece."""
    left = longest
    for number, length in enumerate(seconds):
        left -= length
        if left < 0:
            return max(1, number)
    return len(seconds)


def first_at(every: float) -> int:
    """The ticks from the beginning of the loop for which no announcement may be heard. 0 s stand for the joints."""
    return max(REST, round(every * TICKS))


def plan(joints: Sequence[int], once: int, length_of: Callable[[int], int], spoken: int, every: float) -> Plan:
    """Place the announcement in a loop, in which pieces begin at the ticks ``joints``.

    The pieces come again after ``once`` ticks. ``length_of`` gives the length of a loop with so many repeats: a little
    less than so many times ``once``. The announcement has ``spoken`` ticks, and is none if that is 0. It is to be
    spoken each ``every`` seconds; 0: at the joints.
    """
    if not 0 < spoken <= LONGEST_SPOKEN:
        return Plan(1)
    whole, first = window(spoken), first_at(every) + JOINING
    most = max(1, HOUR // once)
    least = -(-(first + whole) // once)
    least = min(most, least if length_of(least) >= first + whole else least + 1)
    if every == 0:
        places = [begin + number * once for number in range(least) for begin in (0, *joints)][1:]
        return Plan(least, tuple(_at_joints(places, length_of(least), spoken)))
    wanted = EVEN * max(first_at(every), spoken + REST)
    choices = range(least, max(least, min(most, LONG // once)) + 1)
    plans = (Plan(repeats, tuple(_each(length_of(repeats), spoken, every))) for repeats in choices)
    return min(plans, key=lambda one: (max(wanted, one.repeats * once / len(one.windows)), one.repeats))


def _each(length: int, spoken: int, every: float) -> list[int]:
    """The windows, evenly over the loop; at least one.

    From one to the next there is the time ``every``, or a little more. From the last, across the loop point, to the
    first there may be an announcement's length more, since the beginning of the loop is plain music.
    """
    whole = window(spoken)
    first = min(first_at(every) + JOINING, length - whole)  # an hour is too short: then once in the loop, at its end
    apart = max(first_at(every), spoken + REST)
    more = (length - whole - first) // apart
    step = min(length / (more + 1), (length - whole - first) / more) if more else 0.0
    return [first + int(number * step) for number in range(more + 1)]


def _at_joints(joints: Sequence[int], length: int, spoken: int) -> list[int]:
    """The windows at those joints that are far enough from each other, and one at the end of the loop.

    The voice begins as a piece ends, over the lowered beginning of the next. At the loop point it ends with the last
    piece, since the loop begins with plain music.
    """
    at_end = length - window(spoken)
    found: list[int] = []
    free = first_at(0.0) + JOINING  # from here on the next window may begin
    for joint in joints:
        begin, past = joint - DOWN, joint + spoken + REST
        if free <= begin and past <= at_end + DOWN:
            found.append(begin)
            free = past - DOWN
    return [*found, max(0, at_end)]


def seconds_of(windows: Sequence[int], spoken: int) -> tuple[tuple[float, float], ...]:
    """Begin and end of each window, in seconds of the loop."""
    return tuple((begin / TICKS, (begin + window(spoken)) / TICKS) for begin in windows)
