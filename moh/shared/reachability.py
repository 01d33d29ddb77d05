"""Decides what happens to receivers that packets do not reach: they are dropped, or paused and probed.

This module takes reports and the time, and returns steps, which the pacer carries out. The law kept here: a receiver is
paused only if packets to it would block the packets to all others; otherwise it gets music until it is dropped.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Optional

from ..common.actions import Address
from ..rtp.liveness import (
    BYE_RECEIVED,
    BYE_TIMEOUT,
    HOST_ERROR_GAP,
    HOST_UNREACHABLE_TIMEOUT,
    PORT_ERROR_GAP,
    PORT_UNREACHABLE_TIMEOUT,
    SEND_ERROR_GAP,
    Streak,
    Unreachable,
    Verdict,
    host_unreachable,
    port_unreachable,
)
from .fanout import FanoutKey, Receiver
from .feedback import FeedbackReport
from .loop import LoopPair


class ErrorKind(NamedTuple):
    """A kind of error. A streak of such errors that lasts for ``timeout`` seconds drops the receiver."""

    name: str
    gap: float
    """Seconds without an error after which the streak starts again."""
    timeout: float


PORT_ERROR = ErrorKind("port unreachable", PORT_ERROR_GAP, PORT_UNREACHABLE_TIMEOUT)
HOST_ERROR = ErrorKind("host unreachable", HOST_ERROR_GAP, HOST_UNREACHABLE_TIMEOUT)
"""The error that a host on the way to the receiver reports."""
SEND_ERROR = ErrorKind("no route", SEND_ERROR_GAP, HOST_UNREACHABLE_TIMEOUT)
"""The error that this machine's kernel reports when a packet is to be sent."""


class Action(enum.Enum):
    """What to do with a receiver."""

    DROP = enum.auto()
    PAUSE = enum.auto()
    PROBE = enum.auto()
    RESUME = enum.auto()


class Step(NamedTuple):
    """One action for one receiver. If the receiver is dropped, the step has a verdict."""

    action: Action
    receiver: Receiver
    verdict: Verdict = Verdict("", "")


class Paused(NamedTuple):
    """The state of a receiver that gets no music now, and the stream that it got before."""

    key: FanoutKey
    pair: LoopPair
    state: Unreachable


class Reachability:
    """What is known about the way to one receiver."""

    __slots__ = ("_streaks", "bye_at", "paused")

    def __init__(self) -> None:
        self._streaks: dict[str, Streak] = {}
        self.bye_at: Optional[float] = None
        """When the receiver's RTCP BYE came; ``None`` if no BYE came, or if other RTCP came after it."""
        self.paused: Optional[Paused] = None

    def note(self, kind: ErrorKind, address: Address, now: float) -> Optional[Verdict]:
        """Note one more error of a packet to ``address``. Return a verdict if the receiver is to be dropped."""
        if (streak := self._streaks.get(kind.name)) is None:
            streak = self._streaks[kind.name] = Streak(now, kind.gap)
        seconds = streak.extend(now)
        if seconds < kind.timeout:
            return None
        return port_unreachable(address, seconds) if kind is PORT_ERROR else host_unreachable(address)


class ReachabilityTable:
    """What is known about the receivers of one pacer. Most receivers have no entry."""

    def __init__(self) -> None:
        self._entries: dict[Receiver, Reachability] = {}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def has_paused(self) -> bool:
        """Whether any receiver is paused."""
        return any(entry.paused for entry in self._entries.values())

    def forget(self, receiver: Receiver) -> Optional[Paused]:
        """Remove the entry of a receiver that has ended, resumes or moves. Return its state if it was paused."""
        entry = self._entries.pop(receiver, None)
        return entry.paused if entry is not None else None

    def pause(self, receiver: Receiver, key: FanoutKey, pair: LoopPair, now: float) -> None:
        """Note that a receiver gets no music for now. Its former errors no longer count."""
        entry = self._entries[receiver] = Reachability()
        entry.paused = Paused(key, pair, Unreachable(now))

    def feedback(self, report: FeedbackReport, receivers: Iterable[Receiver], now: float) -> list[Step]:
        """The steps that follow from ``report``. ``receivers`` are all receivers that the report may concern."""
        if report.silent_hosts:
            for receiver, entry in self._entries.items():
                if entry.paused and receiver.target.remote.host in report.silent_hosts:
                    entry.paused.state.note_error(now)
        steps = []
        for receiver in receivers:
            if receiver.fanout is None:
                continue
            remote = receiver.target.remote
            if remote.host in report.silent_hosts:
                steps.append(Step(Action.PAUSE, receiver))
            elif remote in report.port_unreachable:
                steps += self._note(PORT_ERROR, receiver, now)
            elif remote in report.host_unreachable:
                steps += self._note(HOST_ERROR, receiver, now)
            elif receiver.rtcp in report.bye:
                entry = self._entry(receiver)
                entry.bye_at = now if entry.bye_at is None else entry.bye_at
            elif receiver.rtcp in report.rtcp and receiver in self._entries:
                self._entries[receiver].bye_at = None
        return steps

    def no_route(self, receivers: Iterable[Receiver], now: float) -> list[Step]:
        """The steps that follow if the kernel has just found no route to ``receivers``."""
        return [step for receiver in receivers for step in self._note(SEND_ERROR, receiver, now)]

    def check(self, answers: Mapping[str, bool], now: float) -> list[Step]:
        """The steps that are due for paused receivers. ``answers`` says for each neighbour whether it answers ARP."""
        steps = []
        for receiver, entry in self._entries.items():
            if entry.paused is None:
                continue
            remote, state = receiver.target.remote, entry.paused.state
            if entry.paused.pair.failure:
                steps.append(Step(Action.DROP, receiver, Verdict(entry.paused.pair.failure, "")))
            elif state.timed_out(now):
                steps.append(Step(Action.DROP, receiver, host_unreachable(remote)))
            elif state.is_reachable(answers.get(remote.host), now):
                steps.append(Step(Action.RESUME, receiver))
            elif state.probe_due(now):
                steps.append(Step(Action.PROBE, receiver))
        return steps

    def bye_verdict(self, receiver: Receiver, now: float) -> Optional[Verdict]:
        """The verdict on a receiver that has sent RTCP BYE, and no other RTCP for ``BYE_TIMEOUT``."""
        entry = self._entries.get(receiver)
        left = entry is not None and entry.bye_at is not None and now - entry.bye_at >= BYE_TIMEOUT
        return BYE_RECEIVED if left else None

    def _entry(self, receiver: Receiver) -> Reachability:
        if (entry := self._entries.get(receiver)) is None:
            entry = self._entries[receiver] = Reachability()
        return entry

    def _note(self, kind: ErrorKind, receiver: Receiver, now: float) -> list[Step]:
        verdict = self._entry(receiver).note(kind, receiver.target.remote, now)
        return [Step(Action.DROP, receiver, verdict)] if verdict else []
