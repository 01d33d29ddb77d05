"""Where the cache of converted music is.

The law kept here: what a server plays can have been written by no other user. So the folder belongs to the server's
own user, and no other may write to it.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from ..common.config import Settings
from ..common.errors import SettingsError

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
"""The bits of a mode that let other users write."""


def cache_folder(settings: Settings) -> Path:
    """The folder of ``MOH_CACHE``, which has to be usable; without it the user's cache folder, or a private folder."""
    if settings.cache:
        folder = absolute("MOH_CACHE", settings.cache)
        if problem := _problem_with(folder) or _distrust_of(folder):
            raise SettingsError(f"MOH_CACHE is {settings.cache!r}: {problem}")
        return folder
    try:
        folder = absolute("XDG_CACHE_HOME", os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "moh"
    except SettingsError:  # a user without a home folder, such as a user that has a number and no name
        return _private_folder()
    if _problem_with(folder):
        return _private_folder()
    try:
        facts = folder.lstat()
        if stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid() and not is_only_ours(facts):
            folder.chmod(stat.S_IMODE(facts.st_mode) & ~OTHERS_WRITE)  # made by a former version with a umask of 002
        return _private_folder() if _distrust_of(folder) else folder
    except OSError:
        return _private_folder()


def is_only_ours(facts: os.stat_result) -> bool:
    """Whether what has these facts belongs to this process's user, and no other user may write to it."""
    return facts.st_uid == os.geteuid() and not facts.st_mode & OTHERS_WRITE


def is_ours_or_roots(facts: os.stat_result) -> bool:
    """As ``is_only_ours``, but what belongs to root is trusted as well: root can write to any file."""
    return facts.st_uid in (0, os.geteuid()) and not facts.st_mode & OTHERS_WRITE


def _distrust_of(folder: Path) -> str:
    """Why another user could put files into the folder, and what is expected; empty where none could."""
    me = os.geteuid()
    link, facts = folder.lstat(), folder.stat()
    wanted = f"expected a folder of user {me} that no other user may write to, as {str(folder / 'moh')!r} would be"
    if stat.S_ISLNK(link.st_mode) and link.st_uid not in (0, me):
        return f"a link of user {link.st_uid}; {wanted}"
    if facts.st_uid != me:
        return f"a folder of user {facts.st_uid}; {wanted}"
    if not is_only_ours(facts):
        return f"other users may write to it (mode {stat.S_IMODE(facts.st_mode):o}); {wanted}"
    return ""


def _problem_with(folder: Path) -> str:
    """Make ``folder`` if it is missing. Return why it cannot be the cache, and what is expected; empty if it can."""
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        return f"{error.strerror}; expected a folder"
    return "" if os.access(folder, os.W_OK | os.X_OK) else "not writable; expected a folder to write to"


def _private_folder() -> Path:
    """A temporary folder that no other user can write to: the same each time, unless another user has made it."""
    folder = Path(tempfile.gettempdir()) / f"moh-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        facts = folder.lstat()
        if stat.S_ISDIR(facts.st_mode) and is_only_ours(facts):
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
