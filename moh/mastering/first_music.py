"""What callers hear first after the start: the owner's music, if the cache has it, or the built-in piece."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from concurrent.futures import TimeoutError as FutureTimeout  # another class in Python 3.9
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Optional

from ..common.config import Settings
from ..common.errors import SettingsError
from ..ffmpeg.run import Progress
from .cache import digest_of
from .form import Form
from .prepare import BUILTIN, Music, entry_for, find_source, music_of, prepare, state_of
from .refusals import facts_of, refuse_other_kinds

DIGEST_TIMEOUT = 1.0
"""Seconds that callers wait at the start until it is known whether the cache has the music; then the stand-in is made.
500 MB are read in that time from memory."""
PROGRESS_EVERY = 0.1
"""Seconds between two calls of ``progress`` meanwhile."""

log = logging.getLogger("moh")


class FirstMusic(NamedTuple):
    """What callers hear first after the start."""

    music: Music
    state: Optional[tuple[int, ...]] = None
    """The state of the owner's file that ``music`` was made of; ``None`` for the built-in piece in its place."""


def first_music(settings: Settings, progress: Optional[Progress] = None) -> Optional[FirstMusic]:
    """The owner's music where the cache has it; otherwise the built-in piece, until the music is converted.

    ``None`` where the built-in piece is the music, or cannot be made either.
    """
    source, found = _look_up_in_time(settings, progress)
    if found is not None or source == BUILTIN:
        return found
    try:
        return FirstMusic(prepare(replace(settings, music=str(BUILTIN)), progress))
    except SettingsError:
        return None  # the owner's music meets the same obstacle, and that is reported


def _look_up_in_time(settings: Settings, progress: Optional[Progress]) -> tuple[Optional[Path], Optional[FirstMusic]]:
    """``_look_up`` for ``DIGEST_TIMEOUT`` at most; ``None`` twice where that is too short, or the file has a fault.

    The file is read in a thread of its own: a call to a network share that hangs may not return at all.
    """
    give_up = time.monotonic() + DIGEST_TIMEOUT
    found: Future[tuple[Path, Optional[FirstMusic]]] = Future()

    def tick() -> None:
        if time.monotonic() >= give_up:
            raise TimeoutError("the file is read too slowly")

    def look_up() -> None:
        try:
            found.set_result(_look_up(settings, tick))
        except BaseException as error:
            found.set_exception(error)

    threading.Thread(target=look_up, name="digest", daemon=True).start()
    while (left := give_up - time.monotonic()) > 0 and not found.done():
        if progress:
            progress(0.0)
        wait([found], min(left, PROGRESS_EVERY))
    try:
        return found.result(0)
    except (FutureTimeout, TimeoutError):
        log.warning("the music is read slowly, or not at all; until it is ready, callers hear the built-in piece")
    except (OSError, SettingsError):
        pass  # ``prepare`` reports the error
    return None, None


def _look_up(settings: Settings, tick: Callable[[], None]) -> tuple[Path, Optional[FirstMusic]]:
    """The owner's file, and its music if the cache has it. The built-in piece is not looked up."""
    source = find_source(settings)
    if source == BUILTIN:
        return source, None
    facts = facts_of(source)  # raises for a pipe, which would be waited for
    refuse_other_kinds(source)
    entry = entry_for(source, settings, Form.LOOP, digest_of(source, tick))
    found = entry.find()
    if found is None:
        return source, None
    entry.clean()
    return source, FirstMusic(music_of(entry, found, source, settings), state_of(facts))
