"""The log, written by a thread of its own: whoever has a line to tell leaves it here and goes on.

A terminal or a pipe that nobody reads holds up that thread and nobody else. Lines wait in their order, a bounded number
of them; what comes on top is dropped and counted. ``flush`` waits until all is written, as far as somebody reads.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from typing import Union

ROOM = 20_000
"""Lines that may wait to be written: ten seconds of 500 calls a second."""
GATHERED = 0.02
"""Seconds in which lines are gathered to be written at once: fifty system calls a second are enough."""
PATIENCE = 2.0
"""Seconds that ``flush`` waits at the most; at the end of the server Docker gives ten in all."""


class LogHandler(logging.Handler):
    """Writes to the open file ``descriptor``, not to a stream of Python's: at the end that would wait for its lock."""

    def __init__(self, descriptor: int, room: int = ROOM) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._room = room
        self._dropped = 0
        self._waiting: queue.SimpleQueue[Union[logging.LogRecord, threading.Event]] = queue.SimpleQueue()
        threading.Thread(target=self._write_on, name="journal", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Leave a line to be written. What it is made of must not change any more, since it is put together later."""
        if self._waiting.qsize() < self._room:
            self._waiting.put(record)
        else:
            self._dropped += 1  # under the handler's lock, as all of this

    def flush(self) -> None:
        """Wait until all that has been told so far is written; also called at the end of the interpreter."""
        written = threading.Event()
        self._waiting.put(written)
        written.wait(PATIENCE)

    def _write_on(self) -> None:
        while True:
            try:
                self._write_what_waits()
            except Exception:  # no memory for these lines; the next ones may be written again
                time.sleep(GATHERED)

    def _write_what_waits(self) -> None:
        gathered = [self._waiting.get()]
        if isinstance(gathered[0], logging.LogRecord):
            time.sleep(GATHERED)
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
        except Exception as error:  # a fault of ours in one line must not silence all others
            return f"a line of the log could not be written: {record.msg!r}: {error!r}\n"

    def _write(self, octets: bytes) -> None:
        while octets:
            try:
                octets = octets[os.write(self._descriptor, octets) :]
            except BlockingIOError:
                time.sleep(GATHERED)
            except OSError:
                return  # whoever read it is gone; there is no other place to tell that
