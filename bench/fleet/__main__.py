"""``python -m bench.fleet arithmetic|capacity|failover``."""

import sys

from bench.common.command_line import Choice, choose
from bench.fleet import arithmetic, capacity, failover

CHOICES = {
    "arithmetic": Choice("what 10,000, 100,000 and 1,000,000 people on hold need", arithmetic.main),
    "capacity": Choice("what a caller, a call and a report cost, and how many calls Kamailio takes", capacity.main),
    "failover": Choice("what calls notice when one of four servers is killed, drained or stopped", failover.main),
}

sys.exit(choose("python -m bench.fleet", "Measure a fleet on this machine, and compute larger ones.", CHOICES))
