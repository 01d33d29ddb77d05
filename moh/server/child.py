"""A process that the server starts, and starts again when it has ended: the page, the library, the radios.

The law kept here: a child ends with the server, however that ends. Its standard input is a pipe whose other end only
the server has, and the kernel closes it with the server.

And: no child holds up the server. A thread of its own reads from the child and writes to it. What the child prints for
the log is bounded in lines and time. The messages of a child that the server has not read yet are bounded: then its
output is read no further, and the child waits. The orders that a child has not read are bounded: then it is killed and
started again.

A child that converses gets its orders and sends its messages as JSON objects, one on each line; what it prints to
standard error is for the log. Of any other child both outputs are for the log.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import select
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Optional

from ..common.faults import FaultLog
from ..net.threads import Thread

ROOT = Path(__file__).resolve().parent.parent.parent
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds until a child that has ended is started again; the pause doubles each time, up to the longest one."""
STEADY = 60.0
"""Seconds after which a child counts as one that works: when it ends, the next pause is the first one again."""
END_TIMEOUT = 2.0
"""Seconds that a child may take to end with the server; it takes milliseconds."""
MOST_LINES, LINES_IN = 100, 60.0
"""Lines of a child that the log gets in so many seconds; the others are counted."""
LONGEST_LINE = 16384
"""Octets of a line for the log that are read; a traceback is one line."""
LONGEST_MESSAGE = 1 << 20
"""Octets of a message that are read."""
MOST_MESSAGES = 256
"""Messages that wait for the server; above that the child's output is read no further."""
MOST_ORDERS = 4 << 20
"""Octets of orders that wait for the child."""
ALIVE_EVERY = 1.0
"""Seconds between two checks that the process lives: a process that it left behind may hold its output open."""
PART = 65536
LEVELS = {
    "DEBUG": logging.DEBUG, "INFO": logging.INFO, "WARNING": logging.WARNING, "ERROR": logging.ERROR,
    "CRITICAL": logging.CRITICAL,
}  # fmt: skip
LINE = re.compile(f"({'|'.join(LEVELS)}) (.*)", re.DOTALL)

Message = dict[str, Any]

log = logging.getLogger("moh")


