"""A state of the server with something of everything, as ``/state.json`` gives it to the page."""

from __future__ import annotations

from typing import Any

from moh.common.config import Settings

NOW = 1_790_000_000.0
"""When the state was made: Unix time."""


def call(number: int, now: float = NOW, **changed: Any) -> dict[str, Any]:
    """One call that goes on; ``changed`` are the fields in which it differs."""
    age = 35.0 + 60 * number
    return {
        "id": f"{number:08x}", "caller": f"{200 + number}@192.0.2.{number % 250 + 1}",
        "source": f"192.0.2.{number % 250 + 1}:5060", "test": False, "transport": "udp", "answered": now - age,
        "age": age, "state": "plays", "played": age, "codec": "PCMU", "ptime": 20,
        "receiver": f"192.0.2.{number % 250 + 1}:4000", "port": 10000 + 2 * number, "engine": "ffmpeg",
        "encrypted": False, "packets": int(age * 50), "packets_estimated": True, "lateness": None, "loss": 0.0,
        "jitter": 0.0021, "reported_before": 3.0, "heard": "the receiver reported 0 % lost, jitter 2 ms",
    } | changed  # fmt: skip


def ended(number: int, now: float = NOW, **changed: Any) -> dict[str, Any]:
    """One call that has ended."""
    end = {"ended": now - 90.0 * (number + 1), "reason": "BYE", "why": "BYE from the caller"}
    return call(number + 50, now, **end) | changed


def sample_state(now: float = NOW, calls: int = 4, ends: int = 14) -> dict[str, Any]:
    """A state at ``now`` with ``calls`` calls of both engines, and ``ends`` ended ones."""
    shared = {"engine": "shared", "port": 10100, "packets_estimated": False, "lateness": 0.0004}
    listed = [call(number, now, **(shared if number % 2 else {})) for number in range(calls)]
    return {
        "version": "0.1.0", "compiled": True, "pid": 4711, "now": now, "started": now - 93784.0, "ready": True,
        "stopping": False, "draining": False, "busy": False,
        "trouble": "", "uri": "sip:123@192.0.2.10:5060", "uri_advice": [],
        "settings": [{"name": name, "value": default, "default": default, "help": text}
                     for name, default, text in Settings.table()],
        "music": {
            "name": "music.mp3", "builtin": False, "since": now - 93780.0, "seconds": 192.0, "loudness": -24.0,
            "gain": -10.2, "number": 1,
            "summary": "music.mp3 (3 min 12 s), converted in 2.1 s: made 10 dB quieter, "
                       "its end fades into its beginning",
        },
        "codecs": ["PCMU", "PCMA", "G722", "opus"],
        "calls": {"now": calls, "listed": listed},
        "ended": [ended(number, now) for number in range(ends)],
        "refusals": [{
            "reason": "INVITE 488", "count": 7, "source": "192.0.2.9", "at": now - 600,
            "text": "refused 'INVITE' from 192.0.2.9:5060: 488 No stream to play to: no codec in common",
        }],
        "totals": {
            "calls": [{"codec": "PCMU", "engine": "ffmpeg", "count": 9},
                      {"codec": "G722", "engine": "shared", "count": 3}],
            "ended": {"BYE": ends}, "refused": {"INVITE 488": 7}, "rejected": {}, "events": {}, "last_call": now - 35,
            "packets": {"ffmpeg": 120_000, "shared": 45_000}, "not_sent": 0, "skipped": 0, "ffmpeg_starts": 9,
            "ffmpeg_restarts": 0, "unexpected_errors": 0, "dropped_datagrams": 0, "reported_lost": 3,
            "reported_expected": 165_000,
        },
        "histograms": {
            "lateness": {"bounds": [0.001, 0.002, 0.005, 0.01], "counts": [44_900, 99, 1, 0, 0], "sum": 3.1},
            "setup": {"bounds": [0.001, 0.01], "counts": [11, 1, 0], "sum": 0.02},
            "first_packet": {"bounds": [0.01, 0.1], "counts": [0, 12, 0], "sum": 0.4},
        },
        "findings": [],
    }  # fmt: skip
