"""Signals as requests to the server. They go to this thread, which holds them back and then handles them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from moh.server.signals import HANDLED, Signals, hold_signals


@pytest.fixture(autouse=True)
def former_handlers() -> Iterator[None]:
    """Put the handlers of pytest back at the end."""
    former = {number: signal.getsignal(number) for number in HANDLED}
    yield
    for number, handler in former.items():
        signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


def asked(signals: Signals) -> tuple[bool, bool, int]:
    return signals.reload, signals.summary, signals.stops


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (signal.SIGHUP, (True, False, 0)),
        (signal.SIGUSR1, (False, True, 0)),
        (signal.SIGTERM, (False, False, 1)),
        (signal.SIGINT, (False, False, 1)),
    ],
)
def test_a_signal_leaves_its_mark_also_if_it_came_before_its_handler(
    number: int, expected: tuple[bool, bool, int]
) -> None:
    signals = Signals()
    hold_signals()
    signal.pthread_kill(threading.get_ident(), number)
    assert asked(signals) == (False, False, 0)
    signals.handle()
    assert asked(signals) == expected


def test_each_request_to_stop_counts() -> None:
    signals = Signals()
    signals.handle()
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    assert signals.stops == 2
