"""Which engine plays for whom: an ffmpeg of one's own, or the shared stream for all who have its port.

The core gives a call its port and knows nothing of this; a call keeps its port, and so its engine, to the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Optional, Union

from ..common.actions import StartStream, StopStream
from ..ffmpeg.supervisor import Ended, Supervisor
from ..shared.shared_stream import SharedStream


class Engines:
    """Both as one, with the doors that each of them has."""

    def __init__(self, broadcast: Optional[SharedStream]) -> None:
        """``broadcast`` is ``None`` where there is no shared stream."""
        self.streams = Supervisor()
        self.broadcast = broadcast

    def order(self, action: Union[StartStream, StopStream]) -> None:
        """Do as the core says, soon; never waits."""
        shared = self.broadcast
        if isinstance(action, StartStream):
            here = shared is not None and action.target.local.port == shared.port
        else:
            here = shared is not None and shared.has(action.call)
        if here and shared is not None:
            shared.order(action)
        else:
            self.streams.order(action)

    def add_tune(self, music: Mapping[int, Path], seconds: float) -> int:
        """Have one more tune: a file for each sample rate, each ``seconds`` long. Gives its number."""
        if self.broadcast is not None:
            self.broadcast.add_tune(music, seconds)
        return self.streams.add_tune(music, seconds)

    def keep(self, tunes: set[int]) -> None:
        """Forget what is only needed for other tunes than these."""
        if self.broadcast is not None:
            self.broadcast.keep(tunes)

    def ended(self) -> list[Ended]:
        """The streams that are over since the last time this was asked."""
        return self.streams.ended() + (self.broadcast.ended() if self.broadcast is not None else [])

    def summary(self) -> str:
        """For people: who plays to how many."""
        by_ffmpeg = f"{self.streams.playing} by ffmpeg"
        if self.broadcast is None:
            return by_ffmpeg
        figures = self.broadcast.stats()
        return (
            f"{by_ffmpeg}, {figures.callers} in the shared stream ({figures.batches} batches, {figures.sent} packets, "
            f"{figures.lost} not sent, {figures.skipped} skipped, {figures.heard} heard, {figures.deaf} callers deaf)"
        )

    def close(self) -> None:
        """End all music and wait until it has ended."""
        self.streams.close()
        if self.broadcast is not None:
            self.broadcast.close()
