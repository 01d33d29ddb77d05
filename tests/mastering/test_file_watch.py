"""At which poll the owner's file is prepared. Literal clocks; no thread, and a file only where its state is read."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Optional

import pytest

from moh.common.config import Settings
from moh.mastering.file_watch import FileState, FileWatch, poll_file

SOURCE = Path("music.mp3")


def at(number: int) -> FileState:
    return FileState(SOURCE, (number,))


MISSING = None
A, B, C, D = (at(number) for number in (1, 2, 3, 4))
OLD = 86400.0
"""The seconds since an old file was written to."""


def prepared_at(
    polls: dict[float, Optional[FileState]], age: float = OLD, incomplete: tuple[FileState, ...] = ()
) -> list[float]:
    """Return the times of the polls at which the file is prepared; at the first poll it has that ``age``."""
    watch = FileWatch()
    first = min(polls)
    return [
        now
        for now, state in polls.items()
        if watch.poll(
            now, state, math.inf if state is None else age + now - first, lambda state: state not in incomplete
        )
    ]


def polled(*states: Optional[FileState], every: float = 2.0) -> dict[float, Optional[FileState]]:
    """Return what is polled from second 100 on."""
    return {100.0 + every * number: state for number, state in enumerate(states)}


@pytest.mark.parametrize(
    ("polls", "times"),
    [
        pytest.param(polled(*[A] * 20), [100], id="it stays as it is"),
        pytest.param(polled(A, *[B] * 9), [100, 112], id="it changes once"),
        pytest.param(polled(A, B, C, *[D] * 9), [100, 116], id="it is being copied"),
        pytest.param(polled(A, *[B] * 5, *[C] * 9), [100, 122], id="its copy pauses for eight seconds"),
        pytest.param(polled(A, *[B, C] * 20), [100], id="it changes all the time"),
        pytest.param(polled(A, B, A, B, *[A] * 20), [100], id="it is as before in the end"),
        pytest.param(polled(A, *[B] * 7, *[A] * 7), [100, 112, 126], id="the former one comes back"),
        pytest.param(polled(A, MISSING, MISSING, *[A] * 9), [100], id="it was away"),
        pytest.param(polled(A, MISSING, *[B] * 9), [100, 114], id="another one is in its place"),
        pytest.param(polled(A, B, MISSING, B, MISSING, *[B] * 9), [100, 120], id="it comes and goes"),
        pytest.param(polled(MISSING, MISSING, *[A] * 9), [100, 114], id="it comes after the start"),
        pytest.param(polled(A, *[MISSING] * 20), [100], id="it is gone"),
        pytest.param(polled(A, B, B, B, every=9.0), [100, 127], id="the polls are late"),
    ],
)
def test_a_changed_file_is_prepared_when_it_was_quiet_for_ten_seconds(
    polls: dict[float, Optional[FileState]], times: list[float]
) -> None:
    assert prepared_at(polls) == times


@pytest.mark.parametrize(
    ("polls", "times"),
    [
        pytest.param(polled(A, *[B] * 40), [100, 162], id="the rest never comes"),
        pytest.param(polled(A, *[B] * 20, *[C] * 9), [100, 152], id="the rest comes after forty seconds"),
    ],
)
def test_a_file_whose_end_is_missing_is_given_a_minute(
    polls: dict[float, Optional[FileState]], times: list[float]
) -> None:
    assert prepared_at(polls, incomplete=(B,)) == times


@pytest.mark.parametrize(
    ("age", "times"),
    [
        pytest.param(OLD, [100.0], id="an old file"),
        pytest.param(2.0, [100.0], id="written to two seconds ago"),
        pytest.param(1.5, [100.5], id="written to just now"),
        pytest.param(0.0, [102.0], id="written to in this moment"),
        pytest.param(-3600.0, [102.0], id="the clock of the share is an hour fast"),
        pytest.param(3600.0, [100.0], id="the clock of the share is an hour slow"),
    ],
)
def test_at_the_start_only_a_young_file_is_waited_for(age: float, times: list[float]) -> None:
    assert prepared_at(polled(*[A] * 50, every=0.25), age=age) == times


def test_at_the_start_a_file_that_is_being_copied_is_waited_for() -> None:
    watch = FileWatch()
    for now, state in polled(A, B, C, every=1.0).items():
        assert not watch.poll(now, state, 0.0, lambda state: True)
    assert not watch.poll(103.9, C, 1.9, lambda state: True)
    assert watch.poll(104.0, C, 2.0, lambda state: True)


def test_at_the_start_a_young_file_whose_end_is_missing_is_given_ten_seconds() -> None:
    assert prepared_at(polled(*[A] * 10), age=0.0, incomplete=(A,)) == [110]
    assert prepared_at(polled(*[A] * 10), age=OLD, incomplete=(A,)) == [100], "an old one is played as it is"


def test_without_a_file_the_start_does_not_wait() -> None:
    assert prepared_at(polled(MISSING, MISSING)) == [100]


def test_what_was_prepared_on_request_is_not_prepared_again() -> None:
    watch = FileWatch()
    assert watch.poll(100.0, A, OLD, lambda state: True)
    assert not watch.poll(102.0, B, 0.0, lambda state: True)
    watch.prepare(B)
    assert not watch.poll(112.0, B, 10.0, lambda state: True)
    assert not watch.poll(114.0, C, 0.0, lambda state: True)
    assert watch.poll(124.0, C, 10.0, lambda state: True)


# -- a file whose preparation failed -------------------------------------------------------------------------------


def failed_watch(took: float = 1.0) -> FileWatch:
    """Return a watch whose file A could not be prepared: the attempt ended at second 200, ``took`` seconds long."""
    watch = FileWatch()
    assert watch.poll(100.0, A, OLD, lambda state: True)
    watch.failed(200.0, took)
    return watch


def test_a_file_that_could_not_be_prepared_is_tried_again_after_a_minute() -> None:
    """The cause may lie outside the file: a full disk, an ffmpeg that was killed, memory that ran out."""
    watch = failed_watch()
    assert not watch.poll(259.9, A, OLD, lambda state: True)
    assert watch.poll(260.0, A, OLD, lambda state: True)
    assert not watch.poll(400.0, A, OLD, lambda state: True), "the second attempt did not fail"
    watch.failed(401.0, 1.0)
    assert not watch.poll(460.9, A, OLD, lambda state: True)
    assert watch.poll(461.0, A, OLD, lambda state: True)


def test_a_long_attempt_is_followed_by_a_longer_pause() -> None:
    """A long file that is no music takes a twentieth of a processor at most."""
    watch = failed_watch(took=30.0)
    assert not watch.poll(799.9, A, OLD, lambda state: True)
    assert watch.poll(800.0, A, OLD, lambda state: True)


def test_a_changed_file_is_not_delayed_by_the_failure_of_the_former_one() -> None:
    watch = failed_watch(took=30.0)
    assert not watch.poll(202.0, B, 0.0, lambda state: True)
    assert watch.poll(212.0, B, 10.0, lambda state: True)
    assert not watch.poll(900.0, B, OLD, lambda state: True), "the failure was that of another file"


def test_a_missing_file_is_not_tried_again() -> None:
    watch = FileWatch()
    assert watch.poll(100.0, MISSING, math.inf, lambda state: True)
    watch.failed(100.0, 0.0)
    assert not watch.poll(300.0, MISSING, math.inf, lambda state: True)


# -- the state of a file -------------------------------------------------------------------------------------------


def test_the_state_of_a_file_changes_with_its_content_though_size_and_time_stay(tmp_path: Path) -> None:
    track = tmp_path / "music.mp3"
    track.write_text("one")
    settings = Settings.from_environment({"MOH_MUSIC": str(track)})
    before, facts = poll_file(settings)[0], track.stat()
    track.write_text("two")
    os.utime(track, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    after, age = poll_file(settings)
    assert after != before
    assert 0 <= age < 60
    copy = tmp_path / "copy"
    copy.write_text("two")
    os.utime(copy, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    copy.rename(track)
    assert poll_file(settings)[0] != after


def test_a_link_that_is_switched_changes_the_state(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text("same")
        os.utime(tmp_path / name, (1, 1))
    link = tmp_path / "music.mp3"
    link.symlink_to("one")
    settings = Settings.from_environment({"MOH_MUSIC": str(link)})
    before = poll_file(settings)[0]
    link.unlink()
    link.symlink_to("two")
    assert poll_file(settings)[0] != before


def test_a_missing_file_has_no_state(tmp_path: Path) -> None:
    assert poll_file(Settings.from_environment({"MOH_MUSIC": str(tmp_path / "x")})) == (None, math.inf)
