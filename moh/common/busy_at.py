"""From where on a server counts as busy: by its calls, or by its processor time."""

from __future__ import annotations

import math
import re
from typing import NamedTuple


class BusyAt(NamedTuple):
    """One of the two; the other is infinite. Both infinite: the server never counts as busy."""

    calls: float = math.inf
    share: float = math.inf
    """Of one core, as 0.8, by the server and the ffmpegs of its calls together."""

    def __str__(self) -> str:
        return f"{self.calls:.0f}" if self.calls < math.inf else f"{self.share:.0%}"


NEVER = BusyAt()


def read_busy_at(text: str) -> BusyAt:
    """The value of ``MOH_BUSY_AT``: ``2000`` calls, or ``80%`` of one core; empty: never. Raises ``ValueError``."""
    if not text:
        return NEVER
    found = re.fullmatch(r"([1-9][0-9]{0,5})( ?%)?", text)
    if not found:
        raise ValueError("a number of calls as 2000, a share of one core as 80%, or nothing for no limit")
    return BusyAt(share=int(found[1]) / 100) if found[2] else BusyAt(calls=int(found[1]))
