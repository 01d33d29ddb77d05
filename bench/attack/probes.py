"""Probes: honest calls during a flood. They show whether the server answers calls, and how soon.

Every half second one probe of each of three kinds begins. A "validated" probe comes from a private address or, every
second time, from one public address that has called before. An "unvalidated" probe comes from a new public address. A
"TCP" probe comes from a private address. By UDP a probe repeats its request as RFC 3261 §17.1 says. After the 200 it
sends ACK and, a moment later, BYE.
"""

from __future__ import annotations

import heapq
import itertools
import re
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Optional

from bench.common.messages import Dialog, HostPort, offer

EVERY = 0.5
"""Seconds from one probe of a kind to the next."""
REPEATS = (0.5, 1.5, 3.5)
"""Seconds after which a request without an answer is sent again."""
PATIENCE = 4.0
"""Seconds after which a request without an answer is given up."""
STAYS = 0.1
"""Seconds from the answer to BYE."""
KINDS = ("validated", "unvalidated", "TCP")
NUMBERS = itertools.count()
"""The numbers of the probes. They go on through the whole run, so no unvalidated probe has the address of another."""
VALIDATED = "203.0.113.77"
"""The public address that has called before."""
PHONE = ("User-Agent: phone 1.0", "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS")
"""Header fields that a phone adds. They lengthen the request: the server answers with at most three octets for one."""
IS_FINAL = re.compile(rb"SIP/2\.0 ([2-6]\d\d)")


class Call:
    """The requests of one call to ``server`` from the socket at ``local``, for music at ``listener``."""

    def __init__(
        self, server: HostPort, local: HostPort, listener: HostPort, transport: str = "UDP", formats: str = "0"
    ) -> None:
        self._dialog = Dialog(server, local, transport)
        self._offer = offer(listener, local[0], formats)

    def invite(self) -> bytes:
        """Return the INVITE of this call."""
        return self._dialog.request("INVITE", 1, *PHONE, body=self._offer)

    def ack(self, answer: bytes) -> bytes:
        """Return the ACK of the 200 in ``answer``, and keep the tag of the server."""
        self._dialog.learn_tag(answer.decode("utf-8", "replace"))
        return self._dialog.request("ACK", 1, *PHONE)

    def bye(self) -> bytes:
        """Return the BYE of this call."""
        return self._dialog.request("BYE", 2, *PHONE)


def place(server: HostPort, listener: HostPort, formats: str = "0") -> Optional[Call]:
    """Call ``server`` by UDP. Return the call, or ``None`` if the server refused it or did not answer in time."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        call = Call(server, sock.getsockname(), listener, formats=formats)
        answer = final_answer(sock, server, call.invite())
        if not answer.startswith(b"SIP/2.0 200"):
            return None
        sock.sendto(call.ack(answer), server)
    return call


def hang_up(server: HostPort, call: Call) -> None:
    """Send the BYE of ``call``, and wait for its answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        final_answer(sock, server, call.bye())


def final_answer(sock: socket.socket, server: HostPort, request: bytes) -> bytes:
    """Send ``request``, repeated as RFC 3261 §17.1 says. Return its final answer; empty if none came."""
    began = time.monotonic()
    for until in (*REPEATS, PATIENCE):
        sock.sendto(request, server)
        while (left := began + until - time.monotonic()) > 0:
            sock.settimeout(left)
            try:
                answer = sock.recv(65535)
            except OSError:
                time.sleep(min(0.02, max(0.0, left)))  # nothing came, or the server does not listen yet
                continue
            if IS_FINAL.match(answer):
                return answer
    return b""


def takes_calls(server: HostPort) -> bool:
    """Call ``server``. Return whether it answers with 200. If so, end the call at once."""
    call = place(server, ("127.1.255.1", 4000))
    if call is not None:
        hang_up(server, call)
    return call is not None


class Probes:
    """Probes that call from ``begin`` to ``end``, in threads of their own."""

    def __init__(self, server: HostPort) -> None:
        self._server = server
        self._count = itertools.count()
        self._plans: list[tuple[float, int, Callable[[], None]]] = []
        self._selector = selectors.DefaultSelector()
        self._open = False
        self._threads: list[threading.Thread] = []
        self.waits: dict[str, list[Optional[float]]] = {}
        """Seconds until the 200 to each probe, by kind. ``None`` stands for a probe without a 200."""

    def begin(self) -> None:
        """Start calling."""
        self.waits = {kind: [] for kind in KINDS}
        self._open = True
        self._threads = [threading.Thread(target=self._run), threading.Thread(target=self._connect_each)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Start no more probes, and wait until each has its answer or has given up."""
        self._open = False
        for thread in self._threads:
            thread.join()

    # -- by UDP ------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._plan(0.0, lambda: self._start("validated"))
        self._plan(EVERY / 2, lambda: self._start("unvalidated"))
        while self._plans:
            while self._plans and self._plans[0][0] <= time.monotonic():
                heapq.heappop(self._plans)[2]()
            left = self._plans[0][0] - time.monotonic() if self._plans else 0.0
            for key, _ in self._selector.select(max(0.0, left)) if self._selector.get_map() else []:
                key.data()
            if not self._selector.get_map():
                time.sleep(max(0.0, left))

    def _plan(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._plans, (time.monotonic() + seconds, next(self._count), action))

    def _start(self, kind: str) -> None:
        if not self._open:
            return
        self._plan(EVERY, lambda: self._start(kind))
        number = next(NUMBERS)
        net = "198.19" if kind == "unvalidated" else "10.9"
        host = f"{net}.{number // 250}.{1 + number % 250}"
        if kind == "validated" and len(self.waits[kind]) % 2 == 0:
            host = VALIDATED
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((host, 0))
        sock.setblocking(False)
        call = Call(self._server, sock.getsockname(), (host, 4000))
        began, position = time.monotonic(), len(self.waits[kind])
        self.waits[kind].append(None)
        state = {"method": "INVITE", "over": False}

        def send(method: str, data: bytes) -> None:
            state["method"] = method

            def repeat() -> None:
                if not state["over"] and state["method"] == method:
                    sock.sendto(data, self._server)

            repeat()
            for seconds in REPEATS:
                self._plan(seconds, repeat)
            self._plan(PATIENCE, lambda: close(method))

        def receive() -> None:
            answer = sock.recv(65535)
            final = IS_FINAL.match(answer)
            if final is None:
                return
            if b" BYE\r\n" in answer or final[1] != b"200":
                close(str(state["method"]))
                return
            sock.sendto(call.ack(answer), self._server)
            if self.waits[kind][position] is None:
                self.waits[kind][position] = time.monotonic() - began
                state["method"] = ""
                self._plan(STAYS, lambda: send("BYE", call.bye()))

        def close(method: str) -> None:
            if not state["over"] and state["method"] == method:
                state["over"] = True
                self._selector.unregister(sock)
                sock.close()

        self._selector.register(sock, selectors.EVENT_READ, receive)
        send("INVITE", call.invite())

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
                received = b""
                while b"SIP/2.0 200" not in received and time.monotonic() - began < PATIENCE:
                    some = sock.recv(65535)
                    received += some
                    if not some:
                        break
                if b"SIP/2.0 200" in received:
                    waited = time.monotonic() - began
                    sock.sendall(call.ack(received[received.index(b"SIP/2.0 200") :]))
                    time.sleep(STAYS)
                    sock.sendall(call.bye())
                    sock.recv(65535)
        except OSError:
            pass  # the connection was refused, closed by the server, or too slow: the probe counts as not answered
        self.waits["TCP"].append(waited)
