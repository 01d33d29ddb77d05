"""The codecs we play: one row each, everything that differs between them.

To add a codec, add a row; offer, answer, the prepared music and ffmpeg's command read this table and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class Codec:
    """One way to write sound into RTP packets (RFC 3551 §4.5, table 4; RFC 7587 for Opus).

    ``name``, ``clock_rate`` (in Hz) and ``channels`` are those of ``a=rtpmap``; ``static_type`` is the payload type it
    has without an rtpmap, if any, and ``offered_type`` the one in offers of our own. ``sample_rate`` is the rate in Hz
    of the prepared music it is made from, ``octets_per_ms`` how much of the packet a millisecond takes. ``ptimes`` are
    the packet lengths in milliseconds that it allows, none: any. ``encoder`` is ffmpeg's name for it, ``options`` what
    that encoder is told.
    """

    name: str
    clock_rate: int
    static_type: Optional[int]
    offered_type: int
    sample_rate: int
    octets_per_ms: int
    encoder: str
    channels: int = 1
    ptimes: tuple[int, ...] = ()
    options: tuple[tuple[str, str], ...] = ()

    @property
    def encoding(self) -> str:
        """As ``a=rtpmap`` has it."""
        return f"{self.name}/{self.clock_rate}" + (f"/{self.channels}" if self.channels > 1 else "")

    def fitting_ptime(self, wanted: int) -> int:
        """The packet length nearest below ``wanted`` that the codec allows."""
        return max((ptime for ptime in self.ptimes if ptime <= wanted), default=min(self.ptimes, default=wanted))


PCMU = Codec("PCMU", 8000, 0, 0, sample_rate=8000, octets_per_ms=8, encoder="pcm_mulaw")
PCMA = Codec("PCMA", 8000, 8, 8, sample_rate=8000, octets_per_ms=8, encoder="pcm_alaw")
# its clock is 8000 by an old mistake, though it takes 16,000 samples a second (RFC 3551 §4.5.2)
G722 = Codec("G722", 8000, 9, 9, sample_rate=16000, octets_per_ms=8, encoder="g722")
# always opus/48000/2 in SDP, whatever is in it (RFC 7587 §7)
OPUS = Codec(
    "opus", 48000, None, 96, sample_rate=16000, octets_per_ms=4, encoder="libopus", channels=2, ptimes=(10, 20, 40, 60),
    options=(("b:a", "32k"), ("vbr", "off"), ("application", "audio")),
)  # fmt: skip

CODECS = (PCMU, PCMA, G722, OPUS)
"""All of them, in the order of our own offers: the one that every phone has in front."""
