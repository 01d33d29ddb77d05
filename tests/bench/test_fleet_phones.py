"""What the log of SIPp says of the calls of ``bench.fleet``."""

from __future__ import annotations

from bench.fleet.phones import read_calls


def test_a_call_has_its_times_and_its_server() -> None:
    lines = [
        "began 1 10.0 500000.0",
        "answered 1 10.0 700000.0 127.0.26.1 all user",
        "bye 1 12.0 0.0",
        "ended 1 0",
        "over 1 0",
    ]
    (call,) = read_calls(lines)
    assert (call.began, call.answered, call.bye, call.server) == (10.5, 10.7, 12.0, "127.0.26.1")
    assert round(call.set_up()) == 200 and call.ended and call.over


def test_an_answer_without_its_whole_time_is_none() -> None:
    (call,) = read_calls(["began 2 10 5", "answered 2 10 127.0.26.1 all"])
    assert (call.answered, call.server) == (None, "")
