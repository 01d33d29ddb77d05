"""The owner's music folder, where there is one: then each name that callers dial has music of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from ..common.config import Settings
from ..common.errors import SettingsError
from .cache_folder import absolute

FOLDERS = (Path("/music"), Path("/music.mp3"))
"""Where a container has the folder, if no setting names one. Compose binds what ``MOH_MUSIC`` names at the second."""


def music_folder(settings: Settings) -> Optional[Path]:
    """The folder that ``MOH_MUSIC`` names, or without it one of ``FOLDERS``; ``None`` where there is only a file.

    A server asks once, at its start: a folder that comes or goes later changes no more than its content.
    """
    try:
        named = [absolute("MOH_MUSIC", settings.music)] if settings.music else FOLDERS
        return next((folder for folder in named if folder.is_dir()), None)
    except (OSError, SettingsError, ValueError):  # such as a name with a NUL
        return None
