"""Performs one step: converts a file, or puts an arrangement together; and says in the owner's words why it failed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Union

from ..common.config import Settings
from ..common.errors import SettingsError
from ..mastering.arrange import arrange
from ..mastering.prepare import prepare_file
from .librarian import Failure
from .messages import Made
from .title import Convert, Step

NO_ROOM = "Cannot write the converted music: "
"""How the message begins when the cache takes no more."""


class NoRoomError(Exception):
    """The cache has no room for a conversion; ``str`` says why."""


def perform(step: Step, folder: Path, settings: Settings, began: Callable[[], None],
            is_full: Callable[[], str], tick: Callable[[], None]) -> Union[Made, Failure]:  # fmt: skip
    """Perform the step and return its result.

    ``tick`` is called several times a second meanwhile, and may raise an exception to cancel the conversion. ``began``
    is called once when the cache does not have the music. ``is_full`` says why the conversion has to be given up.
    """
    has_begun = False

    def progress(share: float) -> None:
        nonlocal has_begun
        tick()
        if share > 0:
            if not step.may_convert:
                raise NoRoomError
            if why := is_full():
                raise NoRoomError(why)
            if not has_begun:
                has_begun = True
                began()

    try:
        if isinstance(step, Convert):
            return prepare_file(folder / step.path, settings, step.form, progress)
        return arrange(folder / step.source, step.parts, step.announcement, settings, progress)
    except NoRoomError as error:
        return Failure("full", str(error))
    except SettingsError as error:
        text = str(error)
        if isinstance(step, Convert) and not _is_there(folder / step.path):
            return Failure("refused", "it is not there any more")
        if text.startswith(NO_ROOM):
            return Failure("full", f"the disk of the cache is full: {text[len(NO_ROOM) :]}")
        return Failure("refused", re.sub(r"^Cannot play (?:'[^']*'|\"[^\"]*\"): ", "", text))


def _is_there(path: Path) -> bool:
    return os.path.lexists(path)
