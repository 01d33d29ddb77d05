"""Turns: the handling of one message, timer or event, each of which may raise an unexpected exception.

The law kept here: an exception costs only the owner in whose turn it was raised. The turn has changed no call then, and
the actions of all other turns are performed.
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
    """What a call, a transaction or a waiting request has to do now. ``failed`` follows if ``step`` raises."""

    about: str
    step: Step
    failed: Step


class Turns:
    """Takes turns, and settles what each has touched."""

    def __init__(self, registry: Registry, pending: PendingRequests, responder: Responder) -> None:
        self._registry = registry
        self._pending = pending
        self._responder = responder

    def take(self, turns: Iterable[Turn], now: float) -> list[Action]:
        """The actions of all turns, and a ``Fault`` for each exception."""
        actions: list[Action] = []
        try:
            for turn in turns:
                try:
                    actions += self.settled(turn.step(now), now)
                except Exception as error:
                    actions.append(Fault(error, turn.about))
                    self.roll_back()
                    actions += self.settled(turn.failed(now), now)
        except Exception as error:  # in what follows a fault, or in what yields the turns
            actions.append(Fault(error, "the turns of all calls"))
        return actions

    def settled(self, actions: list[Action], now: float) -> list[Action]:
        """What may be performed of the ``actions`` of a turn, which ends with this."""
        return [*self._responder.permitted(actions, now), *self._registry.settle(now)]

    def roll_back(self) -> None:
        """Undo what the present turn has changed, because its actions are lost."""
        self._registry.roll_back()
        self._pending.roll_back()
