"""Whether the music arrives: the warnings that the owner gets where it seems to reach no receiver.

The law kept here: a warning says what is known and never guesses why; each has a bounded rate.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from ..common.actions import Action, Flow
from ..guard.media_policy import MediaPolicy
from ..rtp.reception import StreamReport
from .call import Call
from .registry import Registry
from .responder import Responder

NOTHING_ARRIVES = "nothing arrives"
PRIVATE_ADDRESS = "private address from outside"
"""The names under which the warnings are counted."""


class Arrival:
    """Takes the reports of receivers, and warns."""

    def __init__(self, registry: Registry, responder: Responder, destinations: MediaPolicy) -> None:
        self._registry = registry
        self._responder = responder
        self._destinations = destinations

    def reported(self, reports: Iterable[StreamReport], now: float) -> list[Action]:
        """Note what receivers report. Warn of a call in which packets are sent and none arrives any more."""
        actions: list[Action] = []
        for report in reports:
            call = self._registry.calls.get(report.call)
            if call is None:
                continue
            before = call.reception
            if call.reported(report, now):
                actions += self._nothing_arrives(call, report, now)
            self._registry.history.note_reception(before, call.reception)
        return actions

    def _nothing_arrives(self, call: Call, report: StreamReport, now: float) -> list[Action]:
        wanted, port = call.media.wanted, call.media.origin.port
        assert wanted is not None, "its stream plays"
        seconds = f"{call.reception.silent_for:.0f} s"
        if call.reception.named:
            reported = f"the receiver {wanted.remote} has reported for {seconds} that no music arrives"
        else:
            reported = f"for {seconds}, no report of the receiver {wanted.remote} has named a packet of the music"
        text = (
            f"{reported}; the server sent about {report.sent} packets. Allow UDP from port {port} of this server to "
            f"{wanted.remote} in each firewall between them"
        )
        flow = call.dialog.flow
        return self._responder.log_first(NOTHING_ARRIVES, flow, text, now, logging.WARNING, call.id)

    def check_destination(self, flow: Flow, call: Call, now: float) -> list[Action]:
        """Warn where the caller is on the internet, and the address that it gives for the music is private."""
        wanted = call.media.wanted
        if wanted is None or not wanted.playing:
            return []
        if not self._destinations.is_private_from_outside(flow, wanted.remote.host):
            return []
        text = (
            f"the music goes to {wanted.remote}, a private address, but the caller's address {flow.remote.host} is not "
            f"private. The music arrives only if {wanted.remote.host} is in a network of this server. If it is in the "
            f"caller's network, set the public address (NAT, STUN) in the phone or PBX"
        )
        return self._responder.log_first(PRIVATE_ADDRESS, flow, text, now, logging.WARNING, call.id)
