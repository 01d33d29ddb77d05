"""The user agent: a UAS that plays music on hold (RFC 3261 §8.2). Messages, timers and events come in, actions go out.

Each method that acts returns a list of actions, to be done in this order. The laws kept here: a refused request changes
nothing; a retransmitted request gets the same answer and does nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Optional, Union

from ..common.actions import Action, Flow, Resolve, StreamBegan
from ..common.counters import Counters
from ..common.errors import Refusal
from ..guard.address_validation import AddressValidator
from ..rtp.port_pool import PortPool
from ..rtp.reception import StreamReport
from .arrival import Arrival
from .call import NO_ACK, SERVER_FAULT, Call
from .health import Health
from .identity import Identity
from .invites import Invites
from .limits import Limits
from .message import Request, Response
from .names import MissingName
from .pending import PendingRequest, PendingRequests
from .registry import Owner, Registry
from .requests import Requests
from .responder import Responder
from .snapshot import CallSnapshot, snapshot
from .stopping import Stopping
from .transaction import State, transaction_key
from .turns import Turn, Turns

UNEXPECTED = "Unexpected error in the server"
"""The reason in the 500 to a request whose handling raised an exception."""


class UserAgent:
    """All calls, whatever they come by. Not thread-safe."""

    def __init__(
        self, identity: Identity, ports: PortPool, limits: Limits, guard: Optional[AddressValidator] = None
    ) -> None:
        self.guard = guard or AddressValidator()
        self.tally = Counters()
        """What has been refused, and why calls have ended."""
        self.health = Health()
        self.registry = Registry(ports, self.guard, self.tally, limits.starts_at_once)
        self.history = self.registry.history
        self._responder = Responder(identity, self.guard, self.tally, self.registry)
        self.pending = PendingRequests(identity, self.guard, self.registry, self._responder)
        self._turns = Turns(self.registry, self.pending, self._responder)
        self._arrival = Arrival(self.registry, self._responder, limits.destinations)
        self._invites = Invites(
            identity, limits, self.guard, self.registry, self._responder, self.pending, self._arrival
        )
        self.admission = self._invites.admission
        self._requests = Requests(self.guard, self.registry, self._responder, self.pending, self._invites, self.health)
        self._stopping = Stopping(
            self.registry, self.pending, self._responder, self._invites, self._turns, self._give_up
        )

    # -- events: each method settles the calls that it touched, and returns the actions that may be performed ---------

    def receive(self, message: Union[Request, Response], flow: Flow, now: float) -> list[Action]:
        """Handle one message that came by ``flow``. An exception leaves its call unchanged; but a BYE ends the call."""
        try:
            return self._turns.settled(self._handle(message, flow, now), now)
        except Exception:
            self._turns.roll_back()
            if isinstance(message, Request) and message.method == "BYE":
                call = self.registry.call_in_dialog(message)
                if call is not None:
                    call.end_at_latest(now, SERVER_FAULT)
            self.registry.settle(now)
            raise

    def refuse(self, message: Union[Request, Response], flow: Flow, status: int, why: str, now: float) -> list[Action]:
        """Refuse a message whose handling raised an exception."""
        if isinstance(message, Response) or message.method == "ACK":
            return []
        key = transaction_key(message)
        self.pending.take(key, now)
        if (begun := self.registry.transactions.get(key)) and begun.state is State.PROCEEDING:
            self.registry.forget_transaction(begun)
        refusal = Refusal(status, why)
        return self._responder.permitted(self._responder.refuse_statelessly(message, flow, refusal, now), now)

    def tick(self, now: float) -> list[Action]:
        """Handle all timers that have expired."""
        return self._turns.take(self._due_turns(now), now)

    def _due_turns(self, now: float) -> Iterator[Turn]:
        for owner in self.registry.due(now):
            yield Turn("a timer", partial(self._handle_timer, owner), partial(self.registry.fail, owner))
        for pending in self.pending.expired(now):
            yield Turn("a deadline", partial(self._requests.resume, pending, ""), partial(self._give_up, pending))

    def resolved(self, asked: Resolve, address: str, now: float) -> list[Action]:
        """Handle the result of the look-up that ``asked`` for an address; empty for a name without one."""
        self._invites.learn_name(asked, address, now)
        turns = [
            Turn("a resolved name", partial(self._requests.resume, pending, address), partial(self._give_up, pending))
            for pending in self.pending.resolved(asked)
        ]
        return self._turns.take(turns, now)

    def discard_unwanted(self, asked: Resolve) -> bool:
        """Return whether no request waits for this look-up any more. If so, forget it: it needs no result."""
        return self.pending.discard_unwanted(asked)

    def stream_gone(self, call_id: str, serial: int, why: str, hopeless: str = "", *, now: float) -> list[Action]:
        """The stream that ``StartStream`` with this ``serial`` began has ended, and no longer uses the port.

        ``hopeless`` is why another stream would fail as well, in two words; otherwise it is empty.
        """
        step = partial(self._handle_end_of_stream, call_id, serial, why, hopeless)
        again = [Turn("the end of a stream", step, partial(self._abandon_without_stream, call_id, serial))]
        return self._turns.take([Turn("the end of a stream", step, partial(self._turns.take, again))], now)

    def streams_began(self, began: Iterable[StreamBegan], now: float) -> list[Action]:
        """Note that these streams play now, so that further ones may start."""
        self.registry.streams_began(began, now)
        return self._turns.settled([], now)

    def media_heard(self, hosts: Iterable[str], now: float) -> list[Action]:
        """Note that ``hosts`` have sent RTP or RTCP. So they take part in calls, and no limit keeps music from them."""
        for host in hosts:
            self.registry.media_limits.heard(host)
        return []

    def reported(self, reports: Iterable[StreamReport], now: float) -> list[Action]:
        """Note what the receivers of the music report of it."""
        return self._arrival.reported(reports, now)

    def music_ready(self, tune: int, now: float) -> list[Action]:
        """Play ``tune`` to new calls from now on, where no name of its own is dialled; present calls keep theirs."""
        self._invites.tune = tune
        return []

    def names_ready(self, names: Mapping[str, Optional[int]], now: float) -> list[Action]:
        """Take over all names of the library, with the tunes that new calls get by them; present calls keep theirs.

        ``None`` is the tune of a name whose music is not ready: it plays the default, as does a name that is not there.
        """
        self._invites.names.replace(names)
        return []

    def names_wanted(self) -> list[str]:
        """The names that callers dialled since the last call of this method and whose music is not ready."""
        return self._invites.names.take_wanted()

    def drain(self, wanted: bool, now: float) -> list[Action]:
        """Accept no new calls, from some seconds on; or accept them again. Present calls go on."""
        return self.admission.drain(wanted, self.calls, now)

    def note_share(self, share: float, now: float) -> list[Action]:
        """Note which share of one core the server and its calls' ffmpegs take, as 0.8. To be called each second."""
        return self.admission.note_share(share, len(self.registry.calls))

    def close(self, grace: float, now: float) -> list[Action]:
        """Accept no more calls and send BYE to all; music stops, and ports are released as the streams end.

        Present calls may go on for ``grace`` seconds. A second call of this method may shorten that time.
        """
        return self._stopping.close(grace, now)

    # -- what the server may ask -----------------------------------------------------------------------------------

    @property
    def call_ids(self) -> list[str]:
        """The ids of all calls, the oldest first."""
        return list(self.registry.calls)

    def snapshots(self, call_ids: Iterable[str], now: float) -> list[CallSnapshot]:
        """The calls of ``call_ids`` that are still there. To ask for a hundred takes less than a millisecond."""
        calls = self.registry.calls
        return [snapshot(calls[call_id], now) for call_id in call_ids if call_id in calls]

    @property
    def ready(self) -> bool:
        """Whether there is music for new calls."""
        return self._invites.tune is not None

    @property
    def closing(self) -> bool:
        """Whether the server stops, so that it soon accepts no new calls."""
        return self.admission.stopping

    @property
    def tunes(self) -> set[int]:
        """The tunes of present and new calls."""
        tunes = {call.media.tune for call in self.registry.calls.values()} | self._invites.names.tunes
        return tunes if self._invites.tune is None else tunes | {self._invites.tune}

    def callers_by_name(self) -> dict[str, int]:
        """The calls that go on, by the name of the music that they hear; ``""`` is the default.

        One pass: 1 ms for 10,000 calls.
        """
        found: dict[str, int] = {}
        for call in self.registry.calls.values():
            if not call.ended:
                name = call.selection.name
                found[name] = found.get(name, 0) + 1
        return found

    @property
    def missing_names(self) -> list[MissingName]:
        """The names that callers dialled and that are not there, the last one first; at most ``MOST_MISSING``."""
        return self._invites.names.missing

    @property
    def calls(self) -> int:
        """How many calls go on."""
        return self.registry.active_calls

    @property
    def next_due(self) -> Optional[float]:
        """When ``tick`` is needed next; ``None`` while no timer is set."""
        timer, deadline = self.registry.next_due, self.pending.next_due
        if timer is None or deadline is None:
            return deadline if timer is None else timer
        return min(timer, deadline)

    @property
    def idle(self) -> bool:
        """Whether no call is left, and no BYE or stream of an ended call."""
        return not self.registry.calls

    @property
    def is_busy(self) -> bool:
        """Whether the server has as many calls, or as much to do, as ``MOH_BUSY_AT`` says."""
        return self.admission.is_busy(len(self.registry.calls))

    def may_end(self, now: float) -> bool:
        """Whether a server that stops has nothing left to do: no call, and proxies have noticed that it stops."""
        return self.idle and self.admission.is_announced(now)

    @property
    def connections(self) -> set[int]:
        """The numbers of the connections that calls use, as in ``Flow``. One pass: 0.4 ms for 10,000 calls."""
        return {call.dialog.flow.connection for call in self.registry.calls.values()}

    @property
    def table_sizes(self) -> dict[str, int]:
        """The number of entries in each table, by its name."""
        waiting, look_ups = len(self.pending), len(self.pending.lookups)
        return {**self.registry.sizes, "pending requests": waiting, "look-ups": look_ups}

    # -- turns -----------------------------------------------------------------------------------------------------

    def _give_up(self, pending: PendingRequest, now: float) -> list[Action]:
        """Refuse a request that has waited and whose handling raised an exception; the ACK's call has to end."""
        request = pending.incoming.request
        self.pending.drop(pending)
        if request.method != "ACK":
            return self.refuse(request, pending.incoming.peer.flow, 500, UNEXPECTED, now)
        call = self.registry.call_in_dialog(request)
        return [] if call is None else call.hang_up("unexpected error in the server", SERVER_FAULT, now)

    def _handle_end_of_stream(self, call_id: str, serial: int, why: str, hopeless: str, now: float) -> list[Action]:
        call = self.registry.call(call_id)
        if call is None:
            return []
        actions = call.stream_ended(serial, why, hopeless, now)
        self.history.note_restart(call, actions)
        return actions

    def _abandon_without_stream(self, call_id: str, serial: int, now: float) -> list[Action]:
        """End a call that cannot handle the end of its stream: its port is free, unless another stream has it."""
        call = self.registry.call(call_id)
        if call is None:
            return []
        call.media.lost(serial)
        return self.registry.abandon(call, now)

    # -- one message or timer --------------------------------------------------------------------------------------

    def _handle(self, message: Union[Request, Response], flow: Flow, now: float) -> list[Action]:
        if isinstance(message, Response):
            return self._handle_response(message, now)
        self.guard.credit(flow, message.size, now)
        return self._requests.handle(message, self.guard.peer(flow, now), now)

    def _handle_response(self, response: Response, now: float) -> list[Action]:
        """Handle the answer to our BYE or UPDATE. Stray answers are dropped (§18.1.2).

        The octets of an answer are credited to the flow of the call, by which the next UPDATE leaves. Otherwise an
        unvalidated phone would lose its call although it answers each UPDATE.
        """
        call = self.registry.call_of_response(response)
        if call is None:
            return []
        self.guard.credit(call.dialog.flow, response.size, now)
        answers = call.answers_our_offer(response)
        actions = call.handle_response(response, now)
        return [*actions, *self._invites.take_refreshed(response, call, now)] if answers else actions

    def _handle_timer(self, owner: Owner, now: float) -> list[Action]:
        self.registry.touch(owner)
        was_ended = isinstance(owner, Call) and owner.ended
        actions = owner.tick(now)
        self.registry.succeeded(owner)
        if was_ended or not isinstance(owner, Call) or owner.ended_by != NO_ACK:
            return actions
        if not self.guard.is_validated(owner.dialog.flow, now):
            actions = self._responder.only_first_notes(actions, owner, now)
        return [*actions, *self._responder.log_missing_ack(owner, now)]
