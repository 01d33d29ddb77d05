"""One request and its answers (RFC 3261 §17, RFC 6026): retransmissions are absorbed here and nowhere else.

The law kept here: of the answer to a request other than INVITE, a transaction keeps only the parts that do not come
from the request. A retransmission of the request brings the other parts again.

A final answer to an INVITE is resent here, except for a 2xx, which its call resends (§13.3.1.4). The owner of a
transaction calls ``tick`` at ``next_due``.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import ClassVar, NamedTuple, Optional

from ..common.actions import Action, Address, Flow, Send
from .message import Request, Response
from .timers import T2, T4, TRANSACTION_LIFE, retransmit_times
from .writer import copied_fields, write_response

MAX_KEY_PART = 128
"""Longest part of a key in characters; of a longer part the key has a digest."""

Key = tuple[str, ...]
HeaderFields = Sequence[tuple[str, str]]


class State(Enum):
    """The states of a server transaction."""

    PROCEEDING = "proceeding"
    ACCEPTED = "accepted"  # INVITE answered 2xx, RFC 6026
    COMPLETED = "completed"  # answered, waiting for the ACK or for retransmissions
    CONFIRMED = "confirmed"  # INVITE refused and acknowledged
    GONE = "gone"

    __hash__ = object.__hash__  # each state is one object; the hash of ``Enum`` is computed in Python, from its name


NEXT = {
    # INVITE: RFC 3261 figure 7 as amended by RFC 6026 §7.1
    (State.PROCEEDING, "INVITE 1xx"): State.PROCEEDING,
    (State.PROCEEDING, "INVITE 2xx"): State.ACCEPTED,
    (State.PROCEEDING, "INVITE 3xx-6xx"): State.COMPLETED,
    (State.ACCEPTED, "timer L"): State.GONE,
    (State.COMPLETED, "ACK"): State.CONFIRMED,
    (State.CONFIRMED, "ACK"): State.CONFIRMED,
    (State.ACCEPTED, "ACK"): State.ACCEPTED,
    (State.COMPLETED, "timer H"): State.GONE,
    (State.CONFIRMED, "timer I"): State.GONE,
    # all others: RFC 3261 figure 8, answered at once
    (State.PROCEEDING, "final"): State.COMPLETED,
    (State.COMPLETED, "timer J"): State.GONE,
}
"""The whole state machine: no other transition happens."""


def transaction_key(request: Request, method: str = "") -> Key:
    """The key of the transaction that ``request`` belongs to (§17.2.3).

    An ACK belongs to its INVITE. ``method`` is given for the transaction of another request of the same branch, as
    CANCEL needs that of the INVITE. Without the magic cookie in the branch the rules of RFC 2543 hold.
    """
    method = method or request.method
    if method == "ACK":
        method = "INVITE"
    via = request.via
    branch = via.branch
    if branch:
        return (_short(branch), _short(via.sent_by), method)
    to_tag = "" if method == "INVITE" else request.to.tag
    parts = (request.uri, to_tag, request.from_.tag, request.call_id, str(request.cseq.number), via.text)
    return (*map(_short, parts), method)


def _short(text: str) -> str:
    """``text`` or, if ``text`` takes much memory, a digest of it."""
    if len(text) <= MAX_KEY_PART and text.isascii():
        return text
    return f"digest {hashlib.blake2b(text.encode('utf-8', 'surrogateescape'), digest_size=16).hexdigest()}"


class Answer(NamedTuple):
    """The parts of an answer that do not come from its request."""

    status: int
    to_tag: str
    headers: HeaderFields = ()
    body: bytes = b""
    reason: str = ""

    def write(self, request: Request, flow: Flow, copied: str = "") -> bytes:
        """The answer to ``request``, which came by ``flow``; ``copied`` are its ``copied_fields``, if known."""
        return write_response(request, flow, self.status, self.to_tag, self.headers, self.body, self.reason, copied)


class ServerTransaction:
    """A request that we answer, kept while it may be retransmitted: not over TCP and TLS (§17.2.1, §17.2.2)."""

    __slots__ = (
        "_answer", "_answer_to", "_ends", "_last", "_next_resend", "_resend", "flow", "invite", "key", "merge_key",
        "state", "to_tag",
    )  # fmt: skip

    def __init__(self, key: Key, method: str, to_tag: str, flow: Flow, answer_to: Address) -> None:
        self.key = key
        self.invite = method == "INVITE"
        self.to_tag = to_tag
        self.merge_key: Optional[Key] = None  # the registry's key for copies of this request by other ways
        self.state = State.PROCEEDING
        self.flow = flow
        self._answer_to = answer_to
        self._last: Optional[Send] = None  # the last answer to an INVITE
        self._answer: Optional[Answer] = None  # the answer to any other request
        self._resend: Iterator[float] = iter(())
        self._next_resend: Optional[float] = None
        self._ends: Optional[float] = None

    def respond(self, answer: Answer, request: Request, now: float, copied: str = "") -> list[Action]:
        """Send an answer to ``request`` and keep it for retransmissions; ``copied`` as in ``Answer.write``."""
        send = Send(answer.write(request, self.flow, copied), self._answer_to, self.flow)
        if not self.invite:
            self._answer = answer
            self._enter("final", now if self.flow.reliable else now + TRANSACTION_LIFE)
            return [send]
        self._last = send
        if answer.status < 200:
            self._enter("INVITE 1xx", None)
        elif answer.status < 300:
            self._enter("INVITE 2xx", now + TRANSACTION_LIFE)
        else:
            self._enter("INVITE 3xx-6xx", now + TRANSACTION_LIFE)
            if not self.flow.reliable:
                self._resend = retransmit_times(now)
                self._next_resend = next(self._resend)
        return [send]

    def repeat_answer(self, request: Request) -> list[Action]:
        """Send the same answer again, because ``request`` is a retransmission; nothing if there is no answer yet."""
        if self.state in (State.CONFIRMED, State.GONE):
            return []
        if self._answer is not None:
            return [Send(self._answer.write(request, self.flow), self._answer_to, self.flow)]
        return [] if self._last is None else [self._last]

    def acknowledge(self, now: float) -> None:
        """Note that the ACK to a refused INVITE came: stop resending the answer, and absorb further ACKs for T4."""
        if self.state is State.COMPLETED and self.invite:
            self._enter("ACK", now if self.flow.reliable else now + T4)
            self._next_resend = None

    @property
    def next_due(self) -> Optional[float]:
        """When the next timer expires; ``None`` while none is set."""
        if self._next_resend is None or self._ends is None:
            return self._ends
        return min(self._next_resend, self._ends)

    def tick(self, now: float) -> list[Action]:
        """Resend the answer (timer G) or end the transaction (timers H, I, J and L)."""
        if self._ends is not None and now >= self._ends:
            if self.state is State.ACCEPTED:
                self._enter("timer L", None)
            elif self.state is State.CONFIRMED:
                self._enter("timer I", None)
            else:
                self._enter("timer H" if self.invite else "timer J", None)
            self._next_resend = None
        elif self._next_resend is not None and now >= self._next_resend and self._last is not None:
            self._next_resend = next((when for when in self._resend if when > now), None)
            return [self._last]
        return []

    def _enter(self, event: str, ends: Optional[float]) -> None:
        self.state = NEXT[self.state, event]
        self._ends = ends


class Exchange:
    """A request, the transaction that answers it, and the header fields that each answer carries."""

    __slots__ = ("_copied", "headers", "request", "transaction")

    def __init__(self, request: Request, transaction: ServerTransaction, headers: HeaderFields = ()) -> None:
        self.request = request
        self.transaction = transaction
        self.headers = headers
        self._copied = ("", "")  # what the latest answer has copied from the request, and the tag in its To

    @property
    def flow(self) -> Flow:
        """The way that the request came."""
        return self.transaction.flow

    def respond(
        self, status: int, to_tag: str, now: float, headers: HeaderFields = (), body: bytes = b"", reason: str = ""
    ) -> list[Action]:
        """Answer with ``status``; a body needs its Content-Type among ``headers``."""
        common = [*self.headers, *headers] if headers else self.headers
        copied, tag = self._copied
        if not copied or tag != to_tag:
            copied = copied_fields(self.request, self.flow, to_tag)
            self._copied = (copied, to_tag)
        return self.transaction.respond(Answer(status, to_tag, common, body, reason), self.request, now, copied)


class ClientTransaction:
    """A request of our own that is not INVITE (§17.1.2): resent until its final answer, at most for 64*T1."""

    longest_gap: ClassVar[float] = T2
    """Longest interval between retransmissions, in seconds."""

    def __init__(self, branch: str, send: Send, now: float, reliable: bool = False) -> None:
        self.branch = branch
        self.done = False
        self.status = 0
        """The status of the final answer; 408 where none came (§8.1.3.1)."""
        self._send = send
        self._gives_up = now + TRANSACTION_LIFE
        self._resend = iter(()) if reliable else retransmit_times(now, self.longest_gap)
        self._next_resend = next(self._resend, self._gives_up)

    def start(self) -> list[Action]:
        """Send the request for the first time."""
        return [self._send]

    def handle_response(self, response: Response) -> None:
        """A final response ends the transaction; a provisional one changes nothing."""
        if response.status >= 200:
            self.done, self.status = True, response.status

    @property
    def next_due(self) -> Optional[float]:
        """When the next timer expires; ``None`` once the transaction is done."""
        return None if self.done else min(self._next_resend, self._gives_up)

    def tick(self, now: float) -> list[Action]:
        """Resend the request (timer E) or give up (timer F)."""
        if self.done:
            return []
        if now >= self._gives_up:
            self.done, self.status = True, 408
            return []
        if now >= self._next_resend:
            self._next_resend = next((when for when in self._resend if when > now), self._gives_up)
            return [self._send]
        return []


class ClientInvite(ClientTransaction):
    """A re-INVITE of our own (§17.1.1): resent until any response comes; each final response gets an ACK.

    ``cseq`` is its number. ``ack`` is the ACK to a refusal, which belongs to the transaction and has its branch.
    """

    longest_gap: ClassVar[float] = math.inf

    def __init__(self, branch: str, send: Send, cseq: int, ack: Send, now: float, reliable: bool = False) -> None:
        super().__init__(branch, send, now, reliable)
        self.cseq = cseq
        self.ack_to_2xx: Optional[Send] = None
        """The ACK to a 2xx, once that has come; it is sent again for each retransmission of the 2xx."""
        self.ack_to_refusal = ack
        self._proceeding = False

    def handle_response(self, response: Response) -> None:
        """A final response ends the transaction; after a provisional one it waits for that without a timer."""
        self._proceeding = True
        super().handle_response(response)

    @property
    def next_due(self) -> Optional[float]:
        """When the next timer expires; ``None`` once a response has come."""
        return None if self._proceeding else super().next_due

    def tick(self, now: float) -> list[Action]:
        """Resend the request (timer A) or give up (timer B)."""
        return [] if self._proceeding else super().tick(now)


class Unacknowledged:
    """A 200 that waits for its ACK: resent at T1 doubling up to T2, given up after 64*T1 (§13.3.1.4)."""

    __slots__ = ("_times", "cseq", "gives_up", "next_due", "offered", "send", "starts_music")

    def __init__(self, cseq: int, send: Send, offered: bool, now: float) -> None:
        self.cseq = cseq
        self.send = send
        self.offered = offered
        """Whether the 200 carried our offer, so that the ACK has to carry the answer."""
        self.starts_music = False
        """Whether the music starts or moves only when the ACK comes."""
        self.gives_up = now + TRANSACTION_LIFE
        self._times = retransmit_times(now)
        self.next_due = next(self._times)

    def schedule_next(self, now: float) -> None:
        """Schedule the next retransmission or, after the last retransmission, the time to give up."""
        self.next_due = next((when for when in self._times if when > now), self.gives_up)
