"""Whether music leaves the server, for the health check: a server may answer every call and play nothing to any.

The health check of this machine asks for it (``Health.music_asked``). Then the server plays a few packets to a socket
of its own, by the engine that the next call would get, and listens. That is no call: SIP, the log and the list of calls
know nothing of it, and no other machine can ask for it. Where calls that began lately have shown that the engine plays,
nothing is played. All this happens in ``service``, in the main thread, and waits for nothing.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from typing import Optional

from ..common.actions import PROBE, Address, StartStream, StopStream, Target
from ..common.addresses import is_unspecified
from ..common.amounts import amount
from ..common.codecs import Codec
from ..net.sockets import family_of
from ..sip.user_agent import UserAgent
from .engines import Engines

EVERY = 30.0
"""Seconds for which it counts as known that music leaves; the next health check asks anew."""
EVERY_IN_TROUBLE = 4.0
"""The same where no music leaves: less than the five seconds between two health checks."""
PACKETS = 3
"""Packets that have to be heard."""
HEARD_WITHIN = 5.0
"""Seconds from the start of the stream in which they have to be heard."""
GROWS_WITHIN = 1.0
"""Seconds in which the shared stream has to send a packet, where it has receivers."""
PTIME = 20
TROUBLE = "no music leaves the server: "
"""How the trouble begins that the health check is told; ``moh/doctor/music.py`` has the same text."""

log = logging.getLogger("moh")


class MusicWatch:
    """Plays to itself when it is asked whether music leaves, and keeps the answer in ``agent.health``."""

    def __init__(
        self, bind: str, codec: Codec, agent: UserAgent, lock: threading.Lock, engines: Engines,
        tune: Callable[[], Optional[int]],
    ) -> None:  # fmt: skip
        """``codec`` is one that ffmpeg encodes. ``tune`` returns the number of the tune of new calls."""
        self._host = "127.0.0.1" if is_unspecified(bind) else bind
        self._codec = codec
        self._agent = agent
        self._lock = lock
        self._engines = engines
        self._tune = tune
        self._known_until = 0.0
        self._begun = 0
        self._serial = 0
        self._probe: Optional[_Probe] = None
        self._growth: Optional[tuple[int, float]] = None
        """The packets that the shared stream had sent when it was asked, and until when they have to have grown."""

    def service(self, now: float) -> None:
        """Go on with what has begun; begin if the health check asks."""
        health = self._agent.health
        if self._probe is not None:
            self._follow(self._probe, now)
        elif self._growth is not None:
            self._follow_growth(*self._growth, now)
        elif health.music_known and now >= self._known_until:
            health.music_known = False
        elif health.music_asked and not health.music_known and self._tune() is not None:
            stats = self._engines.shared.stats()
            if stats.fanouts:
                self._growth = (stats.sent, now + GROWS_WITHIN)
            else:
                self._begin(now)

    def close(self) -> None:
        """Close the socket. The engines end the stream."""
        if self._probe is not None:
            self._probe.ear.close()

    def _follow_growth(self, sent: int, until: float, now: float) -> None:
        stats = self._engines.shared.stats()
        if stats.fanouts and stats.sent == sent:
            if now >= until:
                self._growth = None
                self._decide(f"the shared stream sends nothing to {amount(stats.calls, 'call')}", now)
            return
        self._growth = None
        if stats.fanouts and not self._agent.registry.ports.free:
            self._decide("", now)  # the next call gets this engine, which plays
        else:
            self._begin(now)

    def _begin(self, now: float) -> None:
        """Start the stream, unless calls that began since the last time have shown that it would play."""
        begun = self._engines.streams_begun
        lately, self._begun = begun > self._begun, begun
        with self._lock:
            ports = self._agent.registry.ports
            plays = lately and ports.free > 0
            port = None if plays else ports.acquire()
        if port is None:
            self._decide("", now)  # without a port the status of the health check's answer says that no call can come
            return
        try:
            ear = _open_ear(self._host)
        except OSError as error:
            self._release(port)
            self._decide(f"no socket at {self._host}: {error.strerror}", now)
            return
        self._serial += 1
        there = Address(*ear.getsockname()[:2])
        target = Target(there, there, Address(self._host, port), self._codec, self._codec.offered_type, PTIME)
        self._probe = _Probe(ear, port, now + HEARD_WITHIN)
        self._engines.order(StartStream(PROBE, self._serial, target, 0.0, self._tune() or 0))

    def _follow(self, probe: _Probe, now: float) -> None:
        """Count what is heard, and end the stream when that is enough, or too late."""
        probe.listen(self._codec.offered_type)
        ends = self._engines.take_probe_ends()
        if not probe.decided and (probe.heard >= PACKETS or now >= probe.until):
            seconds = f"{HEARD_WITHIN:.0f} s"
            self._stop(probe, "" if probe.heard >= PACKETS else f"{probe.heard} packets were heard in {seconds}", now)
        if ends:
            if not probe.decided:
                self._decide(ends[-1].why, now)
            probe.ear.close()
            self._release(probe.port)
            self._probe = None

    def _stop(self, probe: _Probe, trouble: str, now: float) -> None:
        probe.decided = True
        self._engines.order(StopStream(PROBE))
        self._decide(trouble, now)

    def _release(self, port: int) -> None:
        with self._lock:
            self._agent.registry.ports.release(port)

    def _decide(self, trouble: str, now: float) -> None:
        health = self._agent.health
        before, text = health.no_music, f"{TROUBLE}{trouble}" if trouble else ""
        with self._lock:
            health.no_music, health.music_known, health.music_asked = text, True, False
        self._known_until = now + (EVERY_IN_TROUBLE if trouble else EVERY)
        if text and not before:
            log.error("%s", text)
        elif before and not text:
            log.info("music leaves the server again")


class _Probe:
    """A stream to this server itself."""

    def __init__(self, ear: socket.socket, port: int, until: float) -> None:
        self.ear = ear
        self.port = port
        self.until = until
        self.heard = 0
        self.decided = False

    def listen(self, payload_type: int) -> None:
        """Count the packets that have come; RTCP is none of them."""
        while True:
            try:
                data = self.ear.recv(16)
            except OSError:
                return
            self.heard += len(data) > 1 and data[1] & 127 == payload_type


def _open_ear(host: str) -> socket.socket:
    ear = socket.socket(family_of(host), socket.SOCK_DGRAM)
    try:
        ear.bind((host, 0))
    except OSError:
        ear.close()
        raise
    ear.setblocking(False)
    return ear
