"""Where the cache of converted music is."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from ..common.config import Settings
from ..common.errors import SettingsError


def cache_folder(settings: Settings) -> Path:
    """The folder of ``MOH_CACHE``, which has to be usable; without it the user's cache folder, or a private folder."""
    if settings.cache:
        folder = absolute("MOH_CACHE", settings.cache)
        if problem := _problem_with(folder):
            raise SettingsError(f"MOH_CACHE is {settings.cache!r}: {problem}")
        return folder
    try:
        folder = absolute("XDG_CACHE_HOME", os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "moh"
    except SettingsError:  # a user without a home folder, such as a user that has a number and no name
        return _private_folder()
    return _private_folder() if _problem_with(folder) else folder


def _problem_with(folder: Path) -> str:
    """Make ``folder`` if it is missing. Return why it cannot be the cache, and what is expected; empty if it can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"{error.strerror}; expected a folder"
    return "" if os.access(folder, os.W_OK | os.X_OK) else "not writable; expected a folder to write to"


def _private_folder() -> Path:
    """A temporary folder that no other user can write to: the same each time, unless another user has made it."""
    folder = Path(tempfile.gettempdir()) / f"moh-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        facts = folder.lstat()
        if stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid() and not facts.st_mode & 0o022:
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="moh-"))


def absolute(variable: str, text: str) -> Path:
    """The path that ``text`` names. Raises ``SettingsError`` for no path, and for a path that ffmpeg does not take."""
    try:
        path = Path(text).expanduser().absolute()
        str(path).encode()
    except RuntimeError:
        raise SettingsError(f"{variable} is {text!r}: no such home folder; expected a path") from None
    except UnicodeEncodeError:
        raise SettingsError(f"{variable} is {text!r}; expected a name in UTF-8") from None
    return path
