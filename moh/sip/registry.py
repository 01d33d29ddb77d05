"""The tables of the user agent: transactions by their key, calls by id and by dialog, merged requests, the schedule.

A turn is the handling of one message, timer or event. The laws kept here: each call and transaction that a turn has
touched is settled once, at the end of the turn, even after an exception. To settle it means to set its next timer, or
to remove it from every table if it is done. A call's port is released when the call is finished, and only then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Optional, Union

from ..common.actions import Action, Address, Fault, Flow, StopStream, StreamBegan
from ..common.counters import Counters
from ..common.errors import Refusal
from ..guard.address_validation import AddressValidator
from ..guard.media_limits import MediaLimits
from ..rtp.port_pool import PortPool
from ..rtp.start_limit import StartLimit
from .call import BRANCH, SERVER_FAULT, Call
from .checkpoint import Checkpoint, checkpoint, restore
from .dialog import DialogId, dialog_id
from .history import ENDED, History
from .message import Request, Response
from .timers import T1, Schedule
from .transaction import Key, ServerTransaction, State

Owner = Union[ServerTransaction, Call]
"""A transaction or a call: both have timers."""


class Registry:
    """All transactions and calls. A call that a method returns "to be changed" is touched, so that it is settled."""

    def __init__(
        self, ports: PortPool, guard: AddressValidator, counters: Counters, starts_at_once: Optional[int] = None
    ) -> None:
        self.ports = ports
        self.starts = StartLimit(starts_at_once)
        self.transactions: dict[Key, ServerTransaction] = {}
        self.merged: dict[Key, Key] = {}
        """The transaction keys of first INVITEs, by ``_merge_key``, which all copies of an INVITE share (§8.2.2.2)."""
        self.calls: dict[str, Call] = {}
        self.dialogs: dict[DialogId, Call] = {}
        self.media_limits = MediaLimits()
        self.history = History()
        self._guard = guard
        self._counters = counters
        self._schedule: Schedule[Owner] = Schedule()
        self.turn = 0
        """The number of the present turn: the handling of one message, timer or event."""
        # what the present turn has changed: each call as it was before, ``None`` for a new call or a transaction
        self._touched: dict[Owner, Optional[Checkpoint]] = {}
        self._answering: dict[ServerTransaction, None] = {}  # the transactions that the present turn answers
        self._failed: set[Owner] = set()  # owners whose latest turn raised an exception

    # -- settling --------------------------------------------------------------------------------------------------

    def touch(self, owner: Owner) -> None:
        """Note that ``owner`` may change in this turn."""
        if owner not in self._touched:
            self._touched[owner] = checkpoint(owner) if isinstance(owner, Call) else None

    def settle(self, now: float) -> list[Action]:
        """Settle all that this turn has touched: set its timers, or forget it if it is done.

        An exception costs its owner only: the owner goes to ``fail``. Return the actions of ``fail``.
        """
        touched, self._touched = self._touched, {}
        self._answering = {}
        self.turn += 1
        actions: list[Action] = []
        for owner in touched:
            try:
                self._settle(owner)
            except Exception as error:
                actions += [Fault(error, "the timers of a call or transaction"), *self.fail(owner, now)]
        return actions

    def _settle(self, owner: Owner) -> None:
        if isinstance(owner, Call):
            if owner.noted != ENDED:
                self.history.note(owner)
            if not owner.media.origin.shared:
                self.starts.note(owner.id, owner.media.starting)
            if owner.id in self.media_limits:
                self.media_limits.keep(owner.id, () if owner.ended else owner.media.destinations)
            if owner.ended:
                self._guard.call_acknowledged_or_ended(owner.id)
                if owner.finished:
                    self._forget_call(owner)
                    return
        elif owner.state is State.GONE:
            self.forget_transaction(owner)
            return
        self._schedule.set(owner, owner.next_due)

    # -- faults ----------------------------------------------------------------------------------------------------

    def roll_back(self) -> None:
        """Undo the changes of the present turn to calls: the turn raised an exception, and its actions are lost.

        So no call waits for the end of a stream that was never ordered. A request that was to be answered is forgotten,
        since its answer was not sent. ``settle`` still has to follow.
        """
        for transaction in list(self._answering):
            self.forget_transaction(transaction)
        self._answering = {}
        for owner, before in list(self._touched.items()):
            if before is not None:
                assert isinstance(owner, Call)
                restore(owner, before)
            elif isinstance(owner, Call):
                del self._touched[owner]
                self._guard.call_acknowledged_or_ended(owner.id)
                self._drop_call(owner)

    def fail(self, owner: Owner, now: float) -> list[Action]:
        """Handle an exception in the turn of ``owner``: it gets another turn soon; after a second exception it ends."""
        self._touched.pop(owner, None)
        if owner not in self._failed:
            self._failed.add(owner)
            self._schedule.set(owner, now + T1)
            return []
        if isinstance(owner, Call):
            return self.abandon(owner, now)
        self.forget_transaction(owner)
        return []

    def succeeded(self, owner: Owner) -> None:
        """Note that the turn of ``owner`` raised no exception."""
        self._failed.discard(owner)

    def abandon(self, call: Call, now: float) -> list[Action]:
        """End a call whose turns raise exceptions, by BYE if possible. Its port becomes free when its stream ends."""
        self._failed.add(call)
        before = checkpoint(call)
        actions: list[Action] = []
        try:
            actions = call.hang_up("unexpected error in the server", SERVER_FAULT, now, resend=False)
        except Exception as error:
            restore(call, before)
            actions = [Fault(error, f"the end of call {call.id[:8]}")]
            if call.media.playing:
                actions.append(StopStream(call.id))
        call.abandon(now)
        self._touched.pop(call, None)
        self._schedule.set(call, None)
        self._guard.call_acknowledged_or_ended(call.id)
        if not call.media.stream_open:
            self._forget_call(call)
        return actions

    # -- timers ----------------------------------------------------------------------------------------------------

    @property
    def next_due(self) -> Optional[float]:
        """When the next timer expires; ``None`` while none is set."""
        return self._schedule.next_due

    def due(self, now: float) -> Iterator[Owner]:
        """The owners of the timers that have expired, the earliest first."""
        return self._schedule.due(now)

    @property
    def timers(self) -> int:
        """How many timers are set."""
        return len(self._schedule)

    @property
    def sizes(self) -> dict[str, int]:
        """The number of entries in each table, by its name."""
        return {
            "transactions": len(self.transactions),
            "merged requests": len(self.merged),
            "calls": len(self.calls),
            "limited calls": len(self.media_limits),
            "starting streams": len(self.starts),
            "dialogs": len(self.dialogs),
            "timers": self.timers,
        }

    # -- transactions ----------------------------------------------------------------------------------------------

    def open_transaction(self, key: Key, method: str, to_tag: str, flow: Flow, answer_to: Address) -> ServerTransaction:
        """Return the transaction of ``key``; make it if there is none. Its answers carry ``to_tag``."""
        transaction = self.transactions.get(key)
        if transaction is None:
            transaction = self.transactions[key] = ServerTransaction(key, method, to_tag, flow, answer_to)
        transaction.to_tag = to_tag
        self._answering[transaction] = None
        self.touch(transaction)
        return transaction

    def forget_transaction(self, transaction: ServerTransaction) -> None:
        """Remove a transaction from every table. If its request comes again, it counts as a new request."""
        self._touched.pop(transaction, None)
        self._failed.discard(transaction)
        self._schedule.set(transaction, None)
        self.transactions.pop(transaction.key, None)
        if transaction.merge_key is not None:
            self.merged.pop(transaction.merge_key, None)

    def remember_merged(self, transaction: ServerTransaction, request: Request) -> None:
        """Remember a first INVITE, so that copies of it that come another way are recognised (§8.2.2.2)."""
        transaction.merge_key = _merge_key(request.call_id, request.from_.tag, request.cseq.number, request.method)
        self.merged[transaction.merge_key] = transaction.key

    def is_merged(self, request: Request) -> bool:
        """Whether a request outside of any dialog is a copy of a request that came another way."""
        if request.to.tag:
            return False
        return _merge_key(request.call_id, request.from_.tag, request.cseq.number, request.method) in self.merged

    def forget_invite_of(self, call: Call) -> None:
        """Forget the transaction of the INVITE that made ``call``."""
        call_id, _, tag = call.dialog.id
        key = self.merged.get(_merge_key(call_id, tag, call.dialog.remote_cseq, "INVITE"))
        if key is not None and (transaction := self.transactions.get(key)) is not None:
            self.forget_transaction(transaction)

    # -- calls -----------------------------------------------------------------------------------------------------

    def add_call(self, call: Call) -> None:
        """Keep a call that has been answered."""
        self.calls[call.id] = self.dialogs[call.dialog.id] = call
        self._touched[call] = None  # ``None`` marks the call as new

    @property
    def active_calls(self) -> int:
        """How many calls go on."""
        return sum(not call.ended for call in self.calls.values())

    def call(self, call_id: str) -> Optional[Call]:
        """The call with this id, to be changed; ``None`` if the call is gone."""
        call = self.calls.get(call_id)
        if call is not None:
            self.touch(call)
        return call

    def streams_began(self, began: Iterable[StreamBegan], now: float) -> None:
        """Note in their calls that these streams play now; a call that is gone does not matter."""
        for call_id, serial, at in began:
            if (call := self.call(call_id)) is not None:
                call.media.began(serial)
                if serial == 1:
                    self.history.note_first_packet(call, at or now)

    def call_in_dialog(self, request: Request) -> Optional[Call]:
        """The call whose dialog a request names, to be changed; ``None`` if there is no such call."""
        call = self.dialogs.get(dialog_id(request))
        if call is not None:
            self.touch(call)
        return call

    def call_for(self, request: Request) -> Optional[Call]:
        """The call that a request is for, to be changed; ``None`` for a request outside of any call.

        Raises ``Refusal`` 481 if the To tag of the request names no call that goes on.
        """
        if not request.to.tag:
            return None
        call = self.call_in_dialog(request)
        if call is None or (call.ended and not (call.bye_pending and request.method == "BYE")):
            raise Refusal(481, "No call with these tags and this Call-ID")
        return call

    def call_of_response(self, response: Response) -> Optional[Call]:
        """The call that sent the request which ``response`` answers, to be changed; ``None`` for a stray response."""
        branch = response.via.params.get("branch", "")
        return self.call(branch[len(BRANCH) : len(BRANCH) + 16]) if branch.startswith(BRANCH) else None

    def _forget_call(self, call: Call) -> None:
        """Remove a finished call from every table, count what ended it and release its port."""
        if self._drop_call(call):
            self._counters.count(f"ended by {call.ended_by}")
            if call.noted != ENDED:
                self.history.note(call)  # a call that was given up

    def _drop_call(self, call: Call) -> bool:
        """Remove a call from every table and release its port. Return whether the call was still there."""
        self._schedule.set(call, None)
        self._failed.discard(call)
        self.media_limits.remove(call.id)
        self.starts.forget(call.id)
        self.dialogs.pop(call.dialog.id, None)
        if call.id not in self.calls:
            return False
        self.ports.release(call.media.origin.port)
        del self.calls[call.id]  # directly after the release: an exception between would release the port twice
        return True


def _merge_key(call_id: str, from_tag: str, cseq: int, method: str) -> Key:
    """The values that two copies of one request share if they come different ways (§8.2.2.2)."""
    return (call_id, from_tag, str(cseq), method)
