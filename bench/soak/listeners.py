"""The listeners of a soak: addresses at which callers receive music. One socket receives for nearly all of them."""

from __future__ import annotations

import itertools
import random
import selectors
import socket
import struct
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Optional

HOSTS = 800
"""The number of addresses. They are used again and again, since a real server also has the same phones for long."""
AFTERWARDS = 1.0
"""Seconds after a call in which its last packets may still arrive. A later packet is a stray."""
IP_PKTINFO = 8
"""The number of the socket option in Linux. Python has the name only since 3.14."""


class Listener:
    """An address at which one caller receives music."""

    def __init__(self, host: str, port: int, own: Optional[socket.socket]) -> None:
        self.host, self.port = host, port
        self.own = own
        """A socket for this listener alone, which can be closed while the music plays."""
        self.since = time.monotonic()
        self.packets = 0
        self.wanted = True
        """Whether the caller wants music here. It wants none while it holds the call itself."""


class Listeners:
    """All listeners. ``plan`` calls a function after some seconds. ``figures`` counts packets and strays."""

    def __init__(
        self, selector: selectors.BaseSelector, plan: Callable[[float, Callable[[], None]], None], figures: Counter[str]
    ) -> None:
        self._selector, self._plan, self._figures = selector, plan, figures
        self._rtp, self._rtcp = _pair()
        self._port = self._rtp.getsockname()[1]
        for sock, receive in ((self._rtp, self._receive), (self._rtcp, _discard)):
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            selector.register(sock, selectors.EVENT_READ, receive)
        self._of_host: dict[str, Listener] = {}
        self._numbers = itertools.count()
        self._free = deque(self._new_host() for _ in range(HOSTS))

    def open(self, own_socket: bool) -> Listener:
        """Return a new listener. Its address is the free one that was used longest ago."""
        host = self._free.popleft() if self._free else self._new_host()
        own = None
        if own_socket:
            own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            own.bind((host, 0))
            own.setblocking(False)
            self._selector.register(own, selectors.EVENT_READ, _discard)
        listener = Listener(host, own.getsockname()[1] if own else self._port, own)
        self._of_host[host] = listener
        return listener

    def release(self, listener: Listener, seconds: float) -> None:
        """Free the listener's address after ``seconds``. A packet that arrives for it later is a stray."""

        def forget() -> None:
            if self._of_host.get(listener.host) is listener:
                del self._of_host[listener.host]
                self._free.append(listener.host)

        self._plan(seconds, forget)

    def close(self, listener: Listener) -> None:
        """Close the listener's own socket, if there is one. From then on the port is unreachable."""
        if listener.own is not None:
            self._selector.unregister(listener.own)
            listener.own.close()
            listener.own = None

    def _new_host(self) -> str:
        number = next(self._numbers)
        return f"127.{1 + number // 62500 % 250}.{number // 250 % 250}.{number % 250 + 1}"

    def _receive(self, sock: socket.socket) -> None:
        """Receive packets. Count each for the listener at its destination address."""
        for _ in range(500):
            try:
                _, ancillary, _, _ = sock.recvmsg(16, 64)
            except BlockingIOError:
                return
            except OSError:
                continue
            self._figures["packets"] += 1
            for _, kind, data in ancillary:
                if kind == IP_PKTINFO:
                    listener = self._of_host.get(socket.inet_ntoa(struct.unpack("=I4s4s", data[:12])[2]))
                    if listener is None:
                        self._figures["strays"] += 1
                    else:
                        listener.packets += 1


def _discard(sock: socket.socket) -> None:
    for _ in range(50):
        try:
            sock.recv(16)
        except OSError:
            return


def _pair() -> tuple[socket.socket, socket.socket]:
    """Return a socket at an even port of all addresses, and a socket at the next port.

    The first one reports the destination address of each packet (IP_PKTINFO).
    """
    for _ in range(1000):
        first = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        second = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        port = random.randrange(33000, 60000, 2)
        try:
            first.bind(("", port))
            second.bind(("", port + 1))
        except OSError:
            first.close()
            second.close()
            continue
        first.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        return first, second
    raise RuntimeError("no two free ports in a row")
