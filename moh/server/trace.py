"""The trace (``MOH_TRACE``): the SIP messages of all callers, or of one, as a file for Wireshark, tshark and sngrep.

A thread of its own writes the file. The law kept here: nothing waits for that thread, and an error of the file costs
the trace alone. A message by TCP or TLS is written as a datagram, in which these programs recognize SIP on any port;
the comment of the packet names the transport. Keys of SRTP are overwritten.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import Optional

from ..common.actions import Address, Flow, Send
from ..common.amounts import amount
from ..common.faults import FaultLog
from .message_log import without_keys
from .pcapng import Captured, file_header, packet_block
from .trace_file import MOST_OCTETS, TraceFile, Unusable

SHORT = 4096
"""Octets of a short message at most; nearly all are short."""
MOST_WAITING, MOST_LONG_WAITING = 2000, 100
"""Messages that wait for the thread at most. A long one is accepted only where fewer wait, so they take 15 MB at most.
"""
GATHER = 0.05
"""Seconds for which messages are gathered before they are written at once."""
WRITTEN_AT_ONCE = 500
"""Messages that are written at once at most."""
RETRY_AFTER = 10.0
"""Seconds after which a file that could not be written is tried again, and between two lines about missing messages."""
PATIENCE = 2.0
"""Seconds that the end of the server waits for the file."""

log = logging.getLogger("moh")


class Trace:
    """Writes messages to the file ``path``; with ``phone``, an address, only messages from and to it."""

    def __init__(
        self, path: str, phone: str = "", faults: Optional[FaultLog] = None, most_octets: int = MOST_OCTETS
    ) -> None:
        self.faults = faults or FaultLog("the trace")
        self._path, self._phone = path, phone
        self._file = TraceFile(path, file_header("moh"), most_octets)
        self._waiting: queue.SimpleQueue[Optional[Captured]] = queue.SimpleQueue()
        self._missing = 0  # messages since the last line about them; any thread counts, so it may be a few too few
        self._trouble = ""
        self._try_at = 0.0
        self._report_at = 0.0
        of = f" of {phone}" if phone else ""
        size = most_octets // 1_000_000
        log.info("trace: the SIP messages%s go to %s, and when it has %d MB, it becomes %s.1", of, path, size, path)
        self._thread = threading.Thread(target=self._run, name="trace", daemon=True)
        self._thread.start()

    def received(self, data: bytes, flow: Flow, comment: str = "") -> None:
        """Note a message that came by ``flow``. ``comment`` says what became of it, where it is not handled."""
        self._add(data, flow.remote, flow.local, flow, True, comment)

    def sent(self, send: Send) -> None:
        """Note a message that leaves."""
        to = send.flow.remote if send.flow.reliable else send.to
        self._add(send.data, send.flow.local, to, send.flow, False, "")

    def close(self) -> None:
        """Write what waits, and close the file."""
        self._waiting.put(None)
        self._thread.join(PATIENCE)

    def _add(self, data: bytes, source: Address, to: Address, flow: Flow, inbound: bool, comment: str) -> None:
        """Have the thread write a message. This raises nothing: the message goes on to its call, or to the phone."""
        try:
            if self._phone and self._phone not in (source.host, to.host):
                return
            if self._waiting.qsize() >= (MOST_WAITING if len(data) <= SHORT else MOST_LONG_WAITING):
                self._missing += 1
                return
            shown = flow.transport if flow.transport == "UDP" else f"{flow.transport}, shown as UDP"
            comment = f"SIP by {shown}; {comment}" if comment else f"SIP by {shown}"
            self._waiting.put(Captured(time.time_ns(), data, source, to, inbound, comment))
        except Exception as error:
            self._missing += 1
            self.faults.report(error, time.monotonic(), "the trace")

    # -- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        gathered: list[Optional[Captured]] = []
        self._write_safely([])  # the file exists from the start, and the log says at the start if it cannot
        while None not in gathered:
            gathered = [self._waiting.get()]
            if gathered[0] is not None:
                time.sleep(GATHER)
            while len(gathered) < WRITTEN_AT_ONCE and not self._waiting.empty():
                gathered.append(self._waiting.get())
            self._write_safely([message for message in gathered if message is not None])
        self._file.close()

    def _write_safely(self, messages: list[Captured]) -> None:
        now = time.monotonic()
        try:
            self._write(messages, now)
        except Exception as error:
            self._missing += len(messages)
            self.faults.report(error, now, "the trace")

    def _write(self, messages: list[Captured], now: float) -> None:
        if now < self._try_at:
            self._missing += len(messages)
            return
        blocks = [self._block(message, now) for message in messages]
        try:
            self._file.write(b"".join(blocks))
        except Unusable as error:
            self._missing += len(messages)
            self._try_at = now + RETRY_AFTER
            if self._trouble != str(error):
                self._trouble = str(error)
                log.warning("the trace (MOH_TRACE) cannot be written to %s: %s", self._path, error)
            return
        if self._trouble:
            log.info("the trace is written again; %s missing", _are(self._missing))
        elif self._missing and now >= self._report_at:
            log.warning("%s missing in the trace: more came than could be written", _are(self._missing))
        else:
            return
        self._trouble, self._missing, self._report_at = "", 0, now + RETRY_AFTER

    def _block(self, message: Captured, now: float) -> bytes:
        """The message as a block of the file; nothing for one that cannot be one, which costs no other message."""
        try:
            return packet_block(message._replace(data=without_keys(message.data)))
        except Exception as error:
            self._missing += 1
            self.faults.report(error, now, f"the trace of a message from {message.source} to {message.to}")
            return b""


def _are(number: int) -> str:
    return f"{amount(number, 'message')} {'is' if number == 1 else 'are'}"
