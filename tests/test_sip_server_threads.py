"""What the loop's thread may do while the workers change the same tables; a real shell round an agent of our own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from moh.actions import Action
from moh.config import Settings
from sip_server import SipServer
from tests.running import free_ports


class Agent:
    """Looks who calls; stumbles over each tick."""

    idle = False

    def __init__(self, server: SipServer) -> None:
        self._server = server
        self.looked_under_the_lock: list[bool] = []

    @property
    def next_due(self) -> float:
        self.looked_under_the_lock.append(self._server.lock.locked())
        return 0.0

    def tick(self, now: float) -> list[Action]:
        raise LookupError("a fault in one call")


@pytest.fixture
def shell() -> Iterator[SipServer]:
    settings = Settings.from_environment({"MOH_BIND": "127.0.0.1", "MOH_SIP_PORT": str(free_ports(1))})
    with SipServer(settings) as server:
        yield server


def test_the_loop_looks_at_the_schedule_under_the_lock(shell: SipServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """To look is to tidy up the heap: without the lock a worker's new timer was lost, or the loop died."""
    agent = Agent(shell)
    monkeypatch.setattr(shell, "agent", agent)
    shell.service_actions()
    assert agent.looked_under_the_lock == [True]


def test_a_fault_in_one_call_does_not_end_the_loop(
    shell: SipServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shell, "agent", Agent(shell))
    shell.service_actions()
    assert "the server stumbled over tick" in caplog.text
    assert "LookupError: a fault in one call" in caplog.text
    assert not shell.lock.locked()
