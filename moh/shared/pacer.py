"""A thread that lets packets leave in time, and does what else belongs to the callers it has between two packets.

It alone touches its batches, so nothing is locked; whoever wants something leaves a word. Nothing here knows of SIP.
More than 300 lines, because all that one thread does is to be read in one place.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import queue
import random
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Union

from ..common.actions import Address, StartStream, StopStream, StreamEnded
from ..common.addresses import is_loopback
from ..common.codecs import Codec
from ..net.routes import neighbours, way_out
from ..net.sendmmsg import DestinationTable
from ..net.sockets import destination, leaving_from
from ..net.threads import Thread
from ..rtp.liveness import (
    BYE_RECEIVED,
    BYE_TIMEOUT,
    HOST_ERROR_GAP,
    HOST_UNREACHABLE_TIMEOUT,
    PORT_UNREACHABLE_TIMEOUT,
    SEND_ERROR_GAP,
    Streak,
    Unreachable,
    Verdict,
    host_unreachable,
    port_unreachable,
)
from ..rtp.rtcp import cname_of, empty_report, report_and_bye, sender_report, source_description
from .encoded_loop import EncodedLoop
from .fanout import FULL, RTP_HEADER, Fanout, Receiver, Shape
from .feedback import AT_ONCE, Feedback, FeedbackReport

EARLY = 0.0002
"""Seconds that a packet may leave before its time: less than another wake-up would cost."""
NAP = 0.01
"""Longest time in seconds until words are looked at while somebody listens."""
SLACK = 0.0005
"""Seconds before the next packet that are not begun to be filled with other work."""
PERIOD = 0.02
"""Seconds in which the moments of all batches come round."""
MOMENTS = (0, 10, 5, 15, 2, 12, 7, 17, 1, 11, 6, 16, 3, 13, 8, 18, 4, 14, 9, 19)
"""Milliseconds after which batches leave one after another, so that the wire sees no bursts; in the order of taking."""
REPORT_EVERY = 5.0 / 1.21828
"""Seconds between sender reports to a caller, times 0.5 to 1.5 (RFC 3550 §6.3.1)."""
LOOK_EVERY, LOOK_AGAIN = 0.1, 0.02
"""Seconds from one look at what came back to the next, and where something had."""
WAY_OUT_HOLDS = 5.0
"""Seconds for which it is believed that an address is ours, or not."""
REST = 1.0
"""The same where the thread that looks has no callers itself."""
STUMBLED = "the shared stream stumbled"
"""Why the stream of a caller ends, or what the log says, after a fault of ours."""
ATTEND_EVERY = 0.5
"""Seconds from one look at those to whom there may be no way to the next."""

log = logging.getLogger("moh")

Word = Union[StartStream, StopStream, EncodedLoop, FeedbackReport, None]
"""What is left for a pacer: an order; frames that are ready or in trouble; what came back; the end."""


class Pacer:
    """One thread with its batches. ``words`` takes words from any thread; ``callers`` is kept by who hands them out."""

    def __init__(
        self,
        frames: Callable[[int, Codec, int], EncodedLoop],
        tell_all: Callable[[FeedbackReport], None],
        number: int,
        sockets: Mapping[bool, socket.socket],
        ended: queue.SimpleQueue[StreamEnded],
    ) -> None:
        """``sockets`` by whether they are IPv6; ``frames`` gives those of a tune in a codec of a ptime.

        ``tell_all`` tells every pacer what came back; that of number 0 reads it.
        """
        self.words: queue.SimpleQueue[Word] = queue.SimpleQueue()
        self.callers = 0
        self._frames = frames
        self._tell_all = tell_all
        self._sockets = sockets
        self._ended = ended
        self._members: dict[str, Receiver] = {}
        self._waiting: dict[EncodedLoop, list[tuple[Receiver, int, Shape]]] = {}
        self._doubts: dict[Receiver, Streak] = {}
        self._took_leave: dict[Receiver, float] = {}
        self._lost: dict[Receiver, tuple[Shape, EncodedLoop, Unreachable]] = {}
        self._astray: dict[Receiver, Streak] = {}  # as our kernel says
        self._no_way: dict[Receiver, Streak] = {}  # as somebody on it says
        self._attend_at = 0.0
        self._batches: dict[Shape, list[Fanout]] = {}
        self._count = itertools.count()  # what is due at the same time is taken in turn
        self._due: list[tuple[float, int, Fanout]] = []
        self._reports: list[tuple[float, int, Receiver]] = []
        self._load = dict.fromkeys(MOMENTS, 0)
        self._shift = number * 0.0005  # two threads do not begin at the same moment
        self._post = Feedback(sockets.values()) if number == 0 else None
        self._look_at = self._crowd_at = 0.0
        self._ways_out: dict[tuple[str, bool, bool], tuple[str, float]] = {}
        self._closing = False
        self._past = [0, 0, 0]  # packets sent, lost and skipped of batches that are no more
        self._given_up = 0
        self.thread = Thread(self._run, f"pacer-{number}")
        self.thread.start()

    def stats(self) -> tuple[int, ...]:
        """Batches now; packets sent, lost and skipped; datagrams heard, reports among them, callers given up."""
        batches = [batch for _, _, batch in list(self._due)]
        past = [sum(column) for column in zip(self._past, *(batch.stats() for batch in batches))]
        back = (self._post.heard, self._post.reports) if self._post else (0, 0)
        return (len(batches), *past, *back, self._given_up)

    # -- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not (self._closing and not self._members):
            try:
                self._turn()
            except Exception:  # no memory for one turn, say: the thread has to go on, all its callers hang on it
                time.sleep(NAP)

    def _turn(self) -> None:
        if not self._due:
            self._rest()
            return
        now = time.monotonic()
        ahead = self._due[0][0] - now
        if ahead <= EARLY:
            self._play(self._due[0][2], now)
            if not self.words.empty() and self._due and self._due[0][0] - now <= 2 * SLACK:
                self._hear(self.words.get())  # even where there is no time to spare, everybody's turn has to come
        elif ahead <= SLACK or not self._work(now):
            time.sleep(min(ahead, NAP))

    def _rest(self) -> None:
        """Nobody listens here: wait for a word, and look now and then what comes back to the other threads' packets."""
        self._reports.clear()
        try:
            self._hear(self.words.get(timeout=ATTEND_EVERY if self._lost else REST if self._post else None))
        except queue.Empty:
            if self._post:
                self._try(self._look, self._post, time.monotonic())
        if self._lost and self._attend_at <= time.monotonic():
            self._try(self._attend, time.monotonic())

    def _try(self, step: Callable[..., None], *args: Any) -> bool:
        """Whether that went well. If not, the thread has to go on all the same: all its callers hang on it."""
        try:
            step(*args)
        except Exception:
            log.exception(STUMBLED)
            return False
        return True

    def _play(self, batch: Fanout, now: float) -> None:
        if batch.members and not self._try(batch.send_due, now):
            for member in list(batch.members):
                self._try(self._end, member, STUMBLED)
        if batch.members:
            heapq.heapreplace(self._due, (batch.due, next(self._count), batch))
        else:
            heapq.heappop(self._due)
            self._past = [sum(column) for column in zip(self._past, batch.stats())]
            self._batches[batch.shape].remove(batch)
            if not self._batches[batch.shape]:
                del self._batches[batch.shape]
        if self._post and now >= self._crowd_at and self._post.crowded():
            self._look_at, self._crowd_at = now, now + LOOK_AGAIN  # in a tenth of a second it may be too late

    def _work(self, now: float) -> bool:
        """Do a little of what is to do besides; whether there was anything."""
        if not self.words.empty():
            self._hear(self.words.get())
        elif self._reports and self._reports[0][0] <= now:
            when, _, member = heapq.heappop(self._reports)
            if member.report_at == when:  # else he has gone, or been moved
                self._try(self._report, member, now)
        elif self._post and self._look_at <= now:
            self._try(self._look, self._post, now)
        elif self._attend_at <= now:
            self._try(self._attend, now)
        else:
            return False
        return True

    def _hear(self, word: Word) -> None:
        try:
            if isinstance(word, StartStream):
                self._start(word)
            elif isinstance(word, StopStream):
                if (member := self._members.get(word.call)) is not None:
                    self._end(member, "stopped")
            elif isinstance(word, EncodedLoop):
                self._begin(word)
            elif word is None:
                self._closing = True
                for member in list(self._members.values()):
                    self._try(self._end, member, "the server stops")
            else:
                self._doubt(word, time.monotonic())
        except Exception as error:
            log.exception("the shared stream stumbled over %r", word)
            if isinstance(word, StartStream):
                member = self._members.get(word.call) or Receiver(word.call, word.serial, word.target)
                self._try(self._end, member, repr(error))

    # -- coming and going --------------------------------------------------------------------------------------------

    def _start(self, order: StartStream) -> None:
        """Let a caller in, or move him; while his music is still being encoded he waits."""
        member = self._members.get(order.call)
        if member is None:
            member = self._members[order.call] = Receiver(order.call, order.serial, order.target)
        else:
            self._leave(member)
            member.serial, member.target = order.serial, order.target
        if self._closing:
            self._end(member, "the server stops")
            return
        target = order.target
        ipv6 = ":" in target.remote.host
        if ipv6 not in self._sockets:
            family = "IPv6" if ipv6 else "IPv4"
            self._end(member, f"this machine has no {family} to reach {target.remote}", "host unreachable")
            return
        # who comes back hears another SSRC than the one that took leave of him
        shape = Shape(order.tune, target.codec, target.payload_type, target.ptime, ipv6, order.serial % 2)
        frames = self._frames(order.tune, target.codec, target.ptime)
        if frames.began is None:
            self._waiting.setdefault(frames, []).append((member, order.serial, shape))
        else:
            self._join(member, shape, frames, frames.began)

    def _begin(self, frames: EncodedLoop) -> None:
        """The frames are ready, or there will be none, or no more: then who hears them would soon hear nothing."""
        for member, serial, shape in self._waiting.pop(frames, []):
            if self._members.get(member.call) is not member or member.serial != serial:
                continue  # he has gone meanwhile, or wants something else
            if frames.began is None or frames.trouble:
                self._end(member, frames.trouble)
            else:
                self._let_in(member, shape, frames, frames.began)
        for batch in [batch for _, _, batch in self._due if batch.frames is frames and frames.trouble]:
            for member in list(batch.members):
                self._end(member, frames.trouble)

    def _let_in(self, member: Receiver, shape: Shape, frames: EncodedLoop, began: float) -> None:
        """Have one of several join; where that fails his stream is over, and the others have their turn."""
        if not self._try(self._join, member, shape, frames, began):
            self._end(member, STUMBLED)

    def _join(self, member: Receiver, shape: Shape, frames: EncodedLoop, began: float) -> None:
        now = time.monotonic()
        batches = self._batches.setdefault(shape, [])
        # the fullest that has room, so that those which empty themselves come to an end
        room = [batch for batch in batches if len(batch.members) < FULL and batch.frames is frames]
        batch = max(room, key=lambda each: len(each.members)) if room else self._open(shape, frames, began, now)
        member.leaving = self._way_out(shape.ipv6, member.target.local.host, member.target.remote.host, now)
        batch.join(member)
        self._load[batch.moment] += 1
        self._plan_report(member, now, 0.5)  # the first comes after half the time (RFC 3550 §6.2)

    def _way_out(self, ipv6: bool, local: str, remote: str, now: float) -> str:
        """``way_out``, asked of the kernel every few seconds only: each question gives the interpreter's lock away."""
        if self._sockets[ipv6].getsockname()[0] == local:
            return ""
        key = (local, ipv6, is_loopback(remote))
        found, until = self._ways_out.get(key, ("", 0.0))
        if until <= now:
            if len(self._ways_out) > 100:
                self._ways_out.clear()
            found = way_out(local, remote)
            self._ways_out[key] = (found, now + WAY_OUT_HOLDS)
        return found

    def _open(self, shape: Shape, frames: EncodedLoop, began: float, now: float) -> Fanout:
        """A new batch, at the moment of the 20 ms when the fewest callers get theirs."""
        moment = min(self._load, key=lambda each: self._load[each])
        due = now - now % PERIOD + moment / 1000 + self._shift
        due += PERIOD * (due < now + EARLY)
        chance = (secrets.randbits(32), secrets.randbits(16), secrets.randbits(32))
        packets = DestinationTable(self._sockets[shape.ipv6], RTP_HEADER + shape.octets)
        batch = Fanout(shape, frames, packets, began, due, moment, chance)
        self._batches[shape].append(batch)
        heapq.heappush(self._due, (due, next(self._count), batch))
        return batch

    def _leave(self, member: Receiver, silently: bool = False) -> None:
        """Let him hear no more, and take leave of him (RFC 3550 §6.3.7) unless ``silently``."""
        self._lost.pop(member, None)
        batch = member.batch
        if batch is None:
            return
        if batch.sent > member.before and not silently:
            last = self._last_report(member, batch, time.monotonic())
            self._send(member, batch.shape.ipv6, report_and_bye(last, batch.ssrc, cname_of(member.target.local.host)))
        batch.leave(member)
        self._load[batch.moment] -= 1
        member.report_at = 0.0
        self._doubts.pop(member, None)
        self._astray.pop(member, None)
        self._no_way.pop(member, None)
        self._took_leave.pop(member, None)

    def _end(self, member: Receiver, why: str, hopeless: str = "") -> None:
        try:
            self._leave(member)
        finally:
            self._members.pop(member.call, None)
            self._ended.put(StreamEnded(member.call, member.serial, why, hopeless))

    # -- RTCP --------------------------------------------------------------------------------------------------------

    def _plan_report(self, member: Receiver, now: float, share: float = 1.0) -> None:
        member.report_at = now + share * REPORT_EVERY * random.uniform(0.5, 1.5)
        heapq.heappush(self._reports, (member.report_at, next(self._count), member))

    def _report(self, member: Receiver, now: float) -> None:
        batch = member.batch
        if batch is None:
            return
        if now - self._took_leave.get(member, now) >= BYE_TIMEOUT:
            self._give_up(member, BYE_RECEIVED)
            return
        if batch.sent > member.before:
            cname = cname_of(member.target.local.host)
            compound = self._last_report(member, batch, now) + source_description(batch.ssrc, cname)
            self._send(member, batch.shape.ipv6, compound)
        self._plan_report(member, now)

    def _last_report(self, member: Receiver, batch: Fanout, now: float) -> bytes:
        packets = batch.sent - member.before
        return sender_report(batch.ssrc, time.time(), batch.timestamp(now), packets, packets * batch.shape.octets)

    def _send(self, member: Receiver, ipv6: bool, data: bytes) -> None:
        sock = self._sockets[ipv6]
        ancillary = leaving_from(member.leaving, sock.family) if member.leaving else []
        to = Address(*_rtcp_of(member))
        try:
            sock.sendmsg([data], ancillary, socket.MSG_DONTWAIT, destination(to, sock.family))
        except OSError as error:
            log.debug("no RTCP to %s: %s", to, error.strerror)

    # -- what comes back ---------------------------------------------------------------------------------------------

    def _look(self, post: Feedback, now: float) -> None:
        """Take in what is waiting; where there was as much as one look takes, look again at once."""
        count = post.poll()
        self._look_at = now + (0.0 if count == AT_ONCE else LOOK_AGAIN if count else LOOK_EVERY)
        if news := post.report(now):
            self._tell_all(news)

    def _doubt(self, news: FeedbackReport, now: float) -> None:
        """Give up whose machine has said for long enough that nobody listens; remember who took leave, who is lost."""
        if news.silent:
            for member, (_, _, lost) in self._lost.items():
                if member.target.remote.host in news.silent:
                    lost.note_error(now)
        for member in [member for member in self._members.values() if member.batch is not None]:
            if member.target.remote.host in news.silent:
                self._lose(member, now)
            elif member.target.remote in news.refused:
                seconds = self._doubts.setdefault(member, Streak(now)).extend(now)
                if seconds >= PORT_UNREACHABLE_TIMEOUT:
                    self._give_up(member, port_unreachable(member.target.remote, seconds))
            elif member.target.remote in news.astray:
                if self._no_way.setdefault(member, Streak(now, HOST_ERROR_GAP)).extend(now) >= HOST_UNREACHABLE_TIMEOUT:
                    self._give_up(member, host_unreachable(member.target.remote))
            elif _rtcp_of(member) in news.left:
                self._took_leave.setdefault(member, now)
            elif _rtcp_of(member) in news.spoke:
                self._took_leave.pop(member, None)

    def _lose(self, member: Receiver, now: float) -> None:
        """Play to him no more until there is a way to him again; he may come back to the same SSRC."""
        batch = member.batch
        assert batch is not None, "who is lost hears music"
        self._leave(member, silently=True)
        self._lost[member] = (batch.shape, batch.frames, Unreachable(now))
        log.debug("[%s] host unreachable: %s", member.call, member.target.remote)

    def _attend(self, now: float) -> None:
        """Play again to those to whom there is a way, try it with the others, give up who is lost for too long.

        Also who is played to all the time, though no interface of ours leads to him: that costs nobody else a packet.
        """
        self._attend_at = now + ATTEND_EVERY
        for batch in [batch for _, _, batch in self._due if batch.astray]:
            for member in batch.astray:
                if member.batch is not batch:
                    continue
                errors = self._astray.setdefault(member, Streak(now, SEND_ERROR_GAP))
                if errors.extend(now) >= HOST_UNREACHABLE_TIMEOUT:
                    self._give_up(member, host_unreachable(member.target.remote))
        answers = neighbours() if self._lost else {}
        for member, (shape, frames, lost) in list(self._lost.items()):
            if frames.trouble:
                self._end(member, frames.trouble)
            elif lost.timed_out(now):
                self._give_up(member, host_unreachable(member.target.remote))
            elif lost.is_reachable(answers.get(member.target.remote.host), now):
                del self._lost[member]
                self._let_in(member, shape, frames, frames.began or now)
            elif lost.probe_due(now):
                self._send(member, shape.ipv6, empty_report(secrets.randbits(32), cname_of(member.target.local.host)))

    def _give_up(self, member: Receiver, verdict: Verdict) -> None:
        self._given_up += 1
        self._end(member, *verdict)


def _rtcp_of(member: Receiver) -> tuple[str, int]:
    """Where his RTCP is. Of ``a=rtcp`` only the port is followed: who asks for music sends packets to nobody else."""
    return member.target.remote.host, member.target.remote_rtcp.port
