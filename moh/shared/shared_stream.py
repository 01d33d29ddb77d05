"""The shared stream: any number of callers hear the same packets, which leave from one port.

One thread paces them (``pacer``); a second one helps where the first has more to do than a core can. The law kept here
is that of ``stream``: each call that was started is reported gone exactly once, for its latest start.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Optional, Union

from ..common.actions import StartStream, StopStream, StreamEnded
from ..common.codecs import Codec
from ..net.sockets import media_sockets
from .encoded_loop import EncodedLoop
from .feedback import FeedbackReport
from .pacer import Pacer

EACH_THREAD = 5000
"""Callers that one thread has before the next is started."""
PATIENCE = 5.0
"""Seconds that a thread may take for its farewells; leave of 10,000 is taken in less than one."""

log = logging.getLogger("moh")


class SharedStreamStats(NamedTuple):
    """What the shared stream has done: callers and batches now, the rest since the start, by number."""

    callers: int
    batches: int
    sent: int
    """Packets."""
    lost: int
    """Packets that the kernel did not take."""
    skipped: int
    """Packets whose time had passed, each for a whole batch."""
    heard: int
    """Datagrams that came back."""
    reports: int
    """Those of them that were RTCP."""
    deaf: int
    """Callers given up because nobody listened."""


class SharedStream:
    """The shared stream, with the same doors as ``Supervisor``. ``order`` never waits; ``ended`` tells what is over."""

    def __init__(self, bind: str, port: int, threads: Optional[int] = None) -> None:
        """Take ``port`` of ``bind``, for IPv4 and IPv6 if both are there. Raises ``OSError`` where it is not free.

        ``threads`` is how many may pace, ``None``: two where there are two cores.
        """
        self.port = port
        self._sockets = media_sockets(bind, port)
        self._most_threads = threads or min(2, os.cpu_count() or 1)
        self._lock = threading.Lock()
        self._tunes: list[tuple[Mapping[int, Path], float]] = []
        self._frames: dict[tuple[int, Codec, int], EncodedLoop] = {}
        self._ended: queue.SimpleQueue[StreamEnded] = queue.SimpleQueue()
        self._places: dict[str, tuple[Pacer, int]] = {}
        """The thread of each call that is not reported gone yet, and the serial of its latest start."""
        self._pacers = [Pacer(self.frames, self.report_to_all, 0, self._sockets, self._ended)]

    def order(self, action: Union[StartStream, StopStream]) -> None:
        """Do as the core says, soon: the orders for a call are carried out in the order given."""
        with self._lock:
            place = self._places.get(action.call)
            if isinstance(action, StartStream):
                pacer = place[0] if place else self._choose()
                self._places[action.call] = (pacer, action.serial)
                pacer.words.put(action)
            elif place:
                place[0].words.put(action)

    def has(self, call: str) -> bool:
        """Whether a call is here and has not been reported gone."""
        return call in self._places

    def _choose(self) -> Pacer:
        """The first thread that has room; a new one where there may be; else the one with the fewest callers."""
        for pacer in self._pacers:
            if pacer.callers < EACH_THREAD:
                break
        else:
            if len(self._pacers) < self._most_threads:
                try:
                    more = Pacer(self.frames, self.report_to_all, len(self._pacers), self._sockets, self._ended)
                    self._pacers.append(more)
                except RuntimeError as error:  # the machine has no thread for it
                    log.warning("the shared stream goes on with %d thread: %s", len(self._pacers), error)
            pacer = min(self._pacers, key=lambda each: each.callers)
        pacer.callers += 1
        return pacer

    def add_tune(self, music: Mapping[int, Path], seconds: float) -> int:
        """Have one more tune, as ``Supervisor.add_tune``; nothing is encoded before somebody wants to hear it."""
        self._tunes.append((music, seconds))
        return len(self._tunes) - 1

    def keep(self, tunes: set[int]) -> None:
        """Forget the frames of all other tunes."""
        with self._lock:
            self._frames = {key: frames for key, frames in self._frames.items() if key[0] in tunes}

    def frames(self, tune: int, codec: Codec, ptime: int) -> EncodedLoop:
        """The tune in that codec; encoding begins with the first who asks."""
        key = (tune, codec, ptime if codec.ptimes else 0)
        known = self._frames.get(key)
        if known is not None and not known.trouble:
            return known  # without the lock: who paces waits for nobody that may be held up
        with self._lock:
            known = self._frames.get(key)
            if known is None or known.trouble:
                music, seconds = self._tunes[tune]
                known = self._frames[key] = EncodedLoop(
                    music[codec.sample_rate], seconds, codec, ptime, self.report_to_all
                )
            return known

    def report_to_all(self, word: Union[EncodedLoop, FeedbackReport]) -> None:
        """Leave a word for every thread."""
        for pacer in list(self._pacers):
            pacer.words.put(word)

    def ended(self) -> list[StreamEnded]:
        """The streams that are over since the last time this was asked."""
        over: list[StreamEnded] = []
        while True:
            try:
                gone = self._ended.get_nowait()
            except queue.Empty:
                return over
            with self._lock:
                place = self._places.get(gone.call)
                if place and place[1] == gone.serial:
                    del self._places[gone.call]
                    place[0].callers -= 1
            over.append(gone)

    def stats(self) -> SharedStreamStats:
        """What has been done so far; near enough, since the threads go on meanwhile."""
        return SharedStreamStats(
            len(self._places), *(sum(column) for column in zip(*(each.stats() for each in self._pacers)))
        )

    def close(self) -> None:
        """Take leave of all callers, end the threads, close the port."""
        for pacer in self._pacers:
            pacer.words.put(None)
        for pacer in self._pacers:
            pacer.thread.join(PATIENCE)
        for sock in self._sockets.values():
            sock.close()
