"""``python -m bench.names joints``."""

import sys

from bench.common.command_line import Choice, choose
from bench.names import joints

CHOICES = {
    "joints": Choice("pieces in a row and announcements at a phone: gaps, steps, loudness, lowering", joints.main),
}

sys.exit(choose("python -m bench.names", "Measure music by name, on this machine alone.", CHOICES))
