"""The two engines that play music: an ffmpeg for each of the first calls, one shared stream for the rest.

The port of a call decides which engine plays: the core gives each call a port, and knows nothing of engines. A call
keeps its port, and so its engine, to its end.
"""

from __future__ import annotations

from typing import Optional, Union

from ..common.actions import PROBE, StartStream, StopStream, StreamBegan, StreamEnded
from ..common.amounts import amount
from ..common.faults import FaultLog
from ..common.tunes import Tune, Tunes
from ..ffmpeg.supervisor import Supervisor
from ..rtp.reception import StreamReport
from ..shared.shared_stream import SharedStream


class Engines:
    """Both engines behind one set of methods."""

    def __init__(self, tunes: Tunes, shared: SharedStream) -> None:
        """``tunes`` is the table of tunes that ``shared`` uses too."""
        self._tunes = tunes
        self.ffmpegs = Supervisor(tunes)
        self.shared = shared
        self.streams_begun = 0
        """Streams of calls on a port of their own whose first packet has left since the start."""
        self._probe_ends: list[StreamEnded] = []

    def order(self, action: Union[StartStream, StopStream]) -> None:
        """Have the engine of the call start or stop its stream soon. This method never waits."""
        shared = self.shared
        if action.target.local.port == shared.port if isinstance(action, StartStream) else shared.has(action.call):
            shared.order(action)
        else:
            self.ffmpegs.order(action)

    def add_tune(self, tune: Tune) -> int:
        """Add ``tune`` and return its number."""
        return self._tunes.add(tune)

    def keep(self, tunes: set[int]) -> None:
        """Drop all tunes except ``tunes``, and what the engines hold for the dropped tunes."""
        self._tunes.keep(tunes)
        self.shared.keep(tunes)

    def ended(self) -> list[StreamEnded]:
        """The streams of calls that have ended since the last call of this method."""
        ends = self.ffmpegs.ended() + self.shared.ended()
        self._probe_ends += [end for end in ends if end.call == PROBE]
        return [end for end in ends if end.call != PROBE]

    def take_probe_ends(self) -> list[StreamEnded]:
        """The ends of ``PROBE`` that ``ended`` has found since the last call of this method."""
        ends, self._probe_ends = self._probe_ends, []
        return ends

    def began(self) -> list[StreamBegan]:
        """The streams on a port of their own whose first packet has left since the last call of this method."""
        began = [stream for stream in self.ffmpegs.began() if stream.call != PROBE]
        self.streams_begun += len(began)
        return began

    def senders(self) -> list[str]:
        """Hosts that have sent RTP or RTCP, each once at least, since the last call of this."""
        return self.ffmpegs.senders() + self.shared.senders()

    def reports(self) -> list[StreamReport]:
        """What receivers have reported by RTCP since the last call of this method."""
        return self.ffmpegs.reports() + self.shared.reports()

    def playing(self) -> dict[tuple[str, str], int]:
        """The calls that get music now, by the name of their codec and by the engine."""
        engines = {"ffmpeg": self.ffmpegs.playing_by_codec(), "shared": self.shared.playing()}
        return {(codec, name): count for name, found in engines.items() for codec, count in found.items()}

    def packets_sent(self, call: str) -> Optional[int]:
        """The packets that the shared stream has sent to ``call``; ``None`` for an ffmpeg, which does not say."""
        return self.shared.packets_sent(call)

    def lateness(self, call: str) -> Optional[float]:
        """By how many seconds a packet of the shared stream to ``call`` left late, at worst, in the last seconds."""
        return self.shared.call_lateness(call)

    @property
    def faults(self) -> list[FaultLog]:
        """The fault logs of the engines' threads."""
        return [self.ffmpegs.faults, self.shared.faults]

    def summary(self) -> str:
        """How many calls each engine plays to, for people."""
        stats = self.shared.stats()
        return (
            f"{self.ffmpegs.playing} by ffmpeg, {stats.calls} in the shared stream "
            f"({amount(stats.fanouts, 'fan-out')}, {amount(stats.sent, 'packet')}, {stats.lost} not sent, "
            f"{stats.skipped} skipped, {amount(stats.received, 'datagram')} received, "
            f"{amount(stats.dropped, 'receiver')} dropped)"
        )

    def close(self) -> None:
        """End all music and wait until it has ended."""
        self.ffmpegs.close()
        self.shared.close()
