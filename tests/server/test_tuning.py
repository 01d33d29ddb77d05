"""Settings of the interpreter and the kernel that the process changes."""

from __future__ import annotations

import gc
import resource
import sys

import pytest

from moh.server.tuning import (
    SWITCH_INTERVAL,
    IdleCollector,
    pause_garbage_collection,
    raise_descriptor_limit,
    steady_interpreter,
)


def test_full_collections_wait_for_an_idle_server_and_come_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full garbage collection delays every thread, also those that send music."""
    collected: list[float] = []
    collector = IdleCollector()
    for now, idle in ((1000.0, False), (1001.0, True), (1002.0, True), (1060.0, True), (1062.0, True)):
        monkeypatch.setattr("moh.server.tuning.gc.collect", lambda when=now: collected.append(when))
        collector.collect(idle, now)
    assert collected == [1001.0, 1062.0]


def test_a_thread_that_computes_gives_way_after_half_a_millisecond_and_garbage_is_collected() -> None:
    thresholds, interval = gc.get_threshold(), sys.getswitchinterval()
    try:
        pause_garbage_collection()
        assert not gc.isenabled()
        steady_interpreter()
        assert gc.isenabled()
        assert gc.get_threshold() == (700, 10, 1000)
        assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL)
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
        sys.setswitchinterval(interval)


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [
        ((1024, 4096), (4096, 4096)),
        ((1024, 1 << 20), (1 << 16, 1 << 20)),
        ((1024, resource.RLIM_INFINITY), (1 << 16, resource.RLIM_INFINITY)),
        ((4096, 4096), None),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None),
    ],
)
def test_the_limit_of_open_files_is_raised_and_never_lowered(
    limits: tuple[int, int], wanted: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, to: asked.append(to))
    raise_descriptor_limit()
    assert asked == ([] if wanted is None else [wanted])
