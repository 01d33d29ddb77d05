"""The examination: all checks, one after another. Each looks at one thing, and knows nothing of the others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Optional

from ..common.actions import Address
from ..common.config import Settings
from ..mastering.music_folder import music_folder
from ..net.state_client import NoState, read_state
from ..sip.validation import ALLOW
from .address import address_findings
from .at_start import bridge_findings, once
from .calls import call_findings
from .finding import Finding, duration, finding
from .folder import default_findings, folder_findings
from .machine import disk_findings, ffmpeg_findings, limit_findings
from .music import converted_music, file_findings, music_of_state
from .names import name_findings
from .own_call import Answer, answer_of, own_call_findings
from .ports import is_taken, port_findings

State = dict[str, Any]
READY_WITHIN = 5.0
"""Seconds from a start in which a server need not be ready."""
SETTINGS_NOT_SHOWN = ("MOH_LOG", "MOH_LOG_FORMAT", "MOH_TRACE", "MOH_HTTP")
"""Settings that may differ without a finding: they change nothing of what callers hear."""


def examine(settings: Settings, values: dict[str, str], call: bool = True) -> list[Finding]:
    """All findings. ``values`` are the settings as texts, by their names; with ``call`` the server is called, too."""
    state: Optional[State] = None
    try:
        state = read_state(settings.bind, settings.sip_port)
    except NoState as error:
        taken = is_taken(settings.bind, settings.sip_port, "UDP")
        answer = answer_of(settings) if taken else None
        found = list(_without_state(settings, answer, str(error)))
    else:
        answer = answer_of(settings)
        found = list(_with_state(settings, state, answer, values))
    runs = state is not None or (answer is not None and _is_ours(answer))
    found += address_findings(settings, state.get("uri") if state else None)
    found += bridge_findings(settings, runs)
    found += ffmpeg_findings()
    found += limit_findings(settings, state["pid"] if state else 0)
    music = (state.get("music") if state else None) or {}
    found += disk_findings(settings, music.get("seconds") or 0.0, plays=bool(music and not music.get("builtin")))
    if state is not None:
        found += name_findings(state)
        found += call_findings(settings, state)
    if call and runs and answer is not None:
        found += own_call_findings(settings)
    return once(found)


def _is_ours(answer: Answer) -> bool:
    """Whether an answer to OPTIONS is one of this program: it lists the same methods in the same order."""
    return answer.allow == ALLOW[1]


def _without_state(settings: Settings, answer: Optional[Answer], why: str) -> Iterator[Finding]:
    if answer is not None and _is_ours(answer):
        yield finding("server-unread", address=answer.address, reason=why)
    else:
        ports = list(port_findings(settings))
        yield finding("server-stopped")
        yield from ports
    if music_folder(settings) is not None:
        yield from folder_findings(settings)
        yield from default_findings(settings)
        return
    files = list(file_findings(settings))
    yield from files
    if not any(each.id != "music-truncated" for each in files):
        yield from converted_music(settings)


def _with_state(
    settings: Settings, state: State, answer: Optional[Answer], values: dict[str, str]
) -> Iterator[Finding]:
    age, pid = state["now"] - state["started"], state["pid"]
    if answer is None:
        yield finding("server-silent", pid=pid, address=Address(settings.bind, settings.sip_port))
    yield finding("server-runs", version=state["version"], since=duration(age), pid=pid)
    if state.get("stopping") or not (state.get("ready") or age < READY_WITHIN):
        yield finding("server-not-ready")
    if names := _differing(state, values):
        yield finding("settings-differ", names=names)
    music = list(music_of_state(settings, state, _user_of(pid)))
    yield from music
    plays_on = not any(each.id in ("music-waits", "music-builtin") for each in music) and not state.get("trouble")
    for each in file_findings(settings):
        # what plays was read before; the next start would meet the fault of the file
        yield each._replace(level="warning") if plays_on else each


def _user_of(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return os.geteuid()


def _differing(state: State, values: dict[str, str]) -> str:
    """The settings in which the running server differs from ``values``, with the server's value."""
    found = []
    for row in state.get("settings") or []:
        name, running = row["name"], row["value"]
        if name not in SETTINGS_NOT_SHOWN and values.get(name, row["default"]) != running:
            found.append(f"{name}={running}" if running else f"{name} empty")
    return ", ".join(found)
