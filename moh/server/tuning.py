"""What the process asks of the interpreter and the kernel, so that no packet of music is late."""

from __future__ import annotations

import gc
import os
import resource
import sys

MOST_DESCRIPTORS = 1 << 16
COLLECT_EVERY = 60.0
"""Seconds between two full garbage collections of an idle server."""
SWITCH_INTERVAL = 0.0005
"""Seconds after which a thread that computes gives the interpreter's lock to a thread that waits for it."""


def steady_interpreter() -> None:
    """Keep the interpreter from delaying a packet of music: each thread, the pacer too, waits for one lock.

    - A full garbage collection visits all objects, 13 µs for each call in progress: with 10,000 calls no packet leaves
      for 0.13 s. A call leaves no reference circles behind, so full collections are made only by ``IdleCollector``, or
      when a leak of millions of objects would be worse. Objects that exist at the start are never visited again. The
      collections of young objects stay: they take less than a millisecond.
    - ``SWITCH_INTERVAL`` is 0.5 ms instead of Python's 5 ms: beside a worker that parses one malformed message after
      another, a thread that wakes each millisecond is 0.8 ms late instead of 3.2. Ordinary calls wait for the network
      often enough that it changes nothing for them; it costs them about 5 % of processor.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(700, 10, 1000)
    sys.setswitchinterval(SWITCH_INTERVAL)


def fill_standard_descriptors() -> None:
    """Open ``/dev/null`` where standard input or error is closed: a socket with such a number would get messages."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free


class IdleCollector:
    """Full garbage collections, made only while no call is in progress, ``COLLECT_EVERY`` seconds apart."""

    def __init__(self) -> None:
        self._collected = 0.0

    def collect(self, idle: bool, now: float) -> None:
        """Collect if the server is ``idle`` and the last collection is long enough ago."""
        if idle and now - self._collected >= COLLECT_EVERY:
            gc.collect()
            self._collected = now


def raise_descriptor_limit() -> None:
    """Raise the limit of open files as far as the system allows: an ffmpeg needs three, and the usual limit is 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
