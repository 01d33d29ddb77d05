"""The process of the radios. The server starts it: ``python3 -m moh.radio``.

The settings are in the environment, as for the server. Orders come on the standard input, and reports go to the
standard output (``messages``); what is printed to the standard error is for the log of the server. The process ends
when its standard input ends: then the server has ended.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from typing import Any

from ..common.child_log import log_to_the_server
from ..common.config import Settings
from ..common.errors import SettingsError
from ..mastering.cache_folder import cache_folder
from .messages import BadOrder, line_of, order_in
from .radios import Radios

LONGEST_LINE = 1 << 20
"""Octets of an order."""

log = logging.getLogger("moh")


class Reports:
    """Writes reports to the server, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one message. Where the server has ended, so does this process."""
        try:
            with self._lock:
                sys.stdout.buffer.write(line_of(message))
                sys.stdout.buffer.flush()
        except OSError:
            os._exit(0)


def follow_orders(radios: Radios) -> None:
    """Carry out each order until the standard input ends."""
    while line := sys.stdin.buffer.readline(LONGEST_LINE):
        try:
            radios.follow(order_in(line))
        except BadOrder as error:
            log.error("radio: %s", error)


def main() -> int:
    """Play radios until the server ends."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they are for the server, which ends the standard input
    log_to_the_server(logging.INFO)
    try:
        settings = Settings.from_environment(os.environ)
        radios = Radios(settings, cache_folder(settings), Reports().send)
    except SettingsError as error:
        log.error("radio: %s", error)
        return 1
    threading.Thread(target=radios.run, name="rings", daemon=True).start()
    try:
        follow_orders(radios)
    finally:
        radios.close()
    os._exit(0)  # a thread may wait for a name server


if __name__ == "__main__":
    sys.exit(main())
