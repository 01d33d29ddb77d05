"""Makes the music as each codec makes it sound, when a browser asks for it. The latest sounds are kept.

One thread makes one sound at a time, at the lowest priority, so that the calls keep the processor.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Optional

from ..common.codecs import Codec
from ..common.faults import FaultLog
from ..net.threads import Thread
from .sound import CannotMake, Sound, make_sound

NICENESS = 19
"""The lowest priority of Linux."""
MOST_WAITING = 2
"""Requests that may wait for a sound; the web server has more threads, and these answer the other requests."""
PATIENCE = 5.0
"""Seconds that a request waits for a sound."""
MOST_KEPT = 8
"""Sounds that are kept: two tunes in all codecs, 24 MB at most."""
RETRY_AFTER = 60.0
"""Seconds after which a sound that could not be made is tried again."""

log = logging.getLogger("moh")


class Tune(NamedTuple):
    """What plays now for a name. A later tune has a higher number."""

    number: int
    path: Path
    """The converted music at the sample rate of the codec."""
    name: str = ""
    """The name in the music folder; empty for the default."""


class NotYet(Exception):
    """The sound is being made."""


class Job:
    """A sound that is to be made, is being made, was made, or could not be made."""

    def __init__(self, tune: Tune, codec: Codec) -> None:
        self.tune = tune
        self.codec = codec
        self.done = threading.Event()
        self.sound: Optional[Sound] = None
        self.why = ""
        """Why it could not be made."""
        self.ended = 0.0


class Players:
    """The sounds of the present tunes. ``sound`` may be called from any thread."""

    def __init__(self, make: Callable[[Path, Codec], Sound] = make_sound, patience: float = PATIENCE) -> None:
        self._make = make
        self._patience = patience
        self._lock = threading.Lock()
        self._jobs: dict[tuple[Tune, Codec], Job] = {}  # that which was asked for latest is the last
        self._waiting = threading.BoundedSemaphore(MOST_WAITING)
        self._queue: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._thread: Optional[Thread] = None
        self._faults = FaultLog("the thread that makes the players")

    def sound(self, tune: Tune, codec: Codec) -> Sound:
        """Return the sound; wait for it a little. Raises ``NotYet`` or ``CannotMake``."""
        job = self._job(tune, codec)
        if not job.done.is_set() and self._waiting.acquire(blocking=False):
            try:
                job.done.wait(self._patience)
            finally:
                self._waiting.release()
        if not job.done.is_set():
            raise NotYet
        if job.sound is None:
            raise CannotMake(job.why)
        return job.sound

    def _job(self, tune: Tune, codec: Codec) -> Job:
        with self._lock:
            former = [key for key in self._jobs if key[0].name == tune.name and key[0].number < tune.number]
            done = [key for key, job in self._jobs.items() if job.done.is_set() and key != (tune, codec)]
            for key in {*former, *done[: max(0, len(done) - MOST_KEPT + 1)]}:
                del self._jobs[key]  # its file goes with the last answer that reads it
            job = self._jobs.pop((tune, codec), None)
            if job is None or (job.why and time.monotonic() >= job.ended + RETRY_AFTER):
                if self._thread is None:
                    thread = Thread(self._run, "players")
                    try:
                        thread.start()
                    except RuntimeError as error:
                        raise CannotMake(str(error)) from None
                    self._thread = thread
                job = Job(tune, codec)
                self._queue.put(job)
            self._jobs[tune, codec] = job
            return job

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)  # of this thread; the ffmpegs that it starts inherit it
        while True:
            job = self._queue.get()
            try:
                job.sound = self._make(job.tune.path, job.codec)
            except CannotMake as error:
                job.why = str(error)
                log.warning("no player for %s: %s", job.codec.name, job.why)
            except Exception as error:
                job.why = "an unexpected error, which the log has"
                self._faults.report(error, time.monotonic(), job.codec.name)
            finally:
                job.ended = time.monotonic()
                job.done.set()
