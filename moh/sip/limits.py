"""What the owner permits the core: one frozen value, made of the settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from ..common.busy_at import NEVER, BusyAt
from ..common.codecs import CODECS, Codec
from ..guard.media_policy import MediaPolicy


@dataclass(frozen=True)
class Limits:
    """What the owner permits: codecs that ffmpeg can make, the longest call, where music may go, what answers say."""

    codecs: tuple[Codec, ...] = CODECS
    longest_call: Optional[float] = None
    """Seconds; ``None`` for no limit."""
    destinations: MediaPolicy = field(default_factory=MediaPolicy)
    two_way: bool = False
    """As in ``Origin``."""
    starts_at_once: Optional[int] = None
    """The streams that may start at once on ports of their own, as in ``StartLimit``."""
    busy_at: BusyAt = NEVER
    """From where on OPTIONS is refused, and calls a little later."""
