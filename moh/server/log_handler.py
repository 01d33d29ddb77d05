"""The log, written by a thread of its own, so that no other thread waits for a terminal or a pipe.

Lines wait in their order, a bounded number of them; more are dropped and counted. ``Redacted`` shows SIP messages.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from typing import Union

from ..common.faults import FaultLog

MOST_LINES = 20_000
"""Lines that may wait to be written: ten seconds of 500 calls a second."""
GATHER = 0.02
"""Seconds in which lines are gathered to be written at once: fifty system calls a second are enough."""
FLUSH = 2.0
"""Longest time in seconds that ``flush`` waits; Docker gives ten for the whole end of the server."""
KEY = "inline:"


class LogHandler(logging.Handler):
    """Writes to the file ``descriptor``. A Python stream would make the end of the interpreter wait for its lock."""

    def __init__(self, descriptor: int, most_lines: int = MOST_LINES) -> None:
        super().__init__()
        self.faults = FaultLog("the log's thread")
        self._descriptor = descriptor
        self._most_lines = most_lines
        self._dropped = 0
        self._waiting: queue.SimpleQueue[Union[logging.LogRecord, threading.Event]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line. Its arguments must not change any more, because the line is formatted later."""
        if self._waiting.qsize() < self._most_lines:
            self._waiting.put(record)
        else:
            self._dropped += 1  # under the handler's lock, as all of ``emit``

    def flush(self) -> None:
        """Wait until all lines so far are written; also called at the end of the interpreter."""
        written = threading.Event()
        self._waiting.put(written)
        written.wait(FLUSH)

    def _run(self) -> None:
        while True:
            try:
                self._write_waiting()
            except Exception as error:
                self.faults.report(error, time.monotonic())
                time.sleep(GATHER)

    def _write_waiting(self) -> None:
        gathered = [self._waiting.get()]
        if isinstance(gathered[0], logging.LogRecord):
            time.sleep(GATHER)
        while not self._waiting.empty():
            gathered.append(self._waiting.get())
        lines = [self._line(piece) for piece in gathered if isinstance(piece, logging.LogRecord)]
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            text = f"{dropped} lines of the log were dropped: more came than could be written"
            warning = {"name": "moh", "levelname": "WARNING", "levelno": logging.WARNING, "msg": text}
            lines.append(self._line(logging.makeLogRecord(warning)))
        self._write("".join(lines).encode("utf-8", "backslashreplace"))
        for piece in gathered:
            if isinstance(piece, threading.Event):
                piece.set()

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record) + "\n"
        except Exception as error:  # a line with wrong arguments is shown as it is, and silences no other
            return f"a line of the log could not be formatted: {record.msg!r}: {error!r}\n"

    def _write(self, octets: bytes) -> None:
        while octets:
            try:
                octets = octets[os.write(self._descriptor, octets) :]
            except BlockingIOError:
                time.sleep(GATHER)
            except OSError:
                return  # the reader has closed the pipe, and there is no other place to log that


class Redacted:
    """A SIP message for ``%s`` of a log line, its lines indented; formatted only if the line is written.

    SRTP keys are left out (RFC 4568 §6.1), so that a reader of the log cannot decrypt the call. Characters that would
    control a terminal are escaped.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __str__(self) -> str:
        lines = self._data.decode("utf-8", "backslashreplace").rstrip("\r\n").replace("\r\n", "\n").split("\n")
        return "".join("\n    " + self._harmless(line) for line in lines)

    @staticmethod
    def _harmless(line: str) -> str:
        if KEY in line.lower():
            line = line[: line.lower().index(KEY) + len(KEY)] + "(a key)"
        return line if line.isprintable() else repr(line)
