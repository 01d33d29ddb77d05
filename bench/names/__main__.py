"""``python -m bench.names joints|radio``."""

import sys

from bench.common.command_line import Choice, choose
from bench.names import joints, radio

CHOICES = {
    "joints": Choice("pieces in a row and announcements at a phone: gaps, steps, loudness, lowering", joints.main),
    "radio": Choice("a radio that dies, comes back and changes: silence and loudness at a phone", radio.main),
}

sys.exit(choose("python -m bench.names", "Measure music by name, on this machine alone.", CHOICES))
