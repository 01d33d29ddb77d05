"""The shared stream: any number of calls get the same packets, which leave from one port.

A thread, called a pacer, sends the packets. A second pacer gets calls when the first has as many as a core can serve.
The law kept here is that of the ffmpeg supervisor: each call that was started is reported as ended exactly once, for
its latest start.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections import Counter
from typing import NamedTuple, Optional, Union

from ..common.actions import Address, StartStream, StopStream, StreamEnded
from ..common.faults import FaultLog
from ..common.histogram import Histogram, total
from ..common.tunes import Tunes
from ..net.sockets import media_sockets
from ..rtp.reception import StreamReport
from ..rtp.rtcp import has_bye
from .fanout import packet_rate
from .feedback import FeedbackReport
from .loop import Loop
from .loops import Loops
from .pacer import LATENESS_BOUNDS, Pacer

PACKETS_PER_PACER = 250_000
"""Packets a second that a pacer sends before the next pacer gets calls: 5,000 calls with packets of 20 ms."""
SWEEP_INTERVAL = 10.0
"""Seconds from one search for loops that no receiver uses to the next."""
CLOSE_TIMEOUT = 5.0
"""Seconds that a pacer may take to end; it sends BYE to 10,000 receivers in less than one second."""

log = logging.getLogger("moh")


class Place(NamedTuple):
    """The pacer of a call, the serial of the call's latest start, and the packets a second that the call needs."""

    pacer: Pacer
    serial: int
    load: int


class SharedStreamStats(NamedTuple):
    """The present numbers of calls and fan-outs; all other numbers count since the start."""

    calls: int
    fanouts: int
    sent: int
    """Packets that were sent."""
    lost: int
    """Packets that the kernel did not take."""
    skipped: int
    """Packets that were left out because their time had passed, counted once for each fan-out."""
    received: int
    """Datagrams that came to the port of the shared stream."""
    rtcp: int
    """How many of these datagrams were RTCP."""
    dropped: int
    """Receivers that were dropped because packets did not reach them, or because they sent RTCP BYE."""


class SharedStream:
    """The shared stream, with the methods of ``Supervisor``. ``order`` never waits; ``ended`` reports the ends."""

    def __init__(self, bind: str, port: int, tunes: Tunes, threads: Optional[int] = None) -> None:
        """Open ``port`` at ``bind``, for IPv4 and IPv6 if the machine has both. Raises ``OSError`` if it is not free.

        ``threads`` is the number of pacers; ``None`` means two if the machine has two cores, otherwise one.
        """
        self.port = port
        self.faults = FaultLog("the shared stream")
        """The unexpected errors of all threads of the shared stream."""
        self._sockets = media_sockets(bind, port)
        self._lock = threading.Lock()
        self.loops = Loops(tunes, self.command_all, self.faults)
        self._sweep_at = 0.0
        self._ended: queue.SimpleQueue[StreamEnded] = queue.SimpleQueue()
        self._places: dict[str, Place] = {}
        """By call: its place, until the call is reported as ended."""
        self._pacers: list[Pacer] = []
        for number in range(threads or min(2, os.cpu_count() or 1)):
            self._pacers.append(
                Pacer(number, self._sockets, self.loops.get, self.command_all, self._ended, self.faults)
            )

    def order(self, action: Union[StartStream, StopStream]) -> None:
        """Queue a start or stop of a stream. The pacer carries out the actions for one call in the given sequence."""
        with self._lock:
            place = self._places.get(action.call)
            if isinstance(action, StartStream):
                pacer = place.pacer if place else self._choose_pacer()
                load = packet_rate(action.target.ptime)
                pacer.load += load - (place.load if place else 0)
                self._places[action.call] = Place(pacer, action.serial, load)
                pacer.commands.put(action)
            elif place:
                place.pacer.commands.put(action)

    def has(self, call: str) -> bool:
        """Whether ``call`` was started here and is not reported as ended yet."""
        return call in self._places

    def _choose_pacer(self) -> Pacer:
        """The first pacer that has room for more packets; if none has, the one with the fewest packets a second."""
        room = (pacer for pacer in self._pacers if pacer.load < PACKETS_PER_PACER)
        return next(room, None) or min(self._pacers, key=lambda each: each.load)

    def keep(self, tunes: set[int]) -> None:
        """Drop the encoded loops of all other tunes."""
        self.loops.keep(tunes)

    def command_all(self, command: Union[Loop, FeedbackReport]) -> None:
        """Put a command into the queue of each pacer."""
        for pacer in self._pacers:
            pacer.commands.put(command)

    def ended(self) -> list[StreamEnded]:
        """The streams that have ended since the last call of this. Now and then this also drops unused loops."""
        now = time.monotonic()
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_INTERVAL
            self.loops.drop_unused({pair for pacer in self._pacers for pair in pacer.pairs()}, now)
        ends: list[StreamEnded] = []
        while True:
            try:
                end = self._ended.get_nowait()
            except queue.Empty:
                return ends
            with self._lock:
                place = self._places.get(end.call)
                if place and place.serial == end.serial:
                    del self._places[end.call]
                    place.pacer.load -= place.load
            ends.append(end)

    def senders(self) -> list[str]:
        """Hosts that have sent RTP or RTCP to the shared port, each once at least, since the last call of this."""
        return [host for pacer in self._pacers for host in pacer.senders()]

    def reports(self) -> list[StreamReport]:
        """What receivers have reported since the last call of this, one packet for each source. Not for a pacer.

        The pacers only queue what comes: to read it would delay their packets.
        """
        latest: dict[Address, bytes] = {}
        for pacer in self._pacers:
            for packet in pacer.rtcp():
                if packet.source not in latest or not has_bye(packet.data):
                    latest[packet.source] = packet.data
        return [
            report
            for source, data in latest.items()
            for pacer in self._pacers
            for report in pacer.receivers.reports(source, data)
        ]

    def packets_sent(self, call: str) -> Optional[int]:
        """The packets that ``call`` was sent since it began or was moved; ``None`` where it gets none now."""
        place = self._places.get(call)
        receiver = place.pacer.receivers.get(call) if place else None
        fanout = receiver.fanout if receiver else None
        return fanout.sent - receiver.sent_before if receiver and fanout else None

    def call_lateness(self, call: str) -> Optional[float]:
        """By how much a packet to ``call`` left late in the last seconds, at worst; ``None`` where it gets none."""
        place = self._places.get(call)
        receiver = place.pacer.receivers.get(call) if place else None
        fanout = receiver.fanout if receiver else None
        return fanout.lateness if fanout else None

    def lateness(self) -> Histogram:
        """How late the packets have left since the start, in seconds."""
        return total(LATENESS_BOUNDS, [pacer.lateness for pacer in self._pacers])

    def playing(self) -> Counter[str]:
        """The calls that get packets now, by the name of their codec."""
        return sum((pacer.playing() for pacer in self._pacers), Counter())

    def stats(self) -> SharedStreamStats:
        """The statistics so far. They are nearly exact, because the pacers go on meanwhile."""
        columns = zip(*(pacer.stats() for pacer in self._pacers))
        return SharedStreamStats(len(self._places), *(sum(column) for column in columns))

    def close(self) -> None:
        """Send BYE to all receivers, end the threads, close the port."""
        for pacer in self._pacers:
            pacer.commands.put(None)
        for pacer in self._pacers:
            pacer.thread.join(CLOSE_TIMEOUT)
        self.loops.close()
        for sock in self._sockets.values():
            sock.close()
