"""The life of one call (RFC 3261 §13.3, §14.2, §15): answer, resend the 200 until its ACK, play, hold, end.

A call owns its dialog and its RTP port. It asks for music with ``StartStream`` and ``StopStream`` and never learns
who plays. The laws kept here: a 2xx is resent until the ACK (§13.3.1.4); a stranger on the internet gets no packet
before his ACK has proved that he asked (RFC 7088 §5); an ended call is finished when its stream is gone, not before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional

from .actions import Action, Address, Flow, Note, Send, StartStream, StopStream, Target
from .addresses import is_private
from .dialog import Dialog
from .errors import Refusal
from .message import Request, Response
from .reply import write_response
from .sdp import PTIME, Choice, Session, choose, parse_sdp, write_answer, write_offer
from .timers import TRANSACTION_LIFE, retransmit_times
from .transaction import ClientTransaction, ServerTransaction

STEADY = 60.0
"""Seconds of playing after which a stream that dies may be started again once more."""


class Unacknowledged:
    """A 200 that waits for its ACK: resent at T1 doubling to T2, given up after 64*T1 (§13.3.1.4)."""

    def __init__(self, cseq: int, send: Send, now: float) -> None:
        self.cseq = cseq
        self.send = send
        self.gives_up = now + TRANSACTION_LIFE
        self._times = retransmit_times(now)
        self.next_due = next(self._times)

    def sent_again(self, now: float) -> None:
        """Plan the next sending; after the last one only giving up is left."""
        self.next_due = next((when for when in self._times if when > now), self.gives_up)


@dataclass
class Playing:
    """What a call plays now, since when, and by which start of a stream."""

    target: Target
    serial: int
    since: float
    position: float


class Call:
    """One caller. ``id`` names it towards the shell and in the log; it is our tag of the dialog."""

    def __init__(
        self, dialog: Dialog, local: Address, session_id: int, new_token: Callable[[], str], now: float
    ) -> None:
        """``local`` is what the answers name and the RTP leaves from; ``session_id`` goes into ``o=``."""
        self.id = dialog.id[1]
        self.dialog = dialog
        self.local = local
        self.ended = False
        self.bye: Optional[ClientTransaction] = None
        self.stream_open = False
        """Whether the shell still has a stream of ours, so that the port is not free."""
        self._session_id = session_id
        self._version = 0
        self._said = b""
        self._new_token = new_token
        self._began = now
        self._unacknowledged: Optional[Unacknowledged] = None
        self._offered = False  # our 200 carried an offer, the ACK owes the answer
        self._wanted: Optional[Choice] = None  # what the latest offer and answer agreed on
        self._playing: Optional[Playing] = None
        self._position = 0.0  # seconds into the tune where it was stopped
        self._serial = 0
        self._restarted: Optional[float] = None

    # -- what the other side asks ----------------------------------------------------------------------------------

    def invited(
        self, request: Request, flow: Flow, transaction: ServerTransaction, session: Optional[Session],
        choice: Optional[Choice], headers: list[tuple[str, str]], ringing: bool, now: float,
    ) -> list[Action]:  # fmt: skip
        """Answer an INVITE or re-INVITE: 180 if ``ringing``, then 200 at once.

        ``session`` is the offer and ``choice`` what we choose of it; without them the 200 carries our own. ``headers``
        are the agent's for an answer that makes a dialog. Raises ``Refusal`` and leaves all as it was where this is no
        time for an offer.
        """
        self._check_no_offer_is_open(request)
        self.dialog.in_order(request)
        self.dialog.refresh_target(request)
        actions: list[Action] = []
        if ringing:
            actions += transaction.respond(180, write_response(request, flow, 180, self.id, headers), now)
        body = self._describe(session, choice)
        headers = [*headers, ("Content-Type", "application/sdp")]
        actions += transaction.respond(200, write_response(request, flow, 200, self.id, headers, body), now)
        sent = actions[-1]
        assert isinstance(sent, Send)
        self._unacknowledged = Unacknowledged(request.cseq.number, sent, now)
        self._offered = choice is None
        if choice is not None:
            self._wanted = choice
            near = is_private(flow.remote.host) and is_private(choice.remote.host)
            if near or not choice.playing:
                actions += self._follow(now)
        return actions

    def _check_no_offer_is_open(self, request: Request) -> None:
        waiting = self._unacknowledged
        if waiting is None or request.cseq.number <= waiting.cseq:
            return
        if self._offered:
            raise Refusal(491, "Our offer still waits for its answer in the ACK; expected that first")
        # with our tag in it the request proves that the 200 arrived: that is as good as the ACK
        self._unacknowledged = None

    def _describe(self, session: Optional[Session], choice: Optional[Choice]) -> bytes:
        """Our side of the session; ``o=`` counts up when it differs from what was said before (RFC 3264 §8)."""

        def write(version: int) -> bytes:
            if session is None or choice is None:
                return write_offer(self.local, PTIME, self._session_id, version)
            return write_answer(session, choice, self.local, self._session_id, version)

        if write(self._version) != self._said:
            self._version += 1
            self._said = write(self._version)
        return self._said

    def acknowledged(self, request: Request, now: float) -> list[Action]:
        """The ACK to a 200 came. If the 200 was our offer, it brings the answer: where the music goes."""
        waiting = self._unacknowledged
        if self.ended or waiting is None or request.cseq.number != waiting.cseq:
            return []
        self._unacknowledged = None
        if self._offered:
            self._offered = False
            try:
                session, self._wanted = read_offer(request)
            except Refusal as refusal:
                return self.hang_up(f"the answer in the ACK does not fit: {refusal}", now)
            if session is None:
                return self.hang_up("the ACK brought no answer to our offer", now)
        return self._follow(now)

    def hung_up(self, why: str, now: float) -> list[Action]:
        """The other side's BYE came: silence at once."""
        return self._end(f"BYE from the caller{why}", now)

    # -- what we do by ourselves -------------------------------------------------------------------------------------

    def hang_up(self, why: str, now: float) -> list[Action]:
        """End the call with a BYE of our own; nothing if it has ended."""
        if self.ended:
            return []
        actions = self._end(why, now)
        branch = f"z9hG4bK{self._new_token()}"
        self.bye = ClientTransaction(branch, self.dialog.request("BYE", branch), now)
        return [*actions, *self.bye.start()]

    def bye_answered(self, response: Response) -> None:
        """Any final answer ends our BYE's work: the dialog is over either way (§15.1.1)."""
        if self.bye is not None:
            self.bye.answered(response)

    def stream_gone(self, serial: int, why: str, now: float) -> list[Action]:
        """The stream of that ``serial`` is no more. If nobody asked for that, start it again once, then say BYE."""
        if serial != self._serial:
            return []  # a later one has been started since
        self.stream_open = False
        playing = self._playing
        if self.ended or playing is None:
            return []
        self._pause(now)
        if self._restarted is not None and now - self._restarted < STEADY:
            return self.hang_up(f"the music failed twice: {why}", now)
        self._restarted = now
        note = Note(logging.WARNING, self.id, f"music stopped by itself, starting it again: {why}")
        return [note, *self._follow(now)]

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do: ended, our BYE over if there was one, and the stream gone."""
        return self.ended and not self.stream_open and (self.bye is None or self.bye.done)

    @property
    def next_due(self) -> Optional[float]:
        """When ``tick`` has something to do; ``None`` when nothing is planned."""
        if self.bye is not None:
            return self.bye.next_due
        return None if self._unacknowledged is None else self._unacknowledged.next_due

    def tick(self, now: float) -> list[Action]:
        """Resend the 200 or the BYE; end the call that nobody acknowledged."""
        if self.bye is not None:
            return self.bye.tick(now)
        waiting = self._unacknowledged
        if waiting is None or now < waiting.next_due:
            return []
        if now >= waiting.gives_up:
            return self.hang_up(f"no ACK in {TRANSACTION_LIFE:.0f} s", now)
        waiting.sent_again(now)
        return [waiting.send]

    # -- the music ---------------------------------------------------------------------------------------------------

    def _follow(self, now: float) -> list[Action]:
        """Make the music follow what was agreed: start it, move it, or stop it."""
        wanted = self._wanted
        if wanted is None or not wanted.playing:
            stopped: list[Action] = [StopStream(self.id)] if self._playing else []
            self._pause(now)
            return stopped
        target = Target(wanted.remote, wanted.remote_rtcp, self.local, wanted.codec, wanted.payload_type, wanted.ptime)
        if self._playing is not None and self._playing.target == target:
            return []
        self._pause(now)
        self._serial += 1
        self._playing = Playing(target, self._serial, now, self._position)
        self.stream_open = True
        return [StartStream(self.id, self._serial, target, self._position)]

    def _pause(self, now: float) -> None:
        """Remember where the tune is; time that passes from now on is not played."""
        if self._playing is not None:
            self._position = self._playing.position + (now - self._playing.since)
            self._playing = None

    def _end(self, why: str, now: float) -> list[Action]:
        actions: list[Action] = [StopStream(self.id)] if self._playing is not None else []
        self._pause(now)
        self._unacknowledged = None
        self.ended = True
        played = f", music for {self._position:.0f} s"
        return [*actions, Note(logging.INFO, self.id, f"ended after {now - self._began:.0f} s{played}: {why}")]

    def summary(self) -> str:
        """For the log: what is played to whom, from where."""
        wanted = self._wanted
        if wanted is None:
            return "our offer sent, the music waits for the answer in the ACK"
        if not wanted.playing:
            return f"on hold, no music, port {self.local.port}"
        return f"{wanted.codec.name} to {wanted.remote} from port {self.local.port}"


def read_offer(request: Request) -> tuple[Optional[Session], Optional[Choice]]:
    """The session description in ``request`` and what we choose of it; twice ``None`` where it has no body.

    Raises ``Refusal`` 400 or 488.
    """
    if not request.body.strip():
        return None, None
    session = parse_sdp(request.body)
    return session, choose(session)
