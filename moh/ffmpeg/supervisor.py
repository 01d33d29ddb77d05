"""The music on the wire: one ffmpeg for each call, started, moved, ended and reaped by one thread.

That thread alone starts processes and lives as long as the server: a child asks the kernel to be killed when the
*thread* that made it ends (PR_SET_PDEATHSIG), so no ffmpeg outlives the server, however it dies. Nothing here knows
of SIP. The law kept here: each call that was started is reported gone exactly once, for its latest start, when no
process of it is left; till then its port counts as taken.

To end an ffmpeg is one system call, to start one takes as long as a fork does, 40 ms where the machine is busy. So all
orders are read at once, whatever ends is ended, and of those that begin one is started a turn.
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
from collections.abc import Callable
from typing import Any, Optional, Union

from ..common.actions import StartStream, StopStream, StreamEnded
from ..common.tunes import Tunes
from ..rtp.liveness import host_unreachable
from .launch import DATA_LIMIT_MB, leash
from .process import FfmpegProcess, discard, start_ffmpeg
from .start_queue import PendingStart, StartQueue
from .watchdog import LOOK_EVERY

GRACE = 0.15
"""Seconds from the order to end an ffmpeg until it is killed: silence within 200 ms of a BYE is promised."""

LAST = 2.0
"""Seconds that ``Supervisor.close`` waits for ffmpegs that the kernel cannot end, because a disk hangs, for example."""

UNKNOWN = b"localaddr"
"""The option that an ffmpeg too old for a witness complains of."""

NO_WAY = re.compile(rb"(Network is (unreachable|down)|No route to host|Cannot assign requested address)\s*$", re.M)
"""What ffmpeg says at its end where an interface of ours is down for a while."""

log = logging.getLogger("moh")

Order = Union[StartStream, StopStream, None]
"""``None`` is the end of everything."""


class Supervisor:
    """All ffmpegs. ``order`` only leaves a word for the thread and never waits; ``ended`` tells what is over."""

    def __init__(self, tunes: Tunes) -> None:
        self._tunes = tunes
        self._leash = leash(os.getpid(), DATA_LIMIT_MB)
        if not self._leash:
            log.warning("setpriv of util-linux is missing: after a kill -9 of this server its ffmpegs play on")
        self._orders: queue.SimpleQueue[tuple[Order, float]] = queue.SimpleQueue()
        """Each with the time when it was given."""
        self._ended: queue.SimpleQueue[StreamEnded] = queue.SimpleQueue()
        self._players: dict[str, FfmpegProcess] = {}
        self._starts = StartQueue()
        self._look_at = 0.0
        self._witnessed = True  # until an ffmpeg does not know the option for that
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="streams", daemon=True)
        self._thread.start()

    # -- for the shell, from any thread ----------------------------------------------------------------------------

    def order(self, action: Union[StartStream, StopStream]) -> None:
        """Do as the core says, soon: of each call the latest order counts, and no end waits behind a start."""
        self._orders.put((action, time.monotonic()))
        self._wake()

    def ended(self) -> list[StreamEnded]:
        """The streams that are over since the last time this was asked."""
        over = []
        while True:
            try:
                over.append(self._ended.get_nowait())
            except queue.Empty:
                return over

    @property
    def playing(self) -> int:
        """How many ffmpegs there are now."""
        return len(self._players)

    def close(self) -> None:
        """End all ffmpegs and wait until they are gone: a few milliseconds, ``GRACE`` at the most, all at once.

        Those that cannot even be killed are left after ``LAST`` seconds, with a line in the log.
        """
        self._orders.put((None, time.monotonic()))
        self._wake()
        self._thread.join(LAST)
        if self._thread.is_alive():
            log.error("%d ffmpegs have not ended %.0f s after the last order; they are left behind", self.playing, LAST)
            return  # what follows belongs to the thread while it lives
        self._selector.close()
        self._wake_read.close()
        self._wake_write.close()

    def _wake(self) -> None:
        try:
            self._wake_write.send(b".")
        except OSError:
            pass  # full of wake-up calls already, or closed

    # -- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not (self._closing and not self._players and not self._starts):
            try:
                self._turn()
            except Exception:  # no memory for one turn, say: the thread has to go on, all calls hang on it
                time.sleep(GRACE)

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._patience()):
            if key.data is None:
                self._read_orders()
            else:
                self._listen(key.data)
        now = time.monotonic()
        if now >= self._look_at:
            self._look(now)
        self._reap(now)
        if (start := self._starts.pop(now, self._players)) is not None:
            self._try(self._spawn, start.order, start.away)

    def _patience(self) -> Optional[float]:
        """How long nothing needs to be looked at; ``None``: until something happens."""
        now = time.monotonic()
        due = [player.kill_at for player in self._players.values() if player.kill_at is not None]
        if self._players:
            due.append(self._look_at)
        if (start := self._starts.next_due(self._players)) is not None:
            if start <= now:
                return 0.0
            due.append(start)
        if any(player.silent for player in self._players.values()):
            due.append(now + 0.004)  # it closed its standard error and will be gone in a moment
        return max(0.0, min(due) - now) + 0.001 if due else None

    def _read_orders(self) -> None:
        try:
            self._wake_read.recv(4096)
        except BlockingIOError:
            pass
        for _ in range(self._orders.qsize()):  # what comes meanwhile has its turn when all others were looked after
            self._try(self._carry_out, *self._orders.get_nowait())

    def _try(self, step: Callable[[Any, float], None], order: Order, number: float) -> None:
        try:
            step(order, number)
        except Exception as error:  # whatever it is, the thread has to go on: all calls hang on it
            if isinstance(order, StartStream) and order.call not in self._players:
                self._ended.put(StreamEnded(order.call, order.serial, f"could not be started: {error!r}"))
            log.exception("an order to the streams failed: %r", order)

    def _carry_out(self, order: Order, given: float) -> None:
        """Note who is to be started, end who is to be ended; nothing here takes long."""
        if order is None:
            self._closing = True
            for call in {*self._starts, *self._players}:
                self._stop(call, "the server stops", given)
        elif isinstance(order, StopStream):
            self._stop(order.call, "stopped", given)
        else:
            if (former := self._players.get(order.call)) is not None:
                # both need the same port; and where it plays to, nobody may want it any more, so it ends in any case
                former.serial = order.serial
                former.verdict, former.hopeless = "", ""
                self._ask_to_end(former, given)
            self._starts.put(order)
            if self._closing:
                self._stop(order.call, "the server stops", given)

    def _stop(self, call: str, why: str, given: float) -> None:
        """Let the call neither play nor be started. What plays is reported when it is gone, what waits at once."""
        waiting = self._starts.drop(call)
        if (player := self._players.get(call)) is not None:
            self._ask_to_end(player, given)
        elif waiting is not None:
            self._ended.put(StreamEnded(call, waiting.serial, why))

    def _spawn(self, order: StartStream, away: float) -> None:
        try:
            player = start_ffmpeg(order, away, self._tunes.get(order.tune), self._leash, self._witnessed)
        except OSError as error:
            self._ended.put(StreamEnded(order.call, order.serial, f"ffmpeg does not start: {error.strerror}"))
            return
        try:
            self._players[order.call] = player
            self._selector.register(player.pipe, selectors.EVENT_READ, player)
        except BaseException:  # no room for one more file, say: nobody would look after it, so it must not play on
            self._players.pop(order.call, None)
            discard(player.process, player.witness)
            raise

    def _ask_to_end(self, player: FfmpegProcess, given: float) -> None:
        """Ask an ffmpeg to end, as ordered at that time."""
        player.asked = True
        if player.kill_at is None:
            player.process.terminate()
            player.kill_at = given + GRACE

    def _listen(self, player: FfmpegProcess) -> None:
        """Take in what an ffmpeg says, lest it stalls on a full pipe; the last words may explain its end."""
        try:
            said = os.read(player.pipe.fileno(), 65536)
        except BlockingIOError:
            return
        if said:
            player.said = (player.said + said)[-1000:]
        else:
            self._selector.unregister(player.pipe)
            player.silent = True
            if player.kill_at is None:
                player.kill_at = time.monotonic() + 1.0  # nothing ever seen does so, but the port must come back

    def _look(self, now: float) -> None:
        """End who plays to nobody, and who does not play."""
        self._look_at = now + LOOK_EVERY
        for player in [player for player in self._players.values() if player.kill_at is None]:
            if (verdict := player.witness.verdict(now)) is not None:
                player.verdict, player.hopeless = verdict
                self._ask_to_end(player, now)
            elif player.witness.hangs():
                player.verdict = "ffmpeg hangs"
                player.kill_at = now  # it would not hear a mild word

    def _reap(self, now: float) -> None:
        for player in [p for p in self._players.values() if p.silent or p.kill_at is not None]:
            if player.process.poll() is not None:
                self._bury(player)
            elif player.kill_at is not None and now >= player.kill_at:
                player.killed = True
                player.process.kill()

    def _bury(self, player: FfmpegProcess) -> None:
        if not player.silent:
            self._selector.unregister(player.pipe)
        player.pipe.close()
        player.witness.close()
        del self._players[player.call]
        if player.killed and not player.target.srtp_suite:
            player.send_bye()
        if player.call in self._starts:
            return  # it is moved or resumed: the next one may have the port now
        if self._witnessed and not player.asked and UNKNOWN in player.said:
            log.warning("this ffmpeg does not know %s: who plays to nobody is not noticed", UNKNOWN.decode())
            self._witnessed = False
            self._starts.put_back(PendingStart(player.order, 0.0, player.away))
            return
        if not player.asked and NO_WAY.search(player.said):
            if (again := player.retry(time.monotonic())) is not None:
                log.debug("[%s] no way to %s for %.0f s, trying again", player.call, player.target.remote, again.away)
                self._starts.put_back(again)
                return
            # without this the core would start the stream once more, and it would be tried for as long again
            player.hopeless = host_unreachable(player.target.remote).hopeless
        last_words = player.said.decode("utf-8", "replace").strip().splitlines()
        why = f"ffmpeg ended with status {player.process.returncode}"
        if last_words:
            why += f": {last_words[0][:200]!r}"  # the cause comes first, what failed because of it follows
        self._ended.put(StreamEnded(player.call, player.serial, player.verdict or why, player.hopeless))
