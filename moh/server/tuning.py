"""Settings of the interpreter and the kernel, so that no packet of music is late."""

from __future__ import annotations

import gc
import os
import resource
import sys

MOST_DESCRIPTORS = 1 << 16
COLLECT_EVERY = 60.0
"""Seconds between two full garbage collections of an idle server."""
SWITCH_INTERVAL = 0.0005
"""Seconds after which a thread that computes passes the interpreter's lock to a waiting thread."""


def pause_garbage_collection() -> None:
    """Collect no garbage until ``steady_interpreter`` is called: imports leave none, and collecting takes 10 ms."""
    gc.disable()


def steady_interpreter() -> None:
    """Keep the interpreter from delaying a packet of music: all threads, the pacer too, wait for the same lock.

    - A full garbage collection visits all objects and takes 13 µs for each call in progress: with 10,000 calls no
      packet leaves for 0.13 s. A call leaves no reference circles behind. So only ``IdleCollector`` makes full
      collections; the interpreter itself makes one only when so many objects were added that a leak would be worse.
      Objects that exist at the start are never visited again. Collections of young objects stay: they take less than a
      millisecond.
    - ``SWITCH_INTERVAL`` is 0.5 ms instead of Python's 5 ms. While a worker parses one malformed message after another,
      a thread that wakes each millisecond is then 0.8 ms late instead of 3.2 ms. While workers handle ordinary calls
      the shorter interval changes nothing, because they often wait for the network; it costs 5 % more processor time.
    """
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(700, 10, 1000)
    sys.setswitchinterval(SWITCH_INTERVAL)


def fill_standard_descriptors() -> None:
    """Open ``/dev/null`` in place of a closed standard input, output or error.

    Otherwise a socket could get such a number, and error messages would be written to that socket.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the new descriptor gets the lowest free number


class IdleCollector:
    """Full garbage collections, made only while no call is in progress, ``COLLECT_EVERY`` seconds apart."""

    def __init__(self) -> None:
        self._collected = 0.0

    def collect(self, idle: bool, now: float) -> None:
        """Run a full collection if the server is ``idle`` and ``COLLECT_EVERY`` has passed since the last one."""
        if idle and now - self._collected >= COLLECT_EVERY:
            gc.collect()
            self._collected = now


def raise_descriptor_limit() -> None:
    """Raise the limit of open files as far as the system allows: an ffmpeg needs three, and the usual limit is 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
