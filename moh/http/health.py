"""``/healthz`` and ``/readyz``, for programs that watch the server. Each answers in one line."""

from __future__ import annotations

from .answers import Answer, text
from .state_reader import Reading


def healthz(reading: Reading) -> Answer:
    """200 while the page can read the server's state."""
    return text(503, f"the server does not answer: {reading.why}") if reading.why else text(200, "ok")


def readyz(reading: Reading) -> Answer:
    """200 while the server takes calls and has music for them."""
    if reading.why or reading.state is None:
        return healthz(reading)
    if why := _why_not_ready(reading):
        return text(503, why)
    trouble = str(reading.state.get("trouble") or "")
    return text(200, f"ready, but: {trouble}" if trouble else "ready")


def _why_not_ready(reading: Reading) -> str:
    state = reading.state or {}
    if state.get("stopping"):
        return "the server stops: it takes no more calls"
    if state.get("draining"):
        return "the server drains: it takes no more calls for now"
    if state.get("busy"):
        return "the server is busy: MOH_BUSY_AT is reached"
    if state.get("music") is None:
        return "there is no music yet"
    return "" if state.get("ready") else "the server takes no calls yet"
