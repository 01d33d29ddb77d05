"""Turns: the handling of one message, timer or event, each of which may raise an unexpected exception.

The law kept here: an exception costs only the call or transaction in whose turn it was raised. That turn then has
changed no call, and the actions of all other turns are performed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from ..common.actions import Action, Fault
from .pending import PendingRequests
from .registry import Registry
from .responder import Responder

Step = Callable[[float], list[Action]]


class Turn(NamedTuple):
    """One step of a call, a transaction or a waiting request. ``failed`` is called if ``step`` raises an exception."""

    about: str
    step: Step
    failed: Step


class Turns:
    """Runs turns, and settles the calls and transactions that each turn has touched."""

    def __init__(self, registry: Registry, pending: PendingRequests, responder: Responder) -> None:
        self._registry = registry
        self._pending = pending
        self._responder = responder

    def take(self, turns: Iterable[Turn], now: float) -> list[Action]:
        """Run all turns. Return their actions, and a ``Fault`` for each exception."""
        actions: list[Action] = []
        try:
            for turn in turns:
                try:
                    actions += self.settled(turn.step(now), now)
                except Exception as error:
                    actions.append(Fault(error, turn.about))
                    self.roll_back()
                    actions += self.settled(turn.failed(now), now)
        except Exception as error:  # raised by ``turn.failed``, or by the iterator of the turns
            actions.append(Fault(error, "the turns of all calls"))
        return actions

    def settled(self, actions: list[Action], now: float) -> list[Action]:
        """End a turn that has the ``actions``: settle what it touched. Return the actions that may be performed."""
        return self._responder.permitted(actions, now) + self._registry.settle(now)

    def roll_back(self) -> None:
        """Undo what the present turn has changed, because its actions are lost."""
        self._registry.roll_back()
        self._pending.roll_back()
