"""Reads the state of a running server on this machine: one JSON document from its socket.

The server listens on an abstract Unix socket (unix(7)), which has a name and no file: it is there exactly while the
server is, and in a container exactly where the container's network is. Its name is that of the UDP port, so several
servers on one machine are told apart. The law kept here: only the state of a server of the same user is read, or one of
root; and root may read all.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from typing import Any

TIMEOUT = 5.0
"""Seconds until ``read_state`` gives up."""
RETRY_AFTER = 0.05
"""Seconds until the next attempt where too many readers wait already."""
MOST_OCTETS = 16 << 20
"""The longest state that is read; that of a busy server has 200 kB."""
PART = 1 << 16
"""Octets that are read at once."""
CREDENTIALS = struct.Struct("@3i")  # struct ucred: process, user, group


class NoState(Exception):
    """The state cannot be read; the text says why, in one line for the owner."""


def state_name(bind: str, port: int) -> str:
    """The name of the socket of the server that listens on ``port`` of the address ``bind``."""
    return f"\0moh/{bind}/{port}"


def user_of_peer(sock: socket.socket) -> int:
    """The number of the user whose process has the other end of a Unix socket."""
    return _credentials(sock)[1]


def _credentials(sock: socket.socket) -> tuple[int, int]:
    """The process, 0 where it cannot be seen from here, and the user of the other end of a Unix socket."""
    process, user, _ = CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size))
    return process, user


def read_state(bind: str, port: int, timeout: float = TIMEOUT) -> dict[str, Any]:
    """The state of the server with these values of MOH_BIND and MOH_SIP_PORT. Raises ``NoState``.

    ``pid`` in it is the server's process as seen from here: a container counts its processes by itself.
    """
    give_up = time.monotonic() + timeout
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            _connect(sock, state_name(bind, port), give_up)
            process, user = _credentials(sock)[0], user_of_peer(sock)
            if user not in (os.geteuid(), 0) and os.geteuid():
                raise NoState(f"a program of user {user} answers in place of the server; expected user {os.geteuid()}")
            data = _read(sock, give_up)
    except (ConnectionRefusedError, FileNotFoundError):
        raise NoState(
            f"no server runs here with MOH_BIND {bind} and MOH_SIP_PORT {port}; expected one on this machine, and in "
            "this container if it is in one"
        ) from None
    except (TimeoutError, socket.timeout):  # one class from Python 3.10 on
        raise NoState(f"the server does not answer within {timeout:g} s") from None
    except OSError as error:
        raise NoState(f"the server's state cannot be read: {error.strerror or error}") from None
    if not data:
        if os.geteuid() in (user, 0):  # then it has not refused this user
            raise NoState("the server has closed the connection without an answer; its log says why")
        raise NoState(f"the server does not answer user {os.geteuid()}; expected its own user, or root")
    state = _decoded(data)
    if "pid" in state:
        state["pid"] = process
    return state


def _connect(sock: socket.socket, name: str, give_up: float) -> None:
    while True:
        sock.settimeout(_left(give_up))
        try:
            sock.connect(name)
            return
        except BlockingIOError:  # the queue of the readers that wait is full
            time.sleep(min(RETRY_AFTER, _left(give_up)))


def _read(sock: socket.socket, give_up: float) -> bytes:
    parts: list[bytes] = []
    octets = 0
    while True:
        sock.settimeout(_left(give_up))
        part = sock.recv(PART)
        if not part:
            return b"".join(parts)
        parts.append(part)
        octets += len(part)
        if octets > MOST_OCTETS:
            raise NoState(f"the server's state has more than {MOST_OCTETS} octets")


def _left(give_up: float) -> float:
    left = give_up - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _decoded(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise NoState(f"the server's state is no JSON object: it begins with {data[:40]!r}")
    return found
