"""The radios: a process of their own (``python3 -m moh.radio``), which runs only while there are radios.

It writes each radio into a ring of files, ahead of the calls that read it. The law kept here: while that process is
away, calls go on from what the rings hold, and the next process goes on with the same rings.

Only the main thread uses this module.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Optional

from ..common.faults import FaultLog
from .child import Child, Message
from .named_music import Files, Ring, as_message, ring_of

COMMAND = (sys.executable, "-m", "moh.radio")
ENDED = "the radios' process has ended: %s. Calls go on; it starts again in %g s"
MOST_AT_ONCE = 50
"""Messages that are handled in one turn."""
RETRY_EVERY = 60.0
"""Seconds until a thread that the system could not start is tried again."""
CONNECTING, PLAYS, AWAY = "connecting", "plays", "away"
MOST_TEXT = 500
"""Characters of a text that are kept."""


class Fallback(NamedTuple):
    """What a radio plays while its source is away. ``owner`` keeps the files in the cache."""

    files: Files
    seconds: float
    owner: object


@dataclass
class Radio:
    """One radio, as it is known now."""

    addresses: tuple[str, ...]
    lists: bool
    fallback: Fallback
    ring: Optional[Ring] = None
    state: str = CONNECTING
    why: str = ""
    address: str = ""
    title: str = ""
    since: float = field(default_factory=time.monotonic)
    """When this state began, by the monotonic clock."""
    reconnects: int = 0
    ever_played: bool = False
    former: Optional[Fallback] = None  # the process may still read it

    def order(self, name: str) -> Message:
        """The order to play it."""
        ring = self.ring
        return {
            "do": "play", "name": name, "addresses": list(self.addresses), "lists": self.lists,
            "fallback": as_message(self.fallback.files), "fallback_seconds": self.fallback.seconds,
            "ring": None if ring is None else {"files": as_message(ring.files), "began": ring.began},
        }  # fmt: skip


class Radios:
    """Keeps the process of the radios running while there are any."""

    def __init__(self, environment: Optional[Mapping[str, str]] = None, command: Sequence[str] = COMMAND) -> None:
        self.faults = FaultLog("the radios")
        self.radios: dict[str, Radio] = {}
        self._environment = environment
        self._command = command
        self._child: Optional[Child] = None
        self._ended: list[Child] = []
        self._starts = 0
        self._start_at = 0.0

    def play(self, name: str, addresses: tuple[str, ...], lists: bool, fallback: Fallback) -> None:
        """Play this radio, or change it."""
        radio = self.radios.get(name)
        if radio is None:
            radio = self.radios[name] = Radio(addresses, lists, fallback)
        elif (radio.addresses, radio.lists, *radio.fallback[:2]) == (addresses, lists, *fallback[:2]):
            return
        else:
            radio.former = radio.fallback
            radio.addresses, radio.lists, radio.fallback = addresses, lists, fallback
        self._send(radio.order(name))

    def stop(self, name: str) -> None:
        """Play this radio no more. The process ends with the last one."""
        if self.radios.pop(name, None) is not None:
            self._send({"do": "stop", "name": name})
        if not self.radios and self._child is not None:
            self._child.end()
            self._ended = [child for child in self._ended if not child.has_ended] + [self._child]
            self._child = None

    def service(self, now: float) -> bool:
        """Start the process if it is needed, and handle its messages. Return whether a ring is new."""
        if not self.radios:
            return False
        if self._child is None:
            self._child = Child(
                "the radios", ENDED, self._command, self.faults, converses=True, environment=self._environment
            )
            self._starts, self._start_at = 0, 0.0
        child = self._child
        if not child.started and now >= self._start_at:
            self._start_at = now + RETRY_EVERY
            child.start()
        if child.starts != self._starts:
            self._starts = child.starts
            for name, radio in self.radios.items():
                self._send(radio.order(name))
        has_new_ring = False
        for message in child.drain(MOST_AT_ONCE):
            try:
                has_new_ring |= self._handle(message, now)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                self.faults.report(error, now, f"a message of the radios: {str(message)[:200]}")
        return has_new_ring

    def end(self) -> None:
        """Have the process end soon."""
        if self._child is not None:
            self._child.end()

    def close(self) -> None:
        """End the process."""
        for child in filter(None, (*self._ended, self._child)):
            child.close()

    def _send(self, order: Message) -> None:
        if self._child is not None and self._child.starts:
            self._child.send(order)  # one that has not started yet gets all orders then

    def _handle(self, message: Message, now: float) -> bool:
        radio = self.radios.get(str(message["name"]))
        if radio is None:
            return False  # it was stopped meanwhile
        if message["what"] == "ring":
            ring = ring_of(message)
            is_new, radio.ring = ring != radio.ring, ring
            return is_new
        if message["what"] == "radio":
            self._note_state(radio, message, now)
        return False

    def _note_state(self, radio: Radio, message: Message, now: float) -> None:
        def text(member: str) -> str:
            found: Any = message.get(member)
            return str(found or "")[:MOST_TEXT]

        state = text("state")
        if state != radio.state:
            radio.reconnects += state == PLAYS and radio.ever_played
            radio.ever_played |= state == PLAYS
            radio.since = now
        radio.state, radio.why, radio.address, radio.title = state, text("why"), text("address"), text("title")
