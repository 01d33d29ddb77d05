"""The answering side of SIP for music on hold (RFC 3261 §8.2): who is calling, what to reply, when to give up.

The only tables are here: transactions by key, calls by dialog. Six doors lead in (``receive``, ``tick``,
``stream_gone``, ``refuse``, ``close`` and the counters); each that acts gives back a list of actions, in the order
in which they have to be done. The laws kept here: a request that is refused changes nothing; a repeated request gets
its answer again and does nothing twice; a port is given back when its call is finished, and then only.
"""

from __future__ import annotations

import logging
from typing import Optional, Union

from .actions import Action, Address, Flow, Note, Send
from .call import Call, read_offer
from .dialog import Dialog, DialogId, dialog_id
from .errors import Refusal
from .identity import Identity
from .message import Request, Response
from .ports import Ports
from .reply import answer_address, write_response
from .screening import ACCEPT, ALLOW, SUPPORTED, reliable, screen
from .sdp import Choice
from .timers import Schedule
from .transaction import Key, ServerTransaction, State, transaction_key

RETRY_AFTER = 5
"""Seconds after which a caller that we have no port for may try again."""


class UserAgent:
    """Everybody who calls, and nothing of how they are reached."""

    def __init__(self, identity: Identity, ports: Ports) -> None:
        self._identity = identity
        self._ports = ports
        self._transactions: dict[Key, ServerTransaction] = {}
        self._merged: dict[Key, Key] = {}
        self._dialogs: dict[DialogId, Call] = {}
        self._calls: dict[str, Call] = {}
        self._byes: dict[str, Call] = {}
        self._closing = False
        self._schedule: Schedule[Union[ServerTransaction, Call]] = Schedule()

    # -- the doors -------------------------------------------------------------------------------------------------

    def receive(self, message: Union[Request, Response], flow: Flow, now: float) -> list[Action]:
        """Take in one message that came by ``flow``."""
        if isinstance(message, Response):
            return self._response(message)
        if message.method == "ACK":
            return self._ack(message, now)
        if message.fault is not None:
            return self._refuse_statelessly(message, flow, message.fault)
        key = transaction_key(message)
        if (known := self._transactions.get(key)) is not None:
            return known.repeated()
        try:
            return self._request(message, flow, key, now)
        except Refusal as refusal:
            return self._refuse(message, flow, key, refusal, now)

    def refuse(self, message: Union[Request, Response], flow: Flow, status: int, why: str) -> list[Action]:
        """Answer without looking: for the shell, when a request made it stumble."""
        if isinstance(message, Response) or message.method == "ACK":
            return []
        return self._refuse_statelessly(message, flow, Refusal(status, why))

    def tick(self, now: float) -> list[Action]:
        """Do whatever has fallen due."""
        actions: list[Action] = []
        for owner in self._schedule.due(now):
            actions += owner.tick(now)
            self._settle(owner)
        return actions

    def stream_gone(self, call_id: str, serial: int, why: str, now: float) -> list[Action]:
        """The stream that ``StartStream`` with this ``serial`` began is gone, and with it its hold on the port."""
        call = self._calls.get(call_id)
        if call is None:
            return []
        actions = call.stream_gone(serial, why, now)
        self._settle(call)
        return actions

    def close(self, now: float) -> list[Action]:
        """Say BYE to every caller and take no more; music stops, ports come back as the streams go."""
        self._closing = True
        actions: list[Action] = []
        for call in list(self._calls.values()):
            actions += call.hang_up("the server stops", now)
            self._settle(call)
        return actions

    @property
    def calls(self) -> int:
        """How many calls are up."""
        return sum(not call.ended for call in self._calls.values())

    @property
    def next_due(self) -> Optional[float]:
        """When ``tick`` is next needed; ``None`` while nothing waits."""
        return self._schedule.next_due

    @property
    def idle(self) -> bool:
        """Whether no call, no BYE of ours and no stream is left."""
        return not self._calls

    # -- one request -----------------------------------------------------------------------------------------------

    def _request(self, request: Request, flow: Flow, key: Key, now: float) -> list[Action]:
        """The checks of §8.2 in their order, then the method's own work."""
        if request.method == "CANCEL":
            return self._cancel(request, flow, key, now)
        screen(request)
        merge_key = (request.call_id, request.from_.tag, str(request.cseq.number), request.method)
        if not request.to.tag and merge_key in self._merged:
            raise Refusal(482, "This request has come by another way already")
        call = self._dialogs.get(dialog_id(request)) if request.to.tag else None
        if request.to.tag and (call is None or (call.ended and call.bye is None)):
            raise Refusal(481, "No call with these tags and this Call-ID")
        if request.method == "OPTIONS":
            self._check_room(call)
            headers = [ALLOW, ACCEPT, SUPPORTED, ("Accept-Encoding", "identity"), ("Accept-Language", "en")]
            tag = self._identity.stateless_tag(request)
            return [Send(write_response(request, flow, 200, tag, headers), self._answer_to(request, flow), flow)]
        if request.method == "BYE":
            return self._bye(request, flow, key, call, now)
        return self._invite(request, flow, key, merge_key, call, now)

    def _invite(
        self, request: Request, flow: Flow, key: Key, merge_key: Key, call: Optional[Call], now: float
    ) -> list[Action]:
        new = call is None
        session, choice = read_offer(request)
        if call is None:
            call = self._new_call(request, flow, choice, now)
        elif call.ended:
            raise Refusal(481, "This call is being ended")
        transaction = self._open(request, flow, key, call.id)
        headers = [
            # nobody listens to what the caller sends: RFC 3840 §10.6, RFC 4235 §5.2, as RFC 7088 shows it
            ("Contact", f'<{call.dialog.contact}>;automata;+sip.rendering="no"'),
            *(("Record-Route", route) for route in request.all("record-route")),
            ALLOW,
            SUPPORTED,
        ]
        ringing = new and not reliable(request)
        try:
            actions = call.invited(request, flow, transaction, session, choice, headers, ringing, now)
        except Refusal:
            del self._transactions[key]
            if new:
                self._forget(call)
            raise
        if new:
            self._merged[merge_key] = key
            transaction.merge_key = merge_key
            self._dialogs[call.dialog.id] = call
            who = request.from_.text[:80]
            actions.append(Note(logging.INFO, call.id, f"answered {who!r} at {flow.remote}: {call.summary()}"))
        else:
            actions.append(Note(logging.INFO, call.id, f"changed: {call.summary()}"))
        self._settle(call)
        self._settle(transaction)
        return actions

    def _new_call(self, request: Request, flow: Flow, choice: Optional[Choice], now: float) -> Call:
        """Take a port and make a call of it; all that may be refused is looked at before."""
        own = self._identity.own_address(request, flow, choice.remote.host if choice else flow.remote.host)
        dialog = Dialog(request, flow, self._identity.new_token(), f"sip:moh@{own}")
        self._check_room(None)
        port = self._ports.take()
        assert port is not None, "there was room a line ago"
        session_id = int(self._identity.new_token()[:12], 16)
        call = Call(dialog, Address(own.host, port), session_id, self._identity.new_token, now)
        self._calls[call.id] = call
        return call

    def _check_room(self, call: Optional[Call]) -> None:
        """Raises ``Refusal`` 503 where a new call would find no port."""
        if self._closing:
            raise Refusal(503, "The server stops")
        if call is None and not self._ports.free:
            raise Refusal(503, "All RTP ports are taken", ("Retry-After", str(RETRY_AFTER)))

    def _bye(self, request: Request, flow: Flow, key: Key, call: Optional[Call], now: float) -> list[Action]:
        if call is None:
            raise Refusal(481, "BYE without a To tag; expected one that names a call")
        call.dialog.in_order(request)
        transaction = self._open(request, flow, key, call.id)
        actions = transaction.respond(200, write_response(request, flow, 200, call.id), now)
        if not call.ended:
            reason = request.first("reason")
            actions += call.hung_up(f" ({reason[:80]!r})" if reason else "", now)
        self._settle(call)
        self._settle(transaction)
        return actions

    def _cancel(self, request: Request, flow: Flow, key: Key, now: float) -> list[Action]:
        """Every INVITE has its final answer at once, so a CANCEL finds it too late and changes nothing (§9.2)."""
        cancelled = self._transactions.get(transaction_key(request, "INVITE"))
        if cancelled is None:
            raise Refusal(481, "No INVITE of this branch to cancel")
        transaction = self._open(request, flow, key, cancelled.to_tag)
        actions = transaction.respond(200, write_response(request, flow, 200, cancelled.to_tag), now)
        self._settle(transaction)
        return actions

    def _ack(self, request: Request, now: float) -> list[Action]:
        """An ACK is never answered: it belongs to a refused INVITE, to a call, or to nobody."""
        if request.fault is not None:
            return []
        refused = self._transactions.get(transaction_key(request))
        if refused is not None and refused.state in (State.COMPLETED, State.CONFIRMED):
            refused.acknowledged(now)
            self._settle(refused)
            return []
        call = self._dialogs.get(dialog_id(request))
        if call is None:
            return []
        actions = call.acknowledged(request, now)
        self._settle(call)
        return actions

    def _response(self, response: Response) -> list[Action]:
        """Only our BYE has answers to come; strays are dropped (§18.1.2)."""
        call = self._byes.get(response.via.params.get("branch", ""))
        if call is not None and response.cseq.method == "BYE":
            call.bye_answered(response)
            self._settle(call)
        return []

    # -- answers and tables ----------------------------------------------------------------------------------------

    def _refuse(self, request: Request, flow: Flow, key: Key, refusal: Refusal, now: float) -> list[Action]:
        """Answer with the refusal's status: an INVITE's by a transaction that resends it, others' at once."""
        if request.method != "INVITE":
            return self._refuse_statelessly(request, flow, refusal)
        tag = self._identity.stateless_tag(request)
        transaction = self._open(request, flow, key, tag)
        data = write_response(request, flow, refusal.status, tag, refusal.headers, reason=refusal.why)
        actions = transaction.respond(refusal.status, data, now)
        self._settle(transaction)
        return [*actions, _refusal_note(request, flow, refusal)]

    def _refuse_statelessly(self, request: Request, flow: Flow, refusal: Refusal) -> list[Action]:
        """Answer and keep nothing: a repeat is refused with the same words and tag again (§8.2.7)."""
        tag = self._identity.stateless_tag(request)
        data = write_response(request, flow, refusal.status, tag, refusal.headers, reason=refusal.why)
        return [Send(data, self._answer_to(request, flow), flow), _refusal_note(request, flow, refusal)]

    def _answer_to(self, request: Request, flow: Flow) -> Address:
        return answer_address(request.via, flow.remote)

    def _open(self, request: Request, flow: Flow, key: Key, to_tag: str) -> ServerTransaction:
        transaction = ServerTransaction(key, request.method, to_tag, flow, self._answer_to(request, flow))
        self._transactions[key] = transaction
        return transaction

    def _settle(self, owner: Union[ServerTransaction, Call]) -> None:
        """After anything happened to ``owner``: plan its next waking, and forget it where it is done."""
        self._schedule.set(owner, owner.next_due)
        if isinstance(owner, ServerTransaction):
            if owner.state is State.GONE:
                self._transactions.pop(owner.key, None)
                if owner.merge_key is not None:
                    self._merged.pop(owner.merge_key, None)
        elif owner.finished:
            self._forget(owner)
        elif owner.bye is not None:
            self._byes[owner.bye.branch] = owner

    def _forget(self, call: Call) -> None:
        """Take a finished call out of every table and give its port back."""
        self._schedule.set(call, None)
        self._dialogs.pop(call.dialog.id, None)
        if call.bye is not None:
            self._byes.pop(call.bye.branch, None)
        if self._calls.pop(call.id, None) is not None:
            self._ports.give_back(call.local.port)


def _refusal_note(request: Request, flow: Flow, refusal: Refusal) -> Note:
    return Note(logging.INFO, "", f"refused {request.method[:20] or 'a request'!r} from {flow.remote}: {refusal}")
