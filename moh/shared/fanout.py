"""One RTP stream to many receivers, called a fan-out: its next packet, and when that is due. The caller gives the time.

The laws kept here: each deadline is counted from the beginning of the stream, so that deadlines do not drift. After a
stall the missed packets are left out and not sent in a burst: the tune and the timestamp are where they would be
without the stall, and the sequence number goes on by one, because nothing was sent in between (RFC 3550 §5.1).
"""

from __future__ import annotations

import struct
from math import inf
from typing import NamedTuple, Optional

from ..common.actions import Address, Target
from ..common.codecs import Codec
from ..net.sendmmsg import DestinationTable
from .loop import LoopPair

MOST_RECEIVERS = 200
"""Receivers of one fan-out at most. Their packets leave together, within half a millisecond. Other fan-outs send at
other times."""
FIRST_OCTET = 0x80
"""Version 2 of RTP, without padding, extension and contributing sources (RFC 3550 §5.1)."""
MOST_MOVED = 4
"""Receivers that join the others between two packets, at most: each takes 10 µs."""

LATENESS_WINDOW = 5.0
"""Seconds for which the worst lateness is collected. ``Fanout.lateness`` is of this time and of that before it."""
COMMON_HEADER = struct.Struct("!HII")
"""The part of an RTP header behind the payload type, the same for all receivers: sequence number, timestamp, SSRC."""


def packet_rate(ptime: int) -> int:
    """Packets a second to one receiver, rounded down, where a packet is ``ptime`` milliseconds long."""
    return 1000 // ptime


class FanoutKey(NamedTuple):
    """The facts that the packets of a call depend on. Calls with equal keys can share a fan-out.

    The payload type is not in the key: it is a constant of each receiver, in front of the octets that all receivers
    get. The pacer wakes up once for each key and packet, so there must be few keys, whatever the callers ask for.
    """

    tune: int
    codec: Codec
    ptime: int
    ipv6: bool
    alternate: int
    """0 and 1 in turn for the starts of a call. So a call that stops and starts gets another SSRC: for its former SSRC
    it has just received an RTCP BYE."""

    @property
    def octets(self) -> int:
        """Octets of payload in a packet."""
        return self.codec.octets_per_ms * self.ptime

    @property
    def ticks(self) -> int:
        """The difference of the timestamps of two packets in a row."""
        return self.codec.clock_rate * self.ptime // 1000


class StreamStart(NamedTuple):
    """Where a receiver joined a stream: the stream's SSRC, its next sequence number, the packets sent so far."""

    ssrc: int
    sequence: int
    sent: int


class Receiver:
    """One call of the shared stream, and its place in a fan-out."""

    __slots__ = (
        "call", "fanout", "group", "plain_for", "plain_until", "report_at", "sent_before", "serial", "slot", "source",
        "start", "target",
    )  # fmt: skip

    def __init__(self, call: str, serial: int, target: Target) -> None:
        self.call = call
        self.serial = serial
        self.target = target
        self.fanout: Optional[Fanout] = None
        """``None`` before the first packet, while the receiver is unreachable, and after the end."""
        self.group: Optional[Group] = None
        """The receivers of the fan-out that get the same octets; ``None`` where ``fanout`` is."""
        self.slot = 0
        self.plain_for = 0.0
        """Seconds for which this receiver hears the plain twin of its tune, from its first packet on."""
        self.plain_until = 0.0
        """Until when this receiver hears the plain twin of its tune, by the monotonic clock."""
        self.sent_before = 0
        """Packets that the fan-out had sent when this receiver joined."""
        self.start: Optional[StreamStart] = None
        """Where the receiver first joined the stream with the present SSRC: its reports count from there."""
        self.source = ""
        """The local address that this receiver's packets leave from; empty means any."""
        self.report_at = 0.0
        """When the next sender report to this receiver is due."""

    @property
    def rtcp(self) -> Address:
        """The address for RTCP: the host of the RTP, and the port in ``a=rtcp``. So RTCP goes to no other host."""
        return Address(self.target.remote.host, self.target.remote_rtcp.port)


