"""The codecs that the server plays: one row for each, with everything in which they differ.

To add a codec, add a row: offer, answer, the prepared music and ffmpeg's command line all read this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class Codec:
    """One codec (RFC 3551 §4.5, table 4; RFC 7587 for Opus).

    ``name``, ``clock_rate`` (in Hz) and ``channels`` are those of ``a=rtpmap``. ``static_type`` is the payload type
    without an rtpmap, if the codec has one, and ``offered_type`` the one in the server's offers. ``sample_rate`` is the
    rate in Hz of the prepared music that is encoded. ``octets_per_ms`` is the length of the payload for a millisecond
    of music. ``ptimes`` are the packet lengths in milliseconds that the codec allows; an empty tuple allows any length.
    ``encoder`` is ffmpeg's name for the encoder, ``options`` are the encoder's options.
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
        """The encoding as ``a=rtpmap`` writes it."""
        return f"{self.name}/{self.clock_rate}" + (f"/{self.channels}" if self.channels > 1 else "")

    def fitting_ptime(self, wanted: int) -> int:
        """The longest allowed packet length up to ``wanted``, or the shortest allowed one if all are longer."""
        if not self.ptimes:
            return wanted
        return max((ptime for ptime in self.ptimes if ptime <= wanted), default=min(self.ptimes))


PCMU = Codec("PCMU", 8000, 0, 0, sample_rate=8000, octets_per_ms=8, encoder="pcm_mulaw")
PCMA = Codec("PCMA", 8000, 8, 8, sample_rate=8000, octets_per_ms=8, encoder="pcm_alaw")
# 16,000 samples a second, but its clock rate is 8000 by a historical error (RFC 3551 §4.5.2)
G722 = Codec("G722", 8000, 9, 9, sample_rate=16000, octets_per_ms=8, encoder="g722")
# always opus/48000/2 in SDP, whatever the packets contain (RFC 7587 §7)
OPUS = Codec(
    "opus", 48000, None, 96, sample_rate=16000, octets_per_ms=4, encoder="libopus", channels=2, ptimes=(10, 20, 40, 60),
    options=(("b:a", "32k"), ("vbr", "off"), ("application", "audio")),
)  # fmt: skip

CODECS = (PCMU, PCMA, G722, OPUS)
"""All codecs, in the order of the server's offers. PCMU is the first, because every phone has it."""
