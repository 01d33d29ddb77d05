"""The page of a given state, without a server: for browsers and other clients of HTTP.

``with served(sample_state()) as page`` serves it at ``page.url`` in a thread; ``page.state`` may be changed meanwhile.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Optional

from moh.http.application import Application
from moh.http.players import Players
from moh.http.state_reader import StateReader
from moh.http.static_files import StaticFiles
from moh.http.web_server import CONNECTIONS, WebServer
from moh.net.state_client import NoState


class Page:
    """The page that is served. Set ``state`` to ``None``, and it is that of a server that does not answer."""

    def __init__(self, state: Optional[Mapping[str, Any]]) -> None:
        self.state = state
        self.port = 0
        self.reads = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def read(self) -> Mapping[str, Any]:
        self.reads += 1
        if self.state is None:
            raise NoState("no server runs here")
        return self.state


class StoppableServer(WebServer):
    """A web server that ``stop`` ends, from any thread."""

    stopped = False

    def readable(self) -> bool:
        if self.stopped:
            raise SystemExit
        return bool(super().readable())

    def stop(self) -> None:
        self.stopped = True
        self.pull_trigger()


@contextmanager
def served(
    state: Optional[Mapping[str, Any]], *, port: int = 0, files: Optional[StaticFiles] = None,
    connections: int = CONNECTIONS,
) -> Iterator[Page]:  # fmt: skip
    """Serve the page on the loopback, at a free port unless ``port`` names one."""
    page = Page(state)
    with socket.create_server(("127.0.0.1", port)) as listener:
        page.port = listener.getsockname()[1]
        server = StoppableServer(Application(StateReader(page.read), Players(), files), listener, connections)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        try:
            yield page
        finally:
            server.stop()
            thread.join(10)
            server.close()
