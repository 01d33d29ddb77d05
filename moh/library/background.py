"""What this process does first, before its imports: it steps back behind the calls, and so do the ffmpegs it starts."""

from __future__ import annotations

import os
import signal

NICENESS_AT_START, NICENESS = 5, 19
"""How much lower the priority is than the server's: until the default plays or has to be converted, and then."""
OOM_SCORE = 850
"""``oom_score_adj``, 1000 at most: when memory runs out, the kernel kills the library before the server."""


def step_back() -> None:
    """Take a lower priority, and ignore the signals that are for the server.

    Ctrl-C in a terminal and the stop of systemd reach all processes; the library ends with its standard input.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICENESS_AT_START)
    try:
        with open("/proc/self/oom_score_adj", "w") as score:
            score.write(str(OOM_SCORE))
    except OSError:
        pass


def step_behind_all() -> None:
    """Take the lowest priority.

    With the policy SCHED_IDLE the kernel takes the processor away from this process at once when a thread of the server
    wakes, and lets it use the disk only while no other process does.
    """
    os.nice(NICENESS - NICENESS_AT_START)
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except OSError:
        pass  # the system does not permit it: the niceness has to do
