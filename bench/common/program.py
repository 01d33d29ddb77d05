"""This project's server as a program that a benchmark starts."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
"""The project's folder."""
SCRIPT = ROOT / "sip_server.py"
EACH_FFMPEG = 0.3
"""Seconds between calls that are to get an ffmpeg each: a call that comes while others start shares the stream."""


def environment(**settings: object) -> dict[str, str]:
    """The environment of this process without its ``MOH_`` variables, and with ``settings``."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MOH_")}
    return {**inherited, **{name: str(value) for name, value in settings.items()}}
