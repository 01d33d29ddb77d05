"""A tune encoded once for each codec and kept in memory: the payload of a packet is only cut out of it.

The law kept here: a position in the endless tune always gives the same octets, across the loop point as well. An ffmpeg
encodes the tune dozens of times faster than it is played, so its beginning is played while the rest is being encoded.
"""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Optional

from ..common.codecs import Codec
from ..common.faults import FaultLog
from ..ffmpeg.commands import encode_command
from ..ffmpeg.launch import DATA_LIMIT_MB, leash
from ..net.threads import Thread

LONGEST_PACKET = 120
"""Milliseconds of the beginning that are repeated behind the end in memory, so that a packet is always in one piece."""
SHORTEST_LOOP = 30.0
"""Seconds. A loop that is stretched to whole frames is at least that long: half a frame is then inaudible, less than a
thousandth of it."""
WARM_UP = 1200
"""Milliseconds of the tune's end that are encoded before its beginning, so that the encoder passes the loop point like
any other place. A whole number of packets of any length that codecs with frames allow."""
READ_TIMEOUT = 8
"""Seconds without an octet after which an ffmpeg that encodes counts as hung."""
HEAD_START = 1000
"""Milliseconds that are encoded before the first packet leaves."""


class Plan:
    """What is encoded of a tune, and how many octets that makes.

    A codec of samples takes the tune as it is. A codec of frames (``codec.ptimes``) needs a whole number of frames: a
    tune shorter than ``SHORTEST_LOOP`` is taken several times, and the whole is stretched by half a frame at most.
    """

    def __init__(self, codec: Codec, ptime: int, seconds: float) -> None:
        """``seconds`` is the length of the tune; ``ptime`` that of a frame in milliseconds, where there are frames."""
        per_ms = codec.sample_rate // 1000
        tune = round(seconds * codec.sample_rate)
        times = -(-round(SHORTEST_LOOP * codec.sample_rate) // tune) if codec.ptimes else 1
        self.source = max(1, times) * tune
        """Samples of music that make the loop."""
        frame = ptime * per_ms if codec.ptimes else per_ms // codec.octets_per_ms
        self.samples = max(1, round(self.source / frame)) * frame
        """Samples that the loop has."""
        warm_up = WARM_UP * per_ms * self.source // self.samples
        self.start = -warm_up % tune
        """Sample of the tune that encoding begins with, ``WARM_UP`` before the loop's beginning."""
        self.octets = self.samples * codec.octets_per_ms // per_ms
        """Octets of the loop."""


class EncodedLoop:
    """One tune in one codec. ``payload_at`` may be called from any thread, also while the tune is being encoded."""

    def __init__(
        self,
        music: Path,
        seconds: float,
        codec: Codec,
        ptime: int,
        notify: Callable[[EncodedLoop], None],
        faults: FaultLog,
    ) -> None:
        """``music`` is ``seconds`` long and has the codec's sample rate; ``ptime`` counts for codecs with frames only.

        ``notify`` is called from another thread: when the first packets may leave, and when ``failure`` is set.
        """
        self.plan = Plan(codec, ptime, seconds)
        self.failure = ""
        """Why there will be no packets, or no more; empty while all is well."""
        self.began: Optional[float] = None
        """When the endless tune began, by the monotonic clock; ``None`` until enough of it is encoded."""
        self._codec = codec
        self._tail = LONGEST_PACKET * codec.octets_per_ms
        self._octets = memoryview(bytearray(self.plan.octets + self._tail))
        self._encoded = 0
        self._notify = notify
        self._faults = faults
        command = encode_command(music, codec, ptime, self.plan.start, (self.plan.source, self.plan.samples))
        Thread(self._encode, "encoder", (command,)).start()

    def payload_at(self, position: int, octets: int) -> Optional[memoryview]:
        """The payload of ``octets`` at ``position``, in octets since the beginning of the endless tune.

        ``None`` where that is not encoded yet. ``octets`` is at most what ``LONGEST_PACKET`` makes.
        """
        begin = position % self.plan.octets
        return self._octets[begin : begin + octets] if begin + octets <= self._encoded else None

    def _encode(self, command: list[str]) -> None:
        """The thread: read what ffmpeg encodes until the loop is whole, then end ffmpeg."""
        reason = ""
        try:
            with tempfile.TemporaryFile() as errors:
                # a session of its own, so that Ctrl-C in a terminal reaches the server only
                with subprocess.Popen(
                    leash(os.getpid(), DATA_LIMIT_MB) + command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                    stderr=errors, start_new_session=True,
                ) as process:  # fmt: skip
                    try:
                        whole = self._read(process)
                    finally:
                        process.kill()
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

    def _read(self, process: subprocess.Popen[bytes]) -> bool:
        """Read the whole loop; returns whether all of it came."""
        assert process.stdout is not None
        pipe = process.stdout.fileno()
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
        beginning = bytes(self._octets[: min(loop, self._tail)])
        self._octets[loop:] = (beginning * (self._tail // len(beginning) + 1))[: self._tail]
        self._encoded += self._tail
        return True
