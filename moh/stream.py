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
import secrets
import selectors
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Optional, Union

from .actions import StartStream, StopStream, Target
from .command import cname, ffmpeg_command, leash
from .network import family_of, way_out
from .rtcp import goodbye

GRACE = 0.15
"""Seconds from asking an ffmpeg to end until it is killed: silence within 200 ms of a BYE is promised."""

log = logging.getLogger("moh")


class Ended(NamedTuple):
    """The stream that a ``StartStream`` with this ``serial`` began is no more."""

    call: str
    serial: int
    why: str
    hopeless: bool = False
    """Nobody listens, so that it need not be begun again."""


@dataclass
class Player:
    """One ffmpeg and what is planned for its call."""

    call: str
    serial: int
    process: subprocess.Popen[bytes]
    target: Target
    ssrc: int
    bound_to: str
    """The address of ours that it sends from; empty where the system chooses."""
    said: bytes = b""
    """The end of what it wrote to its standard error."""
    kill_at: Optional[float] = None
    """When it is killed, once it was asked to end."""
    killed: bool = False
    """It did not end in time, as no ffmpeg from 7 on does; so it could not take leave of its listener either."""
    silent: bool = False
    """Its standard error is closed: it is ending."""
    following: Optional[StartStream] = field(default=None)
    """What to start on the same port when it is gone."""


class Streams:
    """All ffmpegs. ``order`` only leaves a word for the thread and never waits; ``ended`` tells what is over."""

    def __init__(self) -> None:
        self._tunes: list[tuple[Mapping[int, Path], float]] = []
        self._leash = leash(os.getpid())
        if not self._leash:
            log.warning("setpriv of util-linux is missing: after a kill -9 of this server its ffmpegs play on")
        self._orders: queue.SimpleQueue[Union[StartStream, StopStream, None]] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[Ended] = queue.SimpleQueue()
        self._players: dict[str, Player] = {}
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
        while not (self._closing and not self._players):
            for key, _ in self._selector.select(self._patience()):
                if key.data is None:
                    self._read_orders()
                else:
                    self._listen(key.data)
            self._reap(time.monotonic())

    def _patience(self) -> Optional[float]:
        """How long nothing needs to be looked at; ``None``: until something happens."""
        if any(player.silent for player in self._players.values()):
            return 0.005  # it closed its standard error and will be gone in a moment
        deadlines = [player.kill_at for player in self._players.values() if player.kill_at is not None]
        return max(0.0, min(deadlines) - time.monotonic()) + 0.001 if deadlines else None

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

    def _try(self, order: Union[StartStream, StopStream, None]) -> None:
        try:
            self._carry_out(order)
        except Exception as error:  # whatever it is, the thread has to go on: all calls hang on it
            log.exception("an order to the streams failed: %r", order)
            if isinstance(order, StartStream):
                self._ended.put(Ended(order.call, order.serial, f"could not be started: {error!r}"))

    def _carry_out(self, order: Union[StartStream, StopStream, None]) -> None:
        if order is None:
            self._closing = True
            for player in self._players.values():
                player.following = None
                self._ask_to_end(player)
        elif isinstance(order, StopStream):
            if (stopped := self._players.get(order.call)) is not None:
                stopped.following = None
                self._ask_to_end(stopped)
        elif (former := self._players.get(order.call)) is not None:
            # both need the same port, so the new one has to wait until the former is gone
            former.following = order
            former.serial = order.serial
            self._ask_to_end(former)
        else:
            self._spawn(order)

    def _spawn(self, order: StartStream) -> None:
        if self._closing:
            self._ended.put(Ended(order.call, order.serial, "the server stops"))
            return
        bound_to = way_out(order.target.local.host, order.target.remote.host)
        files, seconds = self._tunes[order.tune]
        music = files[order.target.codec.sample_rate]
        ssrc = secrets.randbits(30) + 1
        command = self._leash + ffmpeg_command(music, seconds, order.target, order.position, bool(bound_to), ssrc)
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
        player = Player(order.call, order.serial, process, order.target, ssrc, bound_to)
        self._players[order.call] = player
        assert process.stderr is not None
        os.set_blocking(process.stderr.fileno(), False)
        self._selector.register(process.stderr, selectors.EVENT_READ, player)

    def _ask_to_end(self, player: Player) -> None:
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
        del self._players[player.call]
        if player.killed and not player.target.srtp_suite:
            self._take_leave(player)
        if player.following is not None:
            self._try(player.following)
            return
        last_words = player.said.decode("utf-8", "replace").strip().splitlines()
        why = f"ffmpeg ended with status {player.process.returncode}"
        if last_words:
            why += f": {last_words[0][:200]!r}"  # the cause comes first, what failed because of it follows
        self._ended.put(Ended(player.call, player.serial, why))

    def _take_leave(self, player: Player) -> None:
        """Say RTCP BYE for an ffmpeg that was killed, from the port that is free now (RFC 3550 §6.3.7)."""
        remote, local = player.target.remote, player.target.local
        try:
            with socket.socket(family_of(remote.host), socket.SOCK_DGRAM) as rtcp:
                rtcp.bind((player.bound_to, local.port + 1))
                farewell = goodbye(player.ssrc, cname(player.target))
                rtcp.sendto(farewell, (remote.host, player.target.remote_rtcp.port))
        except OSError as error:
            log.debug("[%s] no RTCP BYE: %s", player.call, error)
