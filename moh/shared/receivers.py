"""The receivers of one pacer, by their calls and by their addresses.

Any host can send datagrams to the port of the shared stream. The law kept here: the work for such a datagram depends
only on the number of receivers that it concerns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Optional

from ..common.actions import Address
from ..rtp.reception import StreamReport, stream_report
from .fanout import Receiver
from .feedback import FeedbackReport

MOST_REPORTED = 8
"""Receivers with the same address at most that one RTCP packet counts for."""


class Receivers:
    """Receivers by call, and by the addresses of their RTP and RTCP. Several calls may have the same address."""

    def __init__(self) -> None:
        self._by_call: dict[str, Receiver] = {}
        self._by_address: dict[Address, list[Receiver]] = {}

    def __len__(self) -> int:
        return len(self._by_call)

    def __iter__(self) -> Iterator[Receiver]:
        return iter(self._by_call.values())

    def get(self, call: str) -> Optional[Receiver]:
        """The receiver of a call; ``None`` where the call has none."""
        return self._by_call.get(call)

    def add(self, receiver: Receiver) -> None:
        """Add a receiver. Its target must stay the same until it is removed."""
        self._by_call[receiver.call] = receiver
        for address in {receiver.target.remote, receiver.rtcp}:
            self._by_address.setdefault(address, []).append(receiver)

    def remove(self, receiver: Receiver) -> None:
        """Remove a receiver. If it is not in this table, nothing changes."""
        if self._by_call.get(receiver.call) is not receiver:
            return
        del self._by_call[receiver.call]
        for address in {receiver.target.remote, receiver.rtcp}:
            same = self._by_address[address]
            same.remove(receiver)
            if not same:
                del self._by_address[address]

    def reports(self, source: Address, data: bytes) -> Iterator[StreamReport]:
        """What ``source`` reports by an RTCP packet of the music that it gets; nothing if it gets none.

        A thread that is not the pacer's may call this. What it reads may change meanwhile: then one report is wrong.
        """
        for receiver in self._by_address.get(source, [])[:MOST_REPORTED]:
            fanout, start = receiver.fanout, receiver.start
            if fanout is None or start is None:
                continue
            sent, clock_rate = fanout.sent - start.sent, fanout.key.codec.clock_rate
            report = stream_report(data, receiver.call, start.ssrc, start.sequence, sent, clock_rate)
            if report is not None:
                yield report

    def concerned(self, report: FeedbackReport) -> Collection[Receiver]:
        """The receivers that a report may concern, each once.

        If a neighbour is silent, these are all receivers. Only this machine's kernel reports that; no datagram can.
        """
        if report.silent_hosts:
            return self._by_call.values()
        found: dict[Receiver, None] = {}
        for sources in (report.port_unreachable, report.host_unreachable, report.bye, report.rtcp):
            for address in sources & self._by_address.keys():
                found.update(dict.fromkeys(self._by_address[address]))
        return found.keys()
