"""The page (``MOH_HTTP``) as a process of its own: the server binds its socket, starts it, and starts it again.

The page shares nothing with the threads that play music: not the interpreter's lock, not the memory, and it has a lower
priority. The law kept here: the page ends with the server, however that ends. The standard input of the page is a pipe
whose other end only the server has, and the kernel closes it with the server.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Optional

from ..common.actions import Address
from ..common.config import Settings
from ..common.errors import SettingsError
from ..common.faults import FaultLog
from ..net.container import is_behind_a_bridge
from ..net.routes import address_on_the_network
from ..net.threads import Thread

ROOT = Path(__file__).resolve().parent.parent.parent
COMMAND = (sys.executable, "-m", "moh.http")
BACKLOG = 1024
"""Connections that the kernel keeps until the page accepts them."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds until a page that has ended is started again; the pause doubles each time, up to the longest one."""
STEADY = 60.0
"""Seconds after which a page counts as one that works: when it ends, the next pause is the first one again."""
END_TIMEOUT = 2.0
"""Seconds that the page may take to end with the server; it takes milliseconds."""
MOST_LINES, LINES_IN = 100, 60.0
"""Lines of the page that the log gets in so many seconds; the others are counted."""
LONGEST_LINE = 16384
"""Octets of a line that are read; a traceback is one line."""
LEVELS = {"INFO": logging.INFO, "WARNING": logging.WARNING, "ERROR": logging.ERROR, "CRITICAL": logging.CRITICAL}
LINE = re.compile(f"({'|'.join(LEVELS)}) (.*)", re.DOTALL)

log = logging.getLogger("moh")


def listening(settings: Settings) -> Optional[socket.socket]:
    """The socket of the page; ``None`` where there is no page. Raises ``SettingsError`` where it cannot listen."""
    if settings.http is None:
        return None
    host, port = place_of(settings.http, settings.http_port_only)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=host == "::")
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            why = "another program uses this port; expected a port that is free, or an empty MOH_HTTP for no page"
        elif error.errno == errno.EADDRNOTAVAIL:
            why = "this machine has no such address; expected 127.0.0.1, or another one of its own"
        elif error.errno == errno.EACCES:
            why = "the system does not permit this port; expected one above 1023"
        else:
            why = f"{os.strerror(error.errno or 0)}; expected 127.0.0.1 and a port that is free"
        raise SettingsError(f"Cannot listen on MOH_HTTP {settings.http}: {why}") from None


def place_of(http: Address, port_only: bool) -> Address:
    """Where the page listens. A port without an address means: for this machine alone.

    In a container with a network of its own, the machine reaches its addresses and not its loopback. There it listens
    on all of them, and how the port is published decides which machines reach it.
    """
    return Address("0.0.0.0", http.port) if port_only and is_behind_a_bridge(address_on_the_network()) else http


class PageProcess:
    """Keeps the page running, by a thread of its own, as soon as the server is ready.

    Without ``MOH_HTTP`` it does nothing.
    """

    def __init__(self, settings: Settings, command: Sequence[str] = COMMAND) -> None:
        self.faults = FaultLog("the thread of the page")
        self.is_ready: Callable[[], bool] = lambda: True
        """Whether the server is ready. A page that starts earlier takes time from the conversion of the music."""
        self._start_at = 0.0
        self._command = command
        self._listener = listening(settings)
        self._thread: Optional[Thread] = None
        self._closing = threading.Event()
        self._lock = threading.Lock()  # guards ``_process`` against a ``close`` while the page is being started
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._lines_until = 0.0
        self._lines = 0

    def service(self, now: float) -> None:
        """Start the page when the server is ready. Raises ``RuntimeError`` where the system cannot start a thread."""
        if self._listener is None or self._thread is not None or now < self._start_at or not self.is_ready():
            return
        self._start_at = now + LONGEST_PAUSE  # of the next attempt, if this one fails
        thread = Thread(self._run, "page")
        thread.start()
        self._thread = thread

    def close(self) -> None:
        """End the page and close its socket."""
        self._closing.set()
        with self._lock:
            process = self._process
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(END_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
        if self._thread is not None:
            self._thread.join(END_TIMEOUT)
        if self._listener is not None:
            self._listener.close()

    # -- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._closing.is_set():
            began = time.monotonic()
            try:
                why = self._run_once()
            except Exception as error:
                self.faults.report(error, began)
                why = "its thread met an unexpected error"
            if self._closing.is_set():
                return
            if time.monotonic() - began > STEADY:
                pause = FIRST_PAUSE
            log.error("the page has ended: %s. Calls go on; the page starts again in %g s", why, pause)
            self._closing.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _run_once(self) -> str:
        """Run the page to its end, and log what it prints. Return why it has ended."""
        assert self._listener is not None
        number = self._listener.fileno()
        with self._lock:
            if self._closing.is_set():
                return ""
            try:
                process = self._process = subprocess.Popen(
                    [*self._command, str(number)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT, pass_fds=[number],
                )  # fmt: skip
            except OSError as error:
                return f"it cannot be started: {error.strerror}"
        assert process.stdin is not None and process.stdout is not None
        try:
            last = self._log_lines(process.stdout)
        finally:
            process.stdin.close()
            process.stdout.close()
            try:
                status = process.wait(END_TIMEOUT)
            except subprocess.TimeoutExpired:  # it has closed its output and goes on
                process.kill()
                status = process.wait()
        ended = f"signal {-status}" if status < 0 else f"exit status {status}"
        return f"{ended}, {last}" if last else ended

    def _log_lines(self, output: IO[bytes]) -> str:
        """Log what the page prints, until it ends. Return its last line, if that is none of its log."""
        last = ""
        while octets := output.readline(LONGEST_LINE):
            line = octets.decode("utf-8", "backslashreplace").rstrip("\n")
            found = LINE.fullmatch(line)
            level, text = (found[1], found[2].replace("\r", "\n")) if found else ("WARNING", line)
            last = "" if found else line
            if self._has_room(time.monotonic()):
                log.log(LEVELS[level], "%s", text if text.startswith("page: ") else f"page: {text}")
        return last.strip()

    def _has_room(self, now: float) -> bool:
        """Whether the log gets one more line of the page now."""
        if now >= self._lines_until:
            if (missing := self._lines - MOST_LINES) > 0:
                log.warning("page: %d more lines were not logged", missing)
            self._lines_until, self._lines = now + LINES_IN, 0
        self._lines += 1
        return self._lines <= MOST_LINES
