"""The loops that are encoded, by tune and codec. They may have ``MOST_OCTETS`` of memory together.

Where there is no more room, and for live music, a loop is encoded as it plays. Any thread may use the table.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Optional

from ..common.codecs import Codec
from ..common.faults import FaultLog
from ..common.tunes import Tune, Tunes
from .encoded_loop import EncodedLoop, Plan
from .live_loop import LiveLoop
from .loop import Announcements, Loop, LoopPair

MOST_OCTETS = 512 * 2**20
"""Octets of all loops that are encoded as a whole."""
DROPPED_AFTER = 600.0
"""Seconds after its last receiver for which a loop is kept."""
SPARED_FOR = 30.0
"""Seconds for which a loop without receivers is spared if another one needs its memory: a receiver may wait for it, or
be unreachable for the moment."""
CLOSE_TIMEOUT = 2.0
"""Seconds that the encoders may take to end."""

Key = tuple[int, Codec, int]


class Loops:
    """The loops of all tunes, each made when a receiver needs it."""

    def __init__(self, tunes: Tunes, notify: Callable[[Loop], None], faults: FaultLog) -> None:
        """``notify`` is called by another thread when packets of a loop may leave, and when a loop has failed."""
        self._tunes = tunes
        self._notify = notify
        self._faults = faults
        self._lock = threading.Lock()
        self._pairs: dict[Key, LoopPair] = {}
        self._whole: weakref.WeakSet[EncodedLoop] = weakref.WeakSet()
        """All that are encoded as a whole and still in memory, even if they are not in the table any more."""
        self._live: weakref.WeakSet[LiveLoop] = weakref.WeakSet()

    def __len__(self) -> int:
        return len(self._pairs)

    @property
    def octets(self) -> int:
        """The memory of all loops that are encoded as a whole."""
        return sum(loop.plan.octets for loop in list(self._whole))

    def get(self, tune: int, codec: Codec, ptime: int) -> LoopPair:
        """The tune encoded with ``codec``. The first call starts the encoding, and so does a call after a failure."""
        key = (tune, codec, ptime if codec.ptimes else 0)
        known = self._pairs.get(key)
        if known is None or known.failure:
            with self._lock:
                known = self._pairs.get(key)
                if known is None or known.failure:
                    known = self._pairs[key] = self._make(self._tunes.get(tune), codec, ptime)
        known.used_at = time.monotonic()
        known.wake()
        return known

    def _make(self, tune: Tune, codec: Codec, ptime: int) -> LoopPair:
        rate = codec.sample_rate
        twins = [tune.files, tune.plain] if rate in tune.plain and tune.plain_for > 0 else [tune.files]
        began = tune.began
        if began is None and not self._has_room(len(twins) * Plan(codec, ptime, tune.seconds).octets):
            began = time.monotonic()
        loop, *plain = [self._loop(files, tune.seconds, codec, ptime, began) for files in twins]
        if not plain:
            return LoopPair(loop)
        return LoopPair(loop, plain[0], tune.plain_for, Announcements(tune.announcements, tune.seconds))

    def _loop(
        self, files: Mapping[int, Path], seconds: float, codec: Codec, ptime: int, began: Optional[float]
    ) -> Loop:
        music = files[codec.sample_rate]
        if began is not None:
            live = LiveLoop(music, seconds, codec, ptime, began, self._notify, self._faults)
            self._live.add(live)
            return live
        whole = EncodedLoop(music, seconds, codec, ptime, self._notify, self._faults)
        self._whole.add(whole)
        return whole

    def _has_room(self, octets: int) -> bool:
        """Whether there is memory for ``octets`` more. Loops without receivers make room, the longest unused first."""
        now = time.monotonic()
        unused = [key for key, pair in self._pairs.items() if now - pair.used_at > SPARED_FOR]
        for key in sorted(unused, key=lambda each: self._pairs[each].used_at):
            if self.octets + octets <= MOST_OCTETS:
                break
            del self._pairs[key]
        return self.octets + octets <= MOST_OCTETS

    def keep(self, tunes: set[int]) -> None:
        """Drop the loops of all other tunes. Their receivers hear them to the end."""
        with self._lock:
            self._pairs = {key: pair for key, pair in self._pairs.items() if key[0] in tunes}

    def drop_unused(self, used: Collection[LoopPair], now: float) -> None:
        """Drop the loops that have had no receiver for ``DROPPED_AFTER``. ``used`` are those that have receivers."""
        with self._lock:
            for pair in used:
                pair.used_at = now
            self._pairs = {key: pair for key, pair in self._pairs.items() if now - pair.used_at < DROPPED_AFTER}

    def close(self) -> None:
        """End the encoders of the loops that are encoded as they play."""
        live = list(self._live)
        for loop in live:
            loop.close(0.0)
        give_up = time.monotonic() + CLOSE_TIMEOUT
        for loop in live:
            loop.close(max(0.0, give_up - time.monotonic()))
