"""What ``sip_server.py`` does before it imports the rest of the program. These imports are most of a start.

With an option that only looks at something, the program ends here.
"""

from __future__ import annotations

import os
import sys
from typing import Optional

from ..ffmpeg.launch import EncoderQuery, ask_for_encoders
from .command_line import missing_package, read_arguments
from .log_format import complaint
from .signals import release_signals
from .tuning import fill_standard_descriptors, pause_garbage_collection


def begin() -> Optional[EncoderQuery]:
    """Read the command line, and end the program if it asks for no server, or if a package is missing.

    Then ask ffmpeg for its encoders; it answers while the rest is imported.
    """
    pause_garbage_collection()
    arguments = read_arguments()
    if missing := missing_package():
        sys.exit(complaint(missing, os.environ))
    fill_standard_descriptors()
    if arguments.explain is not None:
        release_signals()
        from .explain_command import explain_file  # a start of the server does not wait for the import

        sys.exit(explain_file(arguments.explain, arguments.source))
    if arguments.check:
        release_signals()
        from ..doctor.command import run  # a start of the server does not wait for the import

        sys.exit(run(arguments.json))
    return ask_for_encoders()
