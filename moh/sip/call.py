"""The life of one call (RFC 3261 §13.3, §14.2, §15; RFC 3311, RFC 4028): answer, be refreshed, end.

A call owns its dialog and its ``MediaSession``. The laws kept here: a 2xx is resent until the ACK (§13.3.1.4); a
stranger on the internet gets no packet before his ACK has proved that he asked (RFC 7088 §5); an ended call is finished
when its stream is gone, not before; nothing that a request asked for is done if the request is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Optional

from ..common.actions import Action, Flow, Note, Send
from ..common.errors import Refusal
from ..sdp.description import SessionDescription
from ..sdp.media_session import MediaSession
from ..sdp.offer_answer import Choice
from .dialog import Dialog
from .message import Request, Response
from .session_timer import Agreement, agree, agreed_by_answer
from .timers import TRANSACTION_LIFE
from .transaction import ClientTransaction, ServerTransaction, Unacknowledged
from .writer import write_response

STEADY = 60.0
"""Seconds of playing after which a stream that dies may be started again once more."""
BRANCH = "z9hG4bK"
NO_ACK = "no ACK"
Headers = Sequence[tuple[str, str]]


class Call:
    """One caller. ``id`` names it towards the shell and in the log; it is our tag of the dialog."""

    __slots__ = (
        "_began", "_bye", "_ends_at", "_ends_by", "_expires_at", "_new_token", "_refresh", "_refresh_at", "_restarted",
        "_timer", "_unacknowledged", "dialog", "ended", "ended_by", "id", "media",
    )  # fmt: skip

    def __init__(
        self, dialog: Dialog, media: MediaSession, longest: Optional[float], new_token: Callable[[], str], now: float
    ) -> None:
        """``longest`` is how many seconds the call may take; ``None``: for ever."""
        self.id = dialog.id[1]
        self.dialog = dialog
        self.media = media
        self.ended = False
        self.ended_by = ""
        """In two words, of which there are few: what ended it."""
        self._new_token = new_token
        self._began = now
        self._ends_at = None if longest is None else now + longest
        self._ends_by = "longest call"
        self._unacknowledged: Optional[Unacknowledged] = None
        self._restarted: Optional[float] = None
        self._timer: Optional[Agreement] = None
        self._expires_at: Optional[float] = None  # when the session ends that nobody refreshed
        self._refresh_at: Optional[float] = None  # when refreshing is our turn
        self._refresh: Optional[ClientTransaction] = None
        self._bye: Optional[ClientTransaction] = None

    # -- what the other side asks ----------------------------------------------------------------------------------

    def invited(
        self, request: Request, flow: Flow, transaction: ServerTransaction, session: Optional[SessionDescription],
        choice: Optional[Choice], headers: Headers, ringing: bool, near: bool, now: float,
    ) -> list[Action]:  # fmt: skip
        """Answer an INVITE or re-INVITE: 180 if ``ringing``, then 200 at once; music before the ACK only if ``near``.

        ``session`` is the offer and ``choice`` what we choose of it; without them the 200 carries our own. ``headers``
        are the agent's for an answer that makes a dialog. Raises ``Refusal`` and leaves all as it was where this is no
        time for an offer, or nothing leads to where it wants the music.
        """
        timer = self._check(request, offer=True)
        if session is None or choice is None:
            body = self.media.offer(flow.remote.host)
        else:
            body = self.media.answer(session, choice)
            self.media.wanted = choice
        self._refreshed(request, flow, timer, now)
        # with our tag in it, a re-INVITE proves that the former 200 arrived: that is as good as its ACK
        actions: list[Action] = []
        if ringing:
            actions += transaction.respond(180, write_response(request, flow, 180, self.id, headers), now)
        headers = [*headers, *(timer.headers() if timer else []), ("Content-Type", "application/sdp")]
        actions += transaction.respond(200, write_response(request, flow, 200, self.id, headers, body), now)
        sent = actions[-1]
        assert isinstance(sent, Send)
        self._unacknowledged = Unacknowledged(request.cseq.number, sent, choice is None, now)
        if choice is not None:
            if near or not choice.playing:
                actions += self.media.follow(now)
            else:
                self._unacknowledged.starts_music = True
        return actions

    def updated(
        self, request: Request, flow: Flow, transaction: ServerTransaction, session: Optional[SessionDescription],
        choice: Optional[Choice], headers: Headers, now: float,
    ) -> list[Action]:  # fmt: skip
        """Answer an UPDATE: with an offer the music follows it at once, without one it only refreshes (RFC 3311 §5.2).

        Raises ``Refusal`` as ``invited`` does.
        """
        timer = self._check(request, offer=session is not None)
        body = b""
        if session is not None and choice is not None:
            body = self.media.answer(session, choice)
            self.media.wanted = choice
            headers = [*headers, ("Content-Type", "application/sdp")]
        self._refreshed(request, flow, timer, now)
        headers = [*headers, *(timer.headers() if timer else [])]
        actions = transaction.respond(200, write_response(request, flow, 200, self.id, headers, body), now)
        return [*actions, *self.media.follow(now)] if body else actions

    def _check(self, request: Request, offer: bool) -> Optional[Agreement]:
        """Refuse what is to be refused before anything is changed; gives what becomes of the session timer."""
        if offer and self.answer_due:
            raise Refusal(491, "Our offer still waits for its answer in the ACK; expected that first")
        self.dialog.target_of(request)
        return agree(request)

    def _refreshed(self, request: Request, flow: Flow, timer: Optional[Agreement], now: float) -> None:
        """Take what every INVITE and UPDATE brings: a fresh target, a way back, a session timer."""
        self.dialog.refresh_target(request)
        self.dialog.flow = flow
        if request.all("allow"):
            self.dialog.takes_update = "UPDATE" in request.option_tags("allow")
        self._arm(timer, now)

    def acknowledged(self, request: Request) -> bool:
        """The ACK to a 200 came; whether it is the one that was waited for."""
        waiting = self._unacknowledged
        if self.ended or waiting is None or request.cseq.number != waiting.cseq:
            return False
        self._unacknowledged = None
        return True

    @property
    def answer_due(self) -> bool:
        """Whether the ACK that is waited for owes us the answer to our offer."""
        return self._unacknowledged is not None and self._unacknowledged.offered

    def agreed(self, choice: Optional[Choice], now: float) -> list[Action]:
        """The ACK has come, with ``choice`` in it if it owed an answer: now the music may go wherever that says."""
        if self.ended:
            return []
        if choice is not None:
            self.media.wanted = choice
        return self.media.follow(now)

    def hung_up(self, why: str, now: float) -> list[Action]:
        """The other side's BYE came: silence at once."""
        return [] if self.ended else self._end(f"BYE from the caller{why}", "BYE", now)

    # -- what we do by ourselves -------------------------------------------------------------------------------------

    def hang_up(self, why: str, by: str, now: float, insist: bool = True) -> list[Action]:
        """End the call with a BYE of our own, since ``by``; nothing if it has ended.

        ``insist``: the BYE is sent until it is answered, and so long the call is kept; else it is sent once.
        """
        if self.ended:
            return []
        actions = self._end(why, by, now)
        bye = self._request("BYE", [("Reason", f'SIP;text="{why[:80]}"')] if '"' not in why else [], now)
        if insist:
            self._bye = bye
        return [*actions, *bye.start()]

    def end_by(self, until: float, by: str) -> None:
        """Let the call go on, but not beyond that time, since ``by``."""
        if self._ends_at is None or until < self._ends_at:
            self._ends_at, self._ends_by = until, by

    def _request(self, method: str, headers: Headers, now: float) -> ClientTransaction:
        """A request of ours; its branch begins with the call's id, so that answers find here."""
        branch = f"{BRANCH}{self.id}{self._new_token()}"
        reliable = self.dialog.flow.reliable
        return ClientTransaction(branch, self.dialog.request(method, branch, headers), now, reliable)

    def answered(self, response: Response, now: float) -> list[Action]:
        """An answer to a request of ours came."""
        branch = response.via.params.get("branch", "")
        if self._bye is not None and self._bye.branch == branch:
            self._bye.answered(response)  # whatever it says, the dialog is over (§15.1.1)
        elif self._refresh is not None and self._refresh.branch == branch and not self._refresh.done:
            self._refresh.answered(response)
            if self._refresh.done:
                return self._refresh_answered(response, now)
        return []

    def stream_gone(self, serial: int, why: str, hopeless: str, now: float) -> list[Action]:
        """The stream of that ``serial`` is no more. If nobody asked for that, start it again once, then say BYE.

        ``hopeless`` is why that would be in vain, in two words, or empty: then say BYE at once.
        """
        unasked = self.media.gone(serial, now)
        if self.ended or not unasked:
            return []
        if hopeless:
            return self.hang_up(why, hopeless, now)
        if self._restarted is not None and now - self._restarted < STEADY:
            return self.hang_up(f"the music failed twice: {why}", "music failed", now)
        if self._unacknowledged is not None and self._unacknowledged.starts_music:
            return []  # what was agreed last may be played only after the ACK, which starts it
        self._restarted = now
        note = Note(logging.WARNING, self.id, f"music stopped by itself, starting it again: {why}")
        return [note, *self.media.follow(now)]

    @property
    def leaving(self) -> bool:
        """Whether our BYE is under way, so that the dialog is still known."""
        return self._bye is not None and not self._bye.done

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do: ended, our BYE over if there was one, and the stream gone."""
        return self.ended and not self.leaving and not self.media.stream_open

    @property
    def next_due(self) -> Optional[float]:
        """When ``tick`` has something to do; ``None`` when nothing is planned."""
        if self.ended:
            return None if self._bye is None else self._bye.next_due
        plans = (
            None if self._unacknowledged is None else self._unacknowledged.next_due,
            None if self._refresh is None else self._refresh.next_due,
            self._refresh_at,
            self._expires_at,
            self._ends_at,
        )
        return min((when for when in plans if when is not None), default=None)

    def tick(self, now: float) -> list[Action]:
        """Resend the 200 or the BYE, refresh the session, end the call whose time has come."""
        if self.ended:
            return [] if self._bye is None else self._bye.tick(now)
        waiting = self._unacknowledged
        if waiting is not None and now >= waiting.gives_up:
            return self.hang_up(f"no ACK in {TRANSACTION_LIFE:.0f} s", NO_ACK, now)
        if self._ends_at is not None and now >= self._ends_at:
            return self.hang_up(f"{self._ends_by}, {now - self._began:.0f} s", self._ends_by, now)
        if self._expires_at is not None and now >= self._expires_at:
            return self.hang_up("the session was not refreshed", "session timer", now)
        actions: list[Action] = []
        if waiting is not None and now >= waiting.next_due:
            waiting.sent_again(now)
            actions.append(waiting.send)
        if self._refresh is not None:
            actions += self._refresh.tick(now)
        if self._refresh_at is not None and now >= self._refresh_at and self._timer is not None:
            self._refresh_at = None
            headers = [("Session-Expires", f"{self._timer.interval};refresher=uac"), ("Supported", "timer")]
            self._refresh = self._request("UPDATE", headers, now)
            actions += self._refresh.start()
        return actions

    # -- session timer (RFC 4028) ----------------------------------------------------------------------------------

    def _arm(self, timer: Optional[Agreement], now: float) -> None:
        """Plan by what the latest 2xx says; it replaces all that was planned before."""
        self._timer, self._expires_at, self._refresh_at = timer, None, None
        if timer is None:
            return
        if not timer.ours:
            self._expires_at = now + timer.ends_after()
        elif self.dialog.takes_update:
            self._refresh_at = now + timer.refresh_after()
            self._expires_at = now + timer.interval
        # where the phone takes no UPDATE we cannot refresh (a re-INVITE is not ours to send, RFC 7088 §2.7): the
        # phone ends the session when it wants to, and the longest call is the last guard

    def _refresh_answered(self, response: Response, now: float) -> list[Action]:
        """A phone that answers lives, even if it says 403 (RFC 7088 §2.7): only "no such call" ends the music."""
        timer = self._timer
        if response.status == 481:
            return self._end("the caller knows this call no more", "481", now)
        if timer is not None:
            self._arm(agreed_by_answer(response, timer) if response.status < 300 else timer, now)
        return []

    def _end(self, why: str, by: str, now: float) -> list[Action]:
        actions = self.media.stop(now)
        self._unacknowledged = None
        self.ended, self.ended_by = True, by
        played = f", music for {self.media.position:.0f} s"
        return [*actions, Note(logging.INFO, self.id, f"ended after {now - self._began:.0f} s{played}: {why}")]
