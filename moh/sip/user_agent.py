"""The answering side of SIP for music on hold (RFC 3261 §8.2): who is calling, what to reply, when to give up.

The only tables are here: transactions by key, calls by dialog, requests that wait for a host name's address. Each door
that acts gives back a list of actions, in the order in which they have to be done. The laws kept here: a request that
is refused changes nothing; a repeated request gets its answer again and does nothing twice; a port is given back when
its call is finished, and then only; what leaves is what the guard lets go; a flood in the names of strangers fills no
table. More than 300 lines, because the tables belong together.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional, Union

from ..common.actions import Action, Address, Flow, Note, Resolve, Send
from ..common.addresses import source_of
from ..common.codecs import CODECS, Codec
from ..common.counters import Counters
from ..common.errors import Refusal
from ..guard.address_validation import AddressValidator, is_scanner
from ..guard.media_policy import MediaPolicy
from ..rtp.port_pool import PortPool
from ..sdp.description import SessionDescription, parse_sdp
from ..sdp.media_session import MediaSession, Origin, no_srtp
from ..sdp.offer_answer import NO_NAMES, Choice, choose
from .call import BRANCH, NO_ACK, Call
from .dialog import Dialog, DialogId, dialog_id
from .identity import Identity
from .message import Request, Response
from .timers import Schedule
from .transaction import Key, ServerTransaction, State, transaction_key
from .validation import ACCEPT, ALLOW, METHODS, SUPPORTED, reliable, screen
from .writer import answer_address, default_port, write_response

RETRY_LATER = ("Retry-After", "5")
"""Seconds after which a caller that we have no port or no music for may try again (§20.33)."""
NAME_PATIENCE = 4.0
"""Seconds that the address of a host name in c= may take; the phone hears 100 meanwhile."""

COUNTED = (*METHODS, "REGISTER", "SUBSCRIBE", "NOTIFY", "PUBLISH", "MESSAGE", "REFER", "PRACK")
"""Methods that are counted by their names, so that nobody can fill the memory with names of his own."""

Offer = tuple[Optional[SessionDescription], Optional[Choice]]


@dataclass(frozen=True)
class Limits:
    """What may be: the codecs that ffmpeg can make, the longest call in seconds (``None``: for ever), where to."""

    codecs: tuple[Codec, ...] = CODECS
    longest_call: Optional[float] = None
    destinations: MediaPolicy = field(default_factory=MediaPolicy)


@dataclass(eq=False)
class PendingRequest:
    """A request whose c= holds a host name, until its address is known or taking too long."""

    request: Request
    flow: Flow
    key: Key
    names: Mapping[str, str]
    """What is known of the host names in it already: where the first has no address, the next may count."""
    asked: Resolve
    next_due: float


class UserAgent:
    """Everybody who calls, and nothing of how they are reached."""

    def __init__(
        self, identity: Identity, ports: PortPool, limits: Limits, guard: Optional[AddressValidator] = None
    ) -> None:
        self.guard = guard or AddressValidator()
        self.tally = Counters()
        """What has been refused and why calls have ended."""
        self._identity = identity
        self._ports = ports
        self._limits = limits
        self._transactions: dict[Key, ServerTransaction] = {}
        self._merged: dict[Key, Key] = {}
        self._dialogs: dict[DialogId, Call] = {}
        self._calls: dict[str, Call] = {}
        self._waiting: dict[Key, PendingRequest] = {}
        self._asked: set[Resolve] = set()  # what the shell looks up, also if nobody waits for it any more
        self._closing = False
        self._tune: Optional[int] = None  # what new calls hear; none before the first music is ready
        self._schedule: Schedule[Union[ServerTransaction, Call, PendingRequest]] = Schedule()

    # -- the doors -------------------------------------------------------------------------------------------------

    def receive(self, message: Union[Request, Response], flow: Flow, now: float) -> list[Action]:
        """Take in one message that came by ``flow``."""
        if isinstance(message, Response):
            return self._affordable(self._response(message, now), now)
        self.guard.credit(flow, message.size, now)
        return self._affordable(self._received(message, flow, now), now)

    def _received(self, message: Request, flow: Flow, now: float) -> list[Action]:
        if message.method == "ACK":
            return self._ack(message, flow, now)
        agent = message.first("user-agent")
        if agent is not None and is_scanner(agent) and not self.guard.is_validated(flow, now):
            return self._told("scanner", flow, f"not answered: {agent[:40]!r} from {flow.remote}", now)
        if message.fault is not None:
            return self._refuse_statelessly(message, flow, message.fault, now)
        key = transaction_key(message)
        if (known := self._transactions.get(key)) is not None:
            return known.repeated()
        try:
            return self._request(message, flow, key, now)
        except Refusal as refusal:
            return self._refuse(message, flow, key, refusal, now)

    def refuse(self, message: Union[Request, Response], flow: Flow, status: int, why: str, now: float) -> list[Action]:
        """Answer without looking: for the shell, when a request made it stumble."""
        if isinstance(message, Response) or message.method == "ACK":
            return []
        if (begun := self._transactions.get(transaction_key(message))) and begun.state is State.PROCEEDING:
            self._drop(begun)
        return self._affordable(self._refuse_statelessly(message, flow, Refusal(status, why), now), now)

    def tick(self, now: float) -> list[Action]:
        """Do whatever has fallen due."""
        actions: list[Action] = []
        for owner in self._schedule.due(now):
            if isinstance(owner, PendingRequest):
                actions += self._go_on(owner, "", now)
            else:
                was_up = isinstance(owner, Call) and not owner.ended
                done = owner.tick(now)
                if isinstance(owner, Call) and was_up and owner.ended_by == NO_ACK:
                    done = done if self.guard.is_validated(owner.dialog.flow, now) else self._quietly(done, owner, now)
                actions += done
                self._settle(owner)
        return self._affordable(actions, now)

    def resolved(self, asked: Resolve, address: str, now: float) -> list[Action]:
        """The address of the host name that ``asked`` is for; empty where it has none."""
        self._asked.discard(asked)
        actions: list[Action] = []
        for waiting in [waiting for waiting in self._waiting.values() if waiting.asked == asked]:
            actions += self._go_on(waiting, address, now)
        return self._affordable(actions, now)

    def unasked(self, asked: Resolve) -> bool:
        """Whether nobody waits for this name any more; then it is forgotten, and ``resolved`` need not come."""
        if any(waiting.asked == asked for waiting in self._waiting.values()):
            return False
        self._asked.discard(asked)
        return True

    def stream_gone(self, call_id: str, serial: int, why: str, hopeless: str = "", *, now: float) -> list[Action]:
        """The stream that ``StartStream`` with this ``serial`` began is gone, and with it its hold on the port.

        ``hopeless`` is why another one would be in vain, in two words; else empty.
        """
        call = self._calls.get(call_id)
        if call is None:
            return []
        actions = call.stream_gone(serial, why, hopeless, now)
        self._settle(call)
        return self._affordable(actions, now)

    def music_ready(self, tune: int, now: float) -> list[Action]:
        """From now on new calls hear ``tune``, a number of the shell's; those in progress keep theirs."""
        self._tune = tune
        return []

    def close(self, grace: float = 0.0, *, now: float) -> list[Action]:
        """Take no more calls and say BYE to every caller; music stops, ports come back as the streams go.

        Calls that are up may go on for ``grace`` seconds, as if nothing were. A second time it can be made shorter.
        """
        self._closing = True
        actions: list[Action] = []
        for waiting in list(self._waiting.values()):
            if waiting.request.method != "ACK" and not (grace and waiting.request.to.tag):
                actions += self._end_waiting(waiting, Refusal(503, "The server stops"), now)
        for call in list(self._calls.values()):
            if grace:
                call.end_by(now + grace, "server stops")
            else:
                actions += call.hang_up("the server stops", "server stops", now)
            self._settle(call)
        if grace and self.calls:
            actions.append(Note(logging.INFO, "", f"the server stops: {self.calls} calls may go on for {grace:.0f} s"))
        return self._affordable(actions, now)

    @property
    def ready(self) -> bool:
        """Whether there is music for new calls."""
        return self._tune is not None

    @property
    def tunes(self) -> set[int]:
        """The tunes that somebody hears, or will."""
        return {call.media.tune for call in self._calls.values()} | ({self._tune} if self._tune is not None else set())

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

    @property
    def connections(self) -> set[int]:
        """The numbers of the connections that calls go by, as in ``Flow``. All in one walk: 0.4 ms for 10,000 calls."""
        return {call.dialog.flow.connection for call in self._calls.values()}

    # -- one request -----------------------------------------------------------------------------------------------

    def _request(self, request: Request, flow: Flow, key: Key, now: float) -> list[Action]:
        """The checks of §8.2 in their order, then the method's own work."""
        screen(request, secure=flow.transport == "TLS")
        if request.method == "CANCEL":
            return self._cancel(request, flow, key, now)
        if not request.to.tag and _merge_key(request) in self._merged:
            raise Refusal(482, "This request has come by another way already")
        call = self._called(request)
        if call is not None:
            self._heard(call, flow, now)
        if request.method == "OPTIONS":
            self._check_room(call)
            headers = [ALLOW, ACCEPT, SUPPORTED, ("Accept-Encoding", "identity"), ("Accept-Language", "en")]
            tag = self._identity.stateless_tag(request)
            return [Send(write_response(request, flow, 200, tag, headers), self._answer_to(request, flow), flow)]
        if call is not None:
            call.dialog.in_order(request)  # counted as it comes: others may overtake it while it waits for a name
        if request.method == "INVITE":
            if call is None and (why := self.guard.call_refusal(self.guard.peer(flow, now), now)):
                # nothing is kept of it, so that it costs little more than its reading (§8.2.7)
                return self._refuse_statelessly(request, flow, Refusal(503, why, RETRY_LATER), now)
            return self._negotiate(request, flow, key, None, now)
        if call is None:
            raise Refusal(481, f"{request.method} without a To tag; expected one that names a call")
        if request.method == "UPDATE":
            return self._negotiate(request, flow, key, None, now)
        transaction = self._open(request, flow, key, call.id)
        actions = transaction.respond(200, write_response(request, flow, 200, call.id), now)
        if request.method == "BYE":
            actions += self._bye(request, call, now)
        self._settle(transaction)
        return actions

    def _called(self, request: Request) -> Optional[Call]:
        """The call that a request is for; ``None`` outside of any. Raises ``Refusal`` 481 if it is none of ours."""
        if not request.to.tag:
            return None
        call = self._dialogs.get(dialog_id(request))
        if call is None or (call.ended and not (call.leaving and request.method == "BYE")):
            raise Refusal(481, "No call with these tags and this Call-ID")
        return call

    def _negotiate(
        self, request: Request, flow: Flow, key: Key, former: Optional[PendingRequest], now: float
    ) -> list[Action]:
        """Answer an INVITE or UPDATE, at once or when the host name in its offer has an address.

        ``former`` is its waiting for a name that has come to its end.
        """
        call = self._called(request)
        if call is not None and any(other.request.to.tag == call.id for other in self._waiting.values()):
            raise Refusal(500, "The offer before this one is not answered yet", ("Retry-After", "2"))
        srtp = self._ports.exclusive_available if call is None else not call.media.origin.shared
        session, choice = self._read_offer(request, flow, former, again=call is not None, srtp=srtp)
        if choice is not None and choice.name:
            return self._wait(choice.name, request, flow, key, former, now)
        if request.method == "UPDATE":
            assert call is not None, "an UPDATE outside of a call has been refused"
            return self._update(request, flow, key, call, (session, choice), now)
        return self._invite(request, flow, key, call, (session, choice), now)

    def _read_offer(
        self, request: Request, flow: Flow, former: Optional[PendingRequest], again: bool, srtp: bool = True
    ) -> Offer:
        """The offer or answer in a request and what we choose of it; twice ``None`` where it has no body."""
        if not request.body.strip():
            return None, None
        session = parse_sdp(request.body)
        choice = choose(session, self._limits.codecs, former.names if former else NO_NAMES, again, srtp)
        if choice.playing and not choice.name:
            self._limits.destinations.check(flow, choice.remote, choice.remote_rtcp)
        return session, choice

    def _invite(
        self, request: Request, flow: Flow, key: Key, known: Optional[Call], offer: Offer, now: float
    ) -> list[Action]:
        call = known or self._new_call(request, flow, offer[1], now)
        transaction = self._open(request, flow, key, call.id)
        headers = self._dialog_headers(request, call)
        # 180 stops the repeats of the INVITE, and for a stranger they have to pay for those of the 200
        stranger = known is None and not self.guard.is_validated(flow, now)
        ringing = known is None and not reliable(request) and not stranger
        choice = offer[1]
        near = choice is not None and self._limits.destinations.may_send_before_ack(
            flow, choice.remote, choice.remote_rtcp
        )
        try:
            actions = call.invited(request, flow, transaction, *offer, headers, ringing, near, now)
        except Exception:  # nothing has been sent or started yet
            if known is None:
                self._forget(call)
            raise
        if known is None:
            self._remember(transaction, request)
            self._dialogs[call.dialog.id] = call
            told = f"answered {request.from_.text[:80]!r} at {flow.remote}"
            if (oldest := self.guard.call_opened(call.id, self.guard.peer(flow, now))) is not None:
                actions += self._make_room(self._calls[oldest], now)
        else:
            told = "changed"
        self._settle(call)
        self._settle(transaction)
        note = Note(logging.INFO, call.id, f"{told}: {call.media.summary()}")
        return self._quietly([*actions, note], call, now) if stranger else [*actions, note]

    def _update(self, request: Request, flow: Flow, key: Key, call: Call, offer: Offer, now: float) -> list[Action]:
        transaction = self._open(request, flow, key, call.id)
        actions = call.updated(request, flow, transaction, *offer, self._dialog_headers(request, call), now)
        self._settle(call)
        self._settle(transaction)
        if offer[0] is not None:
            actions.append(Note(logging.INFO, call.id, f"changed: {call.media.summary()}"))
        return actions

    def _dialog_headers(self, request: Request, call: Call) -> list[tuple[str, str]]:
        """What a 2xx to INVITE or UPDATE carries, and a 180 as well (§12.1.1, §13.3.1.4)."""
        return [
            # nobody listens to what the caller sends: RFC 3840 §10.6, RFC 4235 §5.2, as RFC 7088 shows it
            ("Contact", f'<{call.dialog.contact}>;automata;+sip.rendering="no"'),
            *(("Record-Route", route) for route in request.all("record-route") if request.method == "INVITE"),
            ALLOW,
            SUPPORTED,
        ]

    def _new_call(self, request: Request, flow: Flow, choice: Optional[Choice], now: float) -> Call:
        """Take a port and make a call of it; all that may be refused is looked at before.

        SRTP needs a stream of its own, since its key is; where none is left, that offer is not acceptable.
        """
        own = self._identity.own_address(request, flow)
        dialog = Dialog(request, flow, self._identity.new_token(), own)
        self._check_room(None)
        ports = self._ports
        port = ports.acquire(alone=choice is not None and choice.crypto is not None)
        if port is None and ports.shared is not None:
            raise no_srtp()
        if port is None:
            raise Refusal(503, "Other programs have the RTP ports", RETRY_LATER)
        origin = Origin(
            port,
            shared=port == ports.shared,
            session_id=int(self._identity.new_token()[:12], 16),
            srtp_key=self._identity.new_key(),
            codecs=self._limits.codecs,
            local_host=lambda remote: self._identity.media_host(own.host, flow, remote),
        )
        media = MediaSession(dialog.id[1], origin, self._tune or 0)
        call = Call(dialog, media, self._limits.longest_call, self._identity.new_token, now)
        self._calls[call.id] = call
        return call

    def _heard(self, call: Call, flow: Flow, now: float) -> None:
        """A request with our tag came: somebody has read our 200.

        Who reads our BYE knows the tag as well, and that goes to the Contact, not to where the INVITE came from: so
        nothing is proved by a call that has ended.
        """
        if not call.ended:
            self.guard.validate(flow, call.dialog.invited_by, now)
        self.guard.call_closed(call.id)

    def _check_room(self, call: Optional[Call]) -> None:
        """Raises ``Refusal`` 503 where a new call would find no port."""
        if self._closing:
            raise Refusal(503, "The server stops")
        if call is None and self._tune is None:
            raise Refusal(503, "The music is not ready yet", RETRY_LATER)
        if call is None and self._ports.exhausted:
            raise Refusal(503, "All RTP ports are taken", RETRY_LATER)

    def _bye(self, request: Request, call: Call, now: float) -> list[Action]:
        """End the call, and what it still waits for with 487 (§15.1.2)."""
        reason = request.first("reason")
        actions = call.hung_up(f" ({reason[:80]!r})" if reason else "", now)
        for waiting in [waiting for waiting in self._waiting.values() if waiting.request.to.tag == call.id]:
            actions += self._end_waiting(waiting, Refusal(487, "The call has been ended"), now)
        self._settle(call)
        return actions

    def _cancel(self, request: Request, flow: Flow, key: Key, now: float) -> list[Action]:
        """An INVITE that waits for a name is ended with 487; any other has its final answer already (§9.2).

        It has to come from the source of the INVITE (§22.1): the answer holds the tag of the call, which would else
        reach whoever has sent an INVITE in the name of another and now asks for it from an address of his own.
        """
        cancelled = self._transactions.get(transaction_key(request, "INVITE"))
        if cancelled is None or source_of(cancelled.flow.remote.host) != source_of(flow.remote.host):
            raise Refusal(481, "No INVITE of this branch to cancel")
        transaction = self._open(request, flow, key, cancelled.to_tag)
        actions = transaction.respond(200, write_response(request, flow, 200, cancelled.to_tag), now)
        if (waiting := self._waiting.get(cancelled.key)) is not None:
            actions += self._end_waiting(waiting, Refusal(487, "Cancelled by the caller"), now)
        self._settle(transaction)
        return actions

    def _ack(self, request: Request, flow: Flow, now: float) -> list[Action]:
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
        self._heard(call, flow, now)
        answer_due = call.answer_due
        actions: list[Action] = []
        if call.acknowledged(request):
            actions = self._take_answer(request, flow, call, None, now) if answer_due else call.agreed(None, now)
        self._settle(call)
        return actions

    def _take_answer(
        self, request: Request, flow: Flow, call: Call, former: Optional[PendingRequest], now: float
    ) -> list[Action]:
        """The answer to our offer, in the ACK: without one that fits there is no session, so BYE (§13.2.2.4)."""
        try:
            if former is None:  # else that is done, and of a multipart body only the part is left
                screen(request, secure=flow.transport == "TLS")
            session, choice = self._read_offer(request, flow, former, again=False)
            if choice is not None and choice.name and choice.crypto is None:
                return self._wait(choice.name, request, flow, (*transaction_key(request), "ACK"), former, now)
        except Refusal as refusal:
            return call.hang_up(f"the answer in the ACK does not fit: {refusal.why}", "no answer in the ACK", now)
        if session is None or choice is None:
            return call.hang_up("the ACK brought no answer to our offer", "no answer in the ACK", now)
        if choice.crypto is not None:
            why = "the answer in the ACK is SRTP; our offer was RTP/AVP"
            return call.hang_up(why, "no answer in the ACK", now)
        actions = call.agreed(choice, now)
        return [*actions, Note(logging.INFO, call.id, f"agreed: {call.media.summary()}")]

    def _response(self, response: Response, now: float) -> list[Action]:
        """Answers come to our BYE and UPDATE only; strays are dropped (§18.1.2).

        They pay for the next UPDATE, which goes the way of the call: from wherever they come, they cost their sender as
        much as any request. Else a phone whose address is not known would have its call end though it answers each.
        """
        branch = response.via.params.get("branch", "")
        call = self._calls.get(branch[len(BRANCH) : len(BRANCH) + 16]) if branch.startswith(BRANCH) else None
        if call is None:
            return []
        self.guard.credit(call.dialog.flow, response.size, now)
        actions = call.answered(response, now)
        self._settle(call)
        return actions

    # -- waiting for a name ----------------------------------------------------------------------------------------

    def _wait(
        self, name: str, request: Request, flow: Flow, key: Key, former: Optional[PendingRequest], now: float
    ) -> list[Action]:
        """Keep a request until the name in it has an address; an INVITE hears 100 (§17.2.1).

        All names in one request have ``NAME_PATIENCE`` together, and each is asked for once. Raises ``Refusal`` 503
        where too many of this source are looked up.
        """
        peer = self.guard.peer(flow, now)
        asked = Resolve(name, peer.source, peer.trust)
        look_up = self._ask(asked, peer.allowance.names)
        actions: list[Action] = []
        if request.method != "ACK" and former is None:
            transaction = self._open(request, flow, key, self._identity.stateless_tag(request))
            if request.method == "INVITE":
                actions += transaction.respond(100, write_response(request, flow, 100, ""), now)
                if not request.to.tag:
                    self._remember(transaction, request)
        names, until = (former.names, former.next_due) if former else (NO_NAMES, now + NAME_PATIENCE)
        waiting = PendingRequest(request, flow, key, names, asked, until)
        self._waiting[key] = waiting
        self._schedule.set(waiting, waiting.next_due)
        return [*actions, *look_up]

    def _ask(self, asked: Resolve, most: int) -> list[Action]:
        """Look a name up, unless that is under way for the same source. Raises ``Refusal`` where too many are.

        A name counts until its look-up is over, be it that nobody waits for it any more: so long it may hold up others.
        The refusal is 503, since the name and the offer may well be good, and later there may be room.
        """
        if asked in self._asked:
            return []
        if sum(other.source == asked.source for other in self._asked) >= most:
            raise Refusal(503, f"{most} host names of this address are being looked up", RETRY_LATER)
        self._asked.add(asked)
        return [asked]

    def _stop_waiting(self, waiting: PendingRequest) -> None:
        self._waiting.pop(waiting.key, None)
        self._schedule.set(waiting, None)

    def _end_waiting(self, waiting: PendingRequest, over: Refusal, now: float) -> list[Action]:
        """Refuse a request that waits; an ACK is never answered."""
        self._stop_waiting(waiting)
        if waiting.request.method == "ACK":
            return []
        return self._refuse(waiting.request, waiting.flow, waiting.key, over, now)

    def _go_on(self, waiting: PendingRequest, address: str, now: float) -> list[Action]:
        """The name is known, or will not be: go on where the request was kept."""
        self._stop_waiting(waiting)
        waiting.names = {**waiting.names, waiting.asked.name: address}
        request, flow, key = waiting.request, waiting.flow, waiting.key
        if request.method == "ACK":
            call = self._dialogs.get(dialog_id(request))
            if call is None or call.ended:
                return []
            actions = self._take_answer(request, flow, call, waiting, now)
            self._settle(call)
            return actions
        try:
            return self._negotiate(request, flow, key, waiting, now)
        except Refusal as refusal:
            return self._refuse(request, flow, key, refusal, now)

    # -- answers and tables ----------------------------------------------------------------------------------------

    def _refuse(self, request: Request, flow: Flow, key: Key, refusal: Refusal, now: float) -> list[Action]:
        """Answer with the refusal's status: an INVITE's by a transaction that resends it, others' at once.

        Within a call it is kept, whatever it was: what is refused now might be accepted when it comes again. Nothing
        is kept for a stranger, who may be a flood in the names of others.
        """
        within = dialog_id(request) in self._dialogs
        begun = self._transactions.get(key)
        if not within and not self.guard.is_validated(flow, now):
            if begun is not None:
                self._forget_transaction(begun)
            return self._refuse_statelessly(request, flow, refusal, now)
        if request.method == "CANCEL" or not (within or begun is not None or request.method == "INVITE"):
            return self._refuse_statelessly(request, flow, refusal, now)
        tag = self._identity.stateless_tag(request)
        transaction = self._open(request, flow, key, tag)
        data = write_response(request, flow, refusal.status, tag, refusal.headers, reason=refusal.why)
        actions = transaction.respond(refusal.status, data, now)
        self._settle(transaction)
        return [*actions, *self._refused(request, flow, refusal, now)]

    def _refuse_statelessly(self, request: Request, flow: Flow, refusal: Refusal, now: float) -> list[Action]:
        """Answer and keep nothing: a repeat is refused with the same words and tag again (§8.2.7)."""
        tag = self._identity.stateless_tag(request)
        data = write_response(request, flow, refusal.status, tag, refusal.headers, reason=refusal.why)
        answer: Action = Send(data, self._answer_to(request, flow), flow)
        return [answer, *self._refused(request, flow, refusal, now)]

    def _refused(self, request: Request, flow: Flow, refusal: Refusal, now: float) -> list[Action]:
        """Count a refusal, and tell of it if it is the first of its kind."""
        method = request.method if request.method in COUNTED else "other"
        text = f"refused {request.method[:20] or 'a request'!r} from {flow.remote}: {refusal}"
        return self._told(f"{method} {refusal.status}", flow, text, now)

    def _told(self, reason: str, flow: Flow, text: str, now: float) -> list[Action]:
        return [Note(logging.INFO, "", text)] if self.tally.count_and_should_log(reason, flow.remote.host, now) else []

    def _quietly(self, actions: list[Action], call: Call, now: float) -> list[Action]:
        """Without the notes, if they are about a caller whose way back is not proved and not the first of its kind."""
        reason = "unacknowledged" if call.ended else "answered, not acknowledged yet"
        if self.tally.count_and_should_log(reason, call.dialog.flow.remote.host, now):
            return actions
        return [action for action in actions if not isinstance(action, Note)]

    def _make_room(self, call: Call, now: float) -> list[Action]:
        """End the oldest call of a stranger: an honest one has sent his ACK long ago.

        And forget it: whoever floods us in the names of others would fill the memory with what is kept for repeats.
        """
        why = "too many strangers wait for their ACK"
        actions = self._quietly(call.hang_up(why, NO_ACK, now, insist=False), call, now)
        self._settle(call)
        call_id, _, tag = call.dialog.id
        key = self._merged.get((call_id, tag, str(call.dialog.remote_cseq), "INVITE"))
        if key is not None and (invited := self._transactions.get(key)) is not None:
            self._forget_transaction(invited)
        return actions

    def _affordable(self, actions: list[Action], now: float) -> list[Action]:
        """Leave out what would cost a stranger more than somebody has paid for it."""
        lets = self.guard.may_send
        kept = [action for action in actions if not isinstance(action, Send) or lets(action, now)]
        if len(kept) < len(actions):
            self.tally.count("not sent to a stranger")
        return kept

    def _answer_to(self, request: Request, flow: Flow) -> Address:
        """Where an answer goes; by TCP that counts only once the connection is gone (§18.2.2)."""
        if flow.reliable:
            return Address(flow.remote.host, request.via.port or default_port(flow))
        return answer_address(request.via, flow.remote)

    def _open(self, request: Request, flow: Flow, key: Key, to_tag: str) -> ServerTransaction:
        """The transaction of ``request``: the one that it has already, or a new one."""
        transaction = self._transactions.get(key)
        if transaction is None:
            transaction = ServerTransaction(key, request.method, to_tag, flow, self._answer_to(request, flow))
            self._transactions[key] = transaction
        transaction.to_tag = to_tag
        return transaction

    def _settle(self, owner: Union[ServerTransaction, Call]) -> None:
        """After anything happened to ``owner``: plan its next waking, and forget it where it is done."""
        self._schedule.set(owner, owner.next_due)
        if isinstance(owner, Call):
            if owner.ended:
                self.guard.call_closed(owner.id)
            if owner.finished:
                self._forget(owner)
        elif owner.state is State.GONE:
            self._drop(owner)

    def _remember(self, transaction: ServerTransaction, request: Request) -> None:
        """Know an INVITE again when it comes by another way, too (§8.2.2.2)."""
        transaction.merge_key = _merge_key(request)
        self._merged[transaction.merge_key] = transaction.key

    def _drop(self, transaction: ServerTransaction) -> None:
        """Take a transaction out of every table."""
        self._transactions.pop(transaction.key, None)
        if transaction.merge_key is not None:
            self._merged.pop(transaction.merge_key, None)
        if (waiting := self._waiting.get(transaction.key)) is not None:
            self._stop_waiting(waiting)

    def _forget_transaction(self, transaction: ServerTransaction) -> None:
        """Take a transaction out of every table before its time: its request would be another one if it came again."""
        self._schedule.set(transaction, None)
        self._drop(transaction)

    def _forget(self, call: Call) -> None:
        """Take a finished call out of every table and give its port back."""
        self._schedule.set(call, None)
        self._dialogs.pop(call.dialog.id, None)
        if call.ended:
            self.tally.count(f"ended by {call.ended_by}")
        if self._calls.pop(call.id, None) is not None:
            self._ports.release(call.media.origin.port)


def _merge_key(request: Request) -> Key:
    """What two copies of one request have in common when they came by different ways (§8.2.2.2)."""
    return (request.call_id, request.from_.tag, str(request.cseq.number), request.method)
