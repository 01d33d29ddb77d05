"""What a decoder has delivered and no ring has yet: sound at each sample rate, without its long silences.

The law kept here: no caller hears a silence of more than a second. A silence of the station is cut to ``PAUSE``, and
one at the beginning vanishes. So a station that sends silence is like one that sends nothing.
"""

from __future__ import annotations

from .samples import FRAMES, RATES, is_silent, octets_of

BLOCK = 160
"""Frames that are examined at once: 20 ms."""
PAUSE = int(0.6 * FRAMES)
"""Frames of silence that are kept of a longer silence."""
AWAY = 2 * FRAMES
"""Frames of silence after which a station counts as one that sends silence."""
ROOM = 20 * FRAMES
"""Frames that a buffer takes. Then the decoder waits, and so does a station that sends faster than its sound plays."""


class LiveBuffer:
    """The sound of one decoder, in the order in which it came. One thread alone uses it."""

    def __init__(self, began: float) -> None:
        self.began = began
        """When the decoder began, by the monotonic clock."""
        self.heard = 0
        """Frames of sound that came, without the silences that were cut."""
        self.silent = PAUSE
        """Frames of silence since the latest sound."""
        self.finished = False
        """Whether no more comes."""
        self.full_at = float("-inf")
        """When the decoder had to wait last, by the monotonic clock."""
        self._raw = {rate: bytearray() for rate in RATES}
        self._ready = {rate: bytearray() for rate in RATES}

    @property
    def frames(self) -> int:
        """Frames that can be read."""
        return len(self._ready[FRAMES]) // 2

    @property
    def is_away(self) -> bool:
        """Whether the station sends silence."""
        return self.silent >= AWAY

    @property
    def is_full(self) -> bool:
        """Whether the decoder has to wait."""
        return self.frames >= ROOM or max(len(raw) for raw in self._raw.values()) > octets_of(ROOM, max(RATES))

    def feed(self, rate: int, octets: bytes) -> None:
        """Take what the decoder has written for ``rate``."""
        self._raw[rate] += octets
        raw = self._raw
        blocks = min(len(raw[rate]) // octets_of(BLOCK, rate) for rate in RATES)
        narrow, size = raw[FRAMES], octets_of(BLOCK, FRAMES)
        begin = 0  # of the blocks that are kept and not yet copied
        for block in range(blocks):
            if not is_silent(bytes(narrow[block * size : (block + 1) * size])):
                self.silent = 0
            elif (silent := self.silent + BLOCK) and silent > PAUSE:
                self.silent = silent
                self._keep(begin, block)
                begin = block + 1
            else:
                self.silent = silent
        self._keep(begin, blocks)
        for each in RATES:
            del raw[each][: blocks * octets_of(BLOCK, each)]

    def finish(self) -> None:
        """Note that no more comes. A silence at the end vanishes: something else begins there."""
        if not self.finished:
            self.finished = True
            silent = min(self.silent, PAUSE, self.frames)
            for rate, ready in self._ready.items():
                del ready[len(ready) - octets_of(silent, rate) :]

    def read(self, frames: int) -> dict[int, bytes]:
        """Take the oldest ``frames``, or as many as there are."""
        frames = min(frames, self.frames)
        sound = {}
        for rate, ready in self._ready.items():
            size = octets_of(frames, rate)
            sound[rate] = bytes(ready[:size])
            del ready[:size]
        return sound

    def _keep(self, begin: int, end: int) -> None:
        """Copy the blocks from ``begin`` to ``end``."""
        for rate, ready in self._ready.items():
            size = octets_of(BLOCK, rate)
            ready += self._raw[rate][begin * size : end * size]
        self.heard += (end - begin) * BLOCK
