"""Calls that live through something, and what a server has when it is at rest. Nothing of ``moh``."""

from __future__ import annotations

import os
import random
import resource
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, Optional

import pytest

from tests.support.phone import Ear, Message, Phone
from tests.support.running import TEST_TIMEOUT, Running, processes, wait_for

SLOW = 40.0
"""Seconds for what takes the server up to 8 to notice, twice, on a machine with other work."""
ENGINES = [pytest.param("50", id="ffmpeg"), pytest.param("0", id="shared")]
"""For MOH_FFMPEG_CALLS: each call has an ffmpeg, or none has."""
MEMORY = 8e6
"""Octets that a server may have grown by, what the allocator keeps in hand among them."""


class Held(NamedTuple):
    """One call: who put somebody on hold, and who is held."""

    phone: Phone
    ear: Ear
    port: int
    """Where its music leaves from."""

    def ffmpeg(self, server: Running) -> int:
        """The process that plays to it."""
        words = f"localrtpport={self.port}&".encode()
        for pid in server.ffmpegs:
            if words in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        raise AssertionError(f"no ffmpeg plays from port {self.port}")

    def hears(self) -> bool:
        """Whether music comes from now on; fails where it does not."""
        self.ear.waiting()
        return bool(self.ear.packets(3))

    def is_ended_by_the_server(self, seconds: float = TEST_TIMEOUT) -> Message:
        """Wait for its BYE, and answer it."""
        return self.phone.await_request("BYE", seconds)


@contextmanager
def calls(server: Running, count: int) -> Iterator[list[Held]]:
    """So many calls, each of which has heard something."""
    with ExitStack() as stack:
        held = []
        for _ in range(count):
            phone, ear = stack.enter_context(Phone(server.address)), stack.enter_context(Ear())
            held.append(Held(phone, ear, phone.call(ear.address).media[1]))
        for one in held:
            one.hears()
        yield held


class State(NamedTuple):
    """What a server has now."""

    threads: int
    descriptors: int
    children: int
    """The processes that it has started and not reaped."""
    ports: int
    """UDP sockets of the machine within its range for music."""


def state(server: Running) -> State:
    if not Path("/proc/self/stat").exists():
        pytest.skip("needs Linux' /proc to see what the server has")
    pid = server.process.pid
    first, last = map(int, server.settings["MOH_RTP_PORTS"].split("-"))
    lines = [line.split() for line in Path(f"/proc/{pid}/net/udp").read_text().splitlines()[1:]]
    ports = [int(line[1].rpartition(":")[2], 16) for line in lines]
    return State(
        len(os.listdir(f"/proc/{pid}/task")),
        len(os.listdir(f"/proc/{pid}/fd")),
        sum(parent == pid for _, _, parent in processes()),
        sum(first <= port <= last for port in ports),
    )


def memory(server: Running) -> float:
    """Octets of the machine's memory that the server has."""
    return int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * resource.getpagesize()


class Rest:
    """What a server had before anything happened, and has to come back to."""

    def __init__(self, server: Running) -> None:
        self._server = server
        with calls(server, 1) as (first,):  # so that what it only loads once is loaded
            first.phone.bye()
        wait_for(lambda: state(server).children == 0, "no process")
        self._before = state(server)
        self._memory = memory(server)

    def returns(self) -> None:
        """Wait until the server has no more than before; fails where something is kept."""

        def whole() -> bool:
            now = state(self._server)
            return all(has <= had for has, had in zip(now, self._before))

        try:
            wait_for(whole, "rest", SLOW)
        except AssertionError:
            pytest.fail(f"{state(self._server)} is kept; expected {self._before}\n{self._server.log[-3000:]}")
        grown = memory(self._server) - self._memory
        assert grown < MEMORY, f"{grown / 1e6:.1f} MB are kept"
        print(f"at rest: {state(self._server)}, {grown / 1e6:+.1f} MB")

    def is_well(self) -> None:
        """At rest, and the next call is as good as ever."""
        self.returns()
        with calls(self._server, 2) as held:
            assert all(one.phone.bye().status == 200 for one in held)
        self.returns()
        assert self._server.process.poll() is None


def all_hear(held: Sequence[Held]) -> None:
    for one in held:
        one.hears()
    print(f"survived: {len(held)} calls hear music")


def hang_up(held: Sequence[Held]) -> None:
    for one in held:
        assert one.phone.bye().status == 200


class BadWire:
    """What lies between the phones and a server: datagrams are lost, doubled, late, and overtake each other.

    Whoever sends to ``address`` is one of the phones; to ``server`` each of them comes from an address of its own.
    """

    def __init__(
        self, server: tuple[str, int], seed: int, lost: float = 0.3, doubled: float = 0.1, port: int = 0
    ) -> None:
        self._server = server
        self._chance = random.Random(seed)
        self._lost, self._doubled = lost, doubled
        self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._front.bind(("127.0.0.1", port))
        self.address: tuple[str, int] = self._front.getsockname()
        self._backs: dict[tuple[str, int], socket.socket] = {}
        self._over = False
        self.seen = self.dropped = 0
        self._threads = [threading.Thread(target=self._carry, args=(self._front, None), daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> BadWire:
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        for sock in (self._front, *self._backs.values()):
            sock.close()

    def _carry(self, sock: socket.socket, phone: Optional[tuple[str, int]]) -> None:
        """Take datagrams at one end and let them out at the other, if at all and when it pleases."""
        sock.settimeout(0.2)
        while not self._over:
            try:
                data, source = sock.recvfrom(65535)
            except OSError:
                continue
            self.seen += 1
            if phone is None and source not in self._backs:
                back = self._backs[source] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                back.bind(("127.0.0.1", 0))
                threading.Thread(target=self._carry, args=(back, source), daemon=True).start()
            if self._chance.random() < self._lost:
                self.dropped += 1
                continue
            way, to = (self._backs[source], self._server) if phone is None else (self._front, phone)
            for _ in range(1 + (self._chance.random() < self._doubled)):
                # 0 to 500 ms: whoever is sent later may well be there before
                timer = threading.Timer(self._chance.random() * 0.5, self._let_out, (way, data, to))
                timer.daemon = True
                timer.start()

    @staticmethod
    def _let_out(sock: socket.socket, data: bytes, to: tuple[str, int]) -> None:
        try:
            sock.sendto(data, to)
        except OSError:
            pass  # the wire has been taken away


def insist(phone: Phone, request: bytes, seconds: float = SLOW) -> Message:
    """Send a request again and again until its final answer is there, as a phone does; each 200 to INVITE is ACKed."""
    branch = Message.read(request, phone.address).branch
    found: list[Message] = []

    def look() -> bool:
        phone.send(request)
        phone.socket.settimeout(0.5)
        try:
            while True:
                message = Message.read(*phone.socket.recvfrom(65535))
                if message.status >= 200 and message.branch == branch:
                    found.append(message)
                    return True
        except socket.timeout:
            return False

    wait_for(look, f"an answer to {request[:20]!r}", seconds)
    return found[0]
