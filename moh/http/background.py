"""What the process of the page does first, before its imports: it steps back behind the calls."""

from __future__ import annotations

import os
import signal

NICENESS = 10
"""How much lower the priority of the page is than the server's: the calls come first."""
OOM_SCORE = 800
"""``oom_score_adj``, 1000 at most: when memory runs out, the kernel kills the page before the server."""


def step_back() -> None:
    """Lower the priority of this process, and ignore the signals that are for the server.

    Ctrl-C in a terminal and the stop of systemd reach all processes. The page goes on until the server has ended.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICENESS)
    try:
        with open("/proc/self/oom_score_adj", "w") as score:
            score.write(str(OOM_SCORE))
    except OSError:
        pass  # the system does not permit it
