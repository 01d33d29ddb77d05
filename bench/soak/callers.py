"""Callers who come and go at random: raw messages by one UDP socket, ears for what they hear; nothing of ``moh``.

More than 300 lines, since a caller's whole life is here and nowhere else.
"""

from __future__ import annotations

import heapq
import itertools
import random
import re
import secrets
import selectors
import socket
import struct
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Optional

HOST = "127.0.0.1"
PATIENCE = 3.0
"""Seconds of listening after which a caller who has heard nothing counts as silent."""
AFTERWARDS = 1.0
"""Seconds after a call for which a packet may still be on its way; what comes later is counted as a stray."""
RESENT = (0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5)
"""Seconds after which a request without an answer is sent again (RFC 3261 §17.1)."""
GIVEN_UP = 32.0
HOSTS = 800
"""Addresses at which music is heard, over and over: a server has so many phones, and not a new one with each call."""
IP_PKTINFO = 8
"""Of Linux; Python names it from 3.14 on only."""
CODECS = {"PCMU": "0 101", "PCMA": "8 0", "G722": "9 0", "opus": "96 0"}
"""The formats of an offer; PCMU is the second choice, where ffmpeg has no Opus."""
KINDS = {
    "hangs up": 60,  # BYE when it has heard enough
    "restless": 20,  # the same; holds, resumes and moves its music by re-INVITE meanwhile
    "refreshed": 5,  # the same; the server has to refresh the session by UPDATE
    "mute": 5,  # vanishes without BYE, the music still arrives: the longest call ends it
    "deaf": 5,  # vanishes, and its port with it
    "expired": 3,  # vanishes, and owes a refresh of the session
    "no ACK": 2,  # vanishes before the 200 comes
}
VANISHING = ("mute", "deaf", "expired", "no ACK")
HOLDS = ((0.5, 6.0), (0.35, 25.0), (0.15, 80.0))
"""How long callers listen: so many of them so many seconds, each of these the mean of an exponential distribution."""
MEAN_HOLD = sum(share * mean for share, mean in HOLDS)


class Ear:
    """An address where music is wanted, or not any more."""

    def __init__(self, host: str, port: int, now: float) -> None:
        self.host = host
        self.port = port
        self.since = now
        self.heard = 0
        self.wanted = True


class Caller:
    """One call, as its phone knows it."""

    def __init__(self, kind: str, codec: str, hold: float) -> None:
        self.kind = kind
        self.codec = codec
        self.hold = hold
        self.call_id = secrets.token_hex(8)
        self.tag = secrets.token_hex(4)
        self.to_tag = ""
        self.cseq = 0
        self.asked: dict[int, str] = {}
        """The method of each request that waits for its final answer, by number."""
        self.ear: Optional[Ear] = None
        self.own: Optional[socket.socket] = None
        """Where its music comes in, if that is a socket which can be closed."""
        self.answered = False
        self.over = False


