"""A thread that sends the packets of its fan-outs in time, and does all other work for its receivers in between.

Only this thread touches its fan-outs, so nothing is locked. Other threads put commands into its queue. Nothing here
knows of SIP.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import queue
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Union

from ..common.actions import StartStream, StopStream, StreamEnded
from ..common.codecs import Codec
from ..common.faults import FaultLog
from ..common.histogram import Histogram
from ..net.routes import neighbours
from ..net.sendmmsg import DestinationTable
from ..net.threads import drained, prefer_this_thread
from ..rtp.liveness import Verdict
from .fanout import COMMON_HEADER, MOST_RECEIVERS, Fanout, FanoutKey, Receiver, packet_rate
from .feedback import MOST_POLLED, Feedback, FeedbackReport, RtcpPacket
from .loop import Loop, LoopPair
from .reachability import Action, ReachabilityTable, Step
from .receivers import Receivers
from .reports import Reports
from .sources import Sources

EARLY = 0.0002
"""Seconds by which a packet may leave before its time. Another sleep and wake-up would take longer."""
LONGEST_SLEEP = 0.01
"""Seconds between two polls of the command queue at most, while there are receivers."""
RESERVED = 0.0005
"""Seconds before the next packet in which no other work is begun."""
LATENESS_BOUNDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 1.0)
"""Seconds by which packets leave after their time: the bounds of their histogram."""
CYCLE = 0.02
"""Seconds in which each fan-out with packets of 20 ms sends once."""
OFFSETS = (0, 10, 5, 15, 2, 12, 7, 17, 1, 11, 6, 16, 3, 13, 8, 18, 4, 14, 9, 19)
"""Milliseconds within ``CYCLE`` at which fan-outs send, in the order in which they are assigned: spread out, so that
there are no bursts."""
STAGGER = 0.0005
"""Seconds by which the second pacer sends later than the first, so that they do not send at the same time."""
POLL_INTERVAL, BUSY_POLL_INTERVAL = 0.1, 0.02
"""Seconds between two polls of the feedback; ``BUSY_POLL_INTERVAL`` counts if the last poll found datagrams."""
IDLE_POLL_INTERVAL = 1.0
"""Seconds between two polls of the feedback while this pacer has no receivers."""
CHECK_INTERVAL = 0.5
"""Seconds from one check of unreachable receivers to the next."""
INTERNAL_ERROR = "unexpected error in the shared stream"
"""Why a stream ends after a fault of this program; the log has the traceback."""

log = logging.getLogger("moh")

Command = Union[StartStream, StopStream, Loop, FeedbackReport, None]
"""A start or stop of a stream, a loop that has begun or failed, or feedback. ``None`` ends the pacer."""


class Pacer:
    """One thread with its fan-outs. Any thread may put commands into ``commands``."""

    def __init__(
        self,
        number: int,
        sockets: Mapping[bool, socket.socket],
        loops: Callable[[int, Codec, int], LoopPair],
        command_all: Callable[[FeedbackReport], None],
        ended: queue.SimpleQueue[StreamEnded],
        faults: FaultLog,
    ) -> None:
        """``sockets`` holds the IPv6 socket under ``True`` and the IPv4 socket under ``False``.

        ``loops`` returns the encoded loops of a tune for a codec and a ptime. The pacer with ``number`` 0 reads the
        feedback for all pacers, and passes it on by ``command_all``.
        """
        self.commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self.load = 0
        """Packets a second of the calls that ``SharedStream`` has assigned to this pacer. ``SharedStream`` sets it."""
        self._sockets = sockets
        self._loops = loops
        self._command_all = command_all
        self._ended = ended
        self._faults = faults
        self.receivers = Receivers()
        """Only ``Receivers.reports`` is for other threads."""
        self._waiting: dict[LoopPair, list[tuple[Receiver, int, FanoutKey]]] = {}
        self._reachability = ReachabilityTable()
        self._check_at = 0.0
        self._fanouts: dict[FanoutKey, list[Fanout]] = {}
        self._schedule: list[tuple[float, int, Fanout]] = []
        self._count = itertools.count()  # fan-outs that are due at the same time send in turn
        self._reports = Reports(sockets)
        self._load = dict.fromkeys(OFFSETS, 0)  # packets a second of the fan-outs at each offset
        self._stagger = number * STAGGER
        self._feedback = Feedback(sockets.values()) if number == 0 else None
        self._poll_at = self._congestion_check_at = 0.0
        self._sources = Sources(sockets)
        self._closing = False
        self._past = [0, 0, 0]  # packets sent, lost and skipped of fan-outs that have ended
        self._dropped = 0
        self.lateness = Histogram(LATENESS_BOUNDS)
        """How late packets left, counted once for each receiver. Any thread may read it."""
        self.thread = threading.Thread(target=self._run, name=f"pacer-{number}", daemon=True)
        self.thread.start()

    def stats(self) -> tuple[int, ...]:
        """The numbers of ``SharedStreamStats`` from ``fanouts`` on, in their sequence."""
        fanouts = [fanout for _, _, fanout in list(self._schedule)]
        past = [sum(column) for column in zip(self._past, *(fanout.stats() for fanout in fanouts))]
        back = (self._feedback.received, self._feedback.rtcp) if self._feedback else (0, 0)
        return (len(fanouts), *past, *back, self._dropped)

    def playing(self) -> Counter[str]:
        """The receivers that get packets now, by the name of their codec. Any thread may call this."""
        found: Counter[str] = Counter()
        for _, _, fanout in list(self._schedule):
            found[fanout.key.codec.name] += fanout.count
        return found

    def pairs(self) -> set[LoopPair]:
        """The loops that receivers hear now. Any thread may call this."""
        return {fanout.pair for _, _, fanout in list(self._schedule)}

    def senders(self) -> list[str]:
        """Hosts that have sent RTP or RTCP, each once at least, since the last call of this. For any thread."""
        return drained(self._feedback.senders) if self._feedback else []

    def rtcp(self) -> list[RtcpPacket]:
        """The RTCP packets that have come since the last call of this, 1,024 at most. For any one thread."""
        if self._feedback is None:
            return []
        packets = self._feedback.packets
        return [packets.popleft() for _ in range(len(packets))]

    # -- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        prefer_this_thread()
        while not (self._closing and not self.receivers):
            try:
                self._turn()
            except Exception as error:  # the thread must go on for its other receivers
                self._faults.report(error, time.monotonic())
                time.sleep(LONGEST_SLEEP)

    def _turn(self) -> None:
        if not self._schedule:
            self._idle()
            return
        now = time.monotonic()
        ahead = self._schedule[0][0] - now
        if ahead <= EARLY:
            self._send_packet(self._schedule[0][2], now)
            if not self.commands.empty() and self._schedule and self._schedule[0][0] - now <= 2 * RESERVED:
                self._handle_command(self.commands.get())  # even without time to spare, commands must have their turn
        elif ahead <= RESERVED or not self._do_other_work(now):
            time.sleep(min(ahead, LONGEST_SLEEP))

    def _idle(self) -> None:
        """While no receiver gets music: wait for a command, and poll the feedback to packets of other pacers."""
        self._reports.clear()
        paused = self._reachability.has_paused
        timeout = CHECK_INTERVAL if paused else IDLE_POLL_INTERVAL if self._feedback else None
        try:
            self._handle_command(self.commands.get(timeout=timeout))
        except queue.Empty:
            if self._feedback:
                self._try(self._poll, self._feedback, time.monotonic())
        if paused and self._check_at <= time.monotonic():
            self._try(self._check_reachability, time.monotonic())

    def _try(self, step: Callable[..., None], *args: Any) -> bool:
        """Call ``step`` and return whether it succeeded. A fault is reported, and the thread goes on."""
        try:
            step(*args)
        except Exception as error:
            self._faults.report(error, time.monotonic())
            return False
        return True

    def _send_packet(self, fanout: Fanout, now: float) -> None:
        if fanout.count:
            self.lateness.add(now - fanout.due, fanout.count)
            if not self._try(fanout.send_due, now):
                for receiver in fanout.receivers:
                    self._try(self._end, receiver, INTERNAL_ERROR)
        if fanout.count:
            heapq.heapreplace(self._schedule, (fanout.due, next(self._count), fanout))
        else:
            heapq.heappop(self._schedule)
            self._past = [sum(column) for column in zip(self._past, fanout.stats())]
            self._fanouts[fanout.key].remove(fanout)
            if not self._fanouts[fanout.key]:
                del self._fanouts[fanout.key]
        if self._feedback and now >= self._congestion_check_at and self._feedback.is_congested():
            self._poll_at, self._congestion_check_at = now, now + BUSY_POLL_INTERVAL

    def _do_other_work(self, now: float) -> bool:
        """Do one piece of other work. Return whether there was any."""
        if not self.commands.empty():
            self._handle_command(self.commands.get())
        elif self._reports.is_due(now):
            if (receiver := self._reports.pop()) is not None:
                self._try(self._report, receiver, now)
        elif self._feedback and self._poll_at <= now:
            self._try(self._poll, self._feedback, now)
        elif self._check_at <= now:
            self._try(self._check_reachability, now)
        else:
            return False
        return True

    def _handle_command(self, command: Command) -> None:
        try:
            if isinstance(command, StartStream):
                self._start(command)
            elif isinstance(command, StopStream):
                if (receiver := self.receivers.get(command.call)) is not None:
                    self._end(receiver, "stopped")
            elif isinstance(command, Loop):
                self._loop_changed(command)
            elif command is None:
                self._closing = True
                for receiver in list(self.receivers):
                    self._try(self._end, receiver, "the server stops")
            else:
                self._handle_feedback(command, time.monotonic())
        except Exception as error:
            self._faults.report(error, time.monotonic(), type(command).__name__)
            if isinstance(command, StartStream):
                receiver = self.receivers.get(command.call) or Receiver(command.call, command.serial, command.target)
                self._try(self._end, receiver, repr(error))

    # -- receivers come and go ---------------------------------------------------------------------------------------

    def _start(self, order: StartStream) -> None:
        """Add a receiver, or move it to another fan-out. It waits until the first part of its loop is encoded."""
        receiver = self.receivers.get(order.call)
        if receiver is None:
            receiver = Receiver(order.call, order.serial, order.target)
        else:
            self._leave(receiver)
            self.receivers.remove(receiver)
            receiver.serial, receiver.target = order.serial, order.target
        self.receivers.add(receiver)
        if self._closing:
            self._end(receiver, "the server stops")
            return
        target = order.target
        ipv6 = ":" in target.remote.host
        if ipv6 not in self._sockets:
            why = f"this machine has no {'IPv6' if ipv6 else 'IPv4'} to reach {target.remote}"
            self._end(receiver, why, "host unreachable")
            return
        key = FanoutKey(order.tune, target.codec, target.ptime, ipv6, order.serial % 2)
        pair = self._loops(order.tune, target.codec, target.ptime)
        # a call that has heard music before, and was held or moved, is no new one
        receiver.plain_for, receiver.plain_until = max(0.0, pair.plain_for - order.position), 0.0
        if pair.ready:
            self._join(receiver, key, pair)
        else:
            self._waiting.setdefault(pair, []).append((receiver, order.serial, key))

    def _loop_changed(self, loop: Loop) -> None:
        """Let the receivers that wait for ``loop`` join, if it is ready; end all its receivers, if it has failed."""
        for pair in [pair for pair in self._waiting if pair.has(loop) and (pair.ready or pair.failure)]:
            for receiver, serial, key in self._waiting.pop(pair):
                if self.receivers.get(receiver.call) is not receiver or receiver.serial != serial:
                    continue  # the receiver was stopped or moved meanwhile
                if pair.failure:
                    self._end(receiver, pair.failure)
                else:
                    self._join_or_end(receiver, key, pair)
        for fanout in [fanout for _, _, fanout in self._schedule if fanout.loop is loop and loop.failure]:
            for receiver in fanout.receivers:
                self._end(receiver, loop.failure)

    def _join_or_end(self, receiver: Receiver, key: FanoutKey, pair: LoopPair) -> None:
        """Let a receiver join. If that fails, its stream ends, and the thread goes on with the other receivers."""
        if not self._try(self._join, receiver, key, pair):
            self._end(receiver, INTERNAL_ERROR)

    def _join(self, receiver: Receiver, key: FanoutKey, pair: LoopPair) -> None:
        now = time.monotonic()
        pair.wake()
        fanouts = self._fanouts.setdefault(key, [])
        # choose the fullest fan-out that has room, so that emptier fan-outs lose their receivers and end
        room = [each for each in fanouts if each.count < MOST_RECEIVERS and each.pair is pair]
        fanout = max(room, key=lambda each: each.count) if room else self._open(key, pair, now)
        if receiver.plain_for:
            receiver.plain_for, receiver.plain_until = 0.0, now + receiver.plain_for
        receiver.source = self._sources.find(key.ipv6, receiver.target.local.host, receiver.target.remote.host, now)
        fanout.join(receiver)
        self._load[fanout.offset] += packet_rate(key.ptime)
        self._reports.plan_first(receiver, now)

    def _open(self, key: FanoutKey, pair: LoopPair, now: float) -> Fanout:
        """Open a fan-out at the offset within ``CYCLE`` at which the fewest packets are sent."""
        offset = min(self._load, key=lambda each: self._load[each])
        due = now - now % CYCLE + offset / 1000 + self._stagger
        due += CYCLE * (due < now + EARLY)
        chance = (secrets.randbits(32), secrets.randbits(16), secrets.randbits(32))
        sock, octets, began = self._sockets[key.ipv6], COMMON_HEADER.size + key.octets, pair.loop.began
        plain_table = DestinationTable(sock, octets) if pair.plain_for else None
        began = due if began is None else began
        fanout = Fanout(key, pair, DestinationTable(sock, octets), began, due, offset, chance, plain_table)
        self._fanouts[key].append(fanout)
        heapq.heappush(self._schedule, (due, next(self._count), fanout))
        return fanout

    def _leave(self, receiver: Receiver, silently: bool = False) -> None:
        """Remove a receiver from its fan-out. Unless ``silently``, send it an RTCP BYE first."""
        self._reachability.forget(receiver)
        fanout = receiver.fanout
        if fanout is None:
            return
        if not silently:
            self._try(self._reports.send_bye, receiver, time.monotonic())
        fanout.leave(receiver)
        self._load[fanout.offset] -= packet_rate(fanout.key.ptime)
        receiver.report_at = 0.0

    def _end(self, receiver: Receiver, why: str, hopeless: str = "") -> None:
        try:
            self._leave(receiver)
        finally:
            self.receivers.remove(receiver)
            self._ended.put(StreamEnded(receiver.call, receiver.serial, why, hopeless))

    # -- feedback ----------------------------------------------------------------------------------------------------

    def _report(self, receiver: Receiver, now: float) -> None:
        """Send the sender report that is due, unless the receiver has sent RTCP BYE for good."""
        if (verdict := self._reachability.bye_verdict(receiver, now)) is not None:
            self._drop(receiver, verdict)
        else:
            self._reports.send_report(receiver, now)

    def _poll(self, feedback: Feedback, now: float) -> None:
        """Poll the feedback. If the poll took as many datagrams as it can, poll again at once."""
        count = feedback.poll()
        self._poll_at = now + (0.0 if count == MOST_POLLED else BUSY_POLL_INTERVAL if count else POLL_INTERVAL)
        if (report := feedback.report(now)) is not None:
            self._command_all(report)

    def _handle_feedback(self, report: FeedbackReport, now: float) -> None:
        for step in self._reachability.feedback(report, self.receivers.concerned(report), now):
            self._carry_out(step, now)

    def _check_reachability(self, now: float) -> None:
        """Check the receivers that are paused, and those to which no local interface leads."""
        self._check_at = now + CHECK_INTERVAL
        for fanout in [fanout for _, _, fanout in self._schedule if fanout.no_route]:
            receivers = [receiver for receiver in fanout.no_route if receiver.fanout is fanout]
            for step in self._reachability.no_route(receivers, now):
                self._carry_out(step, now)
        if self._reachability.has_paused:
            for step in self._reachability.check(neighbours(), now):
                self._carry_out(step, now)

    def _carry_out(self, step: Step, now: float) -> None:
        receiver, fanout = step.receiver, step.receiver.fanout
        if step.action is Action.DROP:
            self._drop(receiver, step.verdict)
        elif step.action is Action.PROBE:
            self._reports.send_probe(receiver)
        elif step.action is Action.PAUSE and fanout is not None:
            self._leave(receiver, silently=True)  # no BYE, because the receiver may get the same SSRC again later
            self._reachability.pause(receiver, fanout.key, fanout.pair, now)
            log.debug("[%s] host unreachable at %s", receiver.call, receiver.target.remote)
        elif step.action is Action.RESUME and (paused := self._reachability.forget(receiver)) is not None:
            self._join_or_end(receiver, paused.key, paused.pair)

    def _drop(self, receiver: Receiver, verdict: Verdict) -> None:
        self._dropped += bool(verdict.hopeless)
        self._end(receiver, *verdict)
