"""What the doctor says of music by name: the names of a running server, by its state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from .finding import Finding, duration, finding

Json = dict[str, Any]
READY, PLAYS, AWAY, REFUSED, FULL = "ready", "plays", "away", "refused", "full"
WAITING = ("waiting", "converting", "connecting")
MOST_NAMED = 20
"""Names in one sentence."""
MOST_ALONE = 5
"""Findings of one kind that have a sentence each; the other names share one."""


def name_findings(state: Json) -> Iterator[Finding]:
    """What the state says of the names; nothing where there is no music folder."""
    names = state.get("names")
    if not names:
        return
    rows, now = names.get("listed") or [], state["now"]
    if names.get("count"):
        yield from _summary(names, rows)
    elif not any(note.startswith(f"{names.get('folder')}: ") for note in names.get("notes") or []):
        yield finding("folder-empty", folder=names.get("folder", ""))
    yield from _faults(rows, now)
    yield from alike_findings([row["name"] for row in rows])
    yield from _slips(names.get("missing") or [], [row["name"] for row in rows], now)
    folder, count = str(names.get("folder", "")), names.get("count")
    for note in names.get("notes") or []:
        if note.startswith(f"{folder}: "):
            reason = note[len(folder) + 2 :].rstrip(".")
            yield finding("folder-trouble", "warning" if count else "error", folder=folder, reason=reason)
        else:
            yield finding("not-played", text=note)


def _summary(names: Json, rows: Sequence[Json]) -> Iterator[Finding]:
    """How many names there are, and which of them play or wait."""
    states = names.get("by_state") or {}
    ready = sum(states.get(each, 0) for each in (READY, PLAYS))
    shown = [row["name"] for row in rows if row["state"] in (READY, PLAYS)]
    yield finding(
        "names", folder=names.get("folder", ""), count=names["count"], ready=ready, names=in_a_row(shown, ready)
    )
    for row in rows:
        if row["state"] == PLAYS:
            radio = row.get("radio") or {}
            yield finding("radio-plays", name=row["name"], what=radio.get("title") or radio.get("address") or "?")
    if waits := sum(states.get(each, 0) for each in WAITING):
        shown = [row["name"] for row in rows if row["state"] in WAITING]
        yield finding("names-wait", count=waits, names=in_a_row(shown, waits))


def in_a_row(names: Iterable[str], count: int) -> str:
    """The first of ``count`` names, in one text."""
    shown = [*names][:MOST_NAMED]
    more = f", … ({count})" if count > len(shown) else ""
    return ", ".join(shown) + more if shown else "–"


def _faults(rows: Sequence[Json], now: float) -> Iterator[Finding]:
    """The names that do not play."""
    bad = [row for row in rows if row["state"] in (REFUSED, FULL, AWAY)]
    for row in bad[:MOST_ALONE]:
        name, why = row["name"], str(row.get("why") or "?").rstrip(".")
        if row["state"] == AWAY:
            radio = row.get("radio") or {}
            ago = duration(now - (radio.get("since") or now))
            if "MOH_ALLOW_RADIO" in why:
                yield finding("radio-inside", name=name, reason=why)
            else:
                yield finding("radio-away", name=name, reason=why, ago=ago, address=radio.get("address") or "?")
        else:
            yield finding("name-refused" if row["state"] == REFUSED else "name-full", name=name, reason=why)
    if more := [row["name"] for row in bad[MOST_ALONE:]]:
        yield finding("names-more", count=len(more), names=in_a_row(more, len(more)))


def alike_findings(names: Sequence[str]) -> Iterator[Finding]:
    """Names that differ in capitals only."""
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(name.casefold(), name)
        if other != name:
            yield finding("names-alike", name=other, other=name)


def _slips(missing: Sequence[Json], names: Sequence[str], now: float) -> Iterator[Finding]:
    """Names that were dialled and are not there, where another one is like them."""
    by_fold = {name.casefold(): name for name in names}
    for row in missing[:MOST_NAMED]:
        near = get_close_matches(str(row["name"]).casefold(), by_fold, n=1, cutoff=0.75)
        if near:
            ago = duration(now - float(row.get("at") or now))
            yield finding("name-slip", name=row["name"], near=by_fold[near[0]], count=row.get("count", 1), ago=ago)