class Callers:
    """Everybody who calls. ``run`` does all the work, in the thread that calls it."""

    def __init__(self, server: tuple[str, int], rate: float, longest: float, chance: random.Random) -> None:
        """``rate`` is how many call each second, on the average; ``longest`` the server's longest call in seconds."""
        self._server = server
        self._rate = rate
        self._longest = longest
        self._chance = chance
        self._sip = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sip.bind((HOST, 0))
        self._port = self._sip.getsockname()[1]
        # one socket for the ears of all: each has an address of its own in 127.0.0.0/8
        self._sink, self._rtcp_sink = _pair()
        self._sink_port = self._sink.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        for sock, take in ((self._sip, self._hear_sip), (self._sink, self._hear_music), (self._rtcp_sink, self._drop)):
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            self._selector.register(sock, selectors.EVENT_READ, take)
        self._calls: dict[str, Caller] = {}
        self._ears: dict[str, Ear] = {}
        self._numbers = itertools.count()
        self._hosts = deque(self._new_host() for _ in range(HOSTS))
        self._count = itertools.count()
        self._plans: list[tuple[float, int, Callable[[], None]]] = []
        self._open = True
        self.figures: Counter[str] = Counter()
        """What has happened, by its name."""
        self.silent: list[str] = []
        """Callers who listened for ``PATIENCE`` and longer and heard nothing."""

    @property
    def calls(self) -> int:
        """How many are in a call, as they see it."""
        return len(self._calls)

    def open(self) -> None:
        """Let the first one call."""
        self._plan(0.0, self._arrive)

    def stop(self) -> None:
        """Nobody calls from now on, and everybody says BYE who ever does."""
        self._open = False
        for caller in list(self._calls.values()):
            self._leave(caller)

    def run(self, until: float) -> None:
        """Do what falls due and take in what comes, until that time."""
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

    def _plan(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._plans, (time.monotonic() + seconds, next(self._count), what))

    # -- coming and going --------------------------------------------------------------------------------------------

    def _arrive(self) -> None:
        if not self._open:
            return
        self._plan(self._chance.expovariate(self._rate), self._arrive)  # so they come as a Poisson process
        (kind,) = self._chance.choices(list(KINDS), list(KINDS.values()))
        (mean,) = self._chance.choices([mean for _, mean in HOLDS], [share for share, _ in HOLDS])
        caller = Caller(kind, self._chance.choice(list(CODECS)), self._chance.expovariate(1 / mean))
        self._calls[caller.call_id] = caller
        self.figures["calls"] += 1
        self.figures[kind] += 1
        caller.ear = self._new_ear(caller)
        self._ask(caller, "INVITE", self._session(caller), self._offer(caller))
        if kind == "no ACK":
            self._vanish(caller)

    def _answered(self, caller: Caller) -> None:
        """The 200 to the first INVITE: from now on it listens."""
        caller.answered = True
        self._plan(caller.hold, lambda: self._vanish(caller) if caller.kind in VANISHING else self._leave(caller))
        if caller.kind == "restless":
            self._plan(self._chance.expovariate(1 / 5.0), lambda: self._change(caller))

    def _change(self, caller: Caller) -> None:
        """Hold, resume, or move the music to another address, by re-INVITE."""
        if caller.over or "BYE" in caller.asked.values() or caller.ear is None:
            return
        if "INVITE" not in caller.asked.values():
            before, move = caller.ear, self._chance.random() < 0.5
            self._check(caller)
            self.figures["re-INVITEs"] += 1
            if before.wanted and not move:
                self._part(before)
                before.wanted = False
            else:
                self._part(before)
                caller.ear = self._new_ear(caller)
            self._ask(caller, "INVITE", self._session(caller), self._offer(caller))
        self._plan(self._chance.expovariate(1 / 5.0), lambda: self._change(caller))

    def _leave(self, caller: Caller) -> None:
        if caller.over or "BYE" in caller.asked.values():
            return
        if not caller.answered or "INVITE" in caller.asked.values():
            self._plan(0.2, lambda: self._leave(caller))
            return
        self._check(caller)
        self._ask(caller, "BYE")

    def _vanish(self, caller: Caller) -> None:
        """As if somebody had pulled the plug: its ear stays, unless it is a socket of its own."""
        if caller.over:
            return
        caller.over = True
        if caller.ear is not None:
            self._part(caller.ear, self._longest + GIVEN_UP)
        caller.asked.clear()
        self._calls.pop(caller.call_id, None)
        if caller.own is not None:
            self._selector.unregister(caller.own)
            caller.own.close()

    def _end(self, caller: Caller) -> None:
        if not caller.over and caller.ear is not None:
            self._part(caller.ear)
        self._vanish(caller)

    # -- ears --------------------------------------------------------------------------------------------------------

    def _new_ear(self, caller: Caller) -> Ear:
        host = self._hosts.popleft() if self._hosts else self._new_host()  # the one that was used longest ago
        port = self._sink_port
        if caller.kind == "deaf":
            caller.own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            caller.own.bind((host, 0))
            caller.own.setblocking(False)
            port = caller.own.getsockname()[1]
            self._selector.register(caller.own, selectors.EVENT_READ, self._drop)
        ear = Ear(host, port, time.monotonic())
        self._ears[host] = ear
        return ear

    def _new_host(self) -> str:
        number = next(self._numbers)
        return f"127.{1 + number // 62500 % 250}.{number // 250 % 250}.{number % 250 + 1}"

    def _part(self, ear: Ear, seconds: float = AFTERWARDS) -> None:
        """What still comes there after some time is a stray."""

        def forget() -> None:
            if self._ears.get(ear.host) is ear:
                del self._ears[ear.host]
                self._hosts.append(ear.host)

        self._plan(seconds, forget)

    def _check(self, caller: Caller) -> None:
        """Whether he has heard what he should, before that ends."""
        ear = caller.ear
        if ear is None or not ear.wanted or ear.port != self._sink_port or not caller.answered:
            return
        listened = time.monotonic() - ear.since
        if listened > PATIENCE:
            self.figures["listened"] += 1
            if not ear.heard:
                self.silent.append(f"{caller.kind} {caller.codec} {caller.call_id} at {ear.host} for {listened:.1f} s")

    def _hear_music(self, sock: socket.socket) -> None:
        """Count what arrives by the address that it came to."""
        for _ in range(500):
            try:
                _, ancillary, _, _ = sock.recvmsg(16, 64)
            except BlockingIOError:
                return
            except OSError:
                continue
            self.figures["packets"] += 1
            for _, kind, data in ancillary:
                if kind == IP_PKTINFO:
                    ear = self._ears.get(socket.inet_ntoa(struct.unpack("=I4s4s", data[:12])[2]))
                    if ear is None:
                        self.figures["strays"] += 1
                    else:
                        ear.heard += 1

    def _drop(self, sock: socket.socket) -> None:
        for _ in range(50):
            try:
                sock.recv(16)
            except OSError:
                return

    # -- SIP ---------------------------------------------------------------------------------------------------------

    def _offer(self, caller: Caller) -> str:
        ear = caller.ear
        assert ear is not None
        formats = CODECS[caller.codec]
        lines = ["v=0", f"o=- 7 {caller.cseq + 1} IN IP4 {HOST}", "s=-", f"c=IN IP4 {ear.host}", "t=0 0"]
        lines += [f"m=audio {ear.port} RTP/AVP {formats}", f"a={'recvonly' if ear.wanted else 'inactive'}"]
        lines += ["a=rtpmap:96 opus/48000/2"] if "96" in formats else []
        return "\r\n".join(lines) + "\r\n"

    def _session(self, caller: Caller) -> list[str]:
        """Header fields of the session timer, where the caller is of such a kind."""
        if caller.kind == "expired":
            return ["Supported: timer", "Session-Expires: 90;refresher=uac"]
        if caller.kind == "refreshed":
            return ["Supported: timer", "Session-Expires: 90;refresher=uas"]
        return []

    def _ask(self, caller: Caller, method: str, lines: Optional[list[str]] = None, body: str = "") -> None:
        """Send a request, and again until it has its answer."""
        caller.cseq += 1
        number = caller.cseq
        caller.asked[number] = method
        data = self._write(caller, method, number, lines or [], body)
        self._sip.sendto(data, self._server)

        def again() -> None:
            if number in caller.asked:
                self.figures["sent again"] += 1
                self._sip.sendto(data, self._server)

        def give_up() -> None:
            if number in caller.asked:
                self.figures["unanswered"] += 1
                self._end(caller)

        if caller.kind != "no ACK":
            for seconds in RESENT:
                self._plan(seconds, again)
            self._plan(GIVEN_UP, give_up)

    def _write(self, caller: Caller, method: str, number: int, lines: list[str], body: str = "") -> bytes:
        host, port = self._server
        uri = f"sip:123@{host}:{port}"
        written = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {HOST}:{self._port};rport;branch=z9hG4bK{secrets.token_hex(8)}",
            "Max-Forwards: 70",
            f"From: <sip:soak@{HOST}>;tag={caller.tag}",
            f"To: <{uri}>" + (f";tag={caller.to_tag}" if caller.to_tag else ""),
            f"Call-ID: {caller.call_id}",
            f"CSeq: {number} {method}",
            f"Contact: <sip:soak@{HOST}:{self._port}>",
            "Allow: INVITE, ACK, CANCEL, BYE, UPDATE",
            *lines,
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        return ("\r\n".join(written) + "\r\n\r\n" + body).encode()

    def _hear_sip(self, sock: socket.socket) -> None:
        for _ in range(100):
            try:
                text = sock.recv(65535).decode()
            except BlockingIOError:
                return
            except OSError:
                continue
            caller = self._calls.get(_field(text, "Call-ID"))
            if caller is None:
                continue  # of somebody who has left, or vanished
            cseq = re.match(r"(\d+) (\w+)", _field(text, "CSeq"))
            assert cseq is not None, text
            if text.startswith("SIP/2.0 "):
                self._take_answer(caller, int(text[8:11]), int(cseq[1]), cseq[2], text)
            else:
                self._take_request(caller, cseq[2], text)

    def _take_answer(self, caller: Caller, status: int, number: int, method: str, text: str) -> None:
        if status < 200:
            return
        first = caller.asked.pop(number, None)
        if method == "INVITE":
            caller.to_tag = re.split(r";\s*tag=", _field(text, "To"))[-1] if status < 300 else caller.to_tag
            self._sip.sendto(self._write(caller, "ACK", number, []), self._server)
        if first is None:
            return
        if status >= 300:
            self.figures[f"refused with {status}"] += 1
            self._end(caller)
        elif method == "BYE":
            self._end(caller)
        elif not caller.answered:
            self._answered(caller)

    def _take_request(self, caller: Caller, method: str, text: str) -> None:
        """The server's BYE or UPDATE."""
        kept = re.findall(r"^(?:via|from|to|call-id|cseq):[^\r]*", text, re.IGNORECASE | re.MULTILINE)
        answer = ["SIP/2.0 200 OK", *kept, "Content-Length: 0"]
        self._sip.sendto(("\r\n".join(answer) + "\r\n\r\n").encode(), self._server)
        self.figures[f"{method} of the server"] += 1
        if method == "BYE":
            why = re.search(r'text="([a-z ]*)', _field(text, "Reason"))
            self.figures[f"BYE: {why[1].strip() if why else 'no reason'}"] += 1
            self._end(caller)


def _field(text: str, name: str) -> str:
    found = re.search(rf"^{name}:\s*([^\r]*)", text, re.IGNORECASE | re.MULTILINE)
    return found[1] if found else ""


def _pair() -> tuple[socket.socket, socket.socket]:
    """An even port and the next, at every address of this machine; the first tells what each packet was sent to."""
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
