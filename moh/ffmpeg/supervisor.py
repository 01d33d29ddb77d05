"""An ffmpeg process for each call: one thread starts, moves, ends and reaps all these processes.

The thread lives as long as the server. Each ffmpeg asks the kernel to be killed when the *thread* that started it ends
(PR_SET_PDEATHSIG), so no ffmpeg outlives the server, however the server dies. Nothing here knows of SIP. The law kept
here: each call that was started is reported as ended exactly once, for its latest start, when no process of the call is
left; the call's port counts as taken until then.

An order is an action of the core: start or stop the stream of a call. To end an ffmpeg takes one system call; to start
one takes milliseconds. So each turn of the thread reads all orders, ends all processes that are to end, and starts one
process at most: none while too many are starting (``starting.py``).
"""

from __future__ import annotations

import logging
import os
import queue
import re
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Optional, Union

from ..common.actions import PROBE, StartStream, StopStream, StreamBegan, StreamEnded
from ..common.amounts import amount
from ..common.faults import FaultLog
from ..common.tunes import Tunes
from ..net.threads import coalesce_timers, drained
from ..rtp.liveness import host_unreachable
from ..rtp.reception import StreamReport
from .launch import DATA_LIMIT_MB, leash
from .process import FfmpegProcess, discard, start_ffmpeg
from .start_queue import PendingStart, StartQueue
from .starting import Starting, starts_at_once
from .watchdog import WATCH_EVERY

KILL_AFTER = 0.15
"""Seconds from the order to end an ffmpeg until it is killed: silence within 200 ms of a BYE is promised."""

EXIT_TIMEOUT = 1.0
"""Seconds that an ffmpeg has to exit after it has closed its standard error. No ffmpeg was seen to take that long."""

EXIT_POLL = 0.004
"""Seconds between two polls for the exit of an ffmpeg that has closed its standard error."""

CLOSE_TIMEOUT = 2.0
"""Seconds that ``Supervisor.close`` waits for ffmpegs that the kernel cannot end, for example on a disk that hangs."""

FAULT_PAUSE = 0.15
"""Seconds that the thread pauses after an unexpected error, so that an error in each turn does not fill a core."""

TIMER_SLACK = 0.001
"""Seconds by which the kernel may send a packet of an ffmpeg late, so that it wakes several ffmpegs at once. The
packets after it are not late. Jitter buffers of phones hold 20 ms at least."""

STDERR_KEPT = 1000
"""Octets that are kept of the end of an ffmpeg's standard error."""

UNKNOWN_OPTION = b"localaddr"
"""The option that ``ffmpeg_command`` uses with ``share_port``. An old ffmpeg does not know it and says so."""

NO_ROUTE = re.compile(rb"(Network is (unreachable|down)|No route to host|Cannot assign requested address)\s*$", re.M)
"""The last line of an ffmpeg that ends because a network interface of this host is down."""

log = logging.getLogger("moh")

Order = Union[StartStream, StopStream, None]
"""``None`` ends all calls and the thread."""


