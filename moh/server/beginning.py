"""What ``sip_server.py`` does before it imports the rest of the program. These imports are most of a start."""

from __future__ import annotations

import sys
from typing import Optional

from ..ffmpeg.launch import EncoderQuery, ask_for_encoders
from .command_line import missing_package, read_arguments
from .tuning import fill_standard_descriptors, pause_garbage_collection


def begin() -> Optional[EncoderQuery]:
    """Read the command line, and end the program if a package is missing. Then ask ffmpeg for its encoders.

    ffmpeg answers while the rest is imported.
    """
    pause_garbage_collection()
    read_arguments()
    if missing := missing_package():
        sys.exit(missing)
    fill_standard_descriptors()
    return ask_for_encoders()
