"""The media ports of a PBX: many ports of one address, at which all music arrives and is thrown away."""

from __future__ import annotations

import contextlib
import resource
import socket
from types import TracebackType
from typing import Optional

FIRST, LAST = 10000, 20000
"""The range of the ports."""
DESCRIPTORS = 200
"""Descriptors that stay free for all other purposes."""


class Sink:
    """``count`` pairs of ports of ``host``, for RTP and RTCP. ``ports`` are the even ports that were free.

    The buffers of the sockets are as small as the kernel allows and are never read, so the kernel drops nearly all
    packets. Without sockets it would answer each packet with "port unreachable", which costs the sender more than the
    packet.
    """

    def __init__(self, host: str, count: int) -> None:
        self.ports: list[int] = []
        self._sockets: list[socket.socket] = []
        self._limits = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 2 * count + DESCRIPTORS
        if soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard < 0 else min(hard, wanted), hard))
        for port in range(FIRST, LAST, 2):
            if len(self.ports) == count:
                break
            with contextlib.suppress(OSError), contextlib.ExitStack() as pair:
                for each in (port, port + 1):
                    one = pair.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
                    one.bind((host, each))
                    self._sockets.append(one)
                pair.pop_all()
                self.ports.append(port)
        if len(self.ports) < count:
            self.close()
            raise RuntimeError(f"{len(self.ports)} pairs of ports of {host} are free; expected {count}")

    def close(self) -> None:
        """Close all ports. Until then the limit of descriptors stays raised: below it no other file can be opened."""
        for one in self._sockets:
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, self._limits)

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()
