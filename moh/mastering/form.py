"""What a file is converted to: a loop by itself, a piece of several in a row, or an announcement."""

from __future__ import annotations

from enum import Enum


class Form(Enum):
    """What becomes of a file. The value stands in the text of the settings by which the cache knows an entry."""

    LOOP = ""
    """Music that is played by itself: its end meets its beginning."""
    PIECE = "piece"
    """Music that other music follows: its ends are cut where the sound begins and ends, and nothing is joined."""
    SPEECH = "speech"
    """An announcement: cut as a piece is, and mastered as speech."""
