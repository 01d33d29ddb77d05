"""What the doctor reads in the state of the running server: its calls, its refusals, and how its calls have ended.

The state is that of ``moh/server/state.py``. All texts in it that came from the network may hold anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from ..common.addresses import is_private, source_of
from ..common.config import Settings
from ..rtp.reception import percent
from .finding import Finding, duration, finding

State = dict[str, Any]
RECENT = 3600.0
"""Seconds for which a call that went wrong counts as an error; before that as a warning."""
NOT_ALLOWED = "not in MOH_ALLOW"
NO_STREAM, NO_MUSIC_THERE = "No stream to play to", "No music there"
"""What a line of the log says of a call that was refused for its codecs, or for the address of its music."""
NOTHING_ARRIVES = ("and nothing in its last", "name no packet of the music")
"""What a call's ``heard`` says where packets are sent and none arrives."""
SETTLES_AFTER = 8.0
"""Seconds of music before a receiver's reports have to name packets of it."""
FORMATS = re.compile(r"formats are '([^']*)'")
"""What such a line says of the phone's codecs: their numbers, as the phone lists them."""
NAMES = {"3": "GSM", "4": "G.723.1", "15": "G.728", "18": "G.729"}
"""The codecs that phones offer by a number alone, and this server does not play (RFC 3551 table 4)."""
UNREACHABLE = ("port unreachable", "host unreachable")
NO_ACK, MUSIC_FAILED = "no ACK", "music failed"
"""Reasons by which calls end, as the server counts them."""


def call_findings(settings: Settings, state: State) -> Iterator[Finding]:
    """What the state says of calls."""
    yield from _last_call(settings, state)
    yield from _refusals(settings, state)
    yield from _reports(state)
    yield from _ended(settings, state)
    if errors := _totals(state).get("unexpected_errors"):
        yield finding("unexpected-errors", count=errors)


def _totals(state: State) -> dict[str, Any]:
    return state.get("totals") or {}


def _last_call(settings: Settings, state: State) -> Iterator[Finding]:
    """When the last call came, and how many. Test calls of this machine count as none, as far as they are listed."""
    now, rows = state["now"], _rows(state)
    count = sum(each["count"] for each in _totals(state).get("calls", []))
    tests = sum(bool(row.get("test")) for row in rows)
    answered = [row["answered"] for row in rows if not row.get("test")]
    last = max(answered, default=None)
    if last is None and count > tests:
        last = _totals(state).get("last_call")
    if last is None:
        yield finding("calls-none", since=duration(now - state["started"]), port=settings.sip_port)
    else:
        yield finding("calls", ago=duration(now - last), count=count - tests, now=state["calls"]["now"])


def _rows(state: State) -> list[dict[str, Any]]:
    """The calls that go on, and those that have ended."""
    return [*(state["calls"].get("listed") or []), *(state.get("ended") or [])]


def _level(usual: str, source: str, at: float, now: float) -> str:
    """The level of an event that kept a phone from its music: lower for old ones and for strangers on the internet."""
    if not is_private(host_of(source)):
        return "note"
    return usual if now - at <= RECENT else "warning"


def host_of(source: str) -> str:
    """The host of an address with or without a port."""
    if source.startswith("["):
        return source[1:].partition("]")[0]
    return source.rpartition(":")[0] if source.count(":") == 1 else source


def _refusals(settings: Settings, state: State) -> Iterator[Finding]:
    now = state["now"]
    seen = False
    for row in state.get("refusals") or []:
        source, at, text = str(row.get("source") or ""), float(row.get("at") or now), str(row.get("text") or "")
        facts = {"source": source, "count": row.get("count", 1), "ago": duration(now - at), "text": gist(text)}
        if NOT_ALLOWED in (row["reason"], text):
            seen = True
            yield _shut_out(settings, source, row.get("count", 1), at, now)
        elif NO_STREAM in text:
            facts["text"] = FORMATS.sub(_with_names, facts["text"])
            yield finding("refused-codec", _level("error", source, at, now), **facts)
        elif NO_MUSIC_THERE in text:
            yield finding("refused-destination", _level("error", source, at, now), **facts)
        elif row["reason"].startswith("INVITE "):
            yield finding("refused", _level("warning", source, at, now), reason=row["reason"], **facts)
    rejected = (_totals(state).get("rejected") or {}).get(NOT_ALLOWED)
    if rejected and not seen:
        yield _shut_out(settings, "?", rejected, now, now)


def _with_names(found: re.Match[str]) -> str:
    """The phone's formats, with the names of those that have one: an owner knows G.729, and not 18."""
    formats = found[1].split()
    return f"formats are {', '.join(NAMES.get(each, each) for each in formats)}"


def _shut_out(settings: Settings, source: str, count: int, at: float, now: float) -> Finding:
    allow = ",".join(map(str, settings.allow))
    level = "note" if source == "?" else _level("error", source, at, now)
    return finding("allow-shuts-out", level, source=source, count=count, allow=allow)


def gist(text: str) -> str:
    """The end of a line of the log, which says why: without the beginning that names request and source."""
    return text.partition(": ")[2] or text


def _reports(state: State) -> Iterator[Finding]:
    """What receivers report, and the calls that go on of which nothing arrives; one for each receiver's host."""
    losses = [row["loss"] for row in _rows(state) if row.get("loss") is not None]
    if losses:
        yield finding("reports", count=len(losses), loss=percent(sum(losses) / len(losses)))
    seen: set[str] = set()
    for row in state["calls"].get("listed") or []:
        receiver, heard = row.get("receiver"), row.get("heard") or ""
        if receiver is None or not any(each in heard for each in NOTHING_ARRIVES):
            continue
        if row.get("played", 0.0) < SETTLES_AFTER or (host := source_of(host_of(receiver))) in seen:
            continue
        seen.add(host)
        yield finding("nothing-arrives", receiver=receiver, heard=heard, port=row.get("port"))


def _ended(settings: Settings, state: State) -> Iterator[Finding]:
    """The latest call that ended for each of the reasons for which the held party has heard nothing."""
    now = state["now"]
    told = settings.advertised_address or "-"
    kinds: list[tuple[Callable[[dict[str, Any]], bool], str]] = [
        (lambda row: row.get("reason") in UNREACHABLE, "receiver-unreachable"),
        (lambda row: row.get("reason") == NO_ACK, "no-ack"),
        (lambda row: row.get("reason") == MUSIC_FAILED, "music-failed"),
        (lambda row: any(each in (row.get("heard") or "") for each in NOTHING_ARRIVES), "nothing-arrives"),
    ]
    for matches, name in kinds:
        row = next(filter(matches, state.get("ended") or []), None)
        if row is None or (name == "nothing-arrives" and row.get("played", 0.0) < SETTLES_AFTER):
            continue
        source, at = str(row.get("source") or ""), float(row.get("ended") or now)
        yield finding(
            name, _level("error", source, at, now), caller=row.get("caller"), source=source, ago=duration(now - at),
            why=row.get("why"), advertised=told, receiver=row.get("receiver"), heard=row.get("heard"),
            port=row.get("port"),
        )  # fmt: skip
