"""One radio: its connection, its ring and its fallback, and the reports about it to the server."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Optional

from .decoder import Decoder
from .fallback import Fallback, NoFallback
from .http_client import HttpClient
from .live_buffer import LiveBuffer
from .messages import Play
from .programme import Programme
from .ring import SECONDS, NoRing, Ring
from .samples import FRAMES
from .tuner import Tuner

REPORTS_APART = 1.0
"""Seconds between two reports of a radio's state at least."""

NO_SOUND = "ffmpeg finds no sound in what it sends"

Report = Callable[[Mapping[str, Any]], None]
"""Sends one message to the server."""


class Station:
    """A radio that plays into a ring. All methods are called by one thread at a time."""

    def __init__(
        self, order: Play, cache: Path, client: HttpClient, loudness: Optional[float], report: Report, now: float
    ) -> None:
        """Raises ``NoRing`` or ``NoFallback``."""
        self.name = order.name
        self._client, self._loudness, self._report = client, loudness, report
        self._decoders: list[Decoder] = []
        self._begun: deque[Decoder] = deque()
        """Decoders that the thread of the connection has begun, and ``service`` does not know yet."""
        self._was_live = self._is_closed = False
        self._reported: dict[str, Any] = {}
        self._report_at = now
        fallback = Fallback(order.fallback)
        ring: Optional[Ring] = None
        if order.ring_files:
            try:
                ring = Ring.take_over(cache, order.ring_files, order.ring_began)
            except NoRing:
                pass  # the server gets another one
        ring = ring or Ring.make(cache, now)
        self.ring = ring
        try:
            self._programme = Programme(ring, fallback, now)
        except NoFallback:
            ring.remove()
            raise
        self._report(
            {
                "what": "ring", "name": self.name, "files": {str(rate): str(path) for rate, path in ring.files.items()},
                "seconds": float(SECONDS), "began": ring.began,
            }
        )  # fmt: skip
        self._tuner = self._tune(order.addresses)

    def change(self, order: Play) -> None:
        """Play other addresses, or another fallback. Raises ``NoFallback``."""
        if order.fallback != self._programme.fallback_files:
            self._programme.use_fallback(Fallback(order.fallback))
        if order.addresses != self._tuner.addresses:
            self._tuner.close()
            self._tuner = self._tune(order.addresses)

    def service(self, now: float) -> None:
        """Move on what was decoded, fill the ring, and report what has changed. Raises ``NoFallback``."""
        while self._begun:
            self._decoders.append(self._begun.popleft())
        for decoder in self._decoders:
            decoder.pump(now)
        self._decoders = [decoder for decoder in self._decoders if not decoder.buffer.finished]
        before = self._programme.source
        self._programme.advance(now)
        if isinstance(before, LiveBuffer) and not self._programme.is_live and not (before.finished or before.is_away):
            heard, seconds = before.heard / FRAMES, now - before.began
            self._tuner.abort(f"it has sent {heard:.0f} s of sound in {seconds:.0f} s")
        self._report_state(now)

    def close(self) -> None:
        """End the connection and remove the ring."""
        self._is_closed = True
        self._tuner.close()
        for decoder in (*self._decoders, *self._begun):
            _end(decoder)
        self._programme.close()

    def _tune(self, addresses: tuple[str, ...]) -> Tuner:
        return Tuner(addresses, self._client, self._loudness, self._offer)

    def _offer(self, decoder: Decoder) -> None:
        if self._is_closed:
            _end(decoder)
            return
        self._programme.offered.append(decoder.buffer)
        self._begun.append(decoder)

    def _report_state(self, now: float) -> None:
        if now < self._report_at:
            return
        tuner, offered = self._tuner, list(self._programme.offered)
        is_silent = bool(offered) and not offered[-1].finished and offered[-1].is_away
        if self._programme.is_live:
            state, why = "plays", ""
            if tuner.is_connected:
                tuner.why = ""
            self._was_live = True
        elif is_silent:
            state, why = "away", "it sends silence"
        elif tuner.why or (self._was_live and tuner.is_connected and not (offered and offered[-1].frames)):
            state, why = "away", tuner.why or NO_SOUND
        else:
            state, why = "connecting", ""
        report = {
            "what": "radio", "name": self.name, "state": state, "why": why, "address": tuner.address,
            "title": tuner.title if state == "plays" else "", "connections": tuner.connections,
        }  # fmt: skip
        if report != self._reported:
            self._report(report)
            self._reported, self._report_at = report, now + REPORTS_APART


def _end(decoder: Decoder) -> None:
    decoder.kill()
    decoder.pump(time.monotonic())
