"""The check at the start: when it runs, and what comes of it."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

import pytest

from moh.common.config import Settings
from moh.common.faults import FaultLog
from moh.doctor import at_start
from moh.doctor.finding import finding
from moh.server.start_check import AFTER, StartCheck
from tests.support.running import free_ports

STATE = {
    "now": 9.0, "started": 1.0, "calls": {"now": 0, "listed": []},
    "totals": {"last_call": None, "unexpected_errors": 1},
}  # fmt: skip
FOUND = [finding("limits", calls=50), finding("disk-low", folder="/c", free="1 MB", needed="9 MB")]


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    monkeypatch.setattr(at_start, "examine_at_start", lambda settings, state: FOUND)
    return []


def start_check(kept: list[Any], ready: list[bool]) -> tuple[StartCheck, FaultLog]:
    faults = FaultLog("a test")
    settings = Settings.from_environment({"MOH_SIP_PORT": str(free_ports(1))})  # no server has it
    return StartCheck(settings, lambda: bool(ready), kept.append, faults), faults


def test_it_runs_once_a_moment_after_the_server_is_ready(kept: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    ready: list[bool] = []
    check, faults = start_check(kept, ready)
    with caplog.at_level(logging.WARNING, "moh"):
        check.service(10.0)
        ready.append(True)
        check.service(20.0)
        check.service(20.0 + AFTER - 0.1)
        check.close()
        assert not kept and "check" not in [thread.name for thread in threading.enumerate()]
        for now in (20.0 + AFTER, 40.0, 60.0):
            check.service(now)
        check.close()
    (findings,) = kept
    assert [(each["id"], each["level"]) for each in findings(STATE)] == [
        ("limits", "ok"), ("disk-low", "warning"), ("unexpected-errors", "warning"),
    ]  # fmt: skip
    (record,) = caplog.records
    assert [each["id"] for each in findings({})] == ["limits", "disk-low"] and faults.count == 1, "a fault costs little"
    assert record.getMessage().startswith("The disk of the folder /c has 1 MB free; ")


def test_a_fault_of_the_check_costs_nothing(kept: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_start, "examine_at_start", lambda settings, state: [finding("no such id")])
    check, faults = start_check(kept, [True])
    check.service(0.0)
    check.service(AFTER)
    check.close()
    assert faults.count == 1 and not kept


def test_its_thread_keeps_its_priority(kept: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that the kernel passes over keeps the interpreter's lock, and all threads of the server wait for it."""
    priorities: list[int] = []

    def examine(settings: Settings, state: dict[str, Any]) -> list[Any]:
        priorities.append(os.getpriority(os.PRIO_PROCESS, 0))
        return []

    monkeypatch.setattr(at_start, "examine_at_start", examine)
    check, _ = start_check(kept, [True])
    check.service(0.0)
    check.service(AFTER)
    check.close()
    assert priorities == [os.getpriority(os.PRIO_PROCESS, 0)]
