"""The log, written by a thread of its own, so that no other thread waits for a terminal or a pipe.

Lines that wait for this thread take a bounded number of octets; lines beyond that are dropped and counted.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
import time
from typing import Union

from ..common.actions import Note
from ..common.amounts import amount
from ..common.config import Settings
from ..common.errors import SettingsError
from ..common.faults import FaultLog
from .log_format import JSON, complaint, line_formatter, show_uncaught_as_json
from .message_log import Redacted

MOST_OCTETS = 24 << 20
"""Octets of memory for lines that wait to be written: 20,000 lines of 200 octets, ten seconds of 500 calls a second."""
LINE_COST = 1000
"""Octets of memory that a line takes in addition to its texts."""
VALUE_COST = 50
"""Octets of memory that a value in a line takes in addition to its text, if it has one."""
WRITTEN_AT_ONCE = 1 << 18
"""The approximate number of octets that one system call writes."""
GATHER = 0.02
"""Seconds for which lines are gathered before they are written at once: fifty system calls a second are enough."""
FLUSH = 2.0
"""Seconds that ``flush`` waits at most; Docker gives the server ten seconds to end."""


def log_descriptor() -> int:
    """The descriptor of the standard output. Raises ``SettingsError`` if the standard output is closed."""
    if sys.stdout is None:  # the first socket would get the number of the standard output
        raise SettingsError("The log cannot be written: standard output is closed; expected a terminal, file or pipe")
    return sys.stdout.fileno()


class LogHandler(logging.Handler):
    """Writes to the file ``descriptor``. With a Python stream, the interpreter would wait for its lock when it ends."""

    def __init__(self, descriptor: int, most_octets: int = MOST_OCTETS) -> None:
        super().__init__()
        self.faults = FaultLog("the log's thread")
        self._descriptor = descriptor
        self._most_octets = most_octets
        self._waiting: queue.SimpleQueue[Union[tuple[logging.LogRecord, int], threading.Event]] = queue.SimpleQueue()
        # octets and lines since the start; either ``emit``, under its lock, or the log's thread writes each of these
        self._accepted = 0
        self._dropped = 0
        self._done = 0
        self._unwritten = 0
        self._reported = 0
        self._writable = True
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line. The line is formatted later, so its arguments must not change any more."""
        octets = memory_of(record)
        if self._accepted - self._done + octets <= self._most_octets:
            self._accepted += octets
            self._waiting.put((record, octets))
        else:
            self._dropped += 1

    def flush(self) -> None:
        """Wait until all lines so far are written. The interpreter also calls this when it ends."""
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
        if not isinstance(gathered[0], threading.Event) and self._accepted - self._done < WRITTEN_AT_ONCE:
            time.sleep(GATHER)
        octets = 0
        lines = []
        events = []
        try:
            while gathered:
                piece = gathered.pop()
                if isinstance(piece, threading.Event):
                    events.append(piece)
                else:
                    octets += piece[1]
                    lines.append(self._line(piece[0]))
                if octets < WRITTEN_AT_ONCE and not self._waiting.empty():
                    gathered.append(self._waiting.get())
            self._write_lines(lines)
        finally:
            self._done += octets
        for event in events:
            event.set()

    def _write_lines(self, lines: list[str]) -> None:
        """Write ``lines``, and then how many lines were dropped since the last such report."""
        missing = self._dropped + self._unwritten - self._reported
        more = []
        if missing:
            text = f"dropped {amount(missing, 'line')} of the log: more came than could be written"
            warning = {"name": "moh", "levelname": "WARNING", "levelno": logging.WARNING, "msg": text}
            more.append(self._line(logging.makeLogRecord(warning)))
        if self._write("".join(lines + more).encode("utf-8", "backslashreplace")):
            self._reported += missing
        else:
            self._unwritten += len(lines)

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record) + "\n"
        except Exception as error:  # a line with wrong arguments is shown unformatted, and the other lines follow
            return f"a line of the log could not be formatted: {record.msg!r}: {error!r}\n"

    def _write(self, octets: bytes) -> bool:
        """Write all ``octets``. Return whether that was possible."""
        while octets:
            try:
                octets = octets[os.write(self._descriptor, octets) :]
            except BlockingIOError:
                time.sleep(GATHER)
            except OSError as error:
                self._report_unwritable(error)
                return False
        self._writable = True
        return True

    def _report_unwritable(self, error: OSError) -> None:
        """Write one line to the standard error: the log's reader has closed the pipe, or the disk is full."""
        if not self._writable or sys.stderr is None:
            return
        self._writable = False
        try:
            line = complaint(f"The log cannot be written: {error.strerror}; lines are dropped", os.environ)
            os.write(sys.stderr.fileno(), f"{line}\n".encode())
        except OSError:
            pass  # the standard error is the same pipe, or a file on the same disk


def start_log(settings: Settings) -> LogHandler:
    """Have the log written as the settings say. The handler that is returned writes it in a thread of its own."""
    handler = LogHandler(log_descriptor())
    handler.setFormatter(line_formatter(settings.log_format))
    logging.basicConfig(handlers=[handler], level=settings.log)
    # no line shows these; each would be looked up for each line
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    if settings.log_format == JSON:
        show_uncaught_as_json()
    return handler


def memory_of(record: logging.LogRecord) -> int:
    """The approximate octets of memory that a line takes while it waits."""
    values = record.args if isinstance(record.args, tuple) else ()
    return LINE_COST + len(str(record.msg)) + sum(_memory(value) for value in values)


def _memory(value: object) -> int:
    if isinstance(value, Note):
        value = value.text
    return VALUE_COST + (len(value) if isinstance(value, (str, bytes, Redacted)) else 0)
