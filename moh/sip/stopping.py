"""The orderly stop of the server: no more calls, BYE to all at once or after a while, and waiting requests refused."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from ..common.actions import Action, Note
from ..common.amounts import amount
from ..common.errors import Refusal
from .admission import SERVER_STOPS
from .call import Call
from .invites import Invites
from .pending import PendingRequest, PendingRequests
from .registry import Registry
from .responder import Responder
from .turns import Turn, Turns


class Stopping:
    """Ends all calls. ``give_up`` refuses a waiting request whose refusal raised an exception."""

    def __init__(
        self, registry: Registry, pending: PendingRequests, responder: Responder, invites: Invites, turns: Turns,
        give_up: Callable[[PendingRequest, float], list[Action]],
    ) -> None:  # fmt: skip
        self._registry = registry
        self._pending = pending
        self._responder = responder
        self._invites = invites
        self._turns = turns
        self._give_up = give_up

    def close(self, grace: float, now: float) -> list[Action]:
        """Accept no more calls and send BYE to all; present calls may go on for ``grace`` seconds."""
        self._invites.admission.stop(grace, now)
        turns = [
            Turn("a request that waits", partial(self._refuse, waiting), partial(self._give_up, waiting))
            for waiting in self._pending.answerable(but_within_calls=grace > 0)
        ]
        for call in self._registry.calls.values():
            turns.append(Turn("a stop", partial(self._stop, call, grace), partial(self._stop_later, call, grace)))
        if grace:
            turns.append(Turn("a stop", partial(self._log_grace, grace), lambda now: []))
        return self._turns.take(turns, now)

    def _refuse(self, waiting: PendingRequest, now: float) -> list[Action]:
        return self._responder.refuse(self._pending.take_out(waiting, now), Refusal(503, "The server stops"), now)

    def _stop(self, call: Call, grace: float, now: float) -> list[Action]:
        self._registry.touch(call)
        if not grace:
            return call.hang_up("the server stops", SERVER_STOPS, now)
        call.end_at_latest(now + grace, SERVER_STOPS)
        return []

    def _stop_later(self, call: Call, grace: float, now: float) -> list[Action]:
        """The call could not end at once: let its next turn end it."""
        call.end_at_latest(now + grace, SERVER_STOPS)
        return self._registry.fail(call, now)

    def _log_grace(self, grace: float, now: float) -> list[Action]:
        calls = self._registry.active_calls
        text = f"the server stops: {amount(calls, 'call')} may go on for {grace:.0f} s"
        return [Note(logging.INFO, "", text)] if calls else []
