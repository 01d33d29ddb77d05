"""The codecs we play: one row each, everything that differs between them.

To add a codec, add a row; offer, answer and ffmpeg's command read this table and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class Codec:
    """One way to write sound into RTP packets (RFC 3551 §4.5, table 4).

    ``name`` and ``clock_rate`` are those of ``a=rtpmap``, the clock in Hz; ``static_type`` is the payload type it has
    without an rtpmap, if any. ``sample_rate`` is the rate in Hz that the encoder hears, ``octets_per_ms`` how much of
    the packet a millisecond takes, ``encoder`` ffmpeg's name for it.
    """

    name: str
    clock_rate: int
    static_type: Optional[int]
    sample_rate: int
    octets_per_ms: int
    encoder: str


PCMU = Codec("PCMU", 8000, static_type=0, sample_rate=8000, octets_per_ms=8, encoder="pcm_mulaw")

CODECS = (PCMU,)
"""All of them, the one we would choose first in front."""
