"""What a start of the server looks at: a few milliseconds of checks, without a call. It imports as little as it can."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..common.addresses import is_loopback
from ..common.config import Settings
from ..net.container import is_behind_a_bridge
from .address import address_findings, own_addresses
from .calls import call_findings
from .finding import Finding
from .machine import disk_findings, limit_findings
from .music import file_findings
from .names import name_findings
from .published import published_findings
from .texts import level, sentence

LOGGED_BY_THE_START = "music-"
"""How the ids of findings begin of which the start has logged its own line."""
SAID_ONCE = ("music-", "disk-", "ffmpeg-missing")
"""How the ids of findings begin that two checks may come to, in other words."""


def examine_at_start(settings: Settings, state: dict[str, Any]) -> list[Finding]:
    """The findings about a server that has started just now, with this ``state``."""
    music = state.get("music") or {}
    found = [
        *file_findings(settings),
        *address_findings(settings, state.get("uri")),
        *bridge_findings(settings, runs=True),
        *limit_findings(settings, state["pid"]),
        *disk_findings(settings, music.get("seconds") or 0.0, plays=True),
    ]
    return once(found)


def in_calls(settings: Settings, state: dict[str, Any]) -> list[Finding]:
    """The warnings and errors about the calls and names in a state."""
    found = (*call_findings(settings, state), *name_findings(state))
    return [each for each in found if level(each) in ("warning", "error")]


def lines_of(findings: Iterable[Finding]) -> list[str]:
    """A line for the log for each warning and error of which the start has logged none."""
    return [
        sentence(each)
        for each in findings
        if level(each) in ("warning", "error") and not each.id.startswith(LOGGED_BY_THE_START)
    ]


def once(findings: Iterable[Finding]) -> list[Finding]:
    """The findings, without those that repeat an earlier one."""
    kept: list[Finding] = []
    for each in findings:
        if not (each.id.startswith(SAID_ONCE) and any(each.id == former.id for former in kept)):
            kept.append(each)
    return kept


def bridge_findings(settings: Settings, runs: bool) -> Iterator[Finding]:
    """What a container with a network of its own can know of its published ports; nothing for any other machine."""
    if not is_loopback(settings.bind) and any(map(is_behind_a_bridge, own_addresses())):
        yield from published_findings(settings, runs)
