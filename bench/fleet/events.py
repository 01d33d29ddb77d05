"""What an event at one server of the fleet did to the calls: the figures, without input or output.

Times are seconds since 1970, results milliseconds where they say so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bench.common.figures import markdown, quantile
from bench.fleet.heard import Heard, Hole, Music
from bench.fleet.phones import Call

PACKETS = 50
"""Packets of a call a second."""
CUT = 0.5
"""The music of a call was cut off if it ended more seconds than this before the BYE; a longer hole is a pause."""
WAIT = 500.0
"""A call waits if its 200 takes more ms than this."""
FIRST_PACKET = 1.0
"""A call is silent if its first packet takes more seconds than this."""


class Event(NamedTuple):
    """What happened to ``server`` at ``at``. Calls count for this event until ``until``."""

    name: str
    server: str
    at: float
    until: float


@dataclass(frozen=True)
class Outcome:
    """What one event did."""

    event: Event
    new: int
    """Calls that began."""
    failed: int
    """Those of them that got no 200."""
    failing: float
    """Seconds from the event to the last INVITE that failed; 0 if none did."""
    waited: int
    """Those that got their 200 after more than ``WAIT`` ms."""
    waiting: float
    """Seconds from the event to the last INVITE that waited so long; 0 if none did."""
    set_up_p50: float
    """From INVITE to 200 in ms, of the calls that began: the median."""
    set_up_p99: float
    set_up_max: float
    own: int
    """Calls that the server had."""
    own_cut: int
    """Those of them whose music ended early, or had a hole of more than ``CUT`` seconds."""
    others: int
    """Calls that the other servers had, those that began meanwhile included."""
    others_packets: float
    """The packets that these calls ought to get."""
    lost: int
    """Those of these packets that never came."""
    skipped: int
    """Those that a server left out, since it was too late for them."""
    widest: float
    """The longest hole in the music of these calls, in ms; 0 if there was none."""
    cut: int
    """Those calls whose music ended early."""
    silent: int
    """Those calls whose music did not begin."""


def outcome(event: Event, calls: Sequence[Call], heard: Heard) -> Outcome:
    """Return what ``event`` did to ``calls``; call number n is place n - 1 of ``heard``."""
    new = [call for call in calls if event.at <= call.began < event.until]
    failed = [call for call in new if call.answered is None]
    times = [call.set_up() for call in new if call.answered is not None]
    waited = [call for call in new if call.set_up() > WAIT]
    up = [call for call in calls if call.answered is not None and call.answered < event.until and _end(call) > event.at]
    own = [
        call for call in up if call.server == event.server and call.answered is not None and call.answered < event.at
    ]
    others = [call for call in up if call.server != event.server]
    holes = _holes_by_place(heard.holes, event)
    touched = {call.number - 1 for call in others}
    theirs = [hole for place, found in holes.items() if place in touched for hole in found]
    return Outcome(
        event, len(new), len(failed), _last(failed, event), len(waited), _last(waited, event),
        quantile(times, 0.5), quantile(times, 0.99), max(times, default=float("nan")),
        len(own), sum(_had_pause(call, holes) or _was_cut(call, heard, event) for call in own),
        len(others), sum(PACKETS * _overlap(call, event) for call in others),
        sum(hole.lost for hole in theirs), sum(hole.skipped for hole in theirs),
        1000 * max((hole.seconds for hole in theirs), default=0.0),
        sum(_was_cut(call, heard, event) for call in others), sum(_is_silent(call, heard, event) for call in others),
    )  # fmt: skip


def _last(calls: Sequence[Call], event: Event) -> float:
    return max((call.began - event.at for call in calls), default=0.0)


def _end(call: Call) -> float:
    return call.bye if call.bye is not None else float("inf")


def _overlap(call: Call, event: Event) -> float:
    return max(0.0, min(_end(call), event.until) - max(call.answered or event.until, event.at))


def _holes_by_place(holes: Sequence[Hole], event: Event) -> dict[int, list[Hole]]:
    found: dict[int, list[Hole]] = {}
    for hole in holes:
        if event.at <= hole.at < event.until:
            found.setdefault(hole.place, []).append(hole)
    return found


def _had_pause(call: Call, holes: Mapping[int, Sequence[Hole]]) -> bool:
    return any(hole.seconds > CUT for hole in holes.get(call.number - 1, ()))


def _was_cut(call: Call, heard: Heard, event: Event) -> bool:
    """Whether the music of ``call`` ended during the event, and too early."""
    music = heard.music.get(call.number - 1)
    return music is not None and event.at <= music.last + CUT < min(event.until, _end(call))


def _is_silent(call: Call, heard: Heard, event: Event) -> bool:
    """Whether ``call``, answered during the event, got no music in time."""
    if call.answered is None or not event.at <= call.answered or _overlap(call, event) < FIRST_PACKET:
        return False
    music = heard.music.get(call.number - 1)
    return music is None or music.first - call.answered > FIRST_PACKET


def _of_server(one: Outcome, count: int) -> str:
    return f"{count:,}" if one.event.server else "–"


Cell = Callable[[Outcome], str]
ROWS: tuple[tuple[str, Cell], ...] = (
    ("", lambda one: one.event.name),
    ("new calls", lambda one: f"{one.new:,}"),
    ("of these failed", lambda one: f"{one.failed:,}"),
    ("seconds from the event to the last failure", lambda one: f"{one.failing:.1f}" if one.failed else "–"),
    ("calls that waited more than 0.5 s", lambda one: f"{one.waited:,}"),
    ("seconds from the event to the last of these", lambda one: f"{one.waiting:.1f}" if one.waited else "–"),
    ("INVITE to 200, ms: median", lambda one: f"{one.set_up_p50:.0f}"),
    ("p99", lambda one: f"{one.set_up_p99:.0f}"),
    ("longest", lambda one: f"{one.set_up_max:.0f}"),
    ("calls that its server had", lambda one: _of_server(one, one.own)),
    ("of these without music for 0.5 s or for good", lambda one: _of_server(one, one.own_cut)),
    ("calls of the other servers meanwhile", lambda one: f"{one.others:,}"),
    ("their packets", lambda one: f"{one.others_packets:,.0f}"),
    ("of these lost", lambda one: f"{one.lost:,}"),
    ("left out by the server", lambda one: f"{one.skipped:,}"),
    ("their longest hole, ms", lambda one: f"{one.widest:.0f}" if one.widest else "–"),
    ("of these calls cut off or silent", lambda one: f"{one.cut + one.silent:,}"),
)
"""The rows of the table: what each is called, and what an event has there."""


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes as a table in Markdown, one column each."""
    return markdown([[title, *(cell(one) for one in outcomes)] for title, cell in ROWS])


