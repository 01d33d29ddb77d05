"""Unexpected exceptions of a loop are counted, and logged with a traceback at a bounded rate."""

from __future__ import annotations

import logging

import pytest

from moh.common.faults import FaultLog


def fault(error: BaseException) -> BaseException:
    """Return ``error`` with a traceback."""
    try:
        raise error
    except BaseException as raised:
        return raised


def test_the_first_fault_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    FaultLog("the pacer").report(fault(AttributeError("a plain bug")), now=0.0)
    assert "unexpected error in the pacer" in caplog.text
    assert "Traceback" in caplog.text and "AttributeError: a plain bug" in caplog.text


def test_further_faults_within_ten_seconds_are_only_counted(caplog: pytest.LogCaptureFixture) -> None:
    faults = FaultLog("the pacer")
    for now in (0.0, 0.1, 9.9):
        faults.report(fault(ValueError()), now)
    assert (faults.count, caplog.text.count("unexpected error")) == (3, 1)
    faults.report(fault(ValueError()), now=10.0)
    assert "unexpected error in the pacer (2 more were not logged)" in caplog.text


def test_a_memory_error_is_counted_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    faults = FaultLog("the pacer")
    faults.report(fault(MemoryError()), now=0.0)
    assert (faults.count, caplog.text) == (1, "")
    faults.report(fault(KeyError("x")), now=0.0)
    assert "(1 more were not logged)" in caplog.text


def test_a_log_that_fails_does_not_end_the_loop(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    faults = FaultLog("the pacer")

    def fails(*_: object, **__: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as broken:
        broken.setattr(logging.getLogger("moh"), "error", fails)
        faults.report(fault(ValueError()), now=0.0)
    faults.report(fault(ValueError()), now=0.1)
    assert "(1 more were not logged)" in caplog.text


def test_threads_that_fail_at_the_same_time_log_one_traceback(caplog: pytest.LogCaptureFixture) -> None:
    faults = FaultLog("the resolver")

    class OtherThread(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            faults.report(fault(ValueError()), now=0.0)

    handler = OtherThread()
    logging.getLogger("moh").addHandler(handler)
    try:
        faults.report(fault(ValueError()), now=0.0)
    finally:
        logging.getLogger("moh").removeHandler(handler)
    assert (faults.count, caplog.text.count("unexpected error")) == (2, 1)
