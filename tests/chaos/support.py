"""Calls that must survive a fault, and the resources of a server at rest. Standard library only, never ``moh``."""

from __future__ import annotations

import os
import random
import resource
import shutil
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, Optional

import pytest

from tests.support.phone import Ear, Message, Phone, offer
from tests.support.running import TEST_TIMEOUT, Running, processes, wait_for

SLOW = 40.0
"""Seconds to wait for a fault that the server detects in up to 8 s. It is long, since a test machine may be busy."""
ENGINES = [pytest.param("50", id="ffmpeg"), pytest.param("0", id="shared")]
"""Two values of MOH_FFMPEG_CALLS. With "50" each call has an ffmpeg; with "0" all calls share the stream."""
MEMORY = 8e6
"""Octets that a server may grow by. They include free memory that the allocator keeps."""


class Held(NamedTuple):
    """One call: the phone that made it, and the ear of the held party, which receives the music."""

    phone: Phone
    ear: Ear
    port: int
    """The server's port that sends the music."""

    def ffmpeg(self, server: Running) -> int:
        """Return the number of the ffmpeg that plays to this call."""
        argument = f"localrtpport={self.port}&".encode()
        for pid in server.ffmpegs:
            if argument in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        raise AssertionError(f"no ffmpeg plays from port {self.port}")

    def hears(self) -> bool:
        """Discard the packets that have arrived, and wait for new ones. Fails if none arrive."""
        self.ear.waiting()
        return bool(self.ear.packets(3))

    def is_ended_by_the_server(self, seconds: float = TEST_TIMEOUT) -> Message:
        """Wait for the server's BYE, and answer it."""
        return self.phone.await_request("BYE", seconds)


@contextmanager
def calls(server: Running, count: int, host: str = "127.0.0.1") -> Iterator[list[Held]]:
    """Make ``count`` calls from ``host``, and wait until each receives music."""
    with ExitStack() as stack:
        held = []
        for _ in range(count):
            phone, ear = stack.enter_context(Phone(server.address, host)), stack.enter_context(Ear(host))
            held.append(Held(phone, ear, phone.call(ear.address).media[1]))
            if server.settings.get("MOH_FFMPEG_CALLS") != "0":
                ear.packets(10)  # a call that came sooner would share the stream, as in a burst
        for one in held:
            one.hears()
        yield held


class State(NamedTuple):
    """The resources of a server at one moment."""

    threads: int
    descriptors: int
    children: int
    """The number of processes that the server has started and not reaped."""
    ports: int
    """The number of bound UDP ports in the server's range for music."""


def state(server: Running) -> State:
    if not Path("/proc/self/stat").exists():
        pytest.skip("needs the /proc of Linux to find what the server uses")
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
    """Return the octets of memory that the server uses (resident set size)."""
    return int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * resource.getpagesize()


class Rest:
    """The resources of a server at rest, before a fault. After the fault the server must be at rest again."""

    def __init__(self, server: Running) -> None:
        self._server = server
        with calls(server, 1) as (first,):  # the first call loads what later calls use again
            first.phone.bye()
        wait_for(lambda: state(server).children == 0, "no process")
        self._before = state(server)
        self._memory = memory(server)

    def returns(self) -> None:
        """Wait until the server has no more resources than before the fault. Fails if it keeps some."""

        def is_at_rest() -> bool:
            return all(now <= before for now, before in zip(state(self._server), self._before))

        try:
            wait_for(is_at_rest, "rest", SLOW)
        except AssertionError:
            pytest.fail(f"the server keeps {state(self._server)}; expected {self._before}\n{self._server.log[-3000:]}")
        grown = memory(self._server) - self._memory
        assert grown < MEMORY, f"the server keeps {grown / 1e6:.1f} MB"
        print(f"at rest: {state(self._server)}, {grown / 1e6:+.1f} MB")

    def is_well(self) -> None:
        """Wait until the server is at rest, and check that the next two calls get music."""
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


class BadFfmpeg:
    """An ``ffmpeg`` for a server's PATH. While ``in_use`` it runs the shell commands ``script``, otherwise ffmpeg."""

    def __init__(self, folder: Path, script: str) -> None:
        self._switch = folder / "bad"
        binary = folder / "bin" / "ffmpeg"
        binary.parent.mkdir()
        binary.write_text(f'#!/bin/sh\n[ -e "{self._switch}" ] || exec {shutil.which("ffmpeg")} "$@"\n{script}\n')
        binary.chmod(0o755)
        self.path = f"{binary.parent}{os.pathsep}{os.environ['PATH']}"

    @contextmanager
    def in_use(self) -> Iterator[None]:
        self._switch.touch()
        yield
        self._switch.unlink()


class BadWire:
    """A relay between phones and a server that loses, duplicates, delays and reorders datagrams.

    Phones send to ``address``. For each phone the relay has a port of its own, from which it sends to the server.
    """

    def __init__(
        self, server: tuple[str, int], seed: int, lost: float = 0.3, duplicated: float = 0.1, port: int = 0
    ) -> None:
        self._server = server
        self._chance = random.Random(seed)
        self._lost, self._duplicated = lost, duplicated
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
        """Receive datagrams at one end and send them at the other. Lose some, send some twice, and delay all."""
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
            for _ in range(1 + (self._chance.random() < self._duplicated)):
                # the delay is 0 to 500 ms, so that datagrams overtake each other
                timer = threading.Timer(self._chance.random() * 0.5, self._send, (way, data, to))
                timer.daemon = True
                timer.start()

    @staticmethod
    def _send(sock: socket.socket, data: bytes, to: tuple[str, int]) -> None:
        try:
            sock.sendto(data, to)
        except OSError:
            pass  # the relay has been closed


def insist(phone: Phone, request: bytes, seconds: float = SLOW) -> Message:
    """Send ``request``, and retransmit it as a phone does until its final answer arrives. Return that answer."""
    branch = Message.read(request, phone.address).branch
    found: list[Message] = []

    def is_answered() -> bool:
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

    wait_for(is_answered, f"an answer to {request[:20]!r}", seconds)
    return found[0]


def answers_options(phone: Phone) -> bool:
    """Send one OPTIONS. Return whether the server answers with 200 within 0.3 s."""
    phone.send(phone.request("OPTIONS"))
    phone.socket.settimeout(0.3)
    try:
        return b" 200 " in phone.socket.recv(65535)[:20]
    except OSError:
        return False


def final_answer(phone: Phone) -> Optional[Message]:
    """Return the next final answer, or ``None`` if no message arrives for a second."""
    try:
        while (answer := phone.receive(1.0)).status < 200:
            pass
    except AssertionError:
        return None
    return answer


def music_fails(phone: Phone, ear: Ear) -> None:
    """Make a call whose music cannot be played, and wait for the server's BYE with that reason.

    The call asks for another codec than the calls before, since the shared stream has encoded the music for those.
    """
    phone.call_with(offer(ear.address, formats="8 101 0"))
    reason = phone.await_request("BYE", SLOW).get("reason")
    assert "the music failed twice" in reason or "could not be encoded" in reason
