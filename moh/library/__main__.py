"""The process of the library. The server starts it where there is a music folder: ``python3 -m moh.library``.

The settings are in the environment, as for the server. Standard input brings the server's messages, standard output
takes those for it, and standard error what is for the log. The process ends when its standard input ends: then the
server has ended. Conversions run on the main thread, so that the end interrupts them wherever they are.
"""

from __future__ import annotations

import sys

from .background import step_back, step_behind_all

if __name__ == "__main__":  # before all other imports, which take most of the time of the start
    step_back()

import logging
import os
import queue
import resource
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import BinaryIO, Optional

from ..common.child_log import log_to_the_server
from ..common.config import Settings
from ..common.errors import SettingsError
from ..common.faults import FaultLog
from ..mastering.cache_folder import cache_folder
from ..mastering.completeness import lacks
from ..mastering.music_folder import music_folder
from ..mastering.owner_name import owner_name
from ..mastering.prepare import DEFAULT_SOURCES
from .librarian import Failure, Librarian
from .messages import LONGEST_ORDER, cache_message, decode, lines
from .scan import Scanner
from .store import Store
from .title import Step
from .watch import FolderWatch, Settling
from .worker import perform

POLL_EVERY = 2.0
"""Seconds between two scans of the folder, and 50 times as long as a scan takes if that is longer."""
POLL_SHARE, LONGEST_POLL = 50.0, 60.0
CACHE_EVERY = 10.0
"""Seconds between two messages about the cache."""
PAUSE = 1.0
"""Seconds that the main thread waits for a message at most, while there is nothing to convert."""
HURRY = 10.0
"""Seconds after the start for which callers may wait for the default; it is found in the cache in less than one."""
END_TIMEOUT = 1.5
"""Seconds that a conversion may take to end with the server; it takes milliseconds."""
END_SIGNAL = signal.SIGRTMIN
"""The signal by which the thread that reads the standard input interrupts the main thread. It is none that the server
handles: a signal for the server may reach all processes."""
CLEANS_UP = ("__del__", "cleanup", "rmtree")
"""Functions that the end does not interrupt: the main thread ends soon after them, by ``Process._tick``."""

log = logging.getLogger("moh")


def cleans_up(frame: Optional[FrameType]) -> bool:
    """Whether a function of ``CLEANS_UP`` runs there: it would lose an exception, or leave files behind."""
    while frame is not None:
        if frame.f_code.co_name in CLEANS_UP:
            return True
        frame = frame.f_back
    return False


class Orders:
    """What the server has sent. A thread reads it; at its end that ends the process."""

    def __init__(self) -> None:
        self.lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.is_ending = False
        signal.signal(END_SIGNAL, self._end)
        threading.Thread(target=self._read, name="orders", daemon=True).start()

    def _read(self) -> None:
        try:
            while line := sys.stdin.buffer.readline(LONGEST_ORDER + 1):
                self.lines.put(line)
        except OSError:
            pass
        signal.pthread_kill(threading.main_thread().ident or 0, END_SIGNAL)
        time.sleep(END_TIMEOUT)
        os._exit(1)

    def _end(self, number: int, frame: Optional[FrameType]) -> None:
        was_ending, self.is_ending = self.is_ending, True
        if not was_ending and not cleans_up(frame):
            raise SystemExit(0)


