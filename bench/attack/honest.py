"""Callers who mean it, a fresh one of each kind each half second: whether and when they are answered.

``known`` comes from a private address, every second time from a public one that has called before; ``stranger`` from
a public address that was never heard of; ``by TCP`` from a private address. By UDP each repeats what is not answered as
RFC 3261 §17.1 says. Whoever has his 200 acknowledges it and takes leave.
"""

from __future__ import annotations

import heapq
import itertools
import re
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Optional

EVERY = 0.5
"""Seconds from one caller of a kind to the next."""
REPEATS = (0.5, 1.5, 3.5)
"""Seconds after which what is not answered goes out again."""
PATIENCE = 4.0
"""Seconds until it is given up."""
STAYS = 0.1
"""Seconds that an answered caller stays."""
KINDS = ("known", "stranger", "by TCP")
NUMBERS = itertools.count()
"""Of all callers of a run, so that no stranger has been there before."""
PROVED = "203.0.113.77"
"""The public address that has called before."""
IS_FINAL = re.compile(rb"SIP/2\.0 ([2-6]\d\d)")


class Call:
    """One call to ``server`` that leaves from ``host`` and wants its music at ``ear``; the words that it needs."""

    def __init__(self, server: tuple[str, int], here: tuple[str, int], ear: tuple[str, int], way: str = "UDP") -> None:
        self._server, self._here, self._ear, self._way = server, here, ear, way
        self._id = secrets.token_hex(8)
        self._branch = secrets.token_hex(8)
        self._to_tag = ""

    def invite(self) -> bytes:
        """INVITE."""
        offer = (
            f"v=0\r\no=- 1 1 IN IP4 {self._here[0]}\r\ns=-\r\nc=IN IP4 {self._ear[0]}\r\nt=0 0\r\n"
            f"m=audio {self._ear[1]} RTP/AVP 0\r\na=recvonly\r\n"
        )
        return self._request("INVITE", 1, self._branch, offer)

    def ack(self, answer: bytes) -> bytes:
        """ACK of a 200."""
        tag = re.search(rb"^To:[^\r]*(;tag=[^\s;]+)", answer, re.MULTILINE)
        self._to_tag = tag[1].decode() if tag else ""
        return self._request("ACK", 1, secrets.token_hex(8))

    def bye(self) -> bytes:
        """BYE."""
        return self._request("BYE", 2, self._id)

    def _request(self, method: str, number: int, branch: str, body: str = "") -> bytes:
        uri = f"sip:1@{self._server[0]}:{self._server[1]}"
        host, port = self._here
        lines = [
            f"{method} {uri} SIP/2.0", f"Via: SIP/2.0/{self._way} {host}:{port};rport;branch=z9hG4bK{branch}",
            "Max-Forwards: 70", f"From: <sip:1@{host}>;tag={self._id}", f"To: <{uri}>{self._to_tag}",
            f"Call-ID: {self._id}", f"CSeq: {number} {method}", f"Contact: <sip:1@{host}:{port};transport={self._way}>",
            "User-Agent: phone 1.0", "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS",
            *(["Content-Type: application/sdp"] if body else []), f"Content-Length: {len(body)}",
        ]  # fmt: skip
        return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def place(server: tuple[str, int], ear: tuple[str, int]) -> Optional[Call]:
    """Call ``server`` by UDP, for music to ``ear``; the call once it is up, ``None`` where that was refused or nobody
    answered within ``PATIENCE`` seconds."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        call = Call(server, sock.getsockname(), ear)
        answer = asked(sock, server, call.invite())
        if not answer.startswith(b"SIP/2.0 200"):
            return None
        sock.sendto(call.ack(answer), server)
    return call


def hang_up(server: tuple[str, int], call: Call) -> bool:
    """End a call; whether anybody has answered that within ``PATIENCE`` seconds."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return asked(sock, server, call.bye()) != b""


def asked(sock: socket.socket, server: tuple[str, int], request: bytes) -> bytes:
    """The final answer to ``request``, which is repeated as RFC 3261 §17.1 says; empty: none came."""
    began = time.monotonic()
    for until in (*REPEATS, PATIENCE):
        sock.sendto(request, server)
        while (left := began + until - time.monotonic()) > 0:
            sock.settimeout(left)
            try:
                answer = sock.recv(65535)
            except OSError:
                time.sleep(min(0.02, max(0.0, left)))  # nothing came, or nobody is there yet
                continue
            if IS_FINAL.match(answer):
                return answer
    return b""


