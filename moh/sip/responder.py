"""The answers of the user agent: how a request is answered or refused, what is logged of it, and what may be sent.

The laws kept here: a refusal outside of a call keeps nothing of an unvalidated source. Only the first refusal of a kind
is logged at once. Only messages that the address validator permits are sent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..common.actions import Action, Address, Flow, Note, Send
from ..common.addresses import is_private, out_of_reach
from ..common.counters import Counters
from ..common.errors import Refusal
from ..guard.address_validation import AddressValidator
from .call import Call
from .dialog import dialog_id
from .headers import Uri
from .identity import Identity
from .incoming import Incoming
from .message import NO_VIA, Request
from .registry import Registry
from .transaction import Exchange, HeaderFields
from .validation import METHODS
from .writer import NOWHERE, answer_address, default_port, write_response

RETRY_LATER = ("Retry-After", "5")
"""The header field for a caller that was refused because ports, music or room were missing (§20.33). In seconds."""
COUNTED = (*METHODS, "REGISTER", "SUBSCRIBE", "NOTIFY", "PUBLISH", "MESSAGE", "REFER", "PRACK")
"""Methods that are counted by their names. All others are counted together, so that no flood of names fills memory."""


class Responder:
    """Answers requests."""

    def __init__(self, identity: Identity, guard: AddressValidator, counters: Counters, registry: Registry) -> None:
        self._identity = identity
        self._guard = guard
        self._counters = counters
        self._registry = registry

    # -- answers ---------------------------------------------------------------------------------------------------

    def exchange(self, incoming: Incoming, to_tag: str, headers: HeaderFields = ()) -> Exchange:
        """The transaction by which a request is answered; it is opened unless the request has one already."""
        request, flow = incoming.request, incoming.peer.flow
        address = _answer_address(request, flow)
        transaction = self._registry.open_transaction(incoming.key, request.method, to_tag, flow, address)
        return Exchange(request, transaction, headers)

    def answer(
        self, incoming: Incoming, status: int, to_tag: str, now: float, headers: HeaderFields = ()
    ) -> list[Action]:
        """Answer by a transaction, which repeats the answer for as long as the request may be retransmitted."""
        return self.exchange(incoming, to_tag, headers).respond(status, to_tag, now)

    def answer_statelessly(
        self, request: Request, flow: Flow, status: int, headers: HeaderFields, reason: str = ""
    ) -> Send:
        """Answer without keeping anything. A retransmission gets an equal answer with the same tag (§8.2.7)."""
        tag = self._identity.stateless_tag(request)
        data = write_response(request, flow, status, tag, headers, reason=reason)
        return Send(data, _answer_address(request, flow), flow)

    # -- refusals --------------------------------------------------------------------------------------------------

    def refuse(self, incoming: Incoming, refusal: Refusal, now: float) -> list[Action]:
        """Answer with the status of the refusal.

        Within a call each refusal is kept in a transaction: otherwise a refused request might be accepted when it is
        retransmitted. Outside of a call only the refusal of an INVITE is kept, to be resent; and nothing is kept for an
        unvalidated source, which may be one of a flood of forged addresses.
        """
        request = incoming.request
        within = dialog_id(request) in self._registry.dialogs
        begun = self._registry.transactions.get(incoming.key)
        if not within and not incoming.peer.validated:
            if begun is not None:
                self._registry.forget_transaction(begun)
            return self.refuse_statelessly(request, incoming.peer.flow, refusal, now)
        if request.method == "CANCEL" or not (within or begun is not None or request.method == "INVITE"):
            return self.refuse_statelessly(request, incoming.peer.flow, refusal, now)
        tag = self._identity.stateless_tag(request)
        exchange = self.exchange(incoming, tag, refusal.headers)
        actions = exchange.respond(refusal.status, tag, now, reason=refusal.why)
        return [*actions, *self._log_refusal(request, incoming.peer.flow, refusal, now)]

    def refuse_statelessly(self, request: Request, flow: Flow, refusal: Refusal, now: float) -> list[Action]:
        """Refuse without keeping anything."""
        answer = self.answer_statelessly(request, flow, refusal.status, refusal.headers, refusal.why)
        return [answer, *self._log_refusal(request, flow, refusal, now)]

    def _log_refusal(self, request: Request, flow: Flow, refusal: Refusal, now: float) -> list[Action]:
        method = request.method if request.method in COUNTED else "other"
        text = f"refused {request.method[:20] or 'a request'!r} from {flow.remote}: {refusal}"
        return self.log_first(refusal.counted_as or f"{method} {refusal.status}", flow, text, now)

    # -- the log ---------------------------------------------------------------------------------------------------

    def log_first(
        self, reason: str, flow: Flow, text: str, now: float, level: int = logging.INFO, about: str = ""
    ) -> list[Action]:
        """Count ``reason``. Return a note if it is the first of its kind from this source."""
        if self._counters.count_and_should_log(reason, flow.remote.host, now, text):
            return [Note(level, about, text, flow.remote)]
        return []

    def log_missing_ack(self, call: Call, now: float) -> list[Action]:
        """A warning with the facts about a call whose 200 got no ACK, the first time for its source.

        Scanners on the internet never send an ACK. So for a caller there it is logged only if the Contact cannot be
        reached from there, and one line stands for all such callers.
        """
        flow, contact = call.dialog.flow, call.dialog.contact
        source = flow.remote.host
        if not is_private(source):
            if not out_of_reach(Uri.parse(contact).host, source):
                return []
            source = "the internet"
        if not self._counters.should_log("no ACK for our Contact", source, now):
            return []
        text = (
            f"{flow.remote} did not confirm the call (no ACK). The answer names {contact}. If {flow.remote.host} "
            f"cannot reach that address, {self._identity.advice}"
        )
        return [Note(logging.WARNING, call.id, text, flow.remote)]

    def log_missing_name(self, name: str, nearest: Callable[[str], str], call: Call, now: float) -> list[Action]:
        """A line about a dialled name that is not there; a warning only where it may be a slip of another name."""
        if not self._counters.should_log("no music of this name", name, now):
            return []
        similar, remote = nearest(name), call.dialog.flow.remote
        text = f"{remote} dialled {name[:80]!r}: no music has that name, so the default plays"
        if not similar:
            return [Note(logging.INFO, call.id, text, remote)]
        return [Note(logging.WARNING, call.id, f"{text}; {similar[:80]!r} is similar", remote)]

    def only_first_notes(self, actions: list[Action], call: Call, now: float) -> list[Action]:
        """``actions`` for the call of an unvalidated source: without notes, unless it is the first of its kind."""
        reason = "unacknowledged" if call.ended else "answered, not acknowledged yet"
        if self._counters.count_and_should_log(reason, call.dialog.flow.remote.host, now):
            return actions
        return [action for action in actions if not isinstance(action, Note)]

    # -- what may leave --------------------------------------------------------------------------------------------

    def permitted(self, actions: list[Action], now: float) -> list[Action]:
        """Return ``actions`` without messages that ``AddressValidator.may_send`` forbids.

        Answers whose Via does not say where to send them are left out too.
        """
        kept: list[Action] = []
        forbidden = False
        for action in actions:
            if not isinstance(action, Send):
                kept.append(action)
            elif action.to != NOWHERE:
                if self._guard.may_send(action, now):
                    kept.append(action)
                else:
                    forbidden = True
        if forbidden:
            self._counters.count("not sent to an unvalidated address")
        return kept


def _answer_address(request: Request, flow: Flow) -> Address:
    """Where an answer goes. By TCP and TLS this address is used only if the connection is closed (§18.2.2)."""
    if request.via is NO_VIA:
        return NOWHERE
    if flow.reliable:
        return Address(flow.remote.host, request.via.port or default_port(flow))
    return answer_address(request.via, flow.remote)
