"""RTCP to the receivers of the shared stream: sender reports, BYE, and probes (RFC 3550 §6)."""

from __future__ import annotations

import heapq
import itertools
import logging
import random
import secrets
import socket
import time
from collections.abc import Mapping
from typing import Optional

from ..net.sockets import destination, leaving_from
from ..rtp.rtcp import cname_of, empty_report, report_and_bye, sender_report, source_description
from .fanout import Fanout, Receiver

SENDER_REPORT_INTERVAL = 5.0 / 1.21828
"""Seconds between sender reports to a receiver, before they are varied by a factor of 0.5 to 1.5 (RFC 3550 §6.3.1)."""

log = logging.getLogger("moh")


class Reports:
    """Schedules the sender reports, and sends RTCP to the receivers. Only one thread may use it."""

    def __init__(self, sockets: Mapping[bool, socket.socket]) -> None:
        """``sockets`` holds the IPv6 socket under ``True`` and the IPv4 socket under ``False``."""
        self._sockets = sockets
        self._schedule: list[tuple[float, int, Receiver]] = []
        self._count = itertools.count()  # reports that are due at the same time are sent in the order of planning

    def __len__(self) -> int:
        return len(self._schedule)

    def clear(self) -> None:
        """Forget the schedule, when there are no receivers."""
        self._schedule.clear()

    def plan_first(self, receiver: Receiver, now: float) -> None:
        """Plan the first report to a receiver, after half of the interval (RFC 3550 §6.2)."""
        self._plan(receiver, now, 0.5)

    def is_due(self, now: float) -> bool:
        """Whether a report is due, so that ``pop`` may be called."""
        return bool(self._schedule) and self._schedule[0][0] <= now

    def pop(self) -> Optional[Receiver]:
        """Remove the earliest report from the schedule. Return its receiver; ``None`` if that has left or moved."""
        when, _, receiver = heapq.heappop(self._schedule)
        return receiver if receiver.fanout is not None and receiver.report_at == when else None

    def send_report(self, receiver: Receiver, now: float) -> None:
        """Send a sender report, unless the receiver has got no packet yet, and plan the next one."""
        fanout = receiver.fanout
        if fanout is not None and fanout.sent > receiver.sent_before:
            cname = cname_of(receiver.target.local.host)
            self._send(receiver, _report(receiver, fanout, now) + source_description(fanout.ssrc, cname))
        self._plan(receiver, now, 1.0)

    def send_bye(self, receiver: Receiver, now: float) -> None:
        """Send the last report with BYE (RFC 3550 §6.3.7), unless the receiver has got no packet yet."""
        fanout = receiver.fanout
        if fanout is not None and fanout.sent > receiver.sent_before:
            cname = cname_of(receiver.target.local.host)
            self._send(receiver, report_and_bye(_report(receiver, fanout, now), fanout.ssrc, cname))

    def send_probe(self, receiver: Receiver) -> None:
        """Send an empty report with a new SSRC to a paused receiver, to find out whether packets reach it."""
        self._send(receiver, empty_report(secrets.randbits(32), cname_of(receiver.target.local.host)))

    def _plan(self, receiver: Receiver, now: float, share: float) -> None:
        receiver.report_at = now + share * SENDER_REPORT_INTERVAL * random.uniform(0.5, 1.5)
        heapq.heappush(self._schedule, (receiver.report_at, next(self._count), receiver))

    def _send(self, receiver: Receiver, data: bytes) -> None:
        to = receiver.rtcp
        sock = self._sockets[":" in to.host]
        ancillary = leaving_from(receiver.source, sock.family) if receiver.source else []
        try:
            sock.sendmsg([data], ancillary, socket.MSG_DONTWAIT, destination(to, sock.family))
        except OSError as error:
            log.debug("no RTCP to %s: %s", to, error.strerror)


def _report(receiver: Receiver, fanout: Fanout, now: float) -> bytes:
    packets = fanout.sent - receiver.sent_before
    return sender_report(fanout.ssrc, time.time(), fanout.timestamp(now), packets, packets * fanout.key.octets)
