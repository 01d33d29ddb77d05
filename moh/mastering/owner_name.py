"""The name by which the owner knows a file. In a container a file has another path than on the owner's machine."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

from ..common.config import ON_HOST
from .music_folder import FOLDERS

MOUNTS = Path("/proc/self/mountinfo")
"""What is mounted in this container, and from where: proc(5)."""
GONE = "//deleted"
"""What the kernel writes behind the path of a bound file that has been removed or replaced on its machine."""


def owner_name(path: Path, setting: str = "MOH_MUSIC") -> str:
    """The path as the owner wrote it for ``setting`` where Compose passes it; otherwise the name of the bound file.

    A file in a folder that is bound as the music folder has the name of that folder in front. A file that is not bound
    into a container has its own path.
    """
    for folder in FOLDERS:
        if folder in path.parents:
            name = owner_name(folder, setting)
            return str(path) if name == str(folder) else os.path.join(name, path.relative_to(folder))
    bound = _bound_name(path)
    return (os.environ.get(ON_HOST[setting], "").strip() or bound) if bound else str(path)


def in_owner_words(text: str, path: Path, setting: str = "MOH_MUSIC") -> str:
    """The message ``text``, in which the owner's name stands in place of ``path``."""
    return text.replace(repr(str(path)), repr(owner_name(path, setting)))


def _bound_name(path: Path) -> str:
    """The name on its machine of a file that is bound at ``path``; empty for any other.

    The kernel knows its path within its own file system only, so the folders in it may not be those of the machine.
    """
    try:
        # ``splitlines`` would also cut at characters that a path may hold, such as U+2028
        lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").rstrip("\n").split("\n")
    except OSError:
        return ""
    fields = (line.split(" ") for line in lines)
    sources = {each[4]: each[3] for each in fields if len(each) > 4}
    source = _unescaped(sources.get(_escaped(str(path)), ""))
    return PurePosixPath(source[: -len(GONE)] if source.endswith(GONE) else source).name


def _escaped(path: str) -> str:
    """As the kernel writes a path there."""
    return re.sub(r"[ \t\n\\]", lambda found: f"\\{ord(found[0]):03o}", path)


def _unescaped(path: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), path)