def answers(server: tuple[str, int]) -> bool:
    """Whether it takes a call, which is ended at once."""
    call = place(server, ("127.1.255.1", 4000))
    if call is not None:
        hang_up(server, call)
    return call is not None


class Honest:
    """They call from ``begin`` to ``end``, in threads of their own."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._count = itertools.count()
        self._plans: list[tuple[float, int, Callable[[], None]]] = []
        self._selector = selectors.DefaultSelector()
        self._open = False
        self._threads: list[threading.Thread] = []
        self.waits: dict[str, list[Optional[float]]] = {}
        """Seconds until each was answered with 200, by kind; ``None``: he was not."""

    def begin(self) -> None:
        """Call."""
        self.waits = {kind: [] for kind in KINDS}
        self._open = True
        self._threads = [threading.Thread(target=self._run), threading.Thread(target=self._connect_each)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Call no more; all that were begun have their answer, or have given up, when this is over."""
        self._open = False
        for thread in self._threads:
            thread.join()

    # -- by UDP ------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._plan(0.0, lambda: self._arrive("known"))
        self._plan(EVERY / 2, lambda: self._arrive("stranger"))
        while self._plans:
            while self._plans and self._plans[0][0] <= time.monotonic():
                heapq.heappop(self._plans)[2]()
            left = self._plans[0][0] - time.monotonic() if self._plans else 0.0
            for key, _ in self._selector.select(max(0.0, left)) if self._selector.get_map() else []:
                key.data()
            if not self._selector.get_map():
                time.sleep(max(0.0, left))

    def _plan(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._plans, (time.monotonic() + seconds, next(self._count), what))

    def _arrive(self, kind: str) -> None:
        if not self._open:
            return
        self._plan(EVERY, lambda: self._arrive(kind))
        number = next(NUMBERS)
        net = "198.19" if kind == "stranger" else "10.9"
        host = f"{net}.{number // 250}.{1 + number % 250}"
        if kind == "known" and len(self.waits[kind]) % 2 == 0:
            host = PROVED
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((host, 0))
        sock.setblocking(False)
        call = Call(self._server, sock.getsockname(), (host, 4000))
        began, place = time.monotonic(), len(self.waits[kind])
        self.waits[kind].append(None)
        state = {"method": "INVITE", "over": False}

        def ask(method: str, data: bytes) -> None:
            state["method"] = method

            def again() -> None:
                if not state["over"] and state["method"] == method:
                    sock.sendto(data, self._server)

            again()
            for seconds in REPEATS:
                self._plan(seconds, again)
            self._plan(PATIENCE, lambda: leave(method))

        def hear() -> None:
            answer = sock.recv(65535)
            final = IS_FINAL.match(answer)
            if final is None:
                return
            if b" BYE\r\n" in answer or final[1] != b"200":
                leave(str(state["method"]))
                return
            sock.sendto(call.ack(answer), self._server)
            if self.waits[kind][place] is None:
                self.waits[kind][place] = time.monotonic() - began
                state["method"] = ""
                self._plan(STAYS, lambda: ask("BYE", call.bye()))

        def leave(method: str) -> None:
            if not state["over"] and state["method"] == method:
                state["over"] = True
                self._selector.unregister(sock)
                sock.close()

        self._selector.register(sock, selectors.EVENT_READ, hear)
        ask("INVITE", call.invite())

    # -- by TCP ------------------------------------------------------------------------------------------------------

    def _connect_each(self) -> None:
        threads = []
        for number in itertools.count():
            if not self._open:
                break
            threads.append(threading.Thread(target=self._connect, args=(f"10.10.{number // 250}.{1 + number % 250}",)))
            threads[-1].start()
            time.sleep(EVERY)
        for thread in threads:
            thread.join()

    def _connect(self, host: str) -> None:
        began, waited = time.monotonic(), None
        try:
            with socket.create_connection(self._server, PATIENCE, (host, 0)) as sock:
                call = Call(self._server, sock.getsockname(), (host, 4000), "TCP")
                sock.sendall(call.invite())
                heard = b""
                while b"SIP/2.0 200" not in heard and time.monotonic() - began < PATIENCE:
                    some = sock.recv(65535)
                    heard += some
                    if not some:
                        break
                if b"SIP/2.0 200" in heard:
                    waited = time.monotonic() - began
                    sock.sendall(call.ack(heard[heard.index(b"SIP/2.0 200") :]))
                    time.sleep(STAYS)
                    sock.sendall(call.bye())
                    sock.recv(65535)
        except OSError:
            pass  # refused, cut off, or too slow: not answered
        self.waits["by TCP"].append(waited)