class Process:
    """The main thread: it passes on messages, scans the folder, and performs one step after another."""

    def __init__(self, settings: Settings, folder: Path, cache: Path, orders: Orders, output: BinaryIO) -> None:
        self._settings = settings
        self._folder = folder
        self._orders = orders
        self._output = output
        self._faults = FaultLog("the library")
        self._store = Store(cache, settings.cache_limit)
        self._store.measure()
        self._scanner = Scanner(folder)
        self._watch = FolderWatch()
        self._settling = Settling(lambda path: not lacks(folder / path))
        bound = DEFAULT_SOURCES[0]
        has_default = not settings.music and bound != folder and bound.exists()
        self._librarian = Librarian(
            self._store, owner_name(folder), shuffle=settings.shuffle, has_default=has_default
        )  # fmt: skip
        self._poll_at = self._cache_at = 0.0
        self._sent_cache: object = None
        self._strange_until = 0.0
        self._hour = ""
        self._is_behind_all = False
        self._hurry_until = time.monotonic() + HURRY

    def run(self) -> None:
        """Work until the standard input ends."""
        while True:
            try:
                if not self.turn():
                    self._receive(self._orders.lines.get(timeout=PAUSE))
            except queue.Empty:
                continue
            except Exception as error:
                self._faults.report(error, time.monotonic())
                time.sleep(POLL_EVERY)

    def turn(self) -> bool:
        """Do what is due, and one step. Return whether there was one."""
        self._tick()
        step = self._librarian.next_step(time.monotonic(), self._hour)
        self._send()
        if not self._is_behind_all and (time.monotonic() >= self._hurry_until or self._librarian.is_default_ready):
            self._step_behind_all()
        if step is None:
            return False
        self._perform(step if self._is_behind_all else step._replace(may_convert=False))
        self._store.measure()
        self._librarian.tidy(time.monotonic())
        self._send()
        return True

    def _step_behind_all(self) -> None:
        self._is_behind_all = True
        step_behind_all()

    def _perform(self, step: Step) -> None:
        began = time.monotonic()

        def has_begun() -> None:
            self._librarian.began(step)
            self._send()

        try:
            result = perform(step, self._folder, self._settings, has_begun, self._is_full, self._tick)
        except Exception as error:
            self._faults.report(error, time.monotonic(), repr(step.name))
            result = Failure("refused", f"an unexpected error: {error!r}")
        now = time.monotonic()
        if isinstance(result, Failure):
            if not self._is_behind_all:  # the default has to be converted
                self._step_behind_all()
            self._librarian.failed(step, result, now, now - began)
        else:
            self._store.measure()
            self._librarian.finished(step, result, now)

    def _is_full(self) -> str:
        return self._store.missing(0)[1] if self._store.is_nearly_full() else ""

    def _tick(self) -> None:
        """What is due now, also in the middle of a conversion."""
        if self._orders.is_ending:
            raise SystemExit(0)
        while not self._orders.lines.empty():
            self._receive(self._orders.lines.get())
        if (now := time.monotonic()) >= self._poll_at:
            self._scan(now)
            self._send()

    def _scan(self, now: float) -> None:
        found = self._scanner.scan()
        self._hour = str(int(found.at // 3600))
        listing = self._watch.poll(found, now)
        is_settled = True
        if not self._watch.fault:
            is_settled = self._settling.poll(listing.files(), listing.at, now)
        self._librarian.scanned(listing, is_settled, self._settling.is_complete, self._watch.fault, now)
        self._store.measure()  # other programs use the disk too: a full one may have room again
        self._librarian.check_cache(os.path.isdir)
        took = time.monotonic() - now
        self._poll_at = now + took + min(LONGEST_POLL, max(POLL_EVERY, POLL_SHARE * took))

    def _receive(self, line: bytes) -> None:
        message = decode(line)
        if message is None:
            if (now := time.monotonic()) >= self._strange_until:
                self._strange_until = now + 60.0
                log.warning("the server sent what is no message: %.80r", line[:80])
        elif message["do"] == "check":
            now = time.monotonic()
            self._scan(now)
            self._settling.believe(self._watch.listing.files())
            self._librarian.check()
            self._scan(time.monotonic())
        else:
            self._librarian.receive(message, time.monotonic())

    def _send(self) -> None:
        """Send what is to be sent. The server may be busy: then this waits."""
        now = time.monotonic()
        found = self._librarian.drain(now)
        cache = cache_message(self._store.used, self._settings.cache_limit, self._store.entries)
        if now >= self._cache_at and cache != self._sent_cache:
            found.append(cache)
            self._sent_cache, self._cache_at = cache, now + CACHE_EVERY
        if found:
            self._output.write(lines(found))
            self._output.flush()


def main(arguments: list[str]) -> int:
    """Keep the library until the server ends."""
    if arguments or sys.stdin.isatty():
        print("The server starts this program itself, where there is a music folder (docs/names.md)", file=sys.stderr)
        return 2
    log_to_the_server(logging.INFO)
    try:
        settings = Settings.from_environment(os.environ)
        log.setLevel(settings.log)
        folder, cache = music_folder(settings), cache_folder(settings)
    except SettingsError as error:
        log.error("%s", error)
        return 1
    if folder is None:
        log.error("MOH_MUSIC is %r; expected a folder", settings.music)
        return 1
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)  # each name whose music the server has not taken yet is a lock
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limits[1], 4096), limits[1]))
    Process(settings, folder, cache, Orders(), sys.stdout.buffer).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
