"""What is written into a ring: the radio where it delivers enough, its fallback otherwise. No thread, no clock.

The law kept here: the ring is always written at least ``LEAST`` ahead of what is played. So each change from one source
to another is written while no caller has heard it, as a cross-fade over the last ``FADE`` of what is written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Optional, Union

from .fallback import Fallback
from .live_buffer import LiveBuffer
from .ring import SECONDS, Ring
from .samples import FRAMES, RATES, ROOM_FOR_SPLICE, Sound, faded, frames_of, lengthened, octets_of, shortened

LEAD = 15 * FRAMES
"""Frames that the ring is written ahead of what is played, if the source delivers."""
LEAST = 8 * FRAMES
"""Frames that it is written ahead whatever happens."""
LOW = LEAST + FRAMES
"""Frames ahead at which the fallback takes over: time for the cross-fade, and for a turn that comes late."""
FADE = 6000
"""Frames of a cross-fade: 0.75 s."""
ENOUGH = 5 * FRAMES
"""Frames that the radio has to have delivered before it takes over from the fallback."""
JOINED = 2 * FRAMES
"""Frames that a new connection has to have delivered before it goes on where the former one ended."""
WINDOW = 30.0
"""Seconds in which the least cushion is found: some stations deliver ten seconds at once."""
SMALL, NOMINAL, LARGE = 16 * FRAMES, 20 * FRAMES, 24 * FRAMES
"""Frames of the cushion, which is what is written ahead and what is buffered: where it is made larger, what it is at
first, and where it is made smaller. A station's clock is never quite the clock of this machine."""
SPLICES_APART = 0.5
"""Seconds between two splices at least."""

Source = Union[Fallback, LiveBuffer]


class Programme:
    """Fills one ring. ``advance`` is called several times a second."""

    def __init__(self, ring: Ring, fallback: Fallback, now: float) -> None:
        self.ring = ring
        self.offered: deque[LiveBuffer] = deque()
        """What the radio's connections deliver, in their order. Other threads may append."""
        self.splices = 0
        self._fallback = fallback
        self._source: Source = fallback
        self._spliced = now
        self._missing = 0
        """Frames by which the cushion is to grow; negative where it is to shrink."""
        self._window = now
        self._smallest: Optional[int] = None
        self._begin(now)

    @property
    def is_live(self) -> bool:
        """Whether the radio is what is written."""
        return self._source is not self._fallback

    @property
    def source(self) -> Source:
        """What is written now."""
        return self._source

    @property
    def fallback_files(self) -> Mapping[int, Path]:
        """The files of the fallback."""
        return self._fallback.files

    def ahead(self, now: float) -> int:
        """Frames that are written ahead of what is played."""
        return self.ring.written - self._played(now)

    def use_fallback(self, fallback: Fallback) -> None:
        """Play another fallback from now on."""
        former, self._fallback = self._fallback, fallback
        if self._source is former:
            self._switch(fallback)
        former.close()

    def close(self) -> None:
        """Remove the ring and close the fallback."""
        self.ring.remove()
        self._fallback.close()

    def advance(self, now: float) -> None:
        """Write what is due. Raises ``NoFallback`` where the fallback cannot be read."""
        ring = self.ring
        if ring.written < self._played(now) + LEAST // 2:  # this process was stopped for seconds
            ring.written = self._played(now) + LEAST // 2
            self._switch(self._fallback)
        if isinstance(self._source, LiveBuffer):
            self._write_live(self._source, now)
            if self._source.finished and not self._source.frames and (following := self._next(JOINED)):
                self._switch(following)
                self._write_live(following, now)
            if self.ahead(now) <= LOW:
                self._switch(self._fallback)
        elif (following := self._next(ENOUGH)) is not None:
            self._switch(following)
            self._restart_cushion(now)
            self._write_live(following, now)
        if not self.is_live and (frames := self._played(now) + LEAD - ring.written) > 0:
            self._write(self._fallback.read(frames))
        ring.freshen(now)

    def _next(self, least: int) -> Optional[LiveBuffer]:
        """What the radio delivers next, if it has ``least`` frames already. What ended with fewer is dropped."""
        while self.offered:
            first = self.offered[0]
            if first.frames >= least:
                return first
            if not first.finished:
                return None
            self.offered.popleft()
        return None

    # -- writing ---------------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Write the fallback all around a new ring.

        Where this process is away for longer than it has written ahead, callers hear the ring again: music, no silence.
        """
        self._write(self._fallback.read(LEAD))
        position = self._fallback.position
        for begin in range(LEAD, SECONDS * FRAMES, LEAD):
            self.ring.write(begin, self._fallback.read(min(LEAD, SECONDS * FRAMES - begin)))
        self._fallback.position = position

    def _begin(self, now: float) -> None:
        """Fill a new ring with the fallback; go on in a ring that has something written ahead."""
        if self.ring.written <= 0:
            self._fill()
        else:
            self.ring.written = min(self.ring.written, self._played(now) + LEAD)
            if self.ring.written >= self._played(now) + LEAST // 2:
                self._switch(self._fallback)
        self.advance(now)

    def _write_live(self, source: LiveBuffer, now: float) -> None:
        self._watch_cushion(source, now)
        due = self._played(now) + LEAD - self.ring.written
        if due <= 0 or not source.frames:
            return
        sound = source.read(due)
        if self._missing and now - self._spliced >= SPLICES_APART and frames_of(sound) >= ROOM_FOR_SPLICE:
            before = frames_of(sound)
            sound = lengthened(sound) if self._missing > 0 else shortened(sound)
            change = frames_of(sound) - before
            self._missing = self._missing - change if abs(change) < abs(self._missing) else 0
            self._spliced = now
            self.splices += 1
        self._write(sound)

    def _write(self, sound: Sound) -> None:
        self.ring.write(self.ring.written, sound)
        self.ring.written += frames_of(sound)

    def _switch(self, source: Source) -> None:
        """Fade to ``source``, over the end of what is written."""
        new = source.read(FADE)
        frames = frames_of(new)
        begin = self.ring.written - frames
        old = self.ring.read(begin, frames) if begin >= 0 else {rate: bytes(octets_of(frames, rate)) for rate in RATES}
        self.ring.write(max(0, begin), faded(old, new))
        self._source = source

    # -- the station's clock ---------------------------------------------------------------------------------------

    def _restart_cushion(self, now: float) -> None:
        self._window, self._smallest, self._missing = now, None, 0

    def _watch_cushion(self, source: LiveBuffer, now: float) -> None:
        """Find out at the end of each window whether the station's clock is ahead of this machine's, or behind."""
        cushion = self.ahead(now) + source.frames
        self._smallest = cushion if self._smallest is None else min(self._smallest, cushion)
        if now - self._window < WINDOW:
            return
        smallest = self._smallest
        is_paced = now - source.full_at > WINDOW  # otherwise it sends as fast as it can, and waits for this process
        self._restart_cushion(now)
        if smallest < SMALL or (smallest > LARGE and is_paced):
            self._missing = NOMINAL - smallest

    def _played(self, now: float) -> int:
        return int((now - self.ring.began) * FRAMES)
