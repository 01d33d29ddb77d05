"""The music of the shared stream, encoded once for each codec and kept in memory: a packet is only cut out of it.

The law kept here: wherever in the endless tune one looks, the same octets come out, over the loop's seam as well. An
ffmpeg encodes the tune while its beginning is heard already, since it is dozens of times faster than anybody listens.
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
from ..ffmpeg.commands import encode_command
from ..ffmpeg.launch import DATA_LIMIT_MB, leash
from ..net.threads import Thread

LONGEST_PACKET = 120
"""Milliseconds of the beginning that follow the end in memory, so that no packet is put together of two pieces."""
SHORTEST_LOOP = 30.0
"""Seconds of a loop that is bent to whole frames: half a frame is less than a thousandth of it, which nobody hears."""
LEAD = 1200
"""Milliseconds of the tune's end that are encoded before its beginning, so that the encoder goes over the seam as it
goes everywhere. A whole number of packets of any length that codecs with frames allow."""
PATIENCE = 8
"""Seconds without an octet after which an ffmpeg that encodes counts as hung."""
AHEAD = 1000
"""Milliseconds that are encoded before the first packet leaves."""


class Plan:
    """What is encoded of a tune, and how many octets that makes.

    A codec of samples takes the tune as it is. One of frames (``codec.ptimes``) needs a whole number of them: a tune
    shorter than ``SHORTEST_LOOP`` is taken several times, and all of it made longer or shorter by half a frame at the
    most.
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
        lead = LEAD * per_ms * self.source // self.samples
        self.start = -lead % tune
        """Sample of the tune that encoding begins with, ``LEAD`` ahead of the loop's beginning."""
        self.octets = self.samples * codec.octets_per_ms // per_ms
        """Octets of the loop."""


class EncodedLoop:
    """One tune in one codec. ``take`` may be called from any thread while it is still being encoded."""

    def __init__(
        self, music: Path, seconds: float, codec: Codec, ptime: int, tell: Callable[[EncodedLoop], None]
    ) -> None:
        """``music`` is ``seconds`` long and has the codec's sample rate; ``ptime`` counts for codecs with frames only.

        ``tell`` is called from another thread: when the first packets may leave, and when ``trouble`` says why there
        will be none, or no more.
        """
        self.plan = Plan(codec, ptime, seconds)
        self.trouble = ""
        self.began: Optional[float] = None
        """When enough was there to begin, and with it the endless tune, by the monotonic clock."""
        self._codec = codec
        self._tail = LONGEST_PACKET * codec.octets_per_ms
        self._octets = memoryview(bytearray(self.plan.octets + self._tail))
        self._there = 0
        self._tell = tell
        command = encode_command(music, codec, ptime, self.plan.start, (self.plan.source, self.plan.samples))
        Thread(self._encode, "frames", (command,)).start()

    def payload_at(self, position: int, octets: int) -> Optional[memoryview]:
        """The packet of so many octets at ``position``, in octets since the beginning of the endless tune.

        ``None`` where that has not been encoded yet. ``octets`` is at most ``LONGEST_PACKET``.
        """
        begin = position % self.plan.octets
        return self._octets[begin : begin + octets] if begin + octets <= self._there else None

    def _encode(self, command: list[str]) -> None:
        """The thread: read what ffmpeg encodes until the loop is whole, then end it."""
        try:
            with tempfile.TemporaryFile() as said:
                # a session of its own, so that Ctrl-C in a terminal reaches the server only
                with subprocess.Popen(
                    leash(os.getpid(), DATA_LIMIT_MB) + command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                    stderr=said, start_new_session=True,
                ) as process:  # fmt: skip
                    try:
                        whole = self._read(process)
                    finally:
                        process.kill()
                if not whole:
                    said.seek(0)
                    why = said.read(300).decode("utf-8", "replace").strip()
                    self.trouble = f"the music could not be encoded as {self._codec.name}: {why!r}"
        except Exception as error:  # no process, no memory: whoever waits for the music has to be told
            reason = error.strerror if isinstance(error, OSError) else repr(error)
            self.trouble = f"the music could not be encoded as {self._codec.name}: {reason}"
        if self.trouble:
            self._tell(self)
        else:
            self._begin()

    def _begin(self) -> None:
        if self.began is None:
            self.began = time.monotonic()
            self._tell(self)

    def _read(self, process: subprocess.Popen[bytes]) -> bool:
        """Read all of the loop; whether it came."""
        assert process.stdout is not None
        pipe = process.stdout.fileno()
        poll = select.poll()
        poll.register(pipe, select.POLLIN)

        def wait() -> None:
            if not poll.poll(PATIENCE * 1000):
                raise TimeoutError(0, "ffmpeg hangs")

        loop, per_ms = self.plan.octets, self._codec.octets_per_ms
        lead = LEAD * per_ms
        while lead:
            wait()
            skipped = os.read(pipe, lead)
            if not skipped:
                return False
            lead -= len(skipped)
        while self._there < loop:
            wait()
            count = os.readv(pipe, [self._octets[self._there : loop]])
            if not count:
                return False
            self._there += count
            if self._there >= AHEAD * per_ms:
                self._begin()
        beginning = bytes(self._octets[: min(loop, self._tail)])
        self._octets[loop:] = (beginning * (self._tail // len(beginning) + 1))[: self._tail]
        self._there += self._tail
        return True
