"""The log lines of a conversion that takes long, by literal clocks."""

from __future__ import annotations

import logging

import pytest

from moh.mastering.progress import ProgressLog


@pytest.fixture(autouse=True)
def log_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "moh")


def lines(caplog: pytest.LogCaptureFixture, *reports: tuple[float, float]) -> list[str]:
    """Return the log lines of a conversion that began at 100 s. Each report is a time and the share that is done."""
    times = iter([100.0, *(now for now, _ in reports)])
    progress = ProgressLog(lambda: next(times))
    for _, share in reports:
        progress(share)
    return caplog.messages


def test_each_quarter_has_one_line_and_the_end_has_none(caplog: pytest.LogCaptureFixture) -> None:
    said = lines(
        caplog, (100.2, 0.0), (110.0, 0.24), (111.0, 0.25), (111.2, 0.26), (120.0, 0.5), (130.0, 0.76), (140.0, 1.0)
    )
    assert said == ["converting the music: 25 %", "converting the music: 50 %", "converting the music: 75 %"]


def test_a_short_conversion_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert lines(caplog, (100.5, 0.3), (101.0, 0.6), (101.9, 0.99), (102.1, 1.0)) == []


def test_a_quarter_that_came_early_is_logged_after_two_seconds(caplog: pytest.LogCaptureFixture) -> None:
    assert lines(caplog, (101.0, 0.3), (102.0, 0.4), (103.0, 0.45)) == ["converting the music: 25 %"]


def test_a_conversion_that_begins_anew_repeats_no_line(caplog: pytest.LogCaptureFixture) -> None:
    assert lines(caplog, (103.0, 0.6), (103.2, 0.0), (110.0, 0.55)) == ["converting the music: 50 %"]