class Child:
    """Keeps a process running, by a thread of its own, from ``start`` to ``end``."""

    def __init__(
        self, title: str, ended: str, command: Sequence[str], faults: FaultLog, *, prefix: str = "",
        descriptor: Optional[int] = None, converses: bool = False, environment: Optional[Mapping[str, str]] = None,
    ) -> None:  # fmt: skip
        """``title`` is the subject of log lines about it, such as "the page". ``ended`` is the line when it has ended:
        it takes the reason, and the seconds until it starts again. ``prefix`` begins what it prints.

        The child inherits ``descriptor``, and the environment where no other one is given.
        """
        self.starts = 0
        """How many processes have been started."""
        self._title = title
        self._ended = ended
        self._command = command
        self._faults = faults
        self._prefix = prefix
        self._descriptors = [] if descriptor is None else [descriptor]
        self._converses = converses
        self._environment = environment
        self._thread: Optional[Thread] = None
        self._closing = threading.Event()
        self._lock = threading.Lock()  # guards the queues, and the pipe that wakes the thread
        self._orders: deque[bytes] = deque()
        self._orders_size = 0
        self._messages: deque[Message] = deque()
        self._wake: Optional[int] = None
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._lines_until = 0.0
        self._lines = 0
        self._strange_until = 0.0
        self._strange = 0

    @property
    def pid(self) -> Optional[int]:
        """The number of the process that was started last."""
        return None if self._process is None else self._process.pid

    @property
    def started(self) -> bool:
        """Whether ``start`` has been called."""
        return self._thread is not None

    @property
    def has_ended(self) -> bool:
        """Whether the thread has been started, and has ended."""
        return self._thread is not None and not self._thread.is_alive()

    def start(self) -> None:
        """Start the thread. Raises ``RuntimeError`` where the system cannot start one."""
        thread = Thread(self._run, self._title.rpartition(" ")[2])
        thread.start()
        self._thread = thread

    def send(self, order: Mapping[str, Any]) -> None:
        """Send ``order`` to the process that runs. This never waits. A new process does not get earlier orders."""
        line = json.dumps(order).encode() + b"\n"
        with self._lock:
            self._orders.append(line)
            self._orders_size += len(line)
        self._wake_up()

    def drain(self, most: int) -> list[Message]:
        """The next messages of the process that runs, ``most`` at most."""
        with self._lock:
            was_full = not self.has_room
            found = [self._messages.popleft() for _ in range(min(most, len(self._messages)))]
        if was_full and self.has_room:
            self._wake_up()
        return found

    def end(self) -> None:
        """Have the process end soon, and start no other. This never waits."""
        self._closing.set()
        self._wake_up()

    def close(self) -> None:
        """End the process, and wait for that."""
        self.end()
        if self._thread is not None:
            self._thread.join(END_TIMEOUT + 1.0)

    def _wake_up(self) -> None:
        with self._lock:
            if self._wake is not None:
                with suppress(BlockingIOError):  # it is full: the thread wakes in any case
                    os.write(self._wake, b"x")

    # -- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._closing.is_set():
            began = time.monotonic()
            try:
                why = self._run_once()
            except Exception as error:
                self._faults.report(error, began)
                why = "its thread met an unexpected error"
            if self._closing.is_set():
                return
            if time.monotonic() - began > STEADY:
                pause = FIRST_PAUSE
            log.error(self._ended, why, pause)
            self._closing.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _run_once(self) -> str:
        """Run the process to its end. Return why it has ended."""
        try:
            process = self._process = subprocess.Popen(
                self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
                stderr=subprocess.PIPE if self._converses else subprocess.STDOUT, pass_fds=self._descriptors,
                env=self._environment,
            )  # fmt: skip
        except OSError as error:
            return f"it cannot be started: {error.strerror}"
        woken, wake = os.pipe()
        for descriptor in (woken, wake):
            os.set_blocking(descriptor, False)
        with self._lock:
            self._orders.clear()
            self._orders_size = 0
            self._messages.clear()
            self._wake = wake
            self.starts += 1
        conversation = _Conversation(self, process, woken)
        try:
            last = conversation.run()
        finally:
            with self._lock:
                self._wake = None
            for descriptor in (woken, wake):
                os.close(descriptor)
            conversation.close()
            try:
                status = process.wait(END_TIMEOUT)
            except subprocess.TimeoutExpired:  # it has closed its output and goes on, or it does not end as asked
                process.kill()
                status = process.wait()
        ended = f"signal {-status}" if status < 0 else f"exit status {status}"
        return f"{ended}, {last}" if last else ended

    def log_line(self, octets: bytes) -> str:
        """Log a line that the process has printed. Return it if it has no level."""
        line = octets.decode("utf-8", "backslashreplace")
        found = LINE.fullmatch(line)
        level, text = (found[1], found[2].replace("\r", "\n")) if found else ("WARNING", line)
        if self._has_room(time.monotonic()):
            log.log(LEVELS[level], "%s", text if text.startswith(self._prefix) else self._prefix + text)
        return "" if found else line

    def _has_room(self, now: float) -> bool:
        """Whether the log gets one more line of the process now."""
        if now >= self._lines_until:
            if (missing := self._lines - MOST_LINES) > 0:
                log.warning("%s%d more lines were not logged", self._prefix or f"{self._title}: ", missing)
            self._lines_until, self._lines = now + LINES_IN, 0
        self._lines += 1
        return self._lines <= MOST_LINES

    def take_message(self, octets: bytes) -> None:
        """Keep a message for ``drain``. What is no JSON object is counted, and logged now and then."""
        try:
            message = json.loads(octets)
            if not isinstance(message, dict):
                raise ValueError("no object")
        except (ValueError, RecursionError):
            self._note_strange(octets, time.monotonic())
            return
        with self._lock:
            self._messages.append(message)

    def _note_strange(self, octets: bytes, now: float) -> None:
        self._strange += 1
        if now >= self._strange_until:
            more = f" (and {self._strange - 1} more)" if self._strange > 1 else ""
            log.warning("%s sent what is no message: %.80r%s", self._title, octets[:80], more)
            self._strange_until, self._strange = now + LINES_IN, 0

    @property
    def closing(self) -> bool:
        """Whether the process is to end."""
        return self._closing.is_set()

    @property
    def has_room(self) -> bool:
        """Whether further messages may be read."""
        return len(self._messages) < MOST_MESSAGES

    @property
    def reads_orders(self) -> bool:
        """Whether few enough orders wait for the process."""
        return self._orders_size <= MOST_ORDERS

    def take_orders(self) -> bytes:
        """The orders that wait, for the process."""
        with self._lock:
            found = b"".join(self._orders)
            self._orders.clear()
        return found

    def sent(self, octets: int) -> None:
        """Note that the process has got so many octets of its orders."""
        with self._lock:
            self._orders_size -= octets


