"""Callers that come and go at random. All send SIP by one UDP socket. The module uses nothing of ``moh``."""

from __future__ import annotations

import heapq
import itertools
import random
import re
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Optional

from bench.common.messages import Dialog, HostPort, offer
from bench.soak.listeners import AFTERWARDS, Listener, Listeners

HOST = "127.0.0.1"
PATIENCE = 3.0
"""Seconds without any packet after which a caller counts as one without music."""
REPEATS = (0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5)
"""Seconds after which a request without an answer is sent again (RFC 3261 §17.1)."""
GIVEN_UP = 32.0
"""Seconds after which a request without an answer is given up."""
ALLOW = ("Allow: INVITE, ACK, CANCEL, BYE, UPDATE",)
CODECS = {"PCMU": "0 101", "PCMA": "8 0", "G722": "9 0", "opus": "96 0"}
"""The formats in the offer for each codec. PCMU is the second choice, since an ffmpeg may have no Opus."""
KINDS = {
    "hangs up": 60,  # sends BYE after some time
    "restless": 20,  # sends BYE after some time; meanwhile holds, resumes and moves its music by re-INVITE
    "refreshed": 5,  # sends BYE after some time; the server has to refresh the session by UPDATE
    "mute": 5,  # vanishes without BYE; its port stays open, so only MOH_MAX_CALL ends the call
    "closed port": 5,  # vanishes without BYE, and closes its port
    "expired": 3,  # vanishes without BYE, although it has to refresh the session
    "no ACK": 2,  # vanishes before the 200 comes
}
"""The kinds of callers, and their shares in percent."""
VANISHING = ("mute", "closed port", "expired", "no ACK")
HOLDS = ((0.5, 6.0), (0.35, 25.0), (0.15, 80.0))
"""Groups of callers by the time that they listen: the share of the group, and its mean time in seconds.

The times of a group are exponentially distributed.
"""
MEAN_HOLD = sum(share * mean for share, mean in HOLDS)


class Caller:
    """The caller's side of one call."""

    def __init__(self, kind: str, codec: str, hold: float, dialog: Dialog) -> None:
        self.kind, self.codec, self.hold, self.dialog = kind, codec, hold, dialog
        self.cseq = 0
        self.pending: dict[int, str] = {}
        """The method of each request that waits for its final answer, by the CSeq number of the request."""
        self.listener: Optional[Listener] = None
        self.answered = False
        self.over = False

    @property
    def session_fields(self) -> list[str]:
        """The header fields of the session timer, if the kind of the caller has one."""
        refresher = {"expired": "uac", "refreshed": "uas"}.get(self.kind)
        return ["Supported: timer", f"Session-Expires: 90;refresher={refresher}"] if refresher else []


