"""The messages that the core wants sent: those by UDP leave together, those by TCP and TLS go to their connections."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Sequence
from typing import Optional

from ..common.actions import Send
from ..common.counters import Counters
from ..net.datagram_sender import DatagramSender, Outgoing
from ..transport.tcp import TcpServer
from .message_log import log_message
from .trace import Trace

log = logging.getLogger("moh")


class Outbox:
    """Sends messages in the order in which they were added. One thread at a time may use it."""

    def __init__(
        self, sock: socket.socket, streams: Sequence[TcpServer], counters: Counters, trace: Optional[Trace] = None
    ) -> None:
        """``sock`` is the non-blocking UDP socket, ``streams`` are the listeners for TCP and TLS."""
        self._trace = trace
        self._sender = DatagramSender(sock)
        self._streams = streams
        self._counters = counters
        self._waiting: list[Outgoing] = []

    def add(self, send: Send) -> None:
        """Take a message. One by UDP waits for ``flush``."""
        log_message("> to", send.flow.remote if send.flow.reliable else send.to, send.flow.transport, send.data)
        if self._trace is not None:
            self._trace.sent(send)
        if not send.flow.reliable:
            self._waiting.append(Outgoing(send.data, send.to, send.flow.local.host))
            return
        for stream in self._streams:
            if stream.transport == send.flow.transport:
                stream.send(send)

    def flush(self) -> None:
        """Send what waits. This never blocks.

        A message that the kernel does not take is lost like any datagram. A message that matters has a timer that
        retransmits it.
        """
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        for lost, why in self._sender.send(waiting):
            if self._counters.count_and_should_log("could not be sent", lost.to.host, time.monotonic()):
                log.info("could not send to %s: %s", lost.to, why)
