"""What looks on fails, and the server goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moh.common.config import Settings
from moh.net.state_client import read_state
from moh.server.observers import Observers
from tests.support.capture import packets
from tests.support.ladder import FLOW
from tests.support.running import free_ports


class State:
    """A stand-in for the state."""

    def read(self) -> dict[str, Any]:
        return {"version": "1.2.3"}


class Failing:
    """An observer that fails."""

    def service(self, now: float) -> None:
        raise LookupError(f"service at {now}")

    def close(self) -> None:
        raise LookupError("close")


def test_the_state_can_be_read_from_the_beginning_to_the_end() -> None:
    """End to end: a real socket."""
    settings = Settings(bind="127.0.0.1", sip_port=free_ports(1))
    observers = Observers(settings)
    observers.begin(State())  # type: ignore[arg-type]  # only ``read`` is called
    observers.service(1.0)
    assert read_state("127.0.0.1", settings.sip_port) == {"version": "1.2.3"}
    observers.close()
    assert observers.faults.count == 0


def test_an_observer_that_fails_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    observers = Observers(Settings())
    observers._observers.append(Failing())
    observers.service(1.0)
    observers.close()
    assert observers.faults.count == 2 and "LookupError: service at 1.0" in caplog.text
    observers.close()
    assert observers.faults.count == 2, "each is closed once"


def test_messages_are_noted_where_the_owner_wants_a_trace(tmp_path: Path) -> None:
    Observers(Settings()).note_received(b"OPTIONS", FLOW)
    observers = Observers(Settings(trace=str(tmp_path / "moh.pcapng"), trace_of=FLOW.remote.host))
    observers.note_received(b"OPTIONS", FLOW, "rejected")
    observers.close()
    assert [each.data for each in packets(tmp_path / "moh.pcapng")] == [b"OPTIONS"]
