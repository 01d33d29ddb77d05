"""Requests that wait for the address of a host name: the one in c= (RFC 7088 §5.4), or the one that was dialled.

A request leaves this table either ready to be handled again, with the addresses found so far, or to be refused. The
user agent then handles or refuses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional

from ..common.actions import Action, Flow, Resolve, Trust
from ..common.errors import Refusal
from ..guard.address_validation import AddressValidator
from .identity import Identity
from .incoming import Incoming
from .registry import Registry
from .responder import RETRY_LATER, Responder
from .timers import Schedule
from .transaction import Key

RESOLUTION_TIMEOUT = 4.0
"""Seconds that the resolution of all host names in one request may take; the phone gets 100 meanwhile."""
DIALLED_TIMEOUT = 2.0
"""Seconds that an INVITE waits for the address of the name that it dialled. Without the address it is answered too."""


def ip_version(flow: Flow) -> int:
    """The IP version by which the caller reaches us, 4 or 6: a dialled name needs an address of this version."""
    return 6 if ":" in flow.local.host else 4


@dataclass(eq=False)
class PendingRequest:
    """A request and the look-up that it waits for."""

    incoming: Incoming
    lookup: Resolve
    deadline: float
    dialled: bool = False
    """Whether the name is the one that was dialled."""


class PendingRequests:
    """All requests that wait, and the look-ups that run."""

    def __init__(self, identity: Identity, guard: AddressValidator, registry: Registry, responder: Responder) -> None:
        self._identity = identity
        self._guard = guard
        self._registry = registry
        self._responder = responder
        self._by_key: dict[Key, PendingRequest] = {}
        self._schedule: Schedule[PendingRequest] = Schedule()
        self.lookups: set[Resolve] = set()
        """Look-ups that run. A look-up runs on even if no request waits for it any more."""
        # the latest request and look-up that were added, each with the number of the turn that added it
        self._new_request: tuple[int, Optional[PendingRequest]] = (0, None)
        self._new_lookup: tuple[int, Optional[Resolve]] = (0, None)

    def __len__(self) -> int:
        return len(self._by_key)

    # -- requests that begin to wait -------------------------------------------------------------------------------

    def wait(self, incoming: Incoming, name: str, now: float) -> list[Action]:
        """Keep a request until ``name`` has an address; an INVITE gets 100 at once (§17.2.1).

        Raises ``Refusal`` 503 where too many names of this source are being looked up.
        """
        deadline = now + RESOLUTION_TIMEOUT if incoming.deadline is None else incoming.deadline
        lookup = Resolve(name, incoming.peer.source, incoming.peer.trust)
        return self._wait(PendingRequest(incoming, lookup, deadline), now)

    def wait_for_dialled(self, incoming: Incoming, name: str, now: float) -> list[Action]:
        """Keep an INVITE until ``name``, which it dialled, has an address; as ``wait`` does.

        All trusted sources together have one look-up of a name, since a thousand phones may dial it at once.
        """
        peer = incoming.peer
        deadline = now + DIALLED_TIMEOUT if incoming.deadline is None else min(incoming.deadline, now + DIALLED_TIMEOUT)
        source = "" if peer.trust is Trust.TRUSTED else peer.source
        lookup = Resolve(name, source, peer.trust, ip_version(peer.flow))
        return self._wait(PendingRequest(incoming, lookup, deadline, dialled=True), now)

    def _wait(self, pending: PendingRequest, now: float) -> list[Action]:
        incoming = pending.incoming
        request = incoming.request
        actions: list[Action] = []
        new_lookup = self._start(pending.lookup, incoming.peer.allowance.names)
        if request.method != "ACK" and not incoming.resumed:
            exchange = self._responder.exchange(incoming, self._identity.stateless_tag(request))
            if request.method == "INVITE":
                actions += exchange.respond(100, "", now)
                if not request.to.tag:
                    self._registry.remember_merged(exchange.transaction, request)
        self._by_key[incoming.key] = pending
        self._new_request = (self._registry.turn, pending)
        self._schedule.set(pending, pending.deadline)
        return [*actions, *new_lookup]

    def _start(self, lookup: Resolve, most: int) -> list[Action]:
        """Start a look-up, unless the same look-up of this source runs already. Raises ``Refusal`` 503 for too many.

        A look-up counts until it is over, even if no request waits for it any more: until then it may delay others. The
        status is 503, since the offer may be good, and there may be fewer look-ups at the next attempt.
        """
        if lookup in self.lookups:
            return []
        if sum(other.source == lookup.source for other in self.lookups) >= most:
            raise Refusal(503, f"{most} host names of this address are being looked up", RETRY_LATER)
        self.lookups.add(lookup)
        self._new_lookup = (self._registry.turn, lookup)
        return [lookup]

    def roll_back(self) -> None:
        """Forget what the present turn has added: the turn raised an exception, and its actions are lost."""
        (added_in, request), (begun_in, lookup) = self._new_request, self._new_lookup
        if request is not None and added_in == self._registry.turn:
            self.drop(request)
        if lookup is not None and begun_in == self._registry.turn:
            self.lookups.discard(lookup)

    # -- requests that are ready -----------------------------------------------------------------------------------

    def resolved(self, lookup: Resolve) -> list[PendingRequest]:
        """Note that ``lookup`` is over. Return the requests that waited for it."""
        self.lookups.discard(lookup)
        return [pending for pending in self._by_key.values() if pending.lookup == lookup]

    def expired(self, now: float) -> Iterator[PendingRequest]:
        """The requests whose deadline has passed."""
        return self._schedule.due(now)

    def ready(self, pending: PendingRequest, address: str, now: float) -> Incoming:
        """Remove and return a request that is ready to be handled again. ``address`` is empty if its name has none."""
        incoming = self.take_out(pending, now)
        names = {**incoming.names, pending.lookup.name: address}
        return incoming._replace(names=names, deadline=pending.deadline)

    @property
    def next_due(self) -> Optional[float]:
        """When the next deadline passes; ``None`` while no request waits."""
        return self._schedule.next_due

    # -- requests that wait no longer ------------------------------------------------------------------------------

    def discard_unwanted(self, lookup: Resolve) -> bool:
        """Return whether no request waits for ``lookup`` any more. If so, forget it: it needs no result."""
        if any(pending.lookup == lookup for pending in self._by_key.values()):
            return False
        self.lookups.discard(lookup)
        return True

    def holds(self, key: Key) -> bool:
        """Whether the request of this key waits."""
        return key in self._by_key

    def holds_request_of(self, call_id: str) -> bool:
        """Whether a request within this call waits."""
        return any(pending.incoming.request.to.tag == call_id for pending in self._by_key.values())

    def take(self, key: Key, now: float) -> list[Incoming]:
        """Remove and return the request of this key, to be refused. The list is empty if it does not wait."""
        pending = self._by_key.get(key)
        return [] if pending is None else [self.take_out(pending, now)]

    def take_of_call(self, call_id: str, now: float) -> list[Incoming]:
        """Remove and return the requests within a call, to be refused."""
        if not self._by_key:
            return []
        found = [pending for pending in self._by_key.values() if pending.incoming.request.to.tag == call_id]
        return [self.take_out(pending, now) for pending in found]

    def answerable(self, *, but_within_calls: bool) -> list[PendingRequest]:
        """All requests that can be refused, or only those outside of calls. An ACK is never answered."""
        return [
            pending
            for pending in self._by_key.values()
            if pending.incoming.request.method != "ACK" and not (but_within_calls and pending.incoming.request.to.tag)
        ]

    def drop(self, pending: PendingRequest) -> None:
        """Remove a request from the table."""
        self._by_key.pop(pending.incoming.key, None)
        self._schedule.set(pending, None)

    def take_out(self, pending: PendingRequest, now: float) -> Incoming:
        """Remove and return a request. Its ``peer`` is made anew, since its call may have validated its source."""
        self.drop(pending)
        return pending.incoming._replace(peer=self._guard.peer(pending.incoming.peer.flow, now))
