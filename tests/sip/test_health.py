"""What the server tells its health check, and which sources do not learn it (RFC 3261 §20.43)."""

from __future__ import annotations

import pytest

from moh.common.actions import Address, Flow
from moh.sip.health import LISTENING
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


PROXY = "SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKproxy"
OUTSIDE = "SIP/2.0/UDP 203.0.113.7:5060;branch=z9hG4bKoutside"


@pytest.mark.parametrize(
    "via", [f"Via: {PROXY}\r\nVia: {OUTSIDE}", f"Via: {PROXY}, {OUTSIDE}", f"v: {PROXY},{OUTSIDE}"]
)
def test_options_that_a_proxy_on_this_machine_forwards_gets_no_warning(via: str) -> None:
    """The answer goes on to the sender behind the proxy. A request that was not forwarded has a single Via."""
    agent = make_agent()
    agent.health.trouble = "Music is '/home/ann/music.mp3'"
    flow = Flow(Address("127.0.0.1", 5060), Address("127.0.0.1", 5070))
    answer = response(agent.receive(request("OPTIONS", via=via), flow, now=0.0))
    assert answer.status == 200 and answer.first("warning") is None
    answer = response(agent.receive(request("OPTIONS", via=f"Via: {PROXY}"), flow, now=1.0))
    assert answer.first("warning") is not None, "the proxy's own OPTIONS"


def test_the_health_check_asks_whether_music_leaves_and_no_other_sender_does() -> None:
    agent = make_agent()
    local, other = (Flow(Address(host, 40000), Address("192.168.1.100", 5060)) for host in ("127.0.0.1", "192.168.1.9"))
    asks = request("OPTIONS", "Moh-Check: music")
    agent.health.trouble = "the trouble"
    assert response(agent.receive(asks, other, now=0.0)).first("warning") is None
    assert not agent.health.music_asked
    assert response(agent.receive(request("OPTIONS"), local, now=1.0)).first("warning") == '399 moh "the trouble"'
    assert not agent.health.music_asked
    assert response(agent.receive(asks, local, now=2.0)).first("warning") == f'399 moh "{LISTENING}"'
    assert agent.health.music_asked
    agent.health.music_known, agent.health.no_music = True, "no music"
    assert response(agent.receive(asks, local, now=3.0)).first("warning") == '399 moh "no music"'
    agent.health.no_music = ""
    assert response(agent.receive(asks, local, now=4.0)).first("warning") == '399 moh "the trouble"'
