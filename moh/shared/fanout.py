"""Who hears the same packet at the same moment, and when which packet is due. No clock, no socket of its own.

The laws kept here: a deadline is counted from the beginning, so that none drifts; after a stall nothing is made up for
by a burst: the tune and the timestamp go on where they would be, and the sequence number goes on by one, since nothing
was sent in between (RFC 3550 §5.1).
"""

from __future__ import annotations

import struct
from typing import NamedTuple, Optional

from ..common.actions import Target
from ..common.codecs import Codec
from ..net.sendmmsg import DestinationTable
from .encoded_loop import EncodedLoop

FULL = 200
"""Callers of one batch. That many packets leave in one go, in half a millisecond; the next batch has its own moment."""
RTP_HEADER = 12
HEADER = struct.Struct("!BBHII")


class Shape(NamedTuple):
    """What makes the packets of two callers equal, and lets them leave from the same socket.

    ``side`` keeps one who leaves and comes back from an SSRC that has just taken leave of him.
    """

    tune: int
    codec: Codec
    payload_type: int
    ptime: int
    ipv6: bool
    side: int

    @property
    def octets(self) -> int:
        """Octets of payload."""
        return self.codec.octets_per_ms * self.ptime

    @property
    def ticks(self) -> int:
        """What a packet adds to the timestamp."""
        return self.codec.clock_rate * self.ptime // 1000


class Receiver:
    """One caller in a batch: who, at which slot, and how many packets had gone before him."""

    __slots__ = ("batch", "before", "call", "leaving", "report_at", "serial", "slot", "target")

    def __init__(self, call: str, serial: int, target: Target) -> None:
        self.call = call
        self.serial = serial
        self.target = target
        self.batch: Optional[Fanout] = None
        """``None`` before he hears anything and after he has gone."""
        self.slot = 0
        self.before = 0
        self.leaving = ""
        """The address of ours that his packets leave from; empty for any."""
        self.report_at = 0.0
        """When his next sender report is due."""


class Fanout:
    """Callers who hear the same packets, with an SSRC of their own."""

    __slots__ = (
        "_origin", "_packets", "_period", "_sequence", "_timestamp", "astray", "due", "frames", "members", "moment",
        "sent", "shape", "skipped", "ssrc", "table", "tick",
    )  # fmt: skip

    def __init__(
        self,
        shape: Shape,
        frames: EncodedLoop,
        table: DestinationTable,
        began: float,
        due: float,
        moment: int,
        chance: tuple[int, ...],
    ) -> None:
        """``began`` is when the tune began, ``due`` when the first packet shall leave, both in seconds of the clock.

        ``moment`` is the pacer's name for it. ``chance`` are SSRC, first sequence number and timestamp, random.
        """
        self.shape = shape
        self.table = table
        self.moment = moment
        self.due = due
        self.members: list[Receiver] = []
        self.astray: list[Receiver] = []
        """Callers to whom the packet sent last found no way; some may have left since."""
        self.sent = 0
        """Packets that each who was there from the beginning has got."""
        self._packets = 0
        self.skipped = 0
        """Packets that were never sent because their time had passed."""
        self.frames = frames
        self._period = shape.ptime / 1000
        self.tick = int((due - began) / self._period)
        """Packets of the tune that come before the one that is due."""
        self._origin = due - self.tick * self._period
        self.ssrc, self._sequence, self._timestamp = chance

    def join(self, member: Receiver) -> None:
        """Let a caller hear from the next packet on."""
        self.table.add(member.target.remote, member.leaving)
        member.batch, member.slot, member.before = self, len(self.members), self.sent
        self.members.append(member)

    def leave(self, member: Receiver) -> None:
        """Let him hear no more. The last one takes his slot."""
        last = self.members.pop()
        self.table.remove(member.slot)
        if last is not member:
            self.members[member.slot] = last
            last.slot = member.slot
        member.batch = None

    def send_due(self, now: float) -> None:
        """Send what is due; where more than that is overdue, go on with what is due now."""
        if now - self.due >= self._period:
            behind = int((now - self.due) / self._period)
            self.skipped += behind
            self.tick += behind
        octets = self.shape.octets
        payload = self.frames.payload_at(self.tick * octets, octets)
        if payload is None:  # only where encoding is slower than listening
            self.skipped += 1
        else:
            packet = self.table.packet
            HEADER.pack_into(
                packet, 0, 0x80, self.shape.payload_type, self._sequence,
                (self._timestamp + self.tick * self.shape.ticks) & 0xFFFFFFFF, self.ssrc,
            )  # fmt: skip
            packet[RTP_HEADER:] = payload
            self.table.send()
            if self.table.no_route or self.astray:
                self.astray = [self.members[slot] for slot in self.table.no_route]
            self._sequence = (self._sequence + 1) & 0xFFFF
            self.sent += 1
            self._packets += len(self.members)
        self.tick += 1
        self.due = self._origin + self.tick * self._period

    def stats(self) -> tuple[int, int, int]:
        """Packets sent to all together, those that the kernel did not take, and those skipped for a whole batch."""
        return self._packets - self.table.lost, self.table.lost, self.skipped

    def timestamp(self, now: float) -> int:
        """That of the sound that is heard ``now``, for a sender report."""
        return self._timestamp + round((now - self._origin) / self._period * self.shape.ticks)
