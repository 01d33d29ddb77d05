"""The music on the wire: one ffmpeg for each call, started, moved, ended and reaped by one thread.

That thread alone starts processes and lives as long as the server: a child asks the kernel to be killed when the
*thread* that made it ends (PR_SET_PDEATHSIG), so no ffmpeg outlives the server, however it dies. Nothing here knows
of SIP. The law kept here: each call that was started is reported gone exactly once, for its latest start, when no
process of it is left; till then its port counts as taken.
"""

from __future__ import annotations

import logging
import os
import queue
import re
import secrets
import selectors
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Optional, Union

from .actions import StartStream, StopStream
from .command import MEMORY, ffmpeg_command, leash
from .network import way_out
from .player import Player
from .witness import LOOK_EVERY, Witness

GRACE = 0.15
"""Seconds from asking an ffmpeg to end until it is killed: silence within 200 ms of a BYE is promised."""

UNKNOWN = b"localaddr"
"""The option that an ffmpeg too old for a witness complains of."""

NO_WAY = re.compile(rb"(Network is (unreachable|down)|No route to host|Cannot assign requested address)\s*$", re.M)
"""What ffmpeg says at its end where an interface of ours is down for a while."""

log = logging.getLogger("moh")


class Ended(NamedTuple):
    """The stream that a ``StartStream`` with this ``serial`` began is no more."""

    call: str
    serial: int
    why: str
    hopeless: str = ""
    """In two words, why it need not be begun again: nobody listens, say. Empty where it may be."""


