"""The life of one call (RFC 3261 §13.3, §14.2, §15; RFC 3311, RFC 4028): answered, refreshed, ended.

A call owns its dialog and its ``MediaSession``. The laws kept here: a 2xx is resent until its ACK (§13.3.1.4); music
goes to a public address only after an ACK has proved that the caller asked for it (RFC 7088 §5); an ended call is
finished when its stream is gone, not before; a refused request has changed nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Optional

from ..common.actions import Action, Flow, Note, Send
from ..common.errors import Refusal
from ..rtp.reception import NO_REPORTS, StreamReport
from ..sdp.media_session import MediaSession
from ..sdp.offer_answer import Choice, Offer
from .dialog import Dialog
from .message import Request, Response
from .names import Selection
from .session_timer import DIALOG_GONE, NEEDS_BYE, RETRY_AFTER_GLARE, UPDATE_UNKNOWN, Agreement, agree, agreed_by_answer
from .timers import T2, TRANSACTION_LIFE
from .transaction import ClientInvite, ClientTransaction, Exchange, HeaderFields, Unacknowledged
from .validation import ALLOW, SUPPORTED

STEADY = 60.0
"""Seconds that a restarted stream has to play before it may be restarted once more."""
BRANCH = "z9hG4bK"
"""The magic cookie of RFC 3261 §8.1.1.7; in our own branches the id of the call follows it."""
NO_ACK = "no ACK"
"""``Call.ended_by`` of a call whose 200 was never acknowledged."""
SERVER_FAULT = "server fault"
"""``Call.ended_by`` of a call in which the server itself failed."""
SDP_BODY = ("Content-Type", "application/sdp")
MAX_SDP = 2048
"""Most octets of a session description that a call keeps for its re-INVITE; a longer one is replaced by a new offer."""


class Call:
    """One call. ``id`` is our tag of its dialog; actions and log lines name the call by it."""

    __slots__ = (
        "_bye", "_ends_at", "_ends_by", "_expires_at", "_glared", "_new_token", "_refresh", "_refresh_at", "_restarted",
        "_sdp", "_timer", "_unacknowledged", "answered_at", "dialog", "ended", "ended_at", "ended_by", "id", "media",
        "noted", "reception", "selection", "why",
    )  # fmt: skip

    def __init__(
        self, dialog: Dialog, media: MediaSession, selection: Selection, longest: Optional[float],
        new_token: Callable[[], str], now: float,
    ) -> None:  # fmt: skip
        """``longest`` is the longest duration in seconds; ``None`` for no limit."""
        self.id = dialog.id[1]
        self.dialog = dialog
        self.media = media
        self.selection = selection
        """What the caller dialled and what it hears, as long as the call lasts: no re-INVITE changes it."""
        self.reception = NO_REPORTS
        """What the receiver of the music has reported."""
        self.ended = False
        self.ended_by = ""
        """Why the call ended, as one of a few fixed texts of two words; empty before its end."""
        self.why = ""
        """The same in a sentence."""
        self.ended_at = 0.0
        self.answered_at = now
        self.noted = 0
        """What ``History`` has noted of this call."""
        self._new_token = new_token
        self._ends_at = None if longest is None else now + longest
        self._ends_by = "longest call"
        self._unacknowledged: Optional[Unacknowledged] = None
        self._restarted: Optional[float] = None
        self._timer: Optional[Agreement] = None
        self._expires_at: Optional[float] = None  # when the session expires unless it is refreshed
        self._refresh_at: Optional[float] = None  # when we have to refresh it
        self._refresh: Optional[ClientTransaction] = None
        self._glared = False  # whether the latest refresh met a request of the phone
        self._sdp = b""  # our latest session description, while a re-INVITE has to repeat it
        self._bye: Optional[ClientTransaction] = None

    # -- requests of the other side --------------------------------------------------------------------------------

    def answer_invite(
        self, exchange: Exchange, offer: Optional[Offer], now: float, *, ringing: bool, music_at_once: bool
    ) -> list[Action]:
        """Answer an INVITE or re-INVITE: 180 if ``ringing``, then 200; music before the ACK only if ``music_at_once``.

        Without an ``offer`` the 200 carries our own offer. Raises ``Refusal``, and has changed nothing, if no offer may
        come now, or if this server has no route to the receiver of the music.
        """
        request = exchange.request
        timer = self._check(request, with_offer=True)
        if offer is None:
            body = self.media.offer(exchange.flow.remote.host)
        else:
            body = self.media.answer(*offer)
            self.media.wanted = offer.choice
        self._refresh_dialog(request, exchange.flow, timer, body, now)
        # a re-INVITE with our tag proves that the former 200 arrived, as well as its ACK would
        actions: list[Action] = []
        if ringing:
            actions += exchange.respond(180, self.id, now)
        actions += exchange.respond(200, self.id, now, [*(timer.headers() if timer else ()), SDP_BODY], body)
        sent = actions[-1]
        assert isinstance(sent, Send)
        self._unacknowledged = Unacknowledged(request.cseq.number, sent, offer is None, now)
        if offer is not None:
            if music_at_once or not offer.choice.playing:
                actions += self.media.follow(now)
            else:
                self._unacknowledged.starts_music = True
        return actions

    def answer_update(self, exchange: Exchange, offer: Optional[Offer], now: float) -> list[Action]:
        """Answer an UPDATE (RFC 3311 §5.2): the music follows an offer at once; without one, the session is refreshed.

        Raises ``Refusal`` as ``answer_invite`` does.
        """
        timer = self._check(exchange.request, with_offer=offer is not None)
        headers = timer.headers() if timer else []
        body = b""
        if offer is not None:
            body = self.media.answer(*offer)
            self.media.wanted = offer.choice
            headers = [SDP_BODY, *headers]
        self._refresh_dialog(exchange.request, exchange.flow, timer, body, now)
        actions = exchange.respond(200, self.id, now, headers, body)
        return [*actions, *self.media.follow(now)] if body else actions

    def _check(self, request: Request, with_offer: bool) -> Optional[Agreement]:
        """Raise any ``Refusal`` before anything is changed; returns what is agreed on the session timer."""
        if with_offer and self.answer_due:
            raise Refusal(491, "Our offer still waits for its answer in the ACK; expected that first")
        if with_offer and isinstance(self._refresh, ClientInvite) and not self._refresh.done:
            raise Refusal(491, "Our re-INVITE still waits for its answer; expected that first")
        return agree(request)

    def _refresh_dialog(
        self, request: Request, flow: Flow, timer: Optional[Agreement], body: bytes, now: float
    ) -> None:
        """Take over the target, the flow and the session timer of an INVITE or UPDATE.

        ``body`` is the session description in our answer. It is kept only where a re-INVITE will have to repeat it.
        """
        self.dialog.refresh_target(request)
        self.dialog.flow = flow
        if request.all("allow"):
            self.dialog.takes_update = request.allows("UPDATE")
        by_invite = timer is not None and timer.ours and not self.dialog.takes_update
        self._sdp = (body or self._sdp) if by_invite and len(body) <= MAX_SDP else b""
        self._set_session_timer(timer, now)

    def acknowledge(self, request: Request) -> bool:
        """Handle an ACK to a 200. Return whether it is the first ACK to the latest 200."""
        waiting = self._unacknowledged
        if self.ended or waiting is None or request.cseq.number != waiting.cseq:
            return False
        self._unacknowledged = None
        return True

    @property
    def answer_due(self) -> bool:
        """Whether the ACK that has not come yet has to carry the answer to our offer."""
        return self._unacknowledged is not None and self._unacknowledged.offered

    def start_music(self, now: float, answer: Optional[Choice] = None) -> list[Action]:
        """Start the music after the ACK, as the offer in the INVITE or the ``answer`` in the ACK says.

        Raises ``Refusal`` 488 if this server has no route to the receiver.
        """
        if self.ended:
            return []
        if answer is not None:
            self.media.accept(answer)
        return self.media.follow(now)

    def remote_bye(self, why: str, now: float) -> list[Action]:
        """Handle a BYE of the phone: stop the music at once."""
        return [] if self.ended else self._end(f"BYE from the caller{why}", "BYE", now)

    # -- our own requests ------------------------------------------------------------------------------------------

    def hang_up(self, why: str, by: str, now: float, resend: bool = True) -> list[Action]:
        """End the call with our own BYE, unless it has ended. ``by`` becomes ``ended_by``.

        With ``resend`` the call is kept, and the BYE resent, until it is answered. Otherwise the BYE is sent once.
        """
        if self.ended:
            return []
        actions = self._end(why, by, now)
        bye = self._request("BYE", [("Reason", f'SIP;text="{why[:80]}"')] if '"' not in why else [], now)
        if resend:
            self._bye = bye
        return [*actions, *bye.start()]

    def end_at_latest(self, until: float, by: str) -> None:
        """Let the call go on, but not longer than ``until``; ``by`` becomes ``ended_by``."""
        if self._ends_at is None or until < self._ends_at:
            self._ends_at, self._ends_by = until, by

    def _request(self, method: str, headers: HeaderFields, now: float) -> ClientTransaction:
        """Our own request that is no INVITE."""
        branch = self._new_branch()
        return ClientTransaction(branch, self.dialog.request(method, branch, headers), now, self.dialog.flow.reliable)

    def _new_branch(self) -> str:
        """A branch that begins with the call's id, by which the registry finds the call of a response."""
        return f"{BRANCH}{self.id}{self._new_token()}"

    def handle_response(self, response: Response, now: float) -> list[Action]:
        """A response to our BYE, UPDATE or re-INVITE came."""
        branch = response.via.params.get("branch", "")
        if self._bye is not None and self._bye.branch == branch:
            self._bye.handle_response(response)  # whatever it says, the dialog is over (§15.1.1)
            return []
        refresh = self._refresh
        if refresh is None or refresh.branch != branch:
            return []
        repeated = refresh.done
        refresh.handle_response(response)
        if not refresh.done:
            return []
        if response.status < 300 and not repeated:
            self.dialog.refresh_target(response)
        actions = self._acknowledge(refresh, response) if isinstance(refresh, ClientInvite) else []
        return actions if repeated or self.ended else [*actions, *self._refresh_answered(response, now)]

    def answers_our_offer(self, response: Response) -> bool:
        """Whether this is the first 2xx to our re-INVITE: its body is the answer to our offer."""
        refresh = self._refresh
        ours = isinstance(refresh, ClientInvite) and refresh.branch == response.via.params.get("branch", "")
        return ours and refresh is not None and not refresh.done and 200 <= response.status < 300 and not self.ended

    def _acknowledge(self, invite: ClientInvite, response: Response) -> list[Action]:
        """The ACK to a final response, and to each retransmission of it (§13.2.2.4, §17.1.1.3)."""
        if response.status >= 300:
            return [invite.ack_to_refusal]
        if invite.ack_to_2xx is None:
            invite.ack_to_2xx = self.dialog.acknowledgement(invite.cseq, self._new_branch())
        return [invite.ack_to_2xx]

    def stream_ended(self, serial: int, why: str, hopeless: str, now: float) -> list[Action]:
        """Note the end of the stream with this ``serial``. If we did not stop it, start it again once, then send BYE.

        ``hopeless`` says in two words why another start would fail too; then send BYE at once. Otherwise it is empty.
        """
        unexpected = self.media.gone(serial, now)
        if self.ended or not unexpected:
            return []
        if hopeless:
            return self.hang_up(why, hopeless, now)
        if self._restarted is not None and now - self._restarted < STEADY:
            return self.hang_up(f"the music failed twice: {why}", "music failed", now)
        if self._unacknowledged is not None and self._unacknowledged.starts_music:
            return []  # the ACK that has not come yet will start it
        self._restarted = now
        note = Note(logging.WARNING, self.id, f"music stopped by itself, starting it again: {why}")
        return [note, *self.media.follow(now)]

    def reported(self, report: StreamReport, now: float) -> bool:
        """Note what the receiver reports. Return whether this is the first report by which nothing arrives any more."""
        began = self.media.playing_since
        if self.ended or began is None:
            return False
        before, self.reception = self.reception, self.reception.with_report(report, began, now)
        return self.reception.nothing_arrives and not before.nothing_arrives

    @property
    def heard(self) -> str:
        """What is known of the music's arrival, for the log."""
        if self.media.wanted is not None and self.media.wanted.crypto:
            return "the receiver's reports are encrypted (SRTP)"
        return self.reception.text()

    def age(self, now: float) -> float:
        """The seconds since the call was answered."""
        return now - self.answered_at

    @property
    def bye_pending(self) -> bool:
        """Whether our BYE waits for its answer, so that the dialog is still known."""
        return self._bye is not None and not self._bye.done

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do: the call has ended, our BYE is over, and the stream is gone."""
        return self.ended and not self.bye_pending and not self.media.stream_open

    @property
    def next_due(self) -> Optional[float]:
        """When the next timer expires; ``None`` while none is set."""
        if self.ended:
            return None if self._bye is None else self._bye.next_due
        plans = (
            None if self._unacknowledged is None else self._unacknowledged.next_due,
            None if self._refresh is None else self._refresh.next_due,
            self._refresh_at,
            self._expires_at,
        )
        earliest = self._ends_at
        for when in plans:
            if when is not None and (earliest is None or when < earliest):
                earliest = when
        return earliest

    def tick(self, now: float) -> list[Action]:
        """Resend the 200 or the BYE, refresh the session, or end the call: whatever is due."""
        if self.ended:
            return [] if self._bye is None else self._bye.tick(now)
        waiting = self._unacknowledged
        if waiting is not None and now >= waiting.gives_up:
            return self.hang_up(f"no ACK in {TRANSACTION_LIFE:.0f} s", NO_ACK, now)
        if self._ends_at is not None and now >= self._ends_at:
            return self.hang_up(f"{self._ends_by}, {self.age(now):.0f} s", self._ends_by, now)
        if self._expires_at is not None and now >= self._expires_at:
            return self.hang_up("the session was not refreshed", "session timer", now)
        actions: list[Action] = []
        if waiting is not None and now >= waiting.next_due:
            waiting.schedule_next(now)
            actions.append(waiting.send)
        if self._refresh is not None and not self._refresh.done:
            actions += self._refresh.tick(now)
            if self._refresh.done:  # as a 408 (RFC 3261 §8.1.3.1, RFC 4028 §10)
                return self.hang_up(f"no answer to our refresh in {TRANSACTION_LIFE:.0f} s", "session timer", now)
        if self._refresh_at is not None and now >= self._refresh_at and self._timer is not None:
            actions += self._start_refresh(self._timer, now)
        return actions

    # -- faults ----------------------------------------------------------------------------------------------------

    def abandon(self, now: float) -> None:
        """End the call without any further action, whatever state it is in."""
        if not self.ended:
            self.ended, self.ended_by, self.ended_at, self.why = True, SERVER_FAULT, now, "unexpected error"
        self._bye = self._unacknowledged = None
        self.media.abandon()

    # -- session timer (RFC 4028) ----------------------------------------------------------------------------------

    def _set_session_timer(self, timer: Optional[Agreement], now: float) -> None:
        """Replace the session timer by what the latest 2xx says."""
        self._timer, self._expires_at, self._refresh_at = timer, None, None
        if timer is None:
            return
        if timer.ours:
            self._refresh_at = now + timer.refresh_after()
            self._expires_at = now + timer.interval
        else:
            self._expires_at = now + timer.ends_after()

    def _start_refresh(self, timer: Agreement, now: float) -> list[Action]:
        """Refresh by an UPDATE without SDP, or by a re-INVITE with the same SDP where the phone takes no UPDATE."""
        session_expires = ("Session-Expires", f"{timer.interval};refresher=uac")
        if self.dialog.takes_update:
            self._refresh_at = None
            self._refresh = self._request("UPDATE", [session_expires, ("Supported", "timer")], now)
        elif self._unacknowledged is not None:
            self._refresh_at = now + T2  # no INVITE while another one is in progress (RFC 3261 §14.1)
            return []
        else:
            self._refresh_at = None
            branch, dialog = self._new_branch(), self.dialog
            body = self._sdp or self.media.offer(dialog.flow.remote.host)
            send = dialog.request("INVITE", branch, [session_expires, ALLOW, SUPPORTED, SDP_BODY], body)
            ack = dialog.acknowledgement(dialog.local_cseq, branch)
            self._refresh = ClientInvite(branch, send, dialog.local_cseq, ack, now, dialog.flow.reliable)
        return self._refresh.start()

    def _refresh_answered(self, response: Response, now: float) -> list[Action]:
        """A phone that answers is there, even if it refuses (RFC 7088 §2.7): only "no such call" ends the music."""
        status, timer = response.status, self._timer
        if status in DIALOG_GONE:
            why = f"the caller no longer has this call: {status} to our refresh"
            return self.hang_up(why, str(status), now) if status in NEEDS_BYE else self._end(why, str(status), now)
        if timer is None:
            return []
        self._set_session_timer(agreed_by_answer(response, timer) if status < 300 else timer, now)
        if status in UPDATE_UNKNOWN and self.dialog.takes_update:
            self.dialog.takes_update = False
            self._refresh_at = now
        # once only: the phone that answers 491 again is there, and the next refresh is early enough
        self._glared = status == 491 and not self._glared
        if self._glared:
            self._refresh_at = now + int(self._new_token(), 16) % 100 / 100 * RETRY_AFTER_GLARE
        return []

    def _end(self, why: str, by: str, now: float) -> list[Action]:
        actions = self.media.stop(now)
        self._unacknowledged = None
        self.ended, self.ended_by, self.ended_at, self.why = True, by, now, why
        played, source = self.media.position, self.dialog.flow.remote
        text = f"ended after {self.age(now):.0f} s, music for {played:.0f} s: {why}"
        return [*actions, Note(logging.INFO, self.id, f"{text}; {self.heard}" if played else text, source)]
