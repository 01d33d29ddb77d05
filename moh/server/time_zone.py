"""The time zone of the log. The C library takes an unknown one for UTC in silence."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path

ZONES = "/usr/share/zoneinfo"
"""Where the C library looks for time zones, unless TZDIR names another folder (tzset(3))."""
WITHOUT_FILE = re.compile(r"(<[\w+-]+>|[A-Za-z]{3,})[+-]?\d.*|UTC|GMT")
"""The time zones that need no file, such as ``JST-9`` (POSIX)."""


def time_zone_fault(environment: Mapping[str, str]) -> str:
    """What the owner has to know of the variable TZ, in one line; empty if there is nothing to say."""
    name = environment.get("TZ", "")
    zone = Path(environment.get("TZDIR", ZONES)) / name.lstrip(":")
    expected = "expected a name such as Asia/Tokyo"
    if name and not WITHOUT_FILE.fullmatch(name) and not zone.is_file():
        return f"TZ is {name!r}, which this machine does not know, so the times in this log are UTC; {expected}"
    if re.search(r"\+\d", re.sub("<.*>", "", name)):  # the sign of POSIX is the opposite of everyday use
        behind = time.timezone / 3600
        return f"TZ is {name!r}, so the times in this log are {behind:g} h behind UTC. For a time ahead, {expected}"
    return ""
