"""``python -m bench.attack amplification|floods|shapes``, as root."""

import sys

from bench.attack import amplification, floods, shapes
from bench.common.command_line import Choice, choose

CHOICES = {
    "amplification": Choice("octets that leave for each octet of a forged source address", amplification.main),
    "floods": Choice("what calls on hold and new callers notice of a flood", floods.main),
    "shapes": Choice("what listeners notice of callers that ask for packets unlike all others", shapes.main),
}

sys.exit(choose("python -m bench.attack", "Attack a real server in a network namespace of its own.", CHOICES))
