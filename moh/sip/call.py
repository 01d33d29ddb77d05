"""The life of one call (RFC 3261 §13.3, §14.2, §15; RFC 3311, RFC 4028): answered, refreshed, ended.

A call owns its dialog and its ``MediaSession``. The laws kept here: a 2xx is resent until its ACK (§13.3.1.4); music
goes to a public address only after an ACK has proved that the caller asked for it (RFC 7088 §5); an ended call is
finished when its stream is gone, not before; a refused request has changed nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NamedTuple, Optional

from ..common.actions import Action, Flow, Note, Send
from ..common.errors import Refusal
from ..sdp.description import SessionDescription
from ..sdp.media_session import MediaSession
from ..sdp.offer_answer import Choice
from .dialog import Dialog
from .message import Request, Response
from .session_timer import Agreement, agree, agreed_by_answer
from .timers import TRANSACTION_LIFE
from .transaction import ClientTransaction, Exchange, HeaderFields, Unacknowledged

STEADY = 60.0
"""Seconds that a restarted stream has to play before it may be restarted once more."""
BRANCH = "z9hG4bK"
"""The magic cookie of RFC 3261 §8.1.1.7; in our own branches the id of the call follows it."""
NO_ACK = "no ACK"
"""``Call.ended_by`` of a call whose 200 was never acknowledged."""
SERVER_FAULT = "server fault"
"""``Call.ended_by`` of a call in which the server itself failed."""
SDP_BODY = ("Content-Type", "application/sdp")

Checkpoint = tuple[dict[str, Any], dict[str, Any]]
"""What a call and its media session held at one moment."""


class Offer(NamedTuple):
    """A session description of the other side, and the stream of it that we choose."""

    session: SessionDescription
    choice: Choice


class Call:
    """One call. ``id`` is our tag of its dialog; actions and log lines name the call by it."""

    __slots__ = (
        "_began", "_bye", "_ends_at", "_ends_by", "_expires_at", "_new_token", "_refresh", "_refresh_at", "_restarted",
        "_timer", "_unacknowledged", "dialog", "ended", "ended_by", "id", "media",
    )  # fmt: skip

    def __init__(
        self, dialog: Dialog, media: MediaSession, longest: Optional[float], new_token: Callable[[], str], now: float
    ) -> None:
        """``longest`` is the longest duration in seconds; ``None`` for no limit."""
        self.id = dialog.id[1]
        self.dialog = dialog
        self.media = media
        self.ended = False
        self.ended_by = ""
        """What ended the call, as one of a few fixed texts of two words; empty before."""
        self._new_token = new_token
        self._began = now
        self._ends_at = None if longest is None else now + longest
        self._ends_by = "longest call"
        self._unacknowledged: Optional[Unacknowledged] = None
        self._restarted: Optional[float] = None
        self._timer: Optional[Agreement] = None
        self._expires_at: Optional[float] = None  # when the session expires unless it is refreshed
        self._refresh_at: Optional[float] = None  # when we have to refresh it
        self._refresh: Optional[ClientTransaction] = None
        self._bye: Optional[ClientTransaction] = None

    # -- requests of the other side --------------------------------------------------------------------------------

    def answer_invite(
        self, exchange: Exchange, offer: Optional[Offer], now: float, *, ringing: bool, music_at_once: bool
    ) -> list[Action]:
        """Answer an INVITE or re-INVITE: 180 if ``ringing``, then 200; music before the ACK only if ``music_at_once``.

        Without an ``offer`` the 200 carries our own. Raises ``Refusal``, and has changed nothing, where no offer may
        come now or none of our addresses leads to where the music should go.
        """
        request = exchange.request
        timer = self._check(request, with_offer=True)
        if offer is None:
            body = self.media.offer(exchange.flow.remote.host)
        else:
            body = self.media.answer(*offer)
            self.media.wanted = offer.choice
        self._refresh_dialog(request, exchange.flow, timer, now)
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
        """Answer an UPDATE: the music follows an offer at once; without one it only refreshes (RFC 3311 §5.2).

        Raises ``Refusal`` as ``answer_invite`` does.
        """
        timer = self._check(exchange.request, with_offer=offer is not None)
        headers = timer.headers() if timer else []
        body = b""
        if offer is not None:
            body = self.media.answer(*offer)
            self.media.wanted = offer.choice
            headers = [SDP_BODY, *headers]
        self._refresh_dialog(exchange.request, exchange.flow, timer, now)
        actions = exchange.respond(200, self.id, now, headers, body)
        return [*actions, *self.media.follow(now)] if body else actions

    def _check(self, request: Request, with_offer: bool) -> Optional[Agreement]:
        """Raise any ``Refusal`` before anything is changed; returns what is agreed on the session timer."""
        if with_offer and self.answer_due:
            raise Refusal(491, "Our offer still waits for its answer in the ACK; expected that first")
        return agree(request)

    def _refresh_dialog(self, request: Request, flow: Flow, timer: Optional[Agreement], now: float) -> None:
        """Take over what each INVITE and UPDATE brings: a new target, a way back, a session timer."""
        self.dialog.refresh_target(request)
        self.dialog.flow = flow
        if request.all("allow"):
            self.dialog.takes_update = request.allows("UPDATE")
        self._set_session_timer(timer, now)

    def acknowledge(self, request: Request) -> bool:
        """An ACK to a 200 came; whether it is the first to the last 200."""
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
        """The ACK has come: music to where the offer said, or to where the ``answer`` in the ACK says.

        Raises ``Refusal`` 488 where none of our addresses leads to where that is.
        """
        if self.ended:
            return []
        if answer is not None:
            self.media.accept(answer)
        return self.media.follow(now)

    def remote_bye(self, why: str, now: float) -> list[Action]:
        """The other side's BYE came: stop the music at once."""
        return [] if self.ended else self._end(f"BYE from the caller{why}", "BYE", now)

    # -- our own requests ------------------------------------------------------------------------------------------

    def hang_up(self, why: str, by: str, now: float, resend: bool = True) -> list[Action]:
        """End the call with our own BYE; nothing if it has ended. ``by`` becomes ``ended_by``.

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
        """Our own request. Its branch begins with the call's id, by which the registry finds the call of an answer."""
        branch = f"{BRANCH}{self.id}{self._new_token()}"
        reliable = self.dialog.flow.reliable
        return ClientTransaction(branch, self.dialog.request(method, branch, headers), now, reliable)

    def handle_response(self, response: Response, now: float) -> list[Action]:
        """An answer to our BYE or UPDATE came."""
        branch = response.via.params.get("branch", "")
        if self._bye is not None and self._bye.branch == branch:
            self._bye.handle_response(response)  # whatever it says, the dialog is over (§15.1.1)
        elif self._refresh is not None and self._refresh.branch == branch and not self._refresh.done:
            self._refresh.handle_response(response)
            if self._refresh.done:
                return self._refresh_answered(response, now)
        return []

    def stream_ended(self, serial: int, why: str, hopeless: str, now: float) -> list[Action]:
        """The stream of that ``serial`` has ended. If we have not stopped it, start it again once, then send BYE.

        ``hopeless`` is why another start would be in vain, in two words: then send BYE at once. Otherwise it is empty.
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
            self._ends_at,
        )
        return min((when for when in plans if when is not None), default=None)

    def tick(self, now: float) -> list[Action]:
        """Resend the 200 or the BYE, refresh the session, or end the call: whatever is due."""
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
            waiting.schedule_next(now)
            actions.append(waiting.send)
        if self._refresh is not None:
            actions += self._refresh.tick(now)
        if self._refresh_at is not None and now >= self._refresh_at and self._timer is not None:
            self._refresh_at = None
            headers = [("Session-Expires", f"{self._timer.interval};refresher=uac"), ("Supported", "timer")]
            self._refresh = self._request("UPDATE", headers, now)
            actions += self._refresh.start()
        return actions

    # -- faults ----------------------------------------------------------------------------------------------------

    def checkpoint(self) -> Checkpoint:
        """What ``restore`` needs to undo all that happens to the call from now on."""
        return {name: getattr(self, name) for name in Call.__slots__}, vars(self.media).copy()

    def restore(self, checkpoint: Checkpoint) -> None:
        """Make the call what it was, because the actions for what has happened since are lost."""
        own, media = checkpoint
        for name, value in own.items():
            setattr(self, name, value)
        vars(self.media).update(media)

    def abandon(self) -> None:
        """End the call without any further action, whatever state it is in."""
        self.ended, self.ended_by = True, self.ended_by or SERVER_FAULT
        self._bye = self._unacknowledged = None
        self.media.abandon()

    # -- session timer (RFC 4028) ----------------------------------------------------------------------------------

    def _set_session_timer(self, timer: Optional[Agreement], now: float) -> None:
        """Replace the session timer by what the latest 2xx says."""
        self._timer, self._expires_at, self._refresh_at = timer, None, None
        if timer is None:
            return
        if not timer.ours:
            self._expires_at = now + timer.ends_after()
        elif self.dialog.takes_update:
            self._refresh_at = now + timer.refresh_after()
            self._expires_at = now + timer.interval
        # without UPDATE we cannot refresh, since music on hold sends no re-INVITE (RFC 7088 §2.7): then the phone ends
        # the session when it likes, at the latest the longest call does

    def _refresh_answered(self, response: Response, now: float) -> list[Action]:
        """A phone that answers is there, even if it answers 403 (RFC 7088 §2.7): only "no such call" ends the music."""
        timer = self._timer
        if response.status == 481:
            return self._end("the caller no longer has this call", "481", now)
        if timer is not None:
            self._set_session_timer(agreed_by_answer(response, timer) if response.status < 300 else timer, now)
        return []

    def _end(self, why: str, by: str, now: float) -> list[Action]:
        actions = self.media.stop(now)
        self._unacknowledged = None
        self.ended, self.ended_by = True, by
        played = f", music for {self.media.position:.0f} s"
        return [*actions, Note(logging.INFO, self.id, f"ended after {now - self._began:.0f} s{played}: {why}")]