class Supervisor:
    """All ffmpegs. ``order`` queues an order for the thread and never waits. ``ended`` returns the thread's reports."""

    def __init__(self, tunes: Tunes) -> None:
        self.faults = FaultLog("the thread that runs the ffmpegs")
        self._tunes = tunes
        self._leash = leash(os.getpid(), DATA_LIMIT_MB)
        if not self._leash:
            log.warning("setpriv of util-linux is missing: after a kill -9 of this server its ffmpegs play on")
        self._orders: queue.SimpleQueue[tuple[Order, float]] = queue.SimpleQueue()
        """Each order with the time at which it was given."""
        self._ended: queue.SimpleQueue[StreamEnded] = queue.SimpleQueue()
        self._began: queue.SimpleQueue[StreamBegan] = queue.SimpleQueue()
        self._senders: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reports: queue.SimpleQueue[StreamReport] = queue.SimpleQueue()
        self._ffmpegs: dict[str, FfmpegProcess] = {}
        self.starts = 0
        """The ffmpegs that were started for calls since the start of the server."""
        self.retries = 0
        """Those that were started because the one before had no route, or did not know an option."""
        self._packets_before = 0  # about the packets that ended ffmpegs have sent
        self._packets = 0  # the latest result of ``packets``
        self._starts = StartQueue()
        self._starting = Starting(starts_at_once())
        self._watch_at = 0.0
        self._share_ports = True  # until an ffmpeg turns out not to know ``UNKNOWN_OPTION``
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="ffmpegs", daemon=True)
        self._thread.start()

    # -- for the server, from any thread ---------------------------------------------------------------------------

    def order(self, action: Union[StartStream, StopStream]) -> None:
        """Start or stop a call's stream, soon. The latest order for a call counts; no stop waits behind a start."""
        self._orders.put((action, time.monotonic()))
        self._wake()

    def ended(self) -> list[StreamEnded]:
        """The streams that have ended since the last call of this method."""
        return drained(self._ended)

    def began(self) -> list[StreamBegan]:
        """The streams whose first packet has left since the last call of this method."""
        return drained(self._began)

    def senders(self) -> list[str]:
        """The hosts that have sent RTP or RTCP to the port of their call since the last call of this method."""
        return drained(self._senders)

    def reports(self) -> list[StreamReport]:
        """What receivers have reported since the last call. Each poll yields at most one report for each ffmpeg."""
        return drained(self._reports)

    @property
    def playing(self) -> int:
        """The number of ffmpegs that run now."""
        return len(self._ffmpegs)

    def pids(self) -> list[int]:
        """The numbers of the processes that run now. Any thread may call this."""
        return [ffmpeg.process.pid for ffmpeg in list(self._ffmpegs.values())]

    def playing_by_codec(self) -> Counter[str]:
        """Those that play to calls, by the name of their codec. Any thread may call this."""
        return Counter(ffmpeg.target.codec.name for ffmpeg in list(self._ffmpegs.values()) if ffmpeg.call != PROBE)

    def packets(self) -> int:
        """About how many packets all ffmpegs have sent since the start; this never falls. Only for one thread."""
        now = time.monotonic()
        found = self._packets_before + sum(ffmpeg.sent(now) for ffmpeg in list(self._ffmpegs.values()))
        self._packets = max(self._packets, found)
        return self._packets

    def close(self) -> None:
        """End all ffmpegs at once and wait until they are gone: a few milliseconds, ``KILL_AFTER`` at the most.

        An ffmpeg that even a kill does not end is left running after ``CLOSE_TIMEOUT``, with a line in the log.
        """
        self._orders.put((None, time.monotonic()))
        self._wake()
        self._thread.join(CLOSE_TIMEOUT)
        if self._thread.is_alive():
            left = amount(self.playing, "ffmpeg")
            log.error("not ended within %.0f s, and left running: %s", CLOSE_TIMEOUT, left)
            return  # the thread still uses the sockets that would be closed below
        self._selector.close()
        self._wake_read.close()
        self._wake_write.close()

    def _wake(self) -> None:
        try:
            self._wake_write.send(b".")
        except OSError:
            pass  # the pair is full of wake-up calls, or closed

    # -- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        coalesce_timers(TIMER_SLACK)  # for the ffmpegs, which inherit it
        while not (self._closing and not self._ffmpegs and not self._starts):
            try:
                self._turn()
            except Exception as error:
                self.faults.report(error, time.monotonic())
                time.sleep(FAULT_PAUSE)

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._timeout()):
            if key.data is None:
                self._read_orders()
            else:
                self._read_stderr(key.data)
        now = time.monotonic()
        if now >= self._watch_at:
            self._poll_watchdogs(now)
        for ffmpeg in self._starting.begun(now):
            self._began.put(StreamBegan(ffmpeg.call, ffmpeg.order.serial, now))
        self._reap(now)
        if self._starting.has_room and (start := self._starts.pop(now, self._ffmpegs)) is not None:
            self._safely(self._start, start.order, start.unreachable_for)

    def _timeout(self) -> Optional[float]:
        """Seconds until a kill, a poll or a start is due; ``None`` where the thread may wait for an event."""
        now = time.monotonic()
        due = [ffmpeg.kill_at for ffmpeg in self._ffmpegs.values() if ffmpeg.kill_at is not None]
        if self._ffmpegs:
            due.append(self._watch_at)
        if (poll := self._starting.next_poll(now)) is not None:
            due.append(poll)
        if self._starting.has_room and (start := self._starts.next_due(self._ffmpegs)) is not None:
            if start <= now:
                return 0.0
            due.append(start)
        if any(ffmpeg.exiting for ffmpeg in self._ffmpegs.values()):
            due.append(now + EXIT_POLL)
        return max(0.0, min(due) - now) + 0.001 if due else None

    def _safely(self, step: Callable[[Any, float], None], order: Order, number: float) -> None:
        """Call ``step`` for one call. An unexpected error in the step is reported, and the thread goes on."""
        try:
            step(order, number)
        except Exception as error:
            if isinstance(order, StartStream) and order.call not in self._ffmpegs:
                self._ended.put(StreamEnded(order.call, order.serial, f"could not be started: {error!r}"))
            self.faults.report(error, time.monotonic(), repr(order))

    # -- orders ----------------------------------------------------------------------------------------------------

    def _read_orders(self) -> None:
        try:
            self._wake_read.recv(4096)
        except BlockingIOError:
            pass
        for _ in range(self._orders.qsize()):  # an order that comes meanwhile waits for the next turn
            self._safely(self._handle_order, *self._orders.get_nowait())

    def _handle_order(self, order: Order, given: float) -> None:
        """Queue a start, or ask the call's ffmpeg to end. This method never waits."""
        if order is None:
            self._closing = True
            for call in {*self._starts, *self._ffmpegs}:
                self._stop(call, "the server stops", given)
        elif isinstance(order, StopStream):
            self._stop(order.call, "stopped", given)
        else:
            if (former := self._ffmpegs.get(order.call)) is not None:
                # end it at once: its successor needs the same port, and its target may want no music any more
                former.serial = order.serial
                former.verdict, former.hopeless = "", ""
                self._terminate(former, given)
            self._starts.put(order)
            if self._closing:
                self._stop(order.call, "the server stops", given)

    def _stop(self, call: str, why: str, given: float) -> None:
        """End the call's ffmpeg, and report the end when the process is gone. A waiting start is reported at once."""
        waiting = self._starts.drop(call)
        if (ffmpeg := self._ffmpegs.get(call)) is not None:
            self._terminate(ffmpeg, given)
        elif waiting is not None:
            self._ended.put(StreamEnded(call, waiting.serial, why))

    def _start(self, order: StartStream, unreachable_for: float) -> None:
        try:
            tune = self._tunes.get(order.tune)
            ffmpeg = start_ffmpeg(order, unreachable_for, tune, self._leash, self._share_ports)
        except OSError as error:
            self._ended.put(StreamEnded(order.call, order.serial, f"ffmpeg does not start: {error.strerror}"))
            return
        try:
            self.starts += order.call != PROBE
            self._ffmpegs[order.call] = ffmpeg
            self._selector.register(ffmpeg.stderr, selectors.EVENT_READ, ffmpeg)
            self._starting.add(ffmpeg)
        except BaseException:  # an ffmpeg that is not watched must not play on
            self._ffmpegs.pop(order.call, None)
            discard(ffmpeg.process, ffmpeg.watchdog)
            raise

    # -- the end of an ffmpeg --------------------------------------------------------------------------------------

    def _terminate(self, ffmpeg: FfmpegProcess, ordered: float) -> None:
        """Ask an ffmpeg to end. It is killed ``KILL_AFTER`` seconds after the order."""
        ffmpeg.asked_to_end = True
        if ffmpeg.kill_at is None:
            ffmpeg.process.terminate()
            ffmpeg.kill_at = ordered + KILL_AFTER

    def _read_stderr(self, ffmpeg: FfmpegProcess) -> None:
        """Read an ffmpeg's standard error: a full pipe would stop ffmpeg, and the last lines may explain its end."""
        try:
            data = os.read(ffmpeg.stderr.fileno(), 65536)
        except BlockingIOError:
            return
        if data:
            ffmpeg.last_output = (ffmpeg.last_output + data)[-STDERR_KEPT:]
        else:
            self._selector.unregister(ffmpeg.stderr)
            ffmpeg.exiting = True
            if ffmpeg.kill_at is None:
                ffmpeg.kill_at = time.monotonic() + EXIT_TIMEOUT

    def _poll_watchdogs(self, now: float) -> None:
        """End the ffmpegs whose receiver is gone, and those that hang."""
        self._watch_at = now + WATCH_EVERY
        for ffmpeg in [ffmpeg for ffmpeg in self._ffmpegs.values() if ffmpeg.kill_at is None]:
            if (verdict := ffmpeg.watchdog.verdict(now)) is not None:
                ffmpeg.verdict, ffmpeg.hopeless = verdict
                self._terminate(ffmpeg, now)
            elif ffmpeg.watchdog.hangs():
                ffmpeg.verdict = "ffmpeg hangs"
                ffmpeg.kill_at = now  # no SIGTERM: a hanging ffmpeg would not handle it
            if ffmpeg.watchdog.has_new_sender():
                self._senders.put(ffmpeg.target.remote.host)
            if (report := ffmpeg.report(now)) is not None:
                self._reports.put(report)

    def _reap(self, now: float) -> None:
        """Finish the ffmpegs that have exited, and kill those that have not exited in time."""
        for ffmpeg in [each for each in self._ffmpegs.values() if each.exiting or each.kill_at is not None]:
            if ffmpeg.process.poll() is not None:
                self._finish(ffmpeg)
            elif ffmpeg.kill_at is not None and now >= ffmpeg.kill_at:
                ffmpeg.killed = True
                ffmpeg.process.kill()

    def _finish(self, ffmpeg: FfmpegProcess) -> None:
        """Free all that belonged to an ffmpeg that has exited. Then queue another start, or report the end."""
        if not ffmpeg.exiting:
            self._selector.unregister(ffmpeg.stderr)
        ffmpeg.stderr.close()
        ffmpeg.watchdog.close()
        self._starting.drop(ffmpeg)
        self._packets_before += ffmpeg.sent(time.monotonic())
        del self._ffmpegs[ffmpeg.call]
        if ffmpeg.killed and not ffmpeg.target.srtp_suite:
            ffmpeg.send_bye()
        if ffmpeg.call in self._starts:
            return  # the call was moved or resumed, and its next ffmpeg may have the port now
        if (again := self._another_start(ffmpeg)) is not None:
            self.retries += 1
            self._starts.put_back(again)
            return
        why = ffmpeg.verdict or ffmpeg.exit_reason()
        self._ended.put(StreamEnded(ffmpeg.call, ffmpeg.serial, why, ffmpeg.hopeless))

    def _another_start(self, ffmpeg: FfmpegProcess) -> Optional[PendingStart]:
        """The next start after an ffmpeg that ended for a reason that may pass; ``None`` after any other end."""
        if ffmpeg.asked_to_end:
            return None
        if self._share_ports and UNKNOWN_OPTION in ffmpeg.last_output:
            so = "the server does not notice when its receiver vanishes, and reads no reports; install a newer ffmpeg"
            log.warning("this ffmpeg has no option %s: %s", UNKNOWN_OPTION.decode(), so)
            self._share_ports = False
            return PendingStart(ffmpeg.order, 0.0, ffmpeg.unreachable_for)
        if not NO_ROUTE.search(ffmpeg.last_output):
            return None
        remote = ffmpeg.target.remote
        if (again := ffmpeg.retry(time.monotonic())) is not None:
            log.debug("[%s] no route to %s for %.0f s, trying again", ffmpeg.call, remote, again.unreachable_for)
        else:
            # without this the core would start the stream once more, with another ``HOST_UNREACHABLE_TIMEOUT`` of tries
            ffmpeg.hopeless = host_unreachable(remote).hopeless
        return again