class Callers:
    """All callers. ``run`` does all their work, in the thread that calls it."""

    def __init__(self, server: HostPort, rate: float, longest: float, chance: random.Random) -> None:
        """``rate`` is the average number of new calls a second, ``longest`` the server's longest call in seconds."""
        self._server = server
        self._rate = rate
        self._longest = longest
        self._chance = chance
        self.figures: Counter[str] = Counter()
        """Counts of events, by their names."""
        self._selector = selectors.DefaultSelector()
        self._sip = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sip.bind((HOST, 0))
        self._sip.setblocking(False)
        self._sip.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._selector.register(self._sip, selectors.EVENT_READ, self._receive)
        self._listeners = Listeners(self._selector, self._plan, self.figures)
        self._calls: dict[str, Caller] = {}
        self._count = itertools.count()
        self._plans: list[tuple[float, int, Callable[[], None]]] = []
        self._open = True
        self.silent: list[str] = []
        """Descriptions of callers that listened for ``PATIENCE`` or longer and received no packet."""

    @property
    def calls(self) -> int:
        """The number of callers whose call is up or being set up, from the callers' point of view."""
        return len(self._calls)

    def open(self) -> None:
        """Plan the first call. Each call plans the next one."""
        self._plan(0.0, self._start)

    def stop(self) -> None:
        """Start no more calls. All callers that have not vanished send BYE."""
        self._open = False
        for caller in list(self._calls.values()):
            self._hang_up(caller)

    def run(self, until: float) -> None:
        """Do what is due and receive what comes, until the time ``until``."""
        while (now := time.monotonic()) < until:
            while self._plans and self._plans[0][0] <= now:
                heapq.heappop(self._plans)[2]()
            due = min(until, self._plans[0][0]) if self._plans else until
            for key, _ in self._selector.select(max(0.0, due - time.monotonic())):
                key.data(key.fileobj)

    def close(self) -> None:
        """Close all sockets."""
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fileobj)
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()

    def _plan(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._plans, (time.monotonic() + seconds, next(self._count), action))

    # -- coming and going --------------------------------------------------------------------------------------------

    def _start(self) -> None:
        if not self._open:
            return
        self._plan(self._chance.expovariate(self._rate), self._start)  # calls come as a Poisson process
        (kind,) = self._chance.choices(list(KINDS), list(KINDS.values()))
        (mean,) = self._chance.choices([mean for _, mean in HOLDS], [share for share, _ in HOLDS])
        dialog = Dialog(self._server, self._sip.getsockname(), user="soak")
        caller = Caller(kind, self._chance.choice(list(CODECS)), self._chance.expovariate(1 / mean), dialog)
        self._calls[dialog.call_id] = caller
        self.figures["calls"] += 1
        self.figures[kind] += 1
        caller.listener = self._listeners.open(own_socket=kind == "closed port")
        self._invite(caller)
        if kind == "no ACK":
            self._vanish(caller)

    def _answered(self, caller: Caller) -> None:
        """Record that the 200 to the first INVITE has come, and plan the end of the call."""
        caller.answered = True
        self._plan(caller.hold, lambda: self._vanish(caller) if caller.kind in VANISHING else self._hang_up(caller))
        if caller.kind == "restless":
            self._plan(self._chance.expovariate(1 / 5.0), lambda: self._change(caller))

    def _change(self, caller: Caller) -> None:
        """Hold, resume, or move the music to another address, by re-INVITE."""
        if caller.over or "BYE" in caller.pending.values() or caller.listener is None:
            return
        if "INVITE" not in caller.pending.values():
            before, move = caller.listener, self._chance.random() < 0.5
            self._check(caller)
            self.figures["re-INVITEs"] += 1
            self._listeners.release(before, AFTERWARDS)
            if before.wanted and not move:
                before.wanted = False
            else:
                caller.listener = self._listeners.open(own_socket=False)
            self._invite(caller)
        self._plan(self._chance.expovariate(1 / 5.0), lambda: self._change(caller))

    def _hang_up(self, caller: Caller) -> None:
        if caller.over or "BYE" in caller.pending.values():
            return
        if not caller.answered or "INVITE" in caller.pending.values():
            self._plan(0.2, lambda: self._hang_up(caller))
            return
        self._check(caller)
        self._send(caller, "BYE")

    def _vanish(self, caller: Caller) -> None:
        """Send nothing any more, like a phone without power. Music may arrive until the server ends the call."""
        self._forget(caller, self._longest + GIVEN_UP)

    def _end(self, caller: Caller) -> None:
        """Forget the call, which is over for both sides."""
        self._forget(caller, AFTERWARDS)

    def _forget(self, caller: Caller, strays_after: float) -> None:
        if caller.over:
            return
        caller.over = True
        caller.pending.clear()
        self._calls.pop(caller.dialog.call_id, None)
        if caller.listener is not None:
            self._listeners.release(caller.listener, strays_after)
            self._listeners.close(caller.listener)

    def _check(self, caller: Caller) -> None:
        """Record whether the caller has received music. Called before the caller stops listening at this address."""
        listener = caller.listener
        if listener is None or not listener.wanted or listener.own is not None or not caller.answered:
            return
        listened = time.monotonic() - listener.since
        if listened > PATIENCE:
            self.figures["listened"] += 1
            if not listener.packets:
                name = f"{caller.kind} {caller.codec} {caller.dialog.call_id}"
                self.silent.append(f"{name} at {listener.host} for {listened:.1f} s")

    # -- SIP ---------------------------------------------------------------------------------------------------------

    def _invite(self, caller: Caller) -> None:
        listener = caller.listener
        assert listener is not None
        direction = "recvonly" if listener.wanted else "inactive"
        body = offer((listener.host, listener.port), HOST, CODECS[caller.codec], direction, version=caller.cseq + 1)
        self._send(caller, "INVITE", *caller.session_fields, body=body)

    def _send(self, caller: Caller, method: str, *fields: str, body: str = "") -> None:
        """Send a request, and repeat it until its final answer comes."""
        caller.cseq += 1
        number = caller.cseq
        caller.pending[number] = method
        data = caller.dialog.request(method, number, *ALLOW, *fields, body=body)
        self._sip.sendto(data, self._server)

        def repeat() -> None:
            if number in caller.pending:
                self.figures["repeated"] += 1
                self._sip.sendto(data, self._server)

        def give_up() -> None:
            if number in caller.pending:
                self.figures["unanswered"] += 1
                self._end(caller)

        if caller.kind != "no ACK":
            for seconds in REPEATS:
                self._plan(seconds, repeat)
            self._plan(GIVEN_UP, give_up)

    def _receive(self, sock: socket.socket) -> None:
        for _ in range(100):
            try:
                text = sock.recv(65535).decode()
            except BlockingIOError:
                return
            except OSError:
                continue
            caller = self._calls.get(_field(text, "Call-ID"))
            if caller is None:
                continue  # the call is over, or the caller has vanished
            cseq = re.match(r"(\d+) (\w+)", _field(text, "CSeq"))
            assert cseq is not None, text
            if text.startswith("SIP/2.0 "):
                self._handle_answer(caller, int(text[8:11]), int(cseq[1]), cseq[2], text)
            else:
                self._handle_request(caller, cseq[2], text)

    def _handle_answer(self, caller: Caller, status: int, number: int, method: str, text: str) -> None:
        if status < 200:
            return
        first = caller.pending.pop(number, None)
        if method == "INVITE":
            if status < 300:
                caller.dialog.learn_tag(text)
            self._sip.sendto(caller.dialog.request("ACK", number, *ALLOW), self._server)
        if first is None:
            return
        if status >= 300:
            self.figures[f"refused with {status}"] += 1
            self._end(caller)
        elif method == "BYE":
            self._end(caller)
        elif not caller.answered:
            self._answered(caller)

    def _handle_request(self, caller: Caller, method: str, text: str) -> None:
        """Answer a BYE or an UPDATE of the server."""
        copied = re.findall(r"^(?:via|from|to|call-id|cseq):[^\r]*", text, re.IGNORECASE | re.MULTILINE)
        answer = ["SIP/2.0 200 OK", *copied, "Content-Length: 0"]
        self._sip.sendto(("\r\n".join(answer) + "\r\n\r\n").encode(), self._server)
        self.figures[f"{method} of the server"] += 1
        if method == "BYE":
            reason = re.search(r'text="([a-z ]*)', _field(text, "Reason"))
            self.figures[f"BYE: {reason[1].strip() if reason else 'no reason'}"] += 1
            self._end(caller)


def _field(text: str, name: str) -> str:
    found = re.search(rf"^{name}:\s*([^\r]*)", text, re.IGNORECASE | re.MULTILINE)
    return found[1] if found else ""
