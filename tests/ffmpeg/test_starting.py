"""The ffmpegs that are starting, with stand-ins for what ``/proc`` says. End to end: the reading of ``/proc``."""

from __future__ import annotations

import os
import socket
import subprocess
import warnings
from types import SimpleNamespace
from typing import Any

import pytest

from moh.ffmpeg import starting
from moh.ffmpeg.starting import LONGEST_START, MOST_AT_ONCE, START_POLL, Starting, has_socket, starts_at_once


def ffmpeg(pid: int, began: float = 100.0) -> Any:
    return SimpleNamespace(process=SimpleNamespace(pid=pid), began=began)


@pytest.fixture
def playing(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The numbers of the processes that have a socket."""
    found: set[int] = set()
    monkeypatch.setattr(starting, "has_socket", found.__contains__)
    return found


def test_as_many_ffmpegs_start_at_once_as_are_permitted(playing: set[int]) -> None:
    several, first, second = Starting(2), ffmpeg(1), ffmpeg(2)
    several.add(first)
    assert several.has_room
    several.add(second)
    assert not several.has_room
    playing.add(2)
    assert several.begun(100.1) == [second]
    assert several.has_room
    assert several.begun(100.2) == []


def test_an_ffmpeg_that_ends_does_not_count(playing: set[int]) -> None:
    one, first = Starting(1), ffmpeg(1)
    one.add(first)
    one.drop(first)
    one.drop(first)
    assert one.has_room and one.begun(200.0) == []


def test_an_ffmpeg_that_never_plays_does_not_keep_others_from_starting_for_ever(playing: set[int]) -> None:
    one, hanging = Starting(1), ffmpeg(1, began=100.0)
    one.add(hanging)
    assert one.begun(100.0 + LONGEST_START - 0.01) == []
    assert one.begun(100.0 + LONGEST_START) == [hanging]


def test_polls_are_due_only_while_an_ffmpeg_is_starting(playing: set[int]) -> None:
    one = Starting(1)
    assert one.next_poll(100.0) is None
    one.add(ffmpeg(1))
    assert one.next_poll(100.0) == 100.0 + START_POLL


@pytest.mark.parametrize(("cores", "most"), [(1, 1), (2, 1), (8, 7), (64, MOST_AT_ONCE)])
def test_one_core_stays_free_while_ffmpegs_start(cores: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
    assert starts_at_once() == most


def test_a_socket_is_found_and_other_descriptors_do_not_count() -> None:
    mine, other = socket.socketpair()
    with mine, other, subprocess.Popen(["/bin/cat"], stdin=other.fileno(), stdout=subprocess.DEVNULL) as connected:
        assert has_socket(connected.pid)
        connected.kill()
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as piped:
        assert not has_socket(piped.pid)
        piped.kill()
    assert not has_socket(piped.pid), "the process has ended"


def test_no_descriptor_stays_open_after_a_socket_is_found(recwarn: pytest.WarningsRecorder) -> None:
    warnings.simplefilter("always")
    with socket.socket():
        assert has_socket(os.getpid())
    assert [str(warning.message) for warning in recwarn] == []


def test_an_ffmpeg_counts_as_playing_where_proc_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden(path: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", hidden)
    assert has_socket(1)


def test_an_ffmpeg_counts_as_playing_where_there_is_no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(path: str) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(os, "scandir", missing)
    assert not has_socket(1), "the process has ended"
    monkeypatch.setattr(os.path, "exists", lambda path: False)
    assert has_socket(1)
