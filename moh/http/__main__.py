"""The process of the page. The server starts it: ``python3 -m moh.http DESCRIPTOR``.

``DESCRIPTOR`` is the number of a socket that listens; the settings are in the environment, as for the server. What
this process prints is for the log of the server. It ends when its standard input ends: then the server has ended.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":  # before all other imports, which take most of the time of the start
    from .background import step_back

    step_back()

import logging
import os
import socket
import threading

from ..common.child_log import log_to_the_server
from ..common.config import Settings
from ..net.state_client import read_state
from .application import Application
from .players import Players
from .state_reader import State, StateReader
from .web_server import WebServer

READ_TIMEOUT = 2.0
"""Seconds that a read of the server's state may take; it takes milliseconds."""

log = logging.getLogger("moh")


def end_with_the_server() -> None:
    """Wait for the end of the standard input, and end this process. Its temporary files have no names."""
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass
    os._exit(0)


def main(arguments: list[str]) -> int:
    """Serve the page until the server ends."""
    if len(arguments) != 1 or not arguments[0].isdigit():
        print("The server starts this program itself, where MOH_HTTP is set (docs/page.md)", file=sys.stderr)
        return 2
    threading.Thread(target=end_with_the_server, name="end", daemon=True).start()
    log_to_the_server(logging.INFO)
    settings = Settings.from_environment(os.environ)

    def read() -> State:
        return read_state(settings.bind, settings.sip_port, READ_TIMEOUT)

    listener = socket.socket(fileno=int(arguments[0]))
    server = WebServer(Application(StateReader(read), Players()), listener)
    log.info("page: http://%s/", settings.http)
    server.run()
    return 1  # ``run`` returns only when it is told to


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