class Group:
    """Receivers that get the same octets: one for each slot of a table of destinations."""

    __slots__ = ("receivers", "table")

    def __init__(self, table: DestinationTable) -> None:
        self.table = table
        self.receivers: list[Receiver] = []

    def add(self, receiver: Receiver) -> None:
        """Add a receiver in the next slot."""
        target = receiver.target
        self.table.add(target.remote, receiver.source, bytes((FIRST_OCTET, target.payload_type)))
        receiver.group, receiver.slot = self, len(self.receivers)
        self.receivers.append(receiver)

    def remove(self, slot: int) -> None:
        """Remove the receiver in ``slot``. The receiver in the last slot moves there."""
        last = self.receivers.pop()
        self.table.remove(slot)
        if slot < len(self.receivers):
            self.receivers[slot] = last
            last.slot = slot


class Companion(Group):
    """The receivers of a fan-out that have just come: they hear the plain twin of its tune, without announcements.

    They get the same headers in the same turn as the others. When their time is over they join the others, but never in
    the middle of an announcement; outside of announcements the twin is the same music.
    """

    __slots__ = ("_announcements", "loop", "move_at")

    def __init__(self, table: DestinationTable, pair: LoopPair) -> None:
        super().__init__(table)
        self.loop = pair.plain or pair.loop
        self._announcements = pair.announcements
        self.move_at = inf
        """When receivers may be due to join the others, by the monotonic clock."""

    def add(self, receiver: Receiver) -> None:
        """Add a receiver in the next slot."""
        super().add(receiver)
        self.move_at = min(self.move_at, receiver.plain_until)

    def due(self, now: float, second: float) -> list[Receiver]:
        """The receivers that join the others now, ``MOST_MOVED`` at most. ``second`` of the tune is the next one."""
        wait = self._announcements.wait(second)
        if wait > 0.0:
            self.move_at = now + wait
            return []
        until = sorted(receiver.plain_until for receiver in self.receivers)
        due = [receiver for receiver in self.receivers if receiver.plain_until <= now][:MOST_MOVED]
        self.move_at = until[len(due)] if len(until) > len(due) else inf
        return due


