"""A tune in one codec that is encoded as it plays: a live one, or one for which there is no memory.

An ffmpeg gets the samples ``AHEAD`` seconds before their time, and what it encodes is kept in a window around the
present. Where it ends by itself, another one goes on from there, before the window is played. While no receiver uses
the loop there is no ffmpeg; the endless tune goes on all the same, so that receivers always hear the music of the time.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Optional

from ..common.codecs import Codec
from ..common.faults import FaultLog
from ..ffmpeg.commands import live_encode_command
from ..ffmpeg.launch import DATA_LIMIT_MB, leash, player
from ..net.threads import Thread
from .endless_samples import SAMPLE, EndlessSamples
from .live_encoder import LiveEncoder
from .loop import LONGEST_PACKET, WARM_UP, Loop

WINDOW = 30_000
"""Milliseconds of encoded music that are kept."""
AHEAD = 2000
"""Milliseconds by which the encoder gets the samples before their time. The process that writes a ring is at least 8 s
ahead of the clock."""
READY = 300
"""Milliseconds that have to be encoded ahead of the present before packets leave."""
TICK, FIRST_TICK = 0.2, 0.01
"""Seconds between two parts that the encoder gets; ``FIRST_TICK`` counts until ``READY`` is encoded."""
UNUSED_AFTER = 60.0
"""Seconds without a receiver after which the encoder ends."""
HANGS_AFTER, STARTS_WITHIN = 2.0, 8.0
"""Seconds without an octet after which an encoder counts as hung, if its music is about to run out; ``STARTS_WITHIN``
counts before the first octet."""
TOO_SLOW = 10_000
"""Milliseconds behind the present at which an encoder is given up: another one begins at the present."""
MOST_FED = 32_768
"""Samples that are read from the file at once."""
TRIES = 5
"""Encoders in a row that may end without having encoded anything; then the loop fails."""
PAUSE = 0.02
"""Seconds from the end of an encoder to the start of the next; twice as many for each further one that failed."""
STEADY_AFTER = 10.0
"""Seconds of encoding after which the next encoder starts without a pause, and the log says why the former ended."""

log = logging.getLogger("moh")


class LiveLoop(Loop):
    """One tune in one codec, of which the music around the present is encoded."""

    def __init__(
        self,
        music: Path,
        seconds: float,
        codec: Codec,
        ptime: int,
        began: float,
        notify: Callable[[Loop], None],
        faults: FaultLog,
    ) -> None:
        """``music`` is ``seconds`` long and has the codec's sample rate. Only codecs with frames use ``ptime``.

        ``began`` is when the endless tune began. Another thread calls ``notify`` when packets may leave, each time
        after ``wake``, and when ``failure`` is set.
        """
        self.failure = ""
        self.began: Optional[float] = began
        self._began = began
        self._music, self._seconds, self._codec = music, seconds, codec
        self._command = live_encode_command(codec, ptime)
        self._frame = codec.octets_per_ms * (ptime if codec.ptimes else 1)
        self._samples_per_ms = codec.sample_rate // 1000
        self._notify = notify
        self._faults = faults
        self._size = WINDOW // LONGEST_PACKET * LONGEST_PACKET * codec.octets_per_ms
        # the beginning of the window is repeated behind its end, so that a packet is always in one piece
        self._tail = LONGEST_PACKET * codec.octets_per_ms
        self._window = memoryview(bytearray(self._size + self._tail))
        self._first = self._end = 0  # what the window holds, in octets since the beginning of the endless tune
        self._encoded = 0  # octets that have come into the window
        self._asked = self._asked_before = -1  # the latest position that a packet was sent of
        self._used_at = 0.0
        self._ready = False
        self._lock = threading.Lock()  # for ``_thread`` and ``_used_at``
        self._thread: Optional[Thread] = None
        self._closing = threading.Event()

    # -- for the pacers ----------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """See ``Loop``."""
        return self._ready

    def payload_at(self, position: int, octets: int) -> Optional[memoryview]:
        """See ``Loop``."""
        self._asked = position
        if position < self._first or position + octets > self._end:
            return None
        begin = position % self._size
        return self._window[begin : begin + octets]

    def second_at(self, position: int) -> float:
        """See ``Loop``."""
        return position / (1000 * self._codec.octets_per_ms) % self._seconds

    def wake(self) -> None:
        """Start the encoder's thread, unless it runs."""
        with self._lock:
            self._used_at = time.monotonic()
            if self._thread is None and not self.failure and not self._closing.is_set():
                thread = Thread(self._run, "live encoder")
                thread.start()
                self._thread = thread

    def close(self, timeout: float) -> None:
        """End the encoder, and wait for it for ``timeout`` seconds at most."""
        self._closing.set()
        thread = self._thread
        if thread is not None:
            thread.join(timeout)

    # -- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        """Encode as long as a receiver uses the loop. An encoder that ends by itself is followed by another."""
        failed, reason = 0, ""
        while failed < TRIES and not self._rests():
            started, encoded = time.monotonic(), self._encoded
            try:
                reason = self._encode()
            except OSError as error:
                reason = error.strerror or repr(error)
            except Exception as error:  # the calls that wait for this loop must end
                self._faults.report(error, time.monotonic(), "a live loop")
                reason = repr(error)
            if not reason:
                continue
            if time.monotonic() - started >= STEADY_AFTER or not failed:
                log.warning("the encoder of %s ended and is started again: %s", self._codec.name, reason)
            failed = failed + 1 if self._encoded == encoded else 1
            self._closing.wait(PAUSE * 2**failed)
        if failed >= TRIES:
            self._ready = False
            self.failure = f"the music could not be encoded as {self._codec.name}: {reason}"
            self._notify(self)

    def _rests(self) -> bool:
        """Whether the thread has to end, because no receiver uses the loop. Then ``wake`` starts another one."""
        with self._lock:
            if self._closing.is_set() or self._is_unused(time.monotonic()):
                self._ready, self._thread = False, None
                return True
            return False

    def _is_unused(self, now: float) -> bool:
        if self._asked != self._asked_before:
            self._asked_before, self._used_at = self._asked, now
        return now - self._used_at >= UNUSED_AFTER

    def _position(self, now: float, ahead: int = 0) -> int:
        """The position that is played ``ahead`` milliseconds after ``now``, in octets."""
        return round((now - self._began) * 1000 + ahead) * self._codec.octets_per_ms

    def _encode(self) -> str:
        """Encode until the encoder ends by itself, and return why; return nothing when no receiver uses the loop."""
        source = EndlessSamples(self._music, self._codec.sample_rate, self._seconds)
        try:
            with tempfile.TemporaryFile() as errors:
                command = [*leash(os.getpid(), DATA_LIMIT_MB), player(), *self._command[1:]]
                encoder = LiveEncoder(command, errors)
                try:
                    hangs = self._follow(encoder, source)
                finally:
                    printed = encoder.close()
            return "it hangs" if hangs else printed if encoder.ended else ""
        finally:
            source.close()

    def _follow(self, encoder: LiveEncoder, source: EndlessSamples) -> bool:
        """Feed an encoder by the clock, and keep what comes out of it. Return whether it hangs, or is too slow."""
        now = time.monotonic()
        # a packet that is due now may have begun up to its length before
        begin = max(self._end, self._position(now, -LONGEST_PACKET)) // self._frame * self._frame
        if begin > self._end:
            self._first = begin  # before the end, so that ``payload_at`` never finds what is not in the window
        self._end = begin
        skipped = WARM_UP * self._codec.octets_per_ms
        fed = (begin // self._codec.octets_per_ms - WARM_UP) * self._samples_per_ms
        left, came, patience = b"", now, STARTS_WITHIN
        while not encoder.ended and not self._closing.is_set():
            while data := encoder.read():
                came, patience = now, HANGS_AFTER
                self._keep(data[skipped:])
                skipped -= min(skipped, len(data))
            played = self._position(now, READY)
            if not self._ready and self._end >= played:
                self._ready = True
                self._notify(self)
            elif self._end < played and (now - came >= patience or self._end < self._position(now, -TOO_SLOW)):
                return True
            while not encoder.ended:
                if not left:
                    wanted = self._position(now, AHEAD) // self._codec.octets_per_ms * self._samples_per_ms - fed
                    if wanted <= 0:
                        break
                    left = source.read(fed, min(wanted, MOST_FED))
                    fed += len(left) // SAMPLE
                taken = encoder.write(left)
                left = left[taken:]
                if left:
                    break
            if self._is_unused(now):
                break
            self._closing.wait(TICK if self._end >= played else FIRST_TICK)
            now = time.monotonic()
        return False

    def _keep(self, data: bytes) -> None:
        """Put what was encoded into the window, behind what it holds."""
        self._encoded += len(data)
        while data:
            place = self._end % self._size
            part = data[: self._size - place]
            end = self._end + len(part)
            self._first = max(self._first, end - self._size)  # before it is overwritten
            self._window[place : place + len(part)] = part
            if place < self._tail:
                again = part[: self._tail - place]
                self._window[self._size + place : self._size + place + len(again)] = again
            self._end = end
            data = data[len(part) :]
