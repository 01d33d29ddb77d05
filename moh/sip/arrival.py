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
            if call is not None and call.reported(report, now):
                actions += self._nothing_arrives(call, report, now)
        return actions

    def _nothing_arrives(self, call: Call, report: StreamReport, now: float) -> list[Action]:
        wanted, port = call.media.wanted, call.media.origin.port
        assert wanted is not None, "its stream plays"
        reported = f"the receiver {wanted.remote} reports that nothing arrives"
        if not call.reception.named:
            reported = f"no report of the receiver {wanted.remote} names a packet of the music"
        text = (
            f"{reported}, for {call.reception.silent_for:.0f} s, while about {report.sent} packets were sent; expected "
            f"a way for UDP from port {port} of this server to {wanted.remote}, through each firewall between them"
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
            f"the music goes to {wanted.remote}, a private address, but the caller {flow.remote.host} is outside: it "
            f"arrives only if that address is in a network of this server. If the receiver is at the caller's, "
            f"the caller's phone or PBX must give its public address instead (its NAT or STUN setting)"
        )
        return self._responder.log_first(PRIVATE_ADDRESS, flow, text, now, logging.WARNING, call.id)
