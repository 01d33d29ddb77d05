"""A browser that asks for one thing, and hostile ones. Standard library only, never ``moh``."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from tests.support.running import TEST_TIMEOUT


class Got(NamedTuple):
    """An answer of the page. The names of header fields are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def get(port: int, path: str, **fields: str) -> Got:
    """Ask for ``path`` with these header fields: ``Range="bytes=0-1"``."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TEST_TIMEOUT)
    try:
        connection.request("GET", path, headers=fields)
        answer = connection.getresponse()
        return Got(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


@contextmanager
def connections(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Open ``count`` connections that send half a request each, and no more."""
    with ExitStack() as stack:
        made = []
        for _ in range(count):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), TEST_TIMEOUT))
            try:
                sock.sendall(b"GET /state.json HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            except OSError:
                pass  # the page has closed it already
            made.append(sock)
        yield made
