"""The sample of the state with a value for each metric; the counts differ, so that none is taken for another."""

from __future__ import annotations

from tests.http.names_state import names_state
from tests.http.sample_state import State, sample_state


def counted_state() -> State:
    """The state of a server with three calls, two of which get music."""
    sample = sample_state()
    return {
        **sample,
        "started": 1790000000.0,
        "music": {**sample["music"], "seconds": 183.25, "loudness": -24.5},
        "calls": {"now": 3, "listed": [], "playing": [
            {"codec": "PCMU", "engine": "ffmpeg", "count": 1}, {"codec": "PCMU", "engine": "shared", "count": 1}]},
        "totals": {
            "calls": [{"codec": "PCMU", "engine": "ffmpeg", "count": 9},
                      {"codec": "opus", "engine": "shared", "count": 2}],
            "ended": {"BYE": 7, "longest call": 1}, "refused": {"INVITE 488": 4, "other 405": 1},
            "rejected": {"too short": 5}, "delayed": {"messages that came too fast": 4}, "events": {"scanner": 6},
            "last_call": 1790000090.0, "packets": {"ffmpeg": 4500, "shared": 5000}, "not_sent": 3, "skipped": 2,
            "ffmpeg_starts": 10, "ffmpeg_restarts": 1, "unexpected_errors": 0, "dropped_datagrams": 8,
            "reported_lost": 12, "reported_expected": 9000,
        },
        "histograms": {
            "lateness": {"bounds": [0.0001, 0.001, 0.02], "counts": [4000, 900, 90, 10], "sum": 2.5},
            "setup": {"bounds": [0.001, 0.01], "counts": [8, 3, 0], "sum": 0.03},
            "first_packet": {"bounds": [0.05, 0.5], "counts": [9, 1, 1], "sum": 1.75},
        },
        "names": names_state(),
        "findings": [{"id": "no-call", "level": "note"}, {"id": "address", "level": "warning"}],
    }  # fmt: skip
