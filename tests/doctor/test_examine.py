"""The examination as a whole: what it asks, and what it leaves out."""

from __future__ import annotations

import os
from typing import Any, Optional

import pytest

from moh.common.actions import Address
from moh.common.config import Settings
from moh.doctor import examine as module
from moh.doctor.command import values_of
from moh.doctor.examine import examine
from moh.doctor.finding import Finding, finding
from moh.doctor.own_call import Answer
from moh.doctor.texts import level
from moh.net.state_client import NoState
from moh.sip.validation import ALLOW

OURS, FOREIGN = Answer(Address("127.0.0.1", 5060), ALLOW[1]), Answer(Address("127.0.0.1", 5060), "INVITE, ACK, PRACK")
STATE = {
    "version": "1.2.3", "pid": os.getpid(), "now": 1000.0, "started": 900.0, "ready": True, "stopping": False,
    "trouble": "", "uri": "sip:123@192.0.2.1:5060", "settings": [], "codecs": ["PCMU"],
    "music": {"name": "m.mp3", "builtin": False, "seconds": 9.0, "loudness": -24.0, "summary": ""},
    "calls": {"now": 0, "listed": []}, "ended": [], "refusals": [],
    "totals": {"last_call": 990.0, "calls": [{"codec": "PCMU", "count": 1}]},
}  # fmt: skip


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what has tests of its own."""
    for name in ("address_findings", "bridge_findings", "ffmpeg_findings", "limit_findings", "disk_findings"):
        monkeypatch.setattr(module, name, lambda *args, **more: [])
    monkeypatch.setattr(module, "port_findings", lambda settings: [finding("port-taken", port=1)])
    monkeypatch.setattr(module, "converted_music", lambda settings: [finding("music-plays", name="x", details="")])
    monkeypatch.setattr(module, "file_findings", lambda settings: [])
    monkeypatch.setattr(module, "own_call_findings", lambda settings: [finding("test-call")])


def found(
    monkeypatch: pytest.MonkeyPatch, state: Optional[dict[str, Any]], answer: Optional[Answer], **environment: str
) -> dict[str, Finding]:
    def read(bind: str, port: int) -> dict[str, Any]:
        if state is None:
            raise NoState("no server runs here")
        return state

    monkeypatch.setattr(module, "read_state", read)
    monkeypatch.setattr(module, "answer_of", lambda settings: answer)
    monkeypatch.setattr(module, "is_taken", lambda host, port, transport: answer is not None)
    return {each.id: each for each in examine(Settings.from_environment(environment), values_of(environment))}


def test_a_server_that_runs_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(found(monkeypatch, STATE, OURS)) == {"server-runs", "music-plays", "calls", "test-call"}


def test_without_a_server_the_ports_and_the_music_are_examined(monkeypatch: pytest.MonkeyPatch) -> None:
    for answer in (None, FOREIGN):
        assert set(found(monkeypatch, None, answer)) == {"server-stopped", "port-taken", "music-plays"}


def test_a_server_of_another_user_is_not_taken_for_another_program(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(found(monkeypatch, None, OURS)) == {"server-unread", "music-plays", "test-call"}


def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    each = found(monkeypatch, STATE, None)
    assert "server-silent" in each and "test-call" not in each


@pytest.mark.parametrize(("ready", "stopping", "age"), [(False, False, 6.0), (True, True, 6.0)])
def test_a_server_that_takes_no_calls_now(
    monkeypatch: pytest.MonkeyPatch, ready: bool, stopping: bool, age: float
) -> None:
    state = {**STATE, "ready": ready, "stopping": stopping, "started": 1000.0 - age}
    assert "server-not-ready" in found(monkeypatch, state, OURS)


def test_settings_that_differ_from_those_of_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"name": "MOH_ALLOW", "value": "10.0.0.0/8", "default": ""},
        {"name": "MOH_DRAIN", "value": "0", "default": "0"},
        {"name": "MOH_LOG", "value": "debug", "default": "info"},
    ]
    each = found(monkeypatch, {**STATE, "settings": rows}, OURS)["settings-differ"]
    assert each.values["names"] == "MOH_ALLOW=10.0.0.0/8"


def test_a_file_that_went_bad_after_it_was_converted_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "file_findings", lambda settings: [finding("music-missing", name="m.mp3")])
    each = found(monkeypatch, STATE, OURS)
    assert level(each["music-missing"]) == "warning" and "music-plays" in each
