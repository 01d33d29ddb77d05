"""Offers and answers: INVITE, re-INVITE, UPDATE, and the answer in an ACK (RFC 3264, RFC 3261 §13.3, §14.2; RFC 3311).

The law kept here: an offer that is refused has taken no port and changed nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from functools import partial
from typing import NamedTuple, Optional

from ..common.actions import Action, Flow, Note, Resolve, Trust
from ..common.errors import Refusal
from ..guard.address_validation import AddressValidator
from ..sdp.description import parse_sdp
from ..sdp.media_session import MediaSession, Origin, no_srtp
from ..sdp.offer_answer import Choice, Offer, choose, rtcp_beside_rtp
from .admission import SERVER_STOPS, STOPS, Admission
from .arrival import Arrival
from .call import NO_ACK, Call
from .dialled import DialledNames
from .dialog import Dialog
from .headers import NameAddr
from .identity import Identity, Reach
from .incoming import REFRESH, Incoming
from .limits import Limits
from .message import Request, Response
from .names import MusicNames, Selection
from .pending import PendingRequests, ip_version
from .registry import Registry
from .responder import RETRY_LATER, Responder
from .validation import ALLOW, SUPPORTED, check_request, requires_100rel

NO_ANSWER = "no answer in the ACK"
"""``Call.ended_by`` of a call whose ACK carried no answer to our offer, or an answer that does not fit."""


class Dialled(NamedTuple):
    """What the caller of a first INVITE has dialled, and how it reaches this server."""

    name: str
    """The host name, as ``Identity.dialled_name`` returns it."""
    address: Optional[str]
    """The latest address of that name; empty if it has none, ``None`` if that is not known."""
    reach: Reach


class Invites:
    """Negotiates the music of calls, makes calls and changes them."""

    def __init__(
        self, identity: Identity, limits: Limits, guard: AddressValidator, registry: Registry, responder: Responder,
        pending: PendingRequests, arrival: Arrival,
    ) -> None:  # fmt: skip
        self.tune: Optional[int] = None
        """The default tune of new calls; ``None`` before the first music is ready."""
        self.names = MusicNames()
        self.admission = Admission(limits.busy_at)
        self._identity = identity
        self._limits = limits
        self._guard = guard
        self._registry = registry
        self._responder = responder
        self._pending = pending
        self._dialled = DialledNames()
        self._arrival = arrival

    def check_room(self, now: float) -> None:
        """Raises ``Refusal`` 503 where a new call is refused."""
        self._check_admission(self.admission.call_refusal(len(self._registry.calls), now))

    def check_room_for_later(self, is_health_check: bool) -> None:
        """Raises ``Refusal`` 503 where the answer to OPTIONS has to say that calls should go to another server.

        The health check of this machine is not refused by a server that is busy or drains: that server is healthy.
        """
        why = self.admission.options_refusal(len(self._registry.calls))
        self._check_admission(why if why == STOPS or not is_health_check else "")

    def _check_admission(self, why: str) -> None:
        if why:
            raise Refusal(503, why, *(() if why == STOPS else (RETRY_LATER,)))
        if self.tune is None:
            raise Refusal(503, "The music is not ready yet", RETRY_LATER)
        if self._registry.ports.exhausted:
            raise Refusal(503, "All RTP ports are taken", RETRY_LATER)

    # -- INVITE and UPDATE -----------------------------------------------------------------------------------------

    def negotiate(self, incoming: Incoming, call: Optional[Call], now: float) -> list[Action]:
        """Answer an INVITE or UPDATE, for a new call or within ``call``; let it wait while a host name is resolved."""
        if call is not None and self._pending.holds_request_of(call.id):
            raise Refusal(500, "The offer before this one is not answered yet", ("Retry-After", "2"))
        if call is None:
            return self._negotiate_call(incoming, now)
        offer = self._read_offer(incoming, call, None)
        if offer is not None and offer.choice.name:
            return self._pending.wait(incoming, offer.choice.name, now)
        if incoming.request.method == "UPDATE":
            return self._update_call(incoming, call, offer, now)
        return self._change_call(incoming, call, offer, now)

    def _negotiate_call(self, incoming: Incoming, now: float) -> list[Action]:
        """Answer a first INVITE, or let it wait."""
        dialled = self._find_dialled(incoming, now)
        offer = self._read_offer(incoming, None, dialled)
        if offer is not None and offer.choice.name:
            return self._pending.wait(incoming, offer.choice.name, now)
        waiting = self._wait_for_dialled(incoming, dialled.name, now)
        return self._begin_call(incoming, offer, dialled, now) if waiting is None else waiting

    # -- the name that was dialled ---------------------------------------------------------------------------------

    def learn_name(self, asked: Resolve, address: str, now: float) -> None:
        """Remember the result of a look-up if its name was dialled; ``address`` is empty for a name without one."""
        if asked.version:
            self._dialled.learn(asked, address, now)

    def _wait_for_dialled(self, incoming: Incoming, name: str, now: float) -> Optional[list[Action]]:
        """Let a first INVITE wait for the address of the ``name`` that it dialled; ``None`` where it need not wait.

        No look-up is made for an unvalidated source, nor where too many names are being looked up: such a call is
        answered with the latest address, or without one.
        """
        peer = incoming.peer
        if not name or peer.trust is Trust.UNVALIDATED or name in incoming.names:
            return None
        if not self._dialled.needs_look_up(name, ip_version(peer.flow), peer.trust, now):
            return None
        self.check_room(now)
        try:
            return self._pending.wait_for_dialled(incoming, name, now)
        except Refusal:
            return None

    def _address_of(self, name: str, incoming: Incoming, now: float) -> Optional[str]:
        """The latest address of a dialled name; empty if it has none, ``None`` if that is not known."""
        known = self._dialled.address(name, ip_version(incoming.peer.flow), incoming.peer.trust, now)
        return known or incoming.names.get(name, known)

    def _log_unknown_name(self, flow: Flow, dialled: Dialled, now: float) -> list[Action]:
        """A warning for the owner where the dialled name has no address here, so that the SDP names our own one."""
        if not dialled.name or dialled.address != "":
            return []
        text = (
            f"{flow.remote} dialled {dialled.name[:80]!r}. This server finds no IP address for that name, so its "
            f"answer says that the music comes from {flow.local.host}; {self._identity.advice}"
        )
        return self._responder.log_first("dialled name without address", flow, text, now, logging.WARNING)

    def _find_dialled(self, incoming: Incoming, now: float) -> Dialled:
        """How the caller reaches us. A caller on the internet does not learn which inward address a name has."""
        request, flow = incoming.request, incoming.peer.flow
        name = self._identity.dialled_name(request, flow)
        address = self._address_of(name, incoming, now) if name else None
        hidden = bool(address) and self._limits.destinations.hides(flow, address or "")
        return Dialled(name, address, self._identity.reach(request, flow, "" if hidden else address or ""))

    # -- offers ----------------------------------------------------------------------------------------------------

    def _read_offer(self, incoming: Incoming, call: Optional[Call], dialled: Optional[Dialled]) -> Optional[Offer]:
        """The session description in a request and the stream that we choose; ``None`` where it has no body.

        ``dialled`` is given for a new call.
        """
        request, flow = incoming.request, incoming.peer.flow
        if not request.body.strip():
            return None
        session = parse_sdp(request.body)
        if call is None:
            assert dialled is not None
            srtp = self._registry.ports.exclusive_available
            local_host: Callable[[str], str] = partial(self._identity.media_host, dialled.reach.media, flow)
        else:
            srtp, local_host = not call.media.origin.shared, call.media.origin.local_host

        def permit(choice: Choice) -> Choice:
            if incoming.answers_late_offer and choice.crypto is not None:
                raise Refusal(488, "the answer in the ACK is SRTP; our offer was RTP/AVP")
            if choice.name:
                return choice  # where it leads is not known yet
            choice = self._permitted(flow, choice, "" if call is None else call.id)
            local_host(choice.remote.host)  # raises where there is no route
            return choice

        hosts = (media.host for media in session.media if media.port)
        names = self._limits.destinations.addresses(flow, incoming.names, hosts)
        return Offer(session, choose(session, self._limits.codecs, names, call is not None, srtp, permit))

    def _permitted(self, flow: Flow, choice: Choice, call_id: str) -> Choice:
        """``choice`` as the media policy and the limits permit it; an ``a=rtcp`` that they forbid costs only itself.

        Raises ``Refusal`` 488 where music may not go there, 503 where too much goes there.
        """
        try:
            self._check_destination(flow, choice, call_id)
            return choice
        except Refusal:
            choice = rtcp_beside_rtp(choice)
        self._check_destination(flow, choice, call_id)
        return choice

    def _check_destination(self, flow: Flow, choice: Choice, call_id: str) -> None:
        self._limits.destinations.check(flow, choice.remote, choice.remote_rtcp)
        self._registry.media_limits.check(call_id, flow.remote.host, self._limited(flow, choice))

    def _limited(self, flow: Flow, choice: Choice) -> Collection[str]:
        """The hosts of ``choice`` to which the number of calls is limited."""
        if not choice.playing:
            return ()
        return self._limits.destinations.limited_hosts(flow, choice.remote, choice.remote_rtcp)

    def _note_destination(self, incoming: Incoming, offer: Optional[Offer], call: Call, now: float) -> list[Action]:
        """Note where the music of ``call`` goes now, or will go with the ACK. Warn where it may reach no receiver."""
        flow = incoming.peer.flow
        if offer is None:
            return []
        if hosts := self._limited(flow, offer.choice):
            self._registry.media_limits.add(call.id, flow.remote.host, hosts)
        return self._arrival.check_destination(flow, call, now)

    def _begin_call(self, incoming: Incoming, offer: Optional[Offer], dialled: Dialled, now: float) -> list[Action]:
        request, peer = incoming.request, incoming.peer
        self.check_room(now)
        at_once, plays = self._may_play_at_once(incoming, offer), offer is None or offer.choice.playing
        crowded = plays and not self._registry.starts.has_room(now, at_once)
        port = self._acquire_port(offer is not None and offer.choice.crypto is not None, crowded)
        try:
            selection = self.names.select(request.parsed_uri.user, self.tune or 0)
            call = self._new_call(incoming, port, dialled.reach, selection, now)
            # no 180 for an unvalidated source: the octets of its repeated INVITEs allow repeating the 200
            ringing = peer.validated and not requires_100rel(request)
            exchange = self._responder.exchange(incoming, call.id, _dialog_headers(request, call))
            actions = call.answer_invite(exchange, offer, now, ringing=ringing, music_at_once=at_once)
            self._registry.remember_merged(exchange.transaction, request)
            self._registry.add_call(call)
            if self.admission.ends_at is not None:
                call.end_at_latest(self.admission.ends_at, SERVER_STOPS)
        except Exception:  # nothing has been sent or started yet
            self._registry.ports.release(port)
            raise
        if plays and not at_once and not call.media.origin.shared:
            self._registry.starts.await_ack(call.id, now)
        warning = self._note_destination(incoming, offer, call, now)
        if (oldest := self._guard.call_answered(call.id, peer)) is not None:
            actions += self._make_room(oldest, now)
        caller, music = request.from_.without_parameters[:80], self._music_in_words(selection)
        text = f"answered {caller!r} at {peer.flow.remote}: {call.media.summary()}{music}"
        answered = Note(logging.INFO, call.id, text, peer.flow.remote)
        actions += [answered, *warning, *self._log_unknown_name(peer.flow, dialled, now)]
        if not peer.validated:
            return self._responder.only_first_notes(actions, call, now)
        return [*actions, *self.note_dialled_music(call, now)]

    def note_dialled_music(self, call: Call, now: float) -> list[Action]:
        """Note which music a caller with a validated source has dialled; the log names once what is not there."""
        dialled = call.selection.dialled
        if not self.names.note(dialled, now):
            return []
        line = self._responder.log_missing_name(dialled, self.names.nearest, call, now)
        if line:
            self.names.note_line(dialled)
        return line

    def _music_in_words(self, selection: Selection) -> str:
        """What the log says of a name that plays, or that would play if its music were ready."""
        if selection.name:
            return f", music {selection.name[:80]!r}"
        if self.names.is_unready(selection.dialled):
            return f"; the music {selection.dialled[:80]!r} is not ready, so the default plays"
        return ""

    def _acquire_port(self, alone: bool, crowded: bool) -> int:
        """An RTP port for one call ``alone``, or the shared one; where it is ``crowded``, the shared one comes first.

        SRTP has a key for each call, and so needs a stream of its own: without one the offer is not acceptable.
        """
        ports = self._registry.ports
        port = ports.acquire(alone, share=crowded)
        if port is not None:
            return port
        if ports.shared is not None:
            raise no_srtp()
        raise Refusal(503, "Other programs have the RTP ports", RETRY_LATER)

    def _new_call(self, incoming: Incoming, port: int, reach: Reach, selection: Selection, now: float) -> Call:
        identity, flow = self._identity, incoming.peer.flow
        shared = port == self._registry.ports.shared
        dialog = Dialog(incoming.request, flow, identity.new_token(), reach.contact)
        origin = Origin(
            port,
            shared=shared,
            session_id=int(identity.new_token()[:12], 16),
            srtp_key="" if shared else identity.new_key(),  # the calls that share a port have no SRTP
            codecs=self._limits.codecs,
            local_host=partial(identity.media_host, reach.media, flow),
            two_way=self._limits.two_way,
        )
        media = MediaSession(dialog.id[1], origin, selection.tune)
        return Call(dialog, media, selection, self._limits.longest_call, identity.new_token, now)

    def _make_room(self, call_id: str, now: float) -> list[Action]:
        """End the oldest unacknowledged call of all unvalidated sources: a real phone has sent its ACK long ago.

        Its INVITE is forgotten as well: a flood of forged addresses would fill memory with what retransmissions need.
        """
        call = self._registry.call(call_id)
        assert call is not None, "the address validator counts calls that are kept here"
        actions = call.hang_up("too many unvalidated calls wait for their ACK", NO_ACK, now, resend=False)
        self._registry.forget_invite_of(call)
        return self._responder.only_first_notes(actions, call, now)

    def _change_call(self, incoming: Incoming, call: Call, offer: Optional[Offer], now: float) -> list[Action]:
        """Answer a re-INVITE."""
        exchange = self._responder.exchange(incoming, call.id, _dialog_headers(incoming.request, call))
        at_once = self._may_play_at_once(incoming, offer)
        actions = call.answer_invite(exchange, offer, now, ringing=False, music_at_once=at_once)
        warning = self._note_destination(incoming, offer, call, now)
        return [*actions, _summary("changed", incoming, call), *warning]

    def _update_call(self, incoming: Incoming, call: Call, offer: Optional[Offer], now: float) -> list[Action]:
        """Answer an UPDATE."""
        exchange = self._responder.exchange(incoming, call.id, _dialog_headers(incoming.request, call))
        actions = call.answer_update(exchange, offer, now)
        warning = self._note_destination(incoming, offer, call, now)
        if offer is None:
            return actions
        return [*actions, _summary("changed", incoming, call), *warning]

    def _may_play_at_once(self, incoming: Incoming, offer: Optional[Offer]) -> bool:
        """Whether the music may start before the ACK."""
        if offer is None or not offer.choice.playing:
            return False
        choice = offer.choice
        return self._limits.destinations.may_send_before_ack(incoming.peer.flow, choice.remote, choice.remote_rtcp)

    def log_hidden_name(self, incoming: Incoming, name: str, address: str, now: float) -> list[Action]:
        """A note for the owner where the caller does not learn that ``name`` has an address, nor which."""
        flow = incoming.peer.flow
        if not self._limits.destinations.hides(flow, address):
            return []
        settings = f"neither MOH_ALLOW names {flow.remote.host} nor MOH_ALLOW_MEDIA that address"
        text = f"no music to {name[:80]!r} for {flow.remote}: its address is {address[:40]}, and {settings}"
        return self._responder.log_first("name that leads inwards", flow, text, now)

    # -- ACK -------------------------------------------------------------------------------------------------------

    def take_answer(self, incoming: Incoming, call: Call, now: float) -> list[Action]:
        """The answer to our offer, in the ACK: without one that fits there is no session, so BYE (§13.2.2.4)."""
        try:
            if not incoming.resumed:
                check_request(incoming.request, secure=incoming.peer.flow.transport == "TLS")
            answer = self._read_offer(incoming, call, None)
            if answer is None and not incoming.answers_late_offer:
                return []  # a 2xx without a body has refreshed the session as well
            if answer is None:
                return call.hang_up("the ACK brought no answer to our offer", NO_ANSWER, now)
            if answer.choice.name:
                return self._pending.wait(incoming, answer.choice.name, now)
            actions = call.start_music(now, answer.choice)
        except Refusal as refusal:
            if incoming.answers_late_offer:
                return call.hang_up(f"the answer in the ACK does not fit: {refusal.why}", NO_ANSWER, now)
            why = f"the answer to our refresh does not fit, the music goes on as before: {refusal.why}"
            return [Note(logging.INFO, call.id, why, incoming.peer.flow.remote)]
        warning = self._note_destination(incoming, answer, call, now)
        if not actions and not incoming.answers_late_offer:
            return warning
        return [*actions, _summary("agreed", incoming, call), *warning]

    def take_refreshed(self, response: Response, call: Call, now: float) -> list[Action]:
        """The 2xx to our re-INVITE: the music follows the answer in it as it follows one in an ACK."""
        if not response.body.strip():
            return []
        call_id, our_tag, tag = call.dialog.id
        ours, theirs = (NameAddr("", "", one) for one in (our_tag, tag))
        answer = Request(response.headers, response.body, "ACK", "", response.via, theirs, ours, call_id=call_id)
        peer = self._guard.peer(call.dialog.flow, now)
        return self.take_answer(Incoming(answer, peer, (response.via.branch, REFRESH)), call, now)


def _summary(event: str, incoming: Incoming, call: Call) -> Note:
    """A line about where the music of ``call`` goes since ``incoming``."""
    return Note(logging.INFO, call.id, f"{event}: {call.media.summary()}", incoming.peer.flow.remote)


def _dialog_headers(request: Request, call: Call) -> list[tuple[str, str]]:
    """The header fields of a 2xx to INVITE or UPDATE, and of a 180 (§12.1.1, §13.3.1.4)."""
    return [
        # what the caller sends is never played: RFC 3840 §10.6, RFC 4235 §5.2, as RFC 7088 shows it
        ("Contact", f'<{call.dialog.contact}>;automata;+sip.rendering="no"'),
        *(("Record-Route", route) for route in request.all("record-route") if request.method == "INVITE"),
        ALLOW,
        SUPPORTED,
    ]
