"""What the doctor finds out about the music: the file itself, and what the running server has made of it."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

from ..common.config import Settings
from ..common.errors import SettingsError
from ..mastering.completeness import lacks, promised
from ..mastering.owner_name import owner_name
from ..mastering.prepare import BUILTIN, Music, find_source, prepare
from ..mastering.refusals import facts_of, refuse_other_kinds
from ..mastering.report import loudness_of
from .finding import BUILTIN_PIECE, Finding, finding

WAITS = "still being prepared"
"""Part of the trouble of a server that does not know yet whether it can play the owner's music."""
NO_MUSIC = "no music leaves the server: "
"""The beginning of the trouble of a server whose engines send nothing (``moh/server/music_watch.py``)."""
MISSING = re.compile(r"the file breaks off[^,]*|only \d+ of its \d+ s can be read")
"""What the report of a conversion says of a file whose end is missing."""
KINDS = (
    (re.compile(r"ffmpeg does not run"), "ffmpeg-missing"),
    (re.compile(r"may not (?:read|enter)"), "music-unreadable"),
    (re.compile(r"almost silent"), "music-silent"),
    (re.compile(r"No such file|which does not exist"), "music-missing"),
    (re.compile(r"^Cannot write the converted music"), "disk-full"),
    (re.compile(r"^(?:MOH_CACHE|XDG_CACHE_HOME) is "), "cache-unusable"),
)
"""By the text of a ``SettingsError``: the finding that it stands for. Any other is ``music-refused``."""


def file_findings(settings: Settings) -> Iterator[Finding]:
    """What is wrong with the owner's file by its first octets, its permissions and its length. Takes milliseconds."""
    try:
        source = find_source(settings)
        if source == BUILTIN:
            return
        facts_of(source)
        refuse_other_kinds(source)
    except SettingsError as error:
        yield refused(settings, str(error))
        return
    if lacks(source):
        yield truncated(source)


def truncated(source: Path) -> Finding:
    """The finding about a file that is shorter than its header says."""
    there, whole = source.stat().st_size, promised(source) or 1
    missing = f"{100 * (1 - there / whole):.0f} %"
    return finding("music-truncated", name=owner_name(source), missing=missing)


def refused(settings: Settings, error: str, user: Optional[int] = None) -> Finding:
    """The finding for the ``error`` with which the music could not be prepared, by ``user`` (default: this one)."""
    found = next((name for pattern, name in KINDS if pattern.search(error)), "music-refused")
    folder, name = settings.cache or "~/.cache/moh", owner_name(_source_of(settings))
    reason = reason_of(error)
    if found == "disk-full":
        free = re.search(r"([\d.]+ MB) are free", error)
        return finding("disk-full", folder=folder, free=free[1] if free else "0 MB")
    return finding(found, name=name, reason=reason, user=os.geteuid() if user is None else user)


def reason_of(error: str) -> str:
    """The text of a ``SettingsError`` about a file, without its beginning that names the file."""
    return re.sub(r"^Cannot play '[^']*': ", "", error.rstrip("."))


def _source_of(settings: Settings) -> Path:
    try:
        return find_source(settings)
    except SettingsError:
        return Path(settings.music)


def music_of_state(settings: Settings, state: dict[str, Any], user: int) -> Iterator[Finding]:
    """What plays by the state of the running server, whose process belongs to ``user``."""
    trouble, music, names = state.get("trouble", ""), state.get("music"), state.get("names") or {}
    if WAITS in trouble:
        yield finding("music-waits", name=owner_name(_source_of(settings)))
    elif trouble.startswith(NO_MUSIC):
        yield finding("no-music-flows", reason=trouble[len(NO_MUSIC) :].rstrip("."))
    elif trouble and not names:
        yield refused(settings, trouble, user)
    elif trouble and names.get("count"):  # ``name_findings`` says that a folder is empty
        yield finding("folder-trouble", folder=names.get("folder", ""), reason=reason_of(trouble))
    if music is None:
        return
    yield _plays(
        BUILTIN_PIECE if music.get("builtin") else music.get("name", "?"),
        None if music.get("live") else music.get("seconds") or 0.0,
        music.get("loudness"),
        "default-plays" if state.get("names") else "music-plays",
    )
    if music.get("builtin") and not trouble and not state.get("names"):
        yield finding("music-builtin")
    if missing := MISSING.search(music.get("summary") or ""):
        yield finding("music-truncated", name=music.get("name", "?"), missing=missing[0])


def converted_music(settings: Settings) -> Iterator[Finding]:
    """Convert the music as a start of the server would, in a temporary folder: nothing of it is kept."""
    try:
        with tempfile.TemporaryDirectory(prefix="moh-check-") as folder:
            music = prepare(replace(settings, cache=folder))
            yield from _converted(settings, music)
    except SettingsError as error:
        yield refused(settings, str(error))
    except OSError as error:
        yield refused(settings, f"Cannot write the converted music: {error.strerror}")


def _converted(settings: Settings, music: Music) -> Iterator[Finding]:
    name = BUILTIN_PIECE if music.source == BUILTIN else owner_name(music.source)
    yield _plays(name, music.seconds, loudness_of(music.report, settings.loudness))
    if music.source == BUILTIN and not settings.music:
        yield finding("music-builtin")
    if missing := MISSING.search(music.report):
        yield finding("music-truncated", name=name, missing=missing[0])


def _plays(name: str, seconds: Optional[float], loudness: Optional[float], id_: str = "music-plays") -> Finding:
    """``seconds`` is ``None`` for a radio, which has no end."""
    minutes, rest = divmod(round(seconds or 0.0), 60)
    details = "radio" if seconds is None else f"{minutes}:{rest:02}"
    if loudness is not None:
        details += f", {loudness:.0f} LUFS"
    return finding(id_, name=name, details=details)
