"""The rate limit of TCP and TLS, which the connection threads use."""

from __future__ import annotations

import time

import pytest

from moh.guard.allowances import PUBLIC_ALLOWANCE, Allowances
from moh.server.stream_limit import StreamLimit

PING = b"OPTIONS sip:123@moh SIP/2.0\r\n"
HOST = "198.51.100.7"


def test_the_first_delayed_message_of_a_host_has_a_line_and_all_are_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    limit = StreamLimit(Allowances())
    allowed = int(PUBLIC_ALLOWANCE.other[1])
    assert [limit.delay(HOST, PING) for _ in range(allowed)] == [0.0] * allowed
    assert limit.counts() == {}
    assert limit.delay(HOST, PING) > 0
    assert limit.delay(HOST, PING) > 0
    assert caplog.text.count(f"messages from {HOST} wait: it sends faster than its rate (TCP or TLS)") == 1
    assert limit.counts() == {"messages that came too fast": 2}
    assert limit.drain(105.0) == ""
    assert limit.drain(111.0) == f"1 x 'messages that came too fast' (the last from {HOST})"
