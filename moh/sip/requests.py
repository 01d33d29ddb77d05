"""One request: the checks of RFC 3261 §8.2 in their order, the choice by SIP method, and what each method does.

INVITE and UPDATE are negotiated in ``invites``.
"""

from __future__ import annotations

from typing import Optional

from ..common.actions import Action
from ..common.addresses import source_of
from ..common.errors import Refusal
from ..guard.address_validation import AddressValidator, Peer, is_scanner
from .call import Call
from .health import Health
from .incoming import Incoming
from .invites import Invites
from .message import Request
from .pending import PendingRequest, PendingRequests
from .registry import Registry
from .responder import RETRY_LATER, Responder
from .transaction import State, transaction_key
from .validation import ACCEPT, ALLOW, SUPPORTED, check_request


class Requests:
    """Handles requests: those that have just come, and those that have waited."""

    def __init__(
        self, guard: AddressValidator, registry: Registry, responder: Responder, pending: PendingRequests,
        invites: Invites, health: Health,
    ) -> None:  # fmt: skip
        self._guard = guard
        self._registry = registry
        self._responder = responder
        self._pending = pending
        self._invites = invites
        self._health = health

    def handle(self, request: Request, peer: Peer, now: float) -> list[Action]:
        """Handle a request that has just come."""
        if request.method == "ACK":
            return self._acknowledge(request, peer, now)
        agent = request.first("user-agent")
        if agent is not None and is_scanner(agent) and not peer.validated:
            text = f"not answered: {agent[:40]!r} from {peer.flow.remote}"
            return self._responder.log_first("scanner", peer.flow, text, now)
        if request.fault is not None:
            return self._responder.refuse_statelessly(request, peer.flow, request.fault, now)
        key = transaction_key(request)
        if (known := self._registry.transactions.get(key)) is not None:
            return known.repeat_answer(request)
        return self._dispatch(Incoming(request, peer, key), now)

    def resume(self, pending: PendingRequest, address: str, now: float) -> list[Action]:
        """Handle a request that has waited for ``address``, which is empty for a name without one."""
        ready = self._pending.ready(pending, address, now)
        name = pending.lookup.name
        notes = [] if pending.dialled else self._invites.log_hidden_name(ready, name, address, now)
        if ready.request.method == "ACK":
            return [*notes, *self._resume_ack(ready, now)]
        return [*notes, *self._dispatch(ready, now)]

    def _dispatch(self, incoming: Incoming, now: float) -> list[Action]:
        """Handle a request that has just come, or one that has waited; a ``Refusal`` becomes its answer."""
        try:
            if incoming.resumed:
                return self._invites.negotiate(incoming, self._registry.call_for(incoming.request), now)
            return self._handle_by_method(incoming, now)
        except Refusal as refusal:
            return self._responder.refuse(incoming, refusal, now)

    def _handle_by_method(self, incoming: Incoming, now: float) -> list[Action]:
        """The checks of §8.2 in their order, then the work of the method."""
        request = incoming.request
        method = request.method
        check_request(request, secure=incoming.peer.flow.transport == "TLS")
        if method == "CANCEL":
            return self._cancel(incoming, now)
        if self._registry.is_merged(request):
            raise Refusal(482, "This request has come another way already")
        call = self._registry.call_for(request)
        if call is not None and self._count_as_read(call, incoming.peer, now):
            incoming = incoming.validated()
        if method == "OPTIONS":
            return self._options(incoming, call, now)
        if call is None:
            if method == "INVITE":
                return self._invite(incoming, now)
            raise Refusal(481, f"{method} without a To tag; expected one that names a call")
        call.dialog.accept_cseq(request)  # at once: requests that overtake it while it waits have higher numbers
        if method in ("INVITE", "UPDATE"):
            return self._invites.negotiate(incoming, call, now)
        actions = self._responder.answer(incoming, 200, call.id, now)
        if method == "BYE":
            actions += self._bye(request, call, now)
        return actions

    def _options(self, incoming: Incoming, call: Optional[Call], now: float) -> list[Action]:
        """Say what we understand: outside of a call without keeping anything, within one as any other request."""
        headers = [ALLOW, ACCEPT, SUPPORTED, ("Accept-Encoding", "identity"), ("Accept-Language", "en")]
        if call is not None:
            call.dialog.accept_cseq(incoming.request)
        else:
            self._invites.check_room_for_later(self._health.asks_for_music(incoming.request, incoming.peer.flow))
        headers += self._health.headers(incoming.request, incoming.peer.flow)
        if call is None:
            return [self._responder.answer_statelessly(incoming.request, incoming.peer.flow, 200, headers)]
        return self._responder.answer(incoming, 200, call.id, now, headers)

    def _invite(self, incoming: Incoming, now: float) -> list[Action]:
        """Handle a first INVITE. One above the rate is refused, and nothing is kept of it (§8.2.7)."""
        if why := self._guard.call_refusal(incoming.peer, now):
            refusal = Refusal(503, why, RETRY_LATER)
            return self._responder.refuse_statelessly(incoming.request, incoming.peer.flow, refusal, now)
        return self._invites.negotiate(incoming, None, now)

    def _count_as_read(self, call: Call, peer: Peer, now: float) -> bool:
        """Note that a request with our tag came, so that our 200 was read. Return whether this validates its source.

        After our BYE a request with our tag proves nothing: the BYE holds the tag as well, and goes to the Contact, not
        to the source of the INVITE.
        """
        self._guard.call_acknowledged_or_ended(call.id)
        return not call.ended and self._guard.validate(peer.flow, call.dialog.invited_by, now) and not peer.validated

    def _bye(self, request: Request, call: Call, now: float) -> list[Action]:
        """End the call, and refuse with 487 what still waits within it (§15.1.2)."""
        reason = request.first("reason")
        actions = call.remote_bye(f" ({reason[:80]!r})" if reason else "", now)
        for waiting in self._pending.take_of_call(call.id, now):
            if waiting.request.method != "ACK":
                actions += self._responder.refuse(waiting, Refusal(487, "The call has been ended"), now)
        return actions

    def _cancel(self, incoming: Incoming, now: float) -> list[Action]:
        """Handle a CANCEL: an INVITE that waits gets 487; any other INVITE has its final answer already (§9.2).

        CANCEL has to come from the source of the INVITE (§22.1), since its answer holds the tag of the call. Otherwise
        an attacker could send an INVITE with a forged address and get the tag by a CANCEL from its own.
        """
        cancelled = self._registry.transactions.get(transaction_key(incoming.request, "INVITE"))
        if cancelled is None or source_of(cancelled.flow.remote.host) != incoming.peer.source:
            raise Refusal(481, "No INVITE of this branch to cancel")
        actions = self._responder.answer(incoming, 200, cancelled.to_tag, now)
        for waiting in self._pending.take(cancelled.key, now):
            actions += self._responder.refuse(waiting, Refusal(487, "Cancelled by the caller"), now)
        return actions

    def _acknowledge(self, request: Request, peer: Peer, now: float) -> list[Action]:
        """Handle an ACK. It belongs to a refused INVITE, to a call, or to nothing that is known; it gets no answer."""
        if request.fault is not None:
            return []
        key = transaction_key(request)
        refused = self._registry.transactions.get(key)
        if refused is not None and refused.state in (State.COMPLETED, State.CONFIRMED):
            self._registry.touch(refused)
            refused.acknowledge(now)
            return []
        call = self._registry.call_in_dialog(request)
        if call is None:
            return []
        validated = self._count_as_read(call, peer, now)
        answer_due = call.answer_due
        if not call.acknowledge(request):
            return []
        notes = self._invites.note_dialled_music(call, now) if validated else []
        if not answer_due:
            return [*call.start_music(now), *notes]
        incoming = Incoming(request, peer, (*key, "ACK"))
        return [*self._invites.take_answer(incoming.validated() if validated else incoming, call, now), *notes]

    def _resume_ack(self, incoming: Incoming, now: float) -> list[Action]:
        """An ACK that has waited; its call may have ended meanwhile."""
        call = self._registry.call_in_dialog(incoming.request)
        return [] if call is None or call.ended else self._invites.take_answer(incoming, call, now)