class Fanout:
    """Receivers that get the same packets, with an SSRC of their own. Only the payload type is each receiver's own.

    Where the tune has a plain twin, receivers that have just come are in a ``Companion``: their packets have the same
    headers and leave in the same turn, with the payload of the twin.
    """

    __slots__ = (
        "_companion", "_former_worst", "_main", "_origin", "_packets", "_period", "_sequence", "_timestamp",
        "_window_ends", "_worst", "count", "due", "key", "loop", "no_route", "offset", "pair", "sent", "skipped",
        "ssrc", "table", "tick",
    )  # fmt: skip

    def __init__(
        self,
        key: FanoutKey,
        pair: LoopPair,
        table: DestinationTable,
        began: float,
        due: float,
        offset: int,
        chance: tuple[int, ...],
        plain_table: Optional[DestinationTable] = None,
    ) -> None:
        """``began`` is when the tune began, ``due`` when the first packet is to leave, both in seconds of the clock.

        ``offset`` is the millisecond of the pacer's ``CYCLE`` at which this fan-out sends. ``chance`` holds random
        numbers: the SSRC, the first sequence number and the timestamp of the tune's beginning. ``plain_table`` is for
        the receivers that hear the plain twin; without it, all receivers hear the tune itself.
        """
        self.key = key
        self.pair = pair
        self.loop = pair.loop
        self.table = table
        self._main = Group(table)
        self._companion = None if plain_table is None else Companion(plain_table, pair)
        self.count = 0
        """The number of receivers."""
        self.offset = offset
        self.due = due
        self.no_route: list[Receiver] = []
        """Receivers for which the kernel found no route for the latest packet. Some of them may have left since."""
        self.sent = 0
        """Packets that this fan-out has sent, each counted once for all receivers."""
        self._packets = 0
        self._worst = self._former_worst = 0.0
        self._window_ends = due + LATENESS_WINDOW
        self.skipped = 0
        """Packets that were never sent because their time had passed."""
        self._period = key.ptime / 1000
        self.tick = int((due - began) / self._period)
        """The number of the packet that is due, counted from the beginning of the tune."""
        self._origin = due - self.tick * self._period
        self.ssrc, self._sequence, self._timestamp = chance

    @property
    def receivers(self) -> list[Receiver]:
        """All receivers."""
        return self._main.receivers + (self._companion.receivers if self._companion is not None else [])

    def join(self, receiver: Receiver) -> None:
        """Add a receiver. It gets packets from the next packet on."""
        companion = self._companion if receiver.plain_until > self.due else None
        (companion or self._main).add(receiver)
        self.count += 1
        receiver.fanout, receiver.sent_before = self, self.sent
        if receiver.start is None or receiver.start.ssrc != self.ssrc:
            receiver.start = StreamStart(self.ssrc, self._sequence, self.sent)

    def leave(self, receiver: Receiver) -> None:
        """Remove a receiver."""
        assert receiver.group is not None
        receiver.group.remove(receiver.slot)
        self.count -= 1
        receiver.fanout = receiver.group = None

    def send_due(self, now: float) -> None:
        """Send the packet that is due. If several packets are overdue, send only the latest of them."""
        late = now - self.due
        if now >= self._window_ends:
            self._former_worst, self._worst, self._window_ends = self._worst, 0.0, now + LATENESS_WINDOW
        if late > self._worst:
            self._worst = late
        if late >= self._period:
            behind = int(late / self._period)
            self.skipped += behind
            self.tick += behind
        octets = self.key.octets
        payload = self.loop.payload_at(self.tick * octets, octets)
        if payload is None:  # only where encoding is slower than playing
            self.skipped += 1
        else:
            common = self.table.common
            timestamp = (self._timestamp + self.tick * self.key.ticks) & 0xFFFFFFFF
            COMMON_HEADER.pack_into(common, 0, self._sequence, timestamp, self.ssrc)
            common[COMMON_HEADER.size :] = payload
            self.table.send()
            if self.table.no_route or self.no_route:
                self.no_route = [self._main.receivers[slot] for slot in self.table.no_route]
            companion = self._companion
            if companion is not None and companion.receivers:
                self._send_plain(companion, now)
            self._sequence = (self._sequence + 1) & 0xFFFF
            self.sent += 1
            self._packets += self.count
        self.tick += 1
        self.due = self._origin + self.tick * self._period

    def _send_plain(self, companion: Companion, now: float) -> None:
        """Send the packet that was sent just now to the others, with the payload of the plain twin.

        Then those receivers whose time is over join the others. While the twin is not encoded, it is the same packet.
        """
        octets = self.key.octets
        table, plain = companion.table, companion.loop.payload_at(self.tick * octets, octets)
        table.common[:] = self.table.common
        if plain is not None:
            table.common[COMMON_HEADER.size :] = plain
        table.send()
        if table.no_route:
            self.no_route = self.no_route + [companion.receivers[slot] for slot in table.no_route]
        if companion.move_at <= now:
            for receiver in companion.due(now, self.loop.second_at((self.tick + 1) * octets)):
                slot = receiver.slot
                self._main.add(receiver)
                companion.remove(slot)

    def stats(self) -> tuple[int, int, int]:
        """The packets sent to all receivers together, the packets that the kernel did not take, the packets skipped."""
        lost = self.table.lost + (self._companion.table.lost if self._companion is not None else 0)
        return self._packets - lost, lost, self.skipped

    @property
    def lateness(self) -> float:
        """By how many seconds the latest packet of the last 5 to 10 s left after its time. Any thread may read it."""
        return max(self._worst, self._former_worst)

    def timestamp(self, now: float) -> int:
        """The timestamp of the sound that is played ``now``, for a sender report."""
        return self._timestamp + round((now - self._origin) / self._period * self.key.ticks)
