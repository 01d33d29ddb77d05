"""A state of the server as ``/state.json`` has it, for tests of the page: calls of all kinds, and texts from the wire.

``sample_state`` makes a new one each time, so a test may change it.
"""

from __future__ import annotations

import copy
from typing import Any

State = dict[str, Any]

NOW = 1_790_000_000.0
"""The server's time in the sample, since 1970."""
STATES = ("plays", "on hold, no music", "waits for the ACK")


def row(number: int, **changed: Any) -> State:
    """Return a call. Its number makes it differ from the others."""
    made: State = {
        "id": f"{number:08x}", "caller": f"20{number}@192.0.2.{number}", "source": f"192.0.2.{number}:5060",
        "transport": "udp", "answered": NOW - 60.0 * number, "age": 60.0 * number, "state": "plays",
        "played": 60.0 * number, "codec": "PCMU", "ptime": 20, "receiver": f"198.51.100.{number}:4000",
        "port": 10_000 + 2 * number, "engine": "ffmpeg", "encrypted": False, "packets": 3000 * number,
        "packets_estimated": True, "lateness": None, "loss": 0.0, "jitter": 0.002, "reported_before": 3.0,
        "heard": f"the receiver reported that {3000 * number} packets have arrived",
    }  # fmt: skip
    return {**made, **changed}


def sample_state(**changed: Any) -> State:
    """Return a state; ``changed`` replaces values at its top."""
    return {**copy.deepcopy(_STATE), **changed}


_STATE: State = {
    "version": "1.2.3", "compiled": True, "pid": 4711, "now": NOW, "started": NOW - 86_400.0, "ready": True,
    "stopping": False, "draining": False, "busy": False,
        "trouble": "", "uri": "sip:123@192.0.2.100:5060", "uri_advice": [],
    "settings": [
        {"name": "MOH_BIND", "value": "0.0.0.0", "default": "0.0.0.0",
         "help": "address to listen on; 0.0.0.0: all addresses"},
        {"name": "MOH_SIP_PORT", "value": "5060", "default": "5060", "help": "port for SIP, UDP and TCP"},
        {"name": "MOH_MUSIC", "value": "/music/夏の歌.mp3", "default": "", "help": "file to play"},
        {"name": "MOH_TLS_KEY", "value": "/tls-key.pem", "default": "", "help": "private key (PEM)"},
        {"name": "MOH_HTTP", "value": "127.0.0.1:8080", "default": "", "help": "address and port of the page"},
    ],
    "music": {
        "name": "夏の歌.mp3", "builtin": False, "since": NOW - 86_000.0, "seconds": 183.2, "loudness": -24.0,
        "gain": -3.5, "number": 3, "summary": "夏の歌.mp3 (183 s), loudness -24.0 LUFS",
        "files": {"8000": "/tmp/moh/sample/8000.wav", "16000": "/tmp/moh/sample/16000.wav"},
    },
    "codecs": ["PCMU", "PCMA", "G722", "opus"],
    "calls": {
        "now": 5,
        "listed": [
            row(1, caller="山田 太郎@192.0.2.1", state="waits for the ACK", played=0.0, packets=None,
                packets_estimated=False, loss=None, jitter=None, reported_before=None,
                heard="no report from the receiver yet"),
            row(2, codec="G722", engine="shared", port=10_100, packets=6000, packets_estimated=False, lateness=0.0004,
                loss=0.01, jitter=0.012),
            row(3, caller="<script>alert(1)</script>@192.0.2.3", codec="opus", transport="tls", encrypted=True,
                loss=None, jitter=None, reported_before=None, heard="its reports are encrypted"),
            row(4, state="on hold, no music", codec="", receiver=None, packets=None, packets_estimated=False),
            row(5, source="[2001:db8::5]:5060", caller="205@[2001:db8::5]", receiver="[2001:db8::6]:4000",
                transport="tcp", codec="PCMA", loss=0.25, jitter=0.08,
                heard="the receiver reported that a quarter of the packets was lost"),
        ],
    },
    "ended": [
        {**row(6), "state": "ended", "ended": NOW - 30.0, "reason": "BYE", "why": "BYE from the caller"},
        {**row(7, codec="G722", engine="shared"), "state": "ended", "ended": NOW - 90.0, "reason": "port unreachable",
         "why": "198.51.100.7:4000 is unreachable"},
        {**row(8), "state": "ended", "ended": NOW - 600.0, "reason": "longest call",
         "why": "the longest call (MOH_MAX_CALL) is over"},
    ],
    "refusals": [
        {"reason": "INVITE 488", "text": "refused: the offer has G729 alone; expected PCMU, PCMA, G722 or opus",
         "count": 7, "source": "192.0.2.9", "at": NOW - 12.0},
        {"reason": "REGISTER 405", "text": "refused: REGISTER; the server keeps no registrations", "count": 120,
         "source": "192.0.2.10", "at": NOW - 40.0},
    ],
    "totals": {
        "calls": [
            {"codec": "PCMU", "engine": "ffmpeg", "count": 9}, {"codec": "G722", "engine": "shared", "count": 4},
            {"codec": "opus", "engine": "ffmpeg", "count": 1}, {"codec": "PCMA", "engine": "ffmpeg", "count": 2},
        ],
        "ended": {"BYE": 9, "port unreachable": 1, "longest call": 1},
        "refused": {"INVITE 488": 7, "REGISTER 405": 120},
        "rejected": {"too many messages": 3}, "events": {"nothing arrives": 1}, "last_call": NOW - 60.0,
        "packets": {"ffmpeg": 120_000, "shared": 60_000}, "not_sent": 2, "skipped": 1, "ffmpeg_starts": 13,
        "ffmpeg_restarts": 1, "unexpected_errors": 0, "dropped_datagrams": 0, "reported_lost": 60,
        "reported_expected": 9000,
    },
    "loops": {"octets": 57_600_000},
    "histograms": {
        "lateness": {"bounds": [0.001, 0.002, 0.005, 0.01, 0.02], "counts": [59_000, 900, 90, 9, 1, 0], "sum": 12.5},
        "setup": {"bounds": [0.001, 0.005, 0.02, 0.1, 1.0], "counts": [2, 12, 2, 0, 0, 0], "sum": 0.06},
        "first_packet": {"bounds": [0.02, 0.05, 0.1, 0.2, 1.0], "counts": [4, 10, 1, 1, 0, 0], "sum": 0.6},
    },
    "findings": [
        {"id": "bridge", "level": "warning",
         "en": {"what": "The server is in a container, and the address that callers are told is the container's.",
                "why": "Phones that filter by source stay silent.",
                "do": "Set MOH_ADVERTISED_ADDRESS to the address of the machine."},
         "ja": {"what": "サーバーはコンテナの中にあり、相手に伝わるアドレスはコンテナのものです。",
                "why": "送信元を確認する電話機では音が出ません。",
                "do": "MOH_ADVERTISED_ADDRESS にこのマシンのアドレスを設定してください。"}},
        {"id": "music", "level": "ok",
         "en": {"what": "The music can be read.", "why": "", "do": ""},
         "ja": {"what": "音楽ファイルを読み込めます。", "why": "", "do": ""}},
    ],
}  # fmt: skip
