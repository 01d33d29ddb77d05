"""The socket that the state of the server is read from, by a thread of its own. ``moh.net.state_client`` reads it.

A reader connects, gets one JSON document, and the connection is closed. The laws kept here: only the server's own user
and root get the state; however many readers come, and however slowly they read, the state is made twice a second at
most, and a bounded number of them is served at once.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Optional

from ..common.faults import FaultLog
from ..net.state_client import user_of_peer

LIFETIME = 0.5
"""Seconds for which a state is given to further readers."""
MOST_READERS = 16
"""Readers that are served at once; others wait."""
AT_ONCE = 20
"""Entries of a list that are encoded at once, in a fifth of a millisecond."""
BACKLOG = 64
"""Readers that may wait."""
READ_TIMEOUT = 2.0
"""Seconds that a reader may take."""
RETRY_AFTER = 1.0
"""Seconds until the next attempt to get the name of the socket, or to accept a reader."""
PATIENCE = 3
"""Attempts after which the log says that another program has the name; a server that ends just now has it briefly."""
REFUSAL_PAUSE = 0.01
"""Seconds until the next reader is accepted after one of another user: that user's programs may connect without end."""
JOIN = 1.0
"""Seconds that ``close`` waits for the thread."""

log = logging.getLogger("moh")
_json = json.JSONEncoder(allow_nan=False).encode


def encoded(state: dict[str, Any]) -> bytes:
    """The state as JSON. Long lists are encoded piece by piece: in between, the pacers get the interpreter."""
    return b"".join(part.encode() for part in _parts(state))


def _parts(value: Any) -> Iterator[str]:
    if isinstance(value, dict) and any(isinstance(each, (dict, list)) for each in value.values()):
        for number, (key, each) in enumerate(value.items()):
            yield f"{', ' if number else '{'}{_json(key)}: "
            yield from _parts(each)
        yield "}"
    elif isinstance(value, list) and len(value) > 1:
        for number, each in enumerate(value):
            yield ", " if number else "["
            yield _json(each)
            if number % AT_ONCE == AT_ONCE - 1:
                time.sleep(0)  # it releases the interpreter's lock
        yield "]"
    else:
        yield _json(value)


class Reader:
    """A connection, and what it still has to be sent."""

    def __init__(self, sock: socket.socket, data: bytes, now: float) -> None:
        self.sock = sock
        self.give_up = now + READ_TIMEOUT
        self._left = memoryview(data)

    def send(self) -> bool:
        """Send as much as the kernel takes. Return whether nothing is left to do."""
        try:
            self._left = self._left[self.sock.send(self._left) :]
        except BlockingIOError:
            return False
        except OSError:
            return True
        return not self._left


class StateSocket:
    """Listens on the abstract Unix socket ``name``. ``state`` makes the state, in this thread."""

    def __init__(self, name: str, state: Callable[[], dict[str, Any]], faults: FaultLog) -> None:
        self._name = name
        self._state = state
        self._faults = faults
        self._data = b""
        self._made = float("-inf")
        self._readers: dict[int, Reader] = {}
        self._listener: Optional[socket.socket] = None
        self._listen_at = 0.0
        self._failures = 0
        self._closing = False
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = socket.socketpair()
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._listen(time.monotonic())
        self._thread = threading.Thread(target=self._run, name="state", daemon=True)
        self._thread.start()

    def service(self, now: float) -> None:
        """There is nothing to do in the main thread."""

    def close(self) -> None:
        """End the thread, and close all sockets."""
        self._closing = True
        self._wake_write.send(b".")
        self._thread.join(JOIN)
        if self._thread.is_alive():
            return  # it still uses the sockets
        for reader in self._readers.values():
            reader.sock.close()
        for sock in (self._listener, self._wake_read, self._wake_write):
            if sock is not None:
                sock.close()
        self._selector.close()

    # -- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing:
            try:
                self._turn()
            except Exception as error:
                self._faults.report(error, time.monotonic(), "the socket of the state")
                time.sleep(RETRY_AFTER)

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._timeout(time.monotonic())):
            if key.fileobj is self._listener:
                self._accept(self._listener, time.monotonic())
            elif (reader := self._readers.get(key.fd)) is not None and reader.send():
                self._drop(key.fd)
        now = time.monotonic()
        for number in [number for number, reader in self._readers.items() if now >= reader.give_up]:
            self._drop(number)
        if now >= self._listen_at and len(self._readers) < MOST_READERS:
            self._listen(now)

    def _timeout(self, now: float) -> Optional[float]:
        due = [reader.give_up for reader in self._readers.values()]
        if not self._accepts and len(self._readers) < MOST_READERS:
            due.append(self._listen_at)
        return max(0.0, min(due) - now) if due else None

    @property
    def _accepts(self) -> bool:
        return self._listener is not None and self._listener.fileno() in self._selector.get_map()

    def _listen(self, now: float) -> None:
        """Accept readers from now on. Where that fails, it is tried again later."""
        if self._accepts:
            return
        try:
            if self._listener is None:
                self._listener = _listener(self._name)
            self._selector.register(self._listener, selectors.EVENT_READ)
        except OSError as error:
            self._listen_at = now + RETRY_AFTER
            self._failures += 1
            if self._failures == PATIENCE:
                why = "another program has its name" if error.errno == errno.EADDRINUSE else error.strerror
                log.warning("no page and no --check can read the state of this server: %s", why)

    def _stop_listening(self, until: float) -> None:
        if self._accepts:
            self._selector.unregister(self._listener)  # type: ignore[arg-type]  # there is one: it accepts
        self._listen_at = until

    def _accept(self, listener: socket.socket, now: float) -> None:
        try:
            sock, _ = listener.accept()
        except BlockingIOError:
            return
        except OSError:  # no descriptor or no memory is left
            self._stop_listening(now + RETRY_AFTER)
            return
        try:
            sock.setblocking(False)
            if user_of_peer(sock) not in (os.geteuid(), 0):
                sock.close()
                self._stop_listening(now + REFUSAL_PAUSE)
                return
            reader = Reader(sock, self._latest(now), now)
            if reader.send():
                sock.close()
                return
            self._readers[sock.fileno()] = reader
            self._selector.register(sock, selectors.EVENT_WRITE)
        except BaseException:
            self._readers.pop(sock.fileno(), None)
            sock.close()
            raise
        if len(self._readers) >= MOST_READERS:
            self._stop_listening(now)

    def _latest(self, now: float) -> bytes:
        if now - self._made >= LIFETIME:
            self._data = encoded(self._state())
            self._made = now
        return self._data

    def _drop(self, number: int) -> None:
        reader = self._readers.pop(number)
        self._selector.unregister(reader.sock)
        reader.sock.close()


def _listener(name: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.bind(name)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock
