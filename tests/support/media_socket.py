"""A socket with the same options as that of the shared stream."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from moh.net.sockets import media_sockets
from tests.support.running import free_ports


@contextmanager
def media_socket(host: str) -> Iterator[socket.socket]:
    """Open the socket that sends music from ``host``, on a free port."""
    sockets = media_sockets(host, free_ports(2))
    try:
        yield sockets[":" in host]
    finally:
        for each in sockets.values():
            each.close()
