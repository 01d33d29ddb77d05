"""End to end: ffmpegs that have no route to their receiver for a while, on the loopback."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from moh.ffmpeg.supervisor import Supervisor
from tests.ffmpeg.supervised import STOP, stand_in, start, supervisor_of, the_end
from tests.support.phone import Ear
from tests.support.running import ffmpegs_of, wait_for


@pytest.fixture
def without_route(tmp_path: Path, music: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    """A supervisor whose ffmpeg has no route while the file ``down`` exists."""
    real = shutil.which("ffmpeg")
    (tmp_path / "down").touch()
    message = "rtp://…: Network is unreachable"
    stand_in(
        tmp_path, monkeypatch, f"open({str(tmp_path / 'tried')!r}, 'a').write('.')\n"
        f"if os.path.exists({str(tmp_path / 'down')!r}): sys.exit({message!r})\nos.execv({real!r}, sys.argv)",
    )  # fmt: skip
    supervisor = supervisor_of({8000: music}, 0.5)
    yield supervisor
    supervisor.close()
    assert ffmpegs_of(os.getpid()) == []


def tried(folder: Path) -> int:
    return len((folder / "tried").read_text()) if (folder / "tried").exists() else 0


def test_music_begins_when_the_route_is_back(without_route: Supervisor, ear: Ear, port: int, tmp_path: Path) -> None:
    without_route.order(start(ear, port))
    wait_for(lambda: tried(tmp_path) > 1, "another try")
    (tmp_path / "down").unlink()
    ear.packets(1)
    assert without_route.ended() == []
    assert without_route.retries > 1 and without_route.starts > without_route.retries
    without_route.order(STOP)
    assert the_end(without_route).serial == 1


def test_a_call_that_is_stopped_without_a_route_is_reported_once(
    without_route: Supervisor, ear: Ear, port: int, tmp_path: Path
) -> None:
    without_route.order(start(ear, port))
    wait_for(lambda: tried(tmp_path) > 1, "another try")
    without_route.order(STOP)
    assert the_end(without_route).serial == 1
    without_route.order(STOP)
    (tmp_path / "down").unlink()
    without_route.order(start(ear, port, serial=2))
    ear.packets(1)
    assert without_route.ended() == []


def test_a_call_that_is_moved_without_a_route_plays_at_its_new_target(
    without_route: Supervisor, ear: Ear, port: int, tmp_path: Path
) -> None:
    without_route.order(start(ear, port))
    wait_for(lambda: tried(tmp_path) > 1, "another try")
    (tmp_path / "down").unlink()
    with Ear() as other:
        without_route.order(start(other, port, serial=2))
        other.packets(1)
        without_route.order(STOP)
        assert the_end(without_route).serial == 2
        assert ear.heard_nothing() or ear.falls_silent()


def test_a_call_without_a_route_for_long_ends(
    without_route: Supervisor, ear: Ear, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moh.ffmpeg.process.HOST_UNREACHABLE_TIMEOUT", 1.2)
    without_route.order(start(ear, port))
    ended = the_end(without_route)
    assert "Network is unreachable" in ended.why
    assert ended.hopeless == "host unreachable", "otherwise the server would try as long once more"


def test_close_reports_a_call_without_a_route(without_route: Supervisor, ear: Ear, port: int, tmp_path: Path) -> None:
    without_route.order(start(ear, port))
    wait_for(lambda: tried(tmp_path) > 1, "another try")
    without_route.close()
    assert the_end(without_route).serial == 1
