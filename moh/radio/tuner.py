"""The connection of one radio: a thread that fetches it, has it decoded, and connects again when that ends.

The law kept here: no cause is guessed. A reason says what was seen.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Optional

from ..common.faults import FaultLog
from .decoder import Decoder, DecoderFailed
from .destinations import SourceFailed
from .http_client import HttpClient, shown, target_of
from .samples import FRAMES
from .source import Source

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds until a radio is connected again; the pause doubles each time, up to the longest one."""
STEADY = 60.0
"""Seconds of sound after which a connection counts as one that works: the next pause is the first one again."""
WORKS = 10.0
"""Seconds of sound after which the same address is tried again, before the others."""
LEAST_RATE = 1000
"""Octets a second that a station sends at least: no codec of music needs fewer."""
RATE_WINDOW = 10.0
"""Seconds in which the octets are counted."""
START_TIMEOUT = 25.0
"""Seconds in which a new connection has to deliver ``START`` seconds of sound."""
START = 5.0
FIRST_SOUND, NEXT_SOUND, AGAIN_SOUND = 12.0, 3.0, 6.0
"""Seconds in which ffmpeg has to make its first sound, and each further one. When one of these passes without sound, a
new ffmpeg takes over, since the station may have changed its format. ``AGAIN_SOUND`` is for the first sound of that."""
FED = 16384
"""Octets without sound that ffmpeg has to have got before it is replaced."""
RESTARTS = 2
"""How often ffmpeg is replaced in one connection. The count begins again after ``WORKS`` seconds of sound."""
MOST_BARREN = 5
"""How often in a row the format may change after less than a second of sound: each change is another ffmpeg."""

log = logging.getLogger("moh")


class Tuner:
    """Fetches one radio until ``close``. All attributes may be read by any thread."""

    def __init__(
        self,
        addresses: Sequence[str],
        client: HttpClient,
        loudness: Optional[float],
        offer: Callable[[Decoder], None],
    ) -> None:
        self.addresses = tuple(addresses)
        self.why = ""
        """Why the radio does not play, or the latest time did not; empty before its first connection has ended."""
        self.address = ""
        """The address that is tried now, without a password."""
        self.is_connected = False
        """Whether the station sends."""
        self.connections = 0
        """How often it was connected."""
        self._client, self._loudness, self._offer = client, loudness, offer
        self._closing = threading.Event()
        self._source: Optional[Source] = None
        self._decoder: Optional[Decoder] = None
        self._heard = 0
        self._faults = FaultLog("the thread of a radio")
        self._thread = threading.Thread(target=self._run, name="radio", daemon=True)
        self._thread.start()

    @property
    def title(self) -> str:
        """What the station says that it plays; empty where it says nothing."""
        source = self._source
        return source.title if source is not None else ""

    def abort(self, why: str) -> None:
        """End this connection because of ``why``, and connect again."""
        if (source := self._source) is not None:
            source.abort(why)

    def close(self) -> None:
        """End the thread. It takes a while where it waits for a name server."""
        self._closing.set()
        self.abort("it was stopped")
        if (decoder := self._decoder) is not None:
            decoder.kill()

    # -- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause, turn = FIRST_PAUSE, 0
        while not self._closing.is_set():
            self._heard = 0
            try:
                self._receive(self.addresses[turn % len(self.addresses)], turn // len(self.addresses))
                why = "the station has ended the connection"
            except (SourceFailed, DecoderFailed) as error:
                why = str(error)
            except Exception as error:
                self._faults.report(error, time.monotonic())
                why = "an unexpected error, which the log shows"
            self.why = why
            heard = self._seconds_heard()
            if heard < WORKS:
                turn += 1
            if heard >= STEADY:
                pause = FIRST_PAUSE
            self._closing.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _receive(self, address: str, turn: int) -> None:
        """Fetch the radio until its connection ends. Raises ``SourceFailed`` or ``DecoderFailed``."""
        self.address = shown(address)
        self.address = target_of(address).url
        source = self._source = Source(self._client, self._closing.wait)
        try:
            source.open(address, turn)
            self.connections += 1
            self.is_connected = True
            self._decode(source)
        finally:
            self.is_connected = False
            source.close()
            if (decoder := self._decoder) is not None:
                self._count(decoder)
                decoder.end_input()
                if self._closing.is_set():
                    decoder.kill()

    def _decode(self, source: Source) -> None:
        decoder = self._new_decoder(source.is_hls)
        began = window = time.monotonic()
        counted = restarts = barren = 0
        for octets in source.octets():
            now = time.monotonic()
            if self._closing.is_set():
                return
            if octets is None:
                self._drain(decoder)
                barren = barren + 1 if decoder.buffer.heard < FRAMES else 0
                if barren > MOST_BARREN:
                    raise SourceFailed(f"its format has changed {barren} times, each after less than a second")
                decoder = self._new_decoder(source.is_hls)
                continue
            counted += len(octets)
            try:
                decoder.feed(octets)
                self._expect_sound(decoder, now, AGAIN_SOUND if restarts else FIRST_SOUND)
            except DecoderFailed:
                if decoder.buffer.heard >= WORKS * FRAMES:
                    restarts = 0
                if restarts == RESTARTS or self._closing.is_set():
                    raise
                restarts += 1
                unheard = decoder.unheard()
                decoder.end_input()
                decoder = self._new_decoder(source.is_hls)
                decoder.feed(unheard)
            waited = decoder.buffer.full_at >= window
            if now - window >= RATE_WINDOW:
                if counted / (now - window) < LEAST_RATE and not waited:
                    rate = counted / (now - window)
                    raise SourceFailed(f"it sends {rate:.0f} octets a second; expected at least {LEAST_RATE}")
                window, counted = now, 0
            if now - began >= START_TIMEOUT and decoder.buffer.silent == 0 and self._seconds_heard() < START:
                raise SourceFailed(f"it has sent {self._seconds_heard():.1f} s of sound in {now - began:.0f} s")
        self._drain(decoder)
        if decoder.error and not decoder.buffer.heard and self._seconds_heard() < START:
            raise DecoderFailed(decoder.why)

    def _new_decoder(self, segments: bool) -> Decoder:
        if self._decoder is not None:
            self._count(self._decoder)
        decoder = self._decoder = Decoder(self._loudness, segments)
        self._offer(decoder)
        return decoder

    def _expect_sound(self, decoder: Decoder, now: float, first: float) -> None:
        """Raise ``DecoderFailed`` where ffmpeg has got enough and makes no sound."""
        since = decoder.hungry_since
        limit = NEXT_SOUND if decoder.has_output else first
        if since is not None and now - since > limit and decoder.fed > FED:
            raise DecoderFailed(decoder.why)

    def _drain(self, decoder: Decoder) -> None:
        """Wait until ffmpeg has decoded all that it got."""
        decoder.end_input()
        while not decoder.buffer.finished and not self._closing.is_set():
            if time.monotonic() - decoder.progress_at > FIRST_SOUND:
                decoder.kill()
            self._closing.wait(0.1)

    def _count(self, decoder: Decoder) -> None:
        """Count what a decoder has delivered that ends now."""
        self._heard += decoder.buffer.heard
        self._decoder = None

    def _seconds_heard(self) -> float:
        """Seconds of sound that this connection has delivered."""
        decoder = self._decoder
        return (self._heard + (decoder.buffer.heard if decoder is not None else 0)) / FRAMES