class _Lines:
    """Cuts octets into lines. A line that is too long comes in parts of the longest length."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._rest = b""

    def feed(self, octets: bytes) -> list[bytes]:
        """The lines that are complete now."""
        *lines, rest = (self._rest + octets).split(b"\n")
        while len(rest) > self._longest:
            lines.append(rest[: self._longest])
            rest = rest[self._longest :]
        self._rest = rest
        return lines

    def end(self) -> list[bytes]:
        """The last line, if no line feed has ended it."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []


class _Conversation:
    """What passes between the server and one process, as long as that runs. Only the child's thread uses it."""

    def __init__(self, child: Child, process: subprocess.Popen[bytes], woken: int) -> None:
        self._child = child
        self._process = process
        self._woken = woken
        self._unsent = b""
        self._last = ""
        assert process.stdin is not None and process.stdout is not None
        self._input: Optional[int] = process.stdin.fileno()
        os.set_blocking(self._input, False)
        self._lines: dict[int, _Lines] = {}
        """For each output that is open: what has been read of it."""
        self._messages = process.stdout.fileno() if process.stderr is not None else -1
        for output in filter(None, (process.stdout, process.stderr)):
            number = output.fileno()
            self._lines[number] = _Lines(LONGEST_MESSAGE if number == self._messages else LONGEST_LINE)

    def run(self) -> str:
        """Read and write until the process has closed its outputs or has ended. Return its last line without a level.

        When the child is to end, the process gets ``END_TIMEOUT`` seconds for it.
        """
        until = math.inf
        while self._lines:
            if self._child.closing and until == math.inf:
                self._close_input()
                until = time.monotonic() + END_TIMEOUT
            if not self._child.reads_orders:
                self._process.kill()
                return "it does not read its orders"
            left = until - time.monotonic()
            if left <= 0:
                self._process.kill()
                break
            ready = self._wait(min(left, ALIVE_EVERY))
            for number in ready:
                if number == self._woken:
                    os.read(number, PART)
                elif number == self._input:
                    self._write(number)
                else:
                    self._read(number)
            if not ready and self._process.poll() is not None:
                break
        return self._last.strip()

    def close(self) -> None:
        """Close this end of all pipes."""
        self._close_input()
        for output in filter(None, (self._process.stdout, self._process.stderr)):
            output.close()

    def _close_input(self) -> None:
        self._input = None
        assert self._process.stdin is not None
        self._process.stdin.close()

    def _wait(self, seconds: float) -> list[int]:
        """Wait until something can be read or written. Return the numbers of these pipes."""
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        for number in self._lines:
            if number != self._messages or self._child.has_room:
                poll.register(number, select.POLLIN)
        self._unsent = self._unsent or self._child.take_orders()
        if self._unsent and self._input is not None:
            poll.register(self._input, select.POLLOUT)
        return [number for number, _ in poll.poll(math.ceil(seconds * 1000))]

    def _write(self, number: int) -> None:
        try:
            written = os.write(number, self._unsent[:PART])
        except BlockingIOError:
            return
        except OSError:  # the process reads no more: it ends
            self._close_input()
            return
        self._unsent = self._unsent[written:]
        self._child.sent(written)

    def _read(self, number: int) -> None:
        octets = os.read(number, PART)
        lines = self._lines[number]
        for line in lines.feed(octets) if octets else lines.end():
            if number == self._messages:
                self._child.take_message(line)
            else:
                self._last = self._child.log_line(line)
        if not octets:
            del self._lines[number]
