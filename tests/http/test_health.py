"""``/healthz`` and ``/readyz``."""

from __future__ import annotations

from typing import Any

import pytest

from moh.http.answers import Answer
from moh.http.health import healthz, readyz
from moh.http.state_reader import Reading
from tests.http.sample_state import sample_state


def said(answer: Answer) -> tuple[int, str]:
    assert isinstance(answer.body, bytes)
    return answer.status, answer.body.decode()


def reading(**changed: Any) -> Reading:
    return Reading(sample_state(**changed), 0.0, "", 1)


def test_a_server_that_answers_is_healthy_and_ready() -> None:
    assert said(healthz(reading())) == (200, "ok\n")
    assert said(readyz(reading())) == (200, "ready\n")


@pytest.mark.parametrize("state", [None, sample_state()])
def test_a_server_that_does_not_answer_is_neither(state: Any) -> None:
    """The last state may still be shown, but it says nothing about now."""
    gone = Reading(state, 3.0, "nothing listens", 1)
    line = "the server does not answer: nothing listens\n"
    assert said(healthz(gone)) == (503, line)
    assert said(readyz(gone)) == (503, line)


@pytest.mark.parametrize(
    ("changed", "line"),
    [({"stopping": True}, "the server stops: it takes no more calls"),
     ({"draining": True}, "the server drains: it takes no more calls for now"),
     ({"busy": True}, "the server is busy: MOH_BUSY_AT is reached"), ({"music": None}, "there is no music yet"),
     ({"ready": False}, "the server takes no calls yet")],
)  # fmt: skip
def test_a_server_without_music_or_calls_is_healthy_and_not_ready(changed: dict[str, Any], line: str) -> None:
    assert said(healthz(reading(**changed)))[0] == 200
    assert said(readyz(reading(**changed))) == (503, f"{line}\n")


def test_a_trouble_with_which_callers_hear_music_is_named() -> None:
    assert said(readyz(reading(trouble="the built-in piece plays"))) == (200, "ready, but: the built-in piece plays\n")
