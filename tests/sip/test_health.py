"""What the server tells its health check, and which sources do not learn it (RFC 3261 §20.43)."""

from __future__ import annotations

import pytest

from moh.common.actions import Address, Flow
from tests.support.ladder import make_agent, request, response


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
@pytest.mark.parametrize(
    ("source", "told"),
    [("127.0.0.1", True), ("192.168.1.100", True), ("::1", True), ("192.168.1.20", False), ("203.0.113.7", False)],
)
def test_only_options_of_this_machine_are_told_what_is_wrong(source: str, told: bool, transport: str) -> None:
    """The health check; a Warning 399 is for a person to read (RFC 3261 §20.43)."""
    agent = make_agent()
    flow = Flow(Address(source, 40000), Address("::1" if ":" in source else "192.168.1.100", 5060), transport)
    for trouble in ("", 'Music is "x"'):
        agent.health.trouble = trouble
        answer = response(agent.receive(request("OPTIONS"), flow, now=0.0))
        assert answer.status == 200
        assert answer.first("warning") == (r'399 moh "Music is \"x\""' if told and trouble else None)
