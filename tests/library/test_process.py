"""The main thread of the library, step by step in this process, with stand-ins for the conversion."""

from __future__ import annotations

import io
import json
import queue
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from moh.common.config import Settings
from moh.library.__main__ import Process, cleans_up
from moh.library.librarian import Failure
from moh.library.title import Step


@pytest.fixture
def output() -> io.BytesIO:
    """Stands for the standard output."""
    return io.BytesIO()


Perform = Callable[..., object]


@pytest.fixture
def process(tmp_path: Path, output: io.BytesIO, monkeypatch: pytest.MonkeyPatch) -> Callable[[Perform], Process]:
    """Makes the main thread of a folder with ``jazz.mp3``, whose conversion is a function of the test."""

    def make(perform: Perform) -> Process:
        monkeypatch.setattr("moh.library.__main__.perform", perform)
        monkeypatch.setattr("moh.library.__main__.step_behind_all", lambda: None)
        for name in ("music", "cache"):
            (tmp_path / name).mkdir()
        (tmp_path / "music" / "jazz.mp3").write_bytes(b"x")
        orders: Any = SimpleNamespace(lines=queue.SimpleQueue(), is_ending=False)
        orders.lines.put(b'{"do": "check"}\n')
        return Process(Settings(), tmp_path / "music", tmp_path / "cache", orders, output)

    return make


def states(output: io.BytesIO) -> list[tuple[str, str]]:
    messages = map(json.loads, output.getvalue().splitlines())
    return [(each["state"], each["why"]) for each in messages if each["what"] == "state"]


def test_a_failure_is_sent(process: Callable[[Perform], Process], output: io.BytesIO) -> None:
    main = process(lambda *_: Failure("refused", "it is a text"))
    assert main.turn()
    assert states(output) == [("refused", "it is a text")]
    assert not main.turn()


def test_a_conversion_that_begins_is_sent(process: Callable[[Perform], Process], output: io.BytesIO) -> None:
    def perform(step: Step, folder: Path, settings: Settings, began: Callable[[], None], *others: object) -> Failure:
        began()
        return Failure("full", "the disk is full")

    main = process(perform)
    main.turn()
    main.turn()
    assert states(output) == [("converting", ""), ("full", "the disk is full")]


def test_until_the_default_has_to_be_converted_it_is_only_looked_up(
    process: Callable[[Perform], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[object] = []

    def perform(step: Step, *others: object) -> Failure:
        done.append(step.may_convert)
        return Failure("full", "")

    main = process(perform)
    monkeypatch.setattr("moh.library.__main__.step_behind_all", lambda: done.append("steps back"))
    main.turn()
    main.turn()
    assert done == [False, "steps back", True]


def test_an_unexpected_error_is_logged_and_sent_and_the_process_goes_on(
    process: Callable[[Perform], Process], output: io.BytesIO, caplog: pytest.LogCaptureFixture
) -> None:
    def perform(step: Step, *others: object) -> Failure:
        raise ZeroDivisionError(step.name)

    main = process(perform)
    assert main.turn()
    assert states(output) == [("refused", "an unexpected error: ZeroDivisionError('jazz')")]
    assert "unexpected error in the library: 'jazz'" in caplog.text and "Traceback" in caplog.text
    assert not main.turn()


def test_a_disk_that_has_room_again_is_used(
    process: Callable[[Perform], Process], output: io.BytesIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SimpleNamespace(free=0)
    monkeypatch.setattr("moh.library.store.shutil.disk_usage", lambda folder: disk)
    main = process(lambda *_: Failure("full", ""))
    main.turn()
    assert not main.turn()
    assert states(output) == [("full", "the disk of the cache is full (0 MB are free, and 100 MB stay free)")]
    disk.free = 1 << 40
    main._scan(time.monotonic())
    assert main._store.missing(1 << 30) == (0, "")


def test_a_conversion_is_given_up_on_a_disk_that_fills_meanwhile(
    process: Callable[[Perform], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SimpleNamespace(free=1 << 40)
    monkeypatch.setattr("moh.library.store.shutil.disk_usage", lambda folder: disk)
    main = process(lambda *_: Failure("refused", "x"))
    assert main._is_full() == ""
    disk.free = 50_000_000
    assert main._is_full() == "the disk of the cache is full (50 MB are free, and 100 MB stay free)"


def test_the_end_of_the_input_ends_a_turn(process: Callable[[Perform], Process]) -> None:
    main = process(lambda *_: Failure("refused", "x"))
    main._orders.is_ending = True
    with pytest.raises(SystemExit):
        main.turn()


def test_the_end_interrupts_no_function_that_cleans_up() -> None:
    found: list[bool] = []

    def note() -> None:
        found.append(cleans_up(sys._getframe()))

    class Lock:
        def __del__(self) -> None:
            note()

    note()
    lock = Lock()
    del lock
    assert found == [False, True]