class Bin(NamedTuple):
    """Half a second of the run, for the picture."""

    at: float
    """Its middle, in seconds since the first call."""
    hearing: list[int]
    """The calls of each server that hear music."""
    answered: int
    """Calls that began and got a 200."""
    failed: int
    """Calls that began and got none."""


def bins(calls: Sequence[Call], heard: Heard, servers: Sequence[str], size: float = 0.5) -> list[Bin]:
    """Return the run in bins of ``size`` seconds."""
    if not calls:
        return []
    origin = calls[0].began
    count = int((max(music.last for music in heard.music.values()) - origin) / size) + 1 if heard.music else 0
    hearing = [[0] * len(servers) for _ in range(count + 1)]
    holes: dict[int, list[Hole]] = {}
    for hole in heard.holes:
        if hole.seconds > size:
            holes.setdefault(hole.place, []).append(hole)
    for music in heard.music.values():
        if music.server in servers:
            _add(hearing, servers.index(music.server), music, holes.get(music.place, []), origin, size)
    began = [[0, 0] for _ in range(count + 1)]
    for call in calls:
        place = int((call.began - origin) / size)
        if place <= count:
            began[place][call.answered is None] += 1
    return [
        Bin((number + 0.5) * size, hearing[number], began[number][0], began[number][1]) for number in range(count)
    ]  # fmt: skip


def _add(
    hearing: list[list[int]], server: int, music: Music, holes: Sequence[Hole], origin: float, size: float
) -> None:
    """Count one call in the bins whose middle it hears."""
    first, last = ((at - origin) / size - 0.5 for at in (music.first, music.last))
    for number in range(max(0, math.ceil(first)), min(len(hearing), math.floor(last) + 1)):
        middle = origin + (number + 0.5) * size
        if not any(hole.at - hole.seconds < middle < hole.at for hole in holes):
            hearing[number][server] += 1
