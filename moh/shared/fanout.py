"""One RTP stream to many receivers, called a fan-out: its next packet, and when that is due. The caller gives the time.

The laws kept here: each deadline is counted from the beginning of the stream, so that deadlines do not drift. After a
stall the missed packets are left out and not sent in a burst: the tune and the timestamp are where they would be
without the stall, and the sequence number goes on by one, because nothing was sent in between (RFC 3550 §5.1).
"""

from __future__ import annotations

import struct
from typing import NamedTuple, Optional

from ..common.actions import Address, Target
from ..common.codecs import Codec
from ..net.sendmmsg import DestinationTable
from .encoded_loop import EncodedLoop

MOST_RECEIVERS = 200
"""Receivers of one fan-out at most. Their packets leave together, within half a millisecond. Other fan-outs send at
other times."""
LATENESS_WINDOW = 5.0
"""Seconds for which the worst lateness is collected. ``Fanout.lateness`` is of this time and of that before it."""
FIRST_OCTET = 0x80
"""Version 2 of RTP, without padding, extension and contributing sources (RFC 3550 §5.1)."""
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

    __slots__ = ("call", "fanout", "report_at", "sent_before", "serial", "slot", "source", "start", "target")

    def __init__(self, call: str, serial: int, target: Target) -> None:
        self.call = call
        self.serial = serial
        self.target = target
        self.fanout: Optional[Fanout] = None
        """``None`` before the first packet, while the receiver is unreachable, and after the end."""
        self.slot = 0
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


class Fanout:
    """Receivers that get the same packets, with an SSRC of their own. Only the payload type is each receiver's own."""

    __slots__ = (
        "_former_worst", "_origin", "_packets", "_period", "_sequence", "_timestamp", "_window_ends", "_worst", "due",
        "key", "loop", "no_route", "offset", "receivers", "sent", "skipped", "ssrc", "table", "tick",
    )  # fmt: skip

    def __init__(
        self,
        key: FanoutKey,
        loop: EncodedLoop,
        table: DestinationTable,
        began: float,
        due: float,
        offset: int,
        chance: tuple[int, ...],
    ) -> None:
        """``began`` is when the tune began, ``due`` when the first packet is to leave, both in seconds of the clock.

        ``offset`` is the millisecond of the pacer's ``CYCLE`` at which this fan-out sends. ``chance`` holds random
        numbers: the SSRC, the first sequence number and the timestamp of the tune's beginning.
        """
        self.key = key
        self.loop = loop
        self.table = table
        self.offset = offset
        self.due = due
        self.receivers: list[Receiver] = []
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

    def join(self, receiver: Receiver) -> None:
        """Add a receiver. It gets packets from the next packet on."""
        target = receiver.target
        self.table.add(target.remote, receiver.source, bytes((FIRST_OCTET, target.payload_type)))
        receiver.fanout, receiver.slot, receiver.sent_before = self, len(self.receivers), self.sent
        if receiver.start is None or receiver.start.ssrc != self.ssrc:
            receiver.start = StreamStart(self.ssrc, self._sequence, self.sent)
        self.receivers.append(receiver)

    def leave(self, receiver: Receiver) -> None:
        """Remove a receiver. The receiver in the last slot moves to its slot."""
        last = self.receivers.pop()
        self.table.remove(receiver.slot)
        if last is not receiver:
            self.receivers[receiver.slot] = last
            last.slot = receiver.slot
        receiver.fanout = None

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
                self.no_route = [self.receivers[slot] for slot in self.table.no_route]
            self._sequence = (self._sequence + 1) & 0xFFFF
            self.sent += 1
            self._packets += len(self.receivers)
        self.tick += 1
        self.due = self._origin + self.tick * self._period

    def stats(self) -> tuple[int, int, int]:
        """The packets sent to all receivers together, the packets that the kernel did not take, the packets skipped."""
        return self._packets - self.table.lost, self.table.lost, self.skipped

    @property
    def lateness(self) -> float:
        """By how many seconds the latest packet of the last 5 to 10 s left after its time. Any thread may read it."""
        return max(self._worst, self._former_worst)

    def timestamp(self, now: float) -> int:
        """The timestamp of the sound that is played ``now``, for a sender report."""
        return self._timestamp + round((now - self._origin) / self._period * self.key.ticks)
