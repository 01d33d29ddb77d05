"""A tune that is encoded once for each codec and kept in memory. The payload of a packet is a part of it.

The law kept here: a position in the endless tune always gives the same octets, across the loop point as well. An ffmpeg
encodes the tune dozens of times faster than it is played, so the beginning is played while the rest is still being
encoded.
"""

from __future__ import annotations

import os
import select
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Optional

from ..common.codecs import Codec
from ..common.faults import FaultLog
from ..ffmpeg.commands import encode_command
from ..ffmpeg.launch import DATA_LIMIT_MB, leash
from ..ffmpeg.spawn import start_process
from ..net.threads import Thread
from .loop import LONGEST_PACKET, WARM_UP, Loop

SHORTEST_LOOP = 30.0
"""Seconds. A loop that is stretched to whole frames has at least this length. Then the stretching, half a frame at
most, is less than a thousandth of the loop and inaudible."""
READ_TIMEOUT = 8
"""Seconds without an octet after which an ffmpeg that encodes counts as hung."""
HEAD_START = 1000
"""Milliseconds that are encoded before the first packet leaves."""
FAR_AHEAD, FASTEST = 60.0, 16
"""More than ``FAR_AHEAD`` seconds ahead of what is played, encoding goes on at ``FASTEST`` times the speed of playing,
at most. Otherwise an hour of Opus would take all of a core for half a minute, while callers listen."""


class Plan:
    """Which samples of a tune are encoded, and how many octets the encoded loop has.

    A codec without frames takes the tune as it is. A codec with frames (``codec.ptimes``) needs a whole number of
    frames: a tune shorter than ``SHORTEST_LOOP`` is repeated, and the result is stretched by half a frame at most.
    """

    def __init__(self, codec: Codec, ptime: int, seconds: float) -> None:
        """``seconds`` is the length of the tune. ``ptime`` is the length of a frame in ms, for a codec with frames."""
        per_ms = codec.sample_rate // 1000
        tune = round(seconds * codec.sample_rate)
        times = -(-round(SHORTEST_LOOP * codec.sample_rate) // tune) if codec.ptimes else 1
        self.source = max(1, times) * tune
        """Samples of music that become the loop, before stretching."""
        frame = ptime * per_ms if codec.ptimes else per_ms // codec.octets_per_ms
        self.samples = max(1, round(self.source / frame)) * frame
        """Samples of the loop, after stretching."""
        warm_up = WARM_UP * per_ms * self.source // self.samples
        self.start = -warm_up % tune
        """The sample of the tune at which encoding begins, ``WARM_UP`` before the beginning of the loop."""
        self.octets = self.samples * codec.octets_per_ms // per_ms
        """Octets of the loop."""


class EncodedLoop(Loop):
    """One tune in one codec. ``payload_at`` may be called from any thread, also while the tune is being encoded."""

    def __init__(
        self,
        music: Path,
        seconds: float,
        codec: Codec,
        ptime: int,
        notify: Callable[[Loop], None],
        faults: FaultLog,
    ) -> None:
        """``music`` is ``seconds`` long and has the codec's sample rate. Only codecs with frames use ``ptime``.

        Another thread calls ``notify`` when the first packets may leave, and when ``failure`` is set.
        """
        self.plan = Plan(codec, ptime, seconds)
        self.failure = ""
        self.began: Optional[float] = None
        self._codec = codec
        self._seconds = seconds
        # the beginning is repeated behind the end, so that a packet is always in one piece
        self._tail = LONGEST_PACKET * codec.octets_per_ms
        self._octets = memoryview(bytearray(self.plan.octets + self._tail))
        self._encoded = 0
        self._notify = notify
        self._faults = faults
        command = encode_command(music, codec, ptime, self.plan.start, (self.plan.source, self.plan.samples))
        Thread(self._encode, "encoder", (command,)).start()

    @property
    def ready(self) -> bool:
        """See ``Loop``."""
        return self.began is not None

    def second_at(self, position: int) -> float:
        """See ``Loop``."""
        return position % self.plan.octets / (1000 * self._codec.octets_per_ms) % self._seconds

    def wake(self) -> None:
        """See ``Loop``. This loop is encoded once, and then stays in memory."""

    def payload_at(self, position: int, octets: int) -> Optional[memoryview]:
        """See ``Loop``."""
        begin = position % self.plan.octets
        return self._octets[begin : begin + octets] if begin + octets <= self._encoded else None

    def _encode(self, command: list[str]) -> None:
        """Read what ffmpeg encodes until the loop is complete, then end ffmpeg. This runs in a thread of its own."""
        reason = ""
        try:
            with tempfile.TemporaryFile() as errors:
                whole = self._read_output(leash(os.getpid(), DATA_LIMIT_MB) + command, errors.fileno())
                if not whole:
                    errors.seek(0)
                    reason = repr(errors.read(300).decode("utf-8", "replace").strip())
        except OSError as error:
            reason = error.strerror or repr(error)
        except Exception as error:  # the calls that wait for this loop must end
            self._faults.report(error, time.monotonic(), "an encoded loop")
            reason = repr(error)
        if reason:
            self.failure = f"the music could not be encoded as {self._codec.name}: {reason}"
            self._notify(self)
        else:
            self._begin()

    def _begin(self) -> None:
        if self.began is None:
            self.began = time.monotonic()
            self._notify(self)

    def _read_output(self, command: list[str], errors: int) -> bool:
        """Start ffmpeg, read the whole loop from it, and end it. Return whether all octets came."""
        reading, writing = os.pipe()
        try:
            try:
                process = start_process(command, writing, errors)
            finally:
                os.close(writing)
            try:
                return self._read(reading)
            finally:
                process.kill()
                process.wait()
        finally:
            os.close(reading)

    def _read(self, pipe: int) -> bool:
        """Read the whole loop from ``pipe``. Return whether all octets came."""
        poll = select.poll()
        poll.register(pipe, select.POLLIN)

        def wait() -> None:
            if not poll.poll(READ_TIMEOUT * 1000):
                raise TimeoutError(0, "ffmpeg hangs")

        loop, per_ms = self.plan.octets, self._codec.octets_per_ms
        warm_up = WARM_UP * per_ms
        while warm_up:
            wait()
            skipped = os.read(pipe, warm_up)
            if not skipped:
                return False
            warm_up -= len(skipped)
        while self._encoded < loop:
            wait()
            count = os.readv(pipe, [self._octets[self._encoded : loop]])
            if not count:
                return False
            self._encoded += count
            if self._encoded >= HEAD_START * per_ms:
                self._begin()
            if self.began is not None:
                seconds = self._encoded / (1000 * per_ms)
                if seconds - (time.monotonic() - self.began) > FAR_AHEAD:
                    time.sleep(count / (1000 * per_ms * FASTEST))
        beginning = bytes(self._octets[: min(loop, self._tail)])
        self._octets[loop:] = (beginning * (self._tail // len(beginning) + 1))[: self._tail]
        self._encoded += self._tail
        return True