class Streams:
    """All ffmpegs. ``order`` only leaves a word for the thread and never waits; ``ended`` tells what is over."""

    def __init__(self) -> None:
        self._tunes: list[tuple[Mapping[int, Path], float]] = []
        self._leash = leash(os.getpid(), MEMORY)
        if not self._leash:
            log.warning("setpriv of util-linux is missing: after a kill -9 of this server its ffmpegs play on")
        self._orders: queue.SimpleQueue[Union[StartStream, StopStream, None]] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[Ended] = queue.SimpleQueue()
        self._players: dict[str, Player] = {}
        self._away: dict[str, tuple[StartStream, float]] = {}
        """Calls whose ffmpeg ended for want of a way to the listener, and for how many seconds there has been none."""
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
        """Do as the core says, soon: orders are carried out in the order given."""
        self._orders.put(action)
        self._wake()

    def add_tune(self, music: Mapping[int, Path], seconds: float) -> int:
        """Have one more tune: a file for each sample rate that a codec wants, each of them ``seconds`` long.

        Gives its number for ``StartStream``. The former ones stay, for the calls that hear them.
        """
        self._tunes.append((music, seconds))
        return len(self._tunes) - 1

    def ended(self) -> list[Ended]:
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
        """End all ffmpegs and wait until they are gone: a few milliseconds, ``GRACE`` at the most each, all at once."""
        self._orders.put(None)
        self._wake()
        self._thread.join()
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
        while not (self._closing and not self._players and not self._away):
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

    def _patience(self) -> Optional[float]:
        """How long nothing needs to be looked at; ``None``: until something happens."""
        if any(player.silent for player in self._players.values()):
            return 0.005  # it closed its standard error and will be gone in a moment
        if not self._players and not self._away:
            return None
        deadlines = [player.kill_at for player in self._players.values() if player.kill_at is not None]
        return max(0.0, min([*deadlines, self._look_at]) - time.monotonic()) + 0.001

    def _read_orders(self) -> None:
        try:
            self._wake_read.recv(4096)
        except BlockingIOError:
            pass
        while True:
            try:
                order = self._orders.get_nowait()
            except queue.Empty:
                return
            self._try(order)

    def _try(self, order: Union[StartStream, StopStream, None], away: float = 0.0) -> None:
        try:
            self._carry_out(order, away)
        except Exception as error:  # whatever it is, the thread has to go on: all calls hang on it
            log.exception("an order to the streams failed: %r", order)
            if isinstance(order, StartStream):
                self._ended.put(Ended(order.call, order.serial, f"could not be started: {error!r}"))

    def _carry_out(self, order: Union[StartStream, StopStream, None], away: float) -> None:
        if order is None:
            self._closing = True
            for call in list(self._away):
                self._call_back(call)
            for player in self._players.values():
                player.following = None
                self._ask_to_end(player)
        elif isinstance(order, StopStream):
            self._call_back(order.call)
            if (stopped := self._players.get(order.call)) is not None:
                stopped.following = None
                self._ask_to_end(stopped)
        elif (former := self._players.get(order.call)) is not None:
            # both need the same port, so the new one has to wait until the former is gone
            former.following = order
            former.serial = order.serial
            former.verdict, former.hopeless = "", ""
            self._ask_to_end(former)
        else:
            self._away.pop(order.call, None)
            self._spawn(order, away)

    def _call_back(self, call: str) -> None:
        if (waiting := self._away.pop(call, None)) is not None:
            self._ended.put(Ended(call, waiting[0].serial, "stopped"))

    def _spawn(self, order: StartStream, away: float) -> None:
        if self._closing:
            self._ended.put(Ended(order.call, order.serial, "the server stops"))
            return
        bound_to = way_out(order.target.local.host, order.target.remote.host)
        files, seconds = self._tunes[order.tune]
        music = files[order.target.codec.sample_rate]
        ssrc = secrets.randbits(30) + 1
        witnessed = self._witnessed and not order.target.srtp_suite
        command = self._leash + ffmpeg_command(
            music, seconds, order.target, order.position, bool(bound_to), ssrc, witnessed
        )
        log.debug(
            "[%s] = %s", order.call, " ".join(word if word != order.target.srtp_key else "KEY" for word in command)
        )
        try:
            # a session of its own, so that Ctrl-C in a terminal reaches the server only and callers get their BYE
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            self._ended.put(Ended(order.call, order.serial, f"ffmpeg does not start: {error.strerror}"))
            return
        witness = Witness(process.pid, order.target, bound_to if witnessed else None)
        player = Player(order.call, order.serial, process, order.target, ssrc, bound_to, witness, order, away)
        self._players[order.call] = player
        assert process.stderr is not None
        os.set_blocking(process.stderr.fileno(), False)
        self._selector.register(process.stderr, selectors.EVENT_READ, player)

    def _ask_to_end(self, player: Player) -> None:
        player.asked = True
        if player.kill_at is None:
            player.process.terminate()
            player.kill_at = time.monotonic() + GRACE

    def _listen(self, player: Player) -> None:
        """Take in what an ffmpeg says, lest it stalls on a full pipe; the last words may explain its end."""
        assert player.process.stderr is not None
        try:
            said = os.read(player.process.stderr.fileno(), 65536)
        except BlockingIOError:
            return
        if said:
            player.said = (player.said + said)[-1000:]
        else:
            self._selector.unregister(player.process.stderr)
            player.silent = True
            if player.kill_at is None:
                player.kill_at = time.monotonic() + 1.0  # nothing ever seen does so, but the port must come back

    def _look(self, now: float) -> None:
        """End who plays to nobody, and who does not play; let those play again for whom there was no way."""
        self._look_at = now + LOOK_EVERY
        for order, away in list(self._away.values()):
            self._try(order, away)
        for player in [player for player in self._players.values() if player.kill_at is None]:
            if (verdict := player.witness.given_up(now)) is not None:
                player.verdict, player.hopeless = verdict
                self._ask_to_end(player)
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

    def _bury(self, player: Player) -> None:
        assert player.process.stderr is not None
        if not player.silent:
            self._selector.unregister(player.process.stderr)
        player.process.stderr.close()
        player.witness.close()
        del self._players[player.call]
        if player.killed and not player.target.srtp_suite:
            player.take_leave()
        if player.following is not None:
            self._try(player.following)
            return
        if self._witnessed and not player.asked and UNKNOWN in player.said:
            log.warning("this ffmpeg does not know %s: who plays to nobody is not noticed", UNKNOWN.decode())
            self._witnessed = False
            self._try(player.order)
            return
        if not player.asked and NO_WAY.search(player.said) and (again := player.again(time.monotonic())) is not None:
            log.debug("[%s] no way to %s for %.0f s, trying again", player.call, player.target.remote, again[1])
            self._away[player.call] = again
            return
        last_words = player.said.decode("utf-8", "replace").strip().splitlines()
        why = f"ffmpeg ended with status {player.process.returncode}"
        if last_words:
            why += f": {last_words[0][:200]!r}"  # the cause comes first, what failed because of it follows
        self._ended.put(Ended(player.call, player.serial, player.verdict or why, player.hopeless))
