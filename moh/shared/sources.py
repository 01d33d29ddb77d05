"""The local addresses that packets leave from, remembered for some seconds. For one thread."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from ..common.addresses import is_loopback
from ..net.routes import way_out

SOURCE_LIFETIME = 5.0
"""Seconds for which a result of ``way_out`` is remembered: its system calls release the interpreter's lock."""
MOST_SOURCES = 100
"""Results of ``way_out`` that are remembered at most."""


class Sources:
    """The results of ``way_out``."""

    def __init__(self, sockets: Mapping[bool, socket.socket]) -> None:
        """``sockets`` holds the IPv6 socket under ``True`` and the IPv4 socket under ``False``."""
        self._sockets = sockets
        self._found: dict[tuple[str, bool, bool], tuple[str, float]] = {}

    def find(self, ipv6: bool, local: str, remote: str, now: float) -> str:
        """The address from which packets to ``remote`` leave, where the SDP names ``local``; empty means any."""
        if self._sockets[ipv6].getsockname()[0] == local:
            return ""
        key = (local, ipv6, is_loopback(remote))
        source, until = self._found.get(key, ("", 0.0))
        if until <= now:
            if len(self._found) > MOST_SOURCES:
                self._found.clear()
            source = way_out(local, remote)
            self._found[key] = (source, now + SOURCE_LIFETIME)
        return source
